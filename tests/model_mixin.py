"""What every SAT model must do. A test class inherits `ModelMixin` and states in `config` the one way it differs."""

import copy

import numpy as np
import pytest
import torch

from modeling_sat import SATConfig, SATForWeaklySupervisedLocalization


# Models this small lose more to threads that wait for each other than they gain.
torch.set_num_threads(1)

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
    "num_labels": 5,
    "num_spatial_layers": 2,
}


def tiny_config(**fields) -> SATConfig:
    return SATConfig(**{**TINY, **fields})


def tiny_model(seed: int = 0, **fields) -> SATForWeaklySupervisedLocalization:
    """In eval mode, with weights large enough that images differ in their maps and no two terms vanish."""
    torch.manual_seed(seed)
    model = SATForWeaklySupervisedLocalization(tiny_config(**fields))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(std=0.25)
    return model.eval()


def images(batch_size: int = 3, height: int = 32, width: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.randn(batch_size, 3, height, width, generator=torch.Generator().manual_seed(seed))


LABELS = torch.tensor([0, 4, 2])


def tensors(outputs) -> dict[str, torch.Tensor]:
    return {name: value for name, value in outputs.items() if isinstance(value, torch.Tensor)}


def assert_same(outputs, expected, **tolerance) -> None:
    outputs, expected = tensors(outputs), tensors(expected)
    assert outputs.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(outputs[name], expected[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)  # fmt: skip


class ModelMixin:
    config: dict = {}
    interpolated_size = (24, 48)

    def size(self) -> tuple[int, int]:
        side = self.config.get("image_size", TINY["image_size"])
        return (side, side) if isinstance(side, int) else tuple(side)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        patch = self.config.get("patch_size", TINY["patch_size"])
        patch = (patch, patch) if isinstance(patch, int) else patch
        return size[0] // patch[0], size[1] // patch[1]

    @pytest.fixture
    def model(self) -> SATForWeaklySupervisedLocalization:
        return tiny_model(**self.config)

    @pytest.fixture
    def inputs(self) -> torch.Tensor:
        return images(3, *self.size())

    def gradients(self, model, inputs) -> dict[str, torch.Tensor]:
        """Of the loss in training, all randomness (dropout, stochastic depth) from one seed."""
        model.train().zero_grad()
        torch.manual_seed(1)
        model(inputs, labels=LABELS).loss.backward()
        return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}

    def test_output_shapes_and_ranges(self, model, inputs):
        with torch.no_grad():
            outputs = model(inputs, labels=LABELS)
        grid = self.grid(self.size())
        layers = self.config.get("num_spatial_layers", TINY["num_spatial_layers"])
        assert outputs.logits.shape == (3, 5)
        assert outputs.localization_map.shape == (3, *grid)
        assert outputs.layer_localization_maps.shape == (3, layers, *grid)
        assert 0 < outputs.localization_map.min() < outputs.localization_map.max() < 1
        torch.testing.assert_close(outputs.localization_map, outputs.layer_localization_maps.mean(1))
        assert outputs.class_maps is None
        assert outputs.hidden_states is None and outputs.attentions is None
        assert model(inputs).loss is None

    def test_loss_is_the_weighted_sum_of_its_terms(self, model, inputs):
        # Eq. 9; 2 and 0.5 instead of 1 and 1, so that a forgotten weight shows.
        model.config.area_loss_weight, model.config.normalization_loss_weight = 2.0, 0.5
        with torch.no_grad():
            outputs = model(inputs, labels=LABELS)
        assert 0 < outputs.area_loss < 1
        assert 0 < outputs.normalization_loss <= 0.25
        expected = outputs.classification_loss + 2 * outputs.area_loss + 0.5 * outputs.normalization_loss
        torch.testing.assert_close(outputs.loss, expected)
        torch.testing.assert_close(
            outputs.classification_loss, torch.nn.functional.cross_entropy(outputs.logits, LABELS)
        )

    def test_save_and_load(self, model, inputs, tmp_path):
        model.save_pretrained(tmp_path)
        loaded, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
        assert not any(report.values())
        assert loaded.config.to_diff_dict() == model.config.to_diff_dict()
        assert not loaded.training
        with torch.no_grad():
            assert_same(loaded(inputs), model(inputs), rtol=0, atol=0)

    def test_evaluation_is_deterministic_and_training_follows_the_seed(self, model, inputs):
        with torch.no_grad():
            assert_same(model(inputs), model(inputs), rtol=0, atol=0)
        first, second = self.gradients(model, inputs), self.gradients(model, inputs)
        assert all(torch.equal(first[name], second[name]) for name in first)

    def test_images_of_a_batch_do_not_meet(self, model, inputs):
        with torch.no_grad():
            whole, parts = model(inputs), [model(image[None]) for image in inputs]
        for name in ("logits", "localization_map"):
            torch.testing.assert_close(whole[name], torch.cat([part[name] for part in parts]), rtol=1e-5, atol=1e-6)

    def test_every_parameter_gets_a_gradient(self, model, inputs):
        gradients = self.gradients(model, inputs)
        # Softmax does not see a bias of its keys; in a spatial layer, the map does.
        spatial = range(TINY["num_hidden_layers"])[
            -self.config.get("num_spatial_layers", TINY["num_spatial_layers"]) :
        ]
        blind = [name for name in gradients if name.endswith("k_proj.bias") and int(name.split(".")[2]) not in spatial]
        dead = [name for name, gradient in gradients.items() if name not in blind and gradient.abs().max() == 0]
        assert dead == []

    def test_gradient_checkpointing_gives_equal_gradients(self, model, inputs):
        expected = self.gradients(model, inputs)
        model.gradient_checkpointing_enable()
        assert all(layer.gradient_checkpointing for layer in model.vit.layers)
        actual = self.gradients(model, inputs)
        for name in expected:
            torch.testing.assert_close(actual[name], expected[name], rtol=1e-5, atol=1e-7)

    def test_attention_backends_give_the_same_numbers(self, model, inputs):
        outputs, gradients = {}, {}
        for name in ("eager", "sdpa"):
            model.eval().set_attn_implementation(name)
            with torch.no_grad():
                outputs[name] = model(inputs, labels=LABELS)
            gradients[name] = self.gradients(model, inputs)
        assert_same(outputs["sdpa"], outputs["eager"], rtol=1e-5, atol=1e-6)
        for name, expected in gradients["eager"].items():
            torch.testing.assert_close(gradients["sdpa"][name], expected, rtol=1e-4, atol=1e-6)

    def test_attentions_and_hidden_states_on_demand(self, model, inputs):
        assert model.config._attn_implementation == "sdpa"
        with torch.no_grad():
            plain = model(inputs)
            outputs = model(inputs, output_attentions=True, output_hidden_states=True)
            after = model(inputs)
        tokens = 2 + np.prod(self.grid(self.size()))
        assert [a.shape for a in outputs.attentions] == [(3, 2, tokens, tokens)] * 4
        for attention in outputs.attentions:
            torch.testing.assert_close(attention.sum(-1), torch.ones(3, 2, tokens))
        assert [h.shape for h in outputs.hidden_states] == [(3, tokens, 32)] * 5
        torch.testing.assert_close(outputs.hidden_states[0], model.vit.embeddings(inputs))
        torch.testing.assert_close(outputs.logits, plain.logits, rtol=1e-5, atol=1e-6)
        assert after.attentions is None and after.hidden_states is None

    def test_tuple_output(self, model, inputs):
        with torch.no_grad():
            outputs, as_tuple = model(inputs, labels=LABELS), model(inputs, labels=LABELS, return_dict=False)
        assert isinstance(as_tuple, tuple)
        for value, expected in zip(as_tuple, tensors(outputs).values(), strict=True):
            torch.testing.assert_close(value, expected)

    def test_another_resolution(self, model):
        inputs = images(2, *self.interpolated_size)
        with pytest.raises(ValueError, match="interpolate_pos_encoding=True"):
            model(inputs)
        with torch.no_grad():
            outputs = model(inputs, interpolate_pos_encoding=True)
        assert outputs.localization_map.shape == (2, *self.grid(self.interpolated_size))

    def test_interpolating_to_the_own_resolution_changes_nothing(self, model, inputs):
        with torch.no_grad():
            assert_same(model(inputs, interpolate_pos_encoding=True), model(inputs), rtol=0, atol=0)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_keeps_map_and_losses_in_float32(self, model, inputs, dtype):
        with torch.no_grad():
            expected = model(inputs, labels=LABELS)
        half = copy.deepcopy(model).to(dtype)
        outputs = half(inputs, labels=LABELS)
        assert outputs.logits.dtype == dtype
        for name in ("localization_map", "loss", "classification_loss", "area_loss", "normalization_loss"):
            assert outputs[name].dtype == torch.float32, name
        # bfloat16 keeps 8 bits: a few parts in a hundred after four layers.
        torch.testing.assert_close(outputs.localization_map, expected.localization_map, rtol=0, atol=0.06)
        outputs.loss.backward()
        assert all(parameter.grad.isfinite().all() for parameter in half.parameters())

    def test_autocast_keeps_map_and_losses_in_float32(self, model, inputs):
        model.train()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(inputs, labels=LABELS)
        assert outputs.logits.dtype == torch.bfloat16
        for name in ("localization_map", "loss", "classification_loss", "area_loss", "normalization_loss"):
            assert outputs[name].dtype == torch.float32, name

    def test_compiles_into_one_graph(self, model, inputs):
        torch.compiler.reset()
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        with torch.no_grad():
            assert_same(compiled(inputs, labels=LABELS), model(inputs, labels=LABELS), rtol=1e-5, atol=1e-6)

    def test_exports_with_a_free_batch_size(self, model, inputs):
        program = torch.export.export(
            model, (inputs,), dynamic_shapes={"pixel_values": {0: torch.export.Dim.DYNAMIC}}, strict=False
        )
        other = images(5, *self.size(), seed=7)
        with torch.no_grad():
            assert_same(program.module()(other), model(other), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("device_map", ["auto", "cpu"])
    def test_device_map(self, model, inputs, tmp_path, device_map):
        model.save_pretrained(tmp_path)
        loaded = type(model).from_pretrained(tmp_path, device_map=device_map)
        with torch.no_grad():
            assert_same(loaded(inputs), model(inputs))

    def test_layers_offloaded_to_disk(self, model, inputs, tmp_path):
        model.save_pretrained(tmp_path / "model")
        names = [name for name, _ in model.vit.named_children() if name != "layers"]
        device_map = {f"vit.{name}": "cpu" for name in names} | {"vit.layers.0": "cpu"}
        device_map |= {name: "cpu" for name, _ in model.named_children() if name != "vit"}
        device_map |= {f"vit.layers.{index}": "disk" for index in (1, 2, 3)}
        loaded = type(model).from_pretrained(
            tmp_path / "model", device_map=device_map, offload_folder=tmp_path / "offload"
        )
        assert loaded.vit.layers[3].mlp.fc1.weight.device.type == "meta"
        with torch.no_grad():
            assert_same(loaded(inputs), model(inputs))

    def test_training_reduces_every_loss(self, model, inputs):
        torch.manual_seed(0)
        model.train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
        losses = []
        for _ in range(30):
            outputs = model(inputs, labels=LABELS)
            optimizer.zero_grad()
            outputs.loss.backward()
            optimizer.step()
            losses.append(outputs)
        assert losses[-1].loss < 0.5 * losses[0].loss
        assert losses[-1].classification_loss < 0.5 * losses[0].classification_loss
        assert losses[-1].area_loss < 0.1
        assert losses[-1].normalization_loss < losses[0].normalization_loss
