"""What every model must do, whatever its method and its backbone.

A test class inherits `ModelMixin` and states the method, the backbone, and in `config` any other way in which it differs.
"""

import copy

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    DeiTConfig,
    DeiTForImageClassification,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    DINOv3ViTConfig,
    DINOv3ViTModel,
    PreTrainedConfig,
    PreTrainedModel,
    ViTConfig,
    ViTForImageClassification,
)

from modeling_sat import SATConfig, SATForWeaklySupervisedLocalization
from modeling_sat.methods import METHODS
from modeling_sat.models.configuration_conformer import VisionConformerConfig
from modeling_sat.models.configuration_wsol import pair
from modeling_sat.models.foreground_wsol import FOREGROUND_LOSSES
from modeling_sat.models.modeling_conformer import VisionConformerForImageClassification
from modeling_sat.onnx.program import export_program


# Models this small lose more to threads that wait for each other than they gain.
torch.set_num_threads(1)

VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
TINY = {**VIT, "num_labels": 5, "num_spatial_layers": 2}
_DINO = {name: value for name, value in VIT.items() if name != "intermediate_size"} | {"mlp_ratio": 2}
BACKBONES = {
    "vit": None,
    "deit": DeiTConfig(**VIT),
    "dinov2": Dinov2Config(**_DINO),
    "dinov2_with_registers": Dinov2WithRegistersConfig(**_DINO, num_register_tokens=3),
    "dinov3_vit": DINOv3ViTConfig(**VIT, num_register_tokens=3),
    "vision_conformer": VisionConformerConfig(
        **VIT | {"num_hidden_layers": 6, "image_size": 64, "patch_size": 16}, base_channels=8, channel_ratio=2
    ),
}
"""One small backbone of each family; None: the ViT of a method's own fields."""
ON_THE_HUB = {
    "vit": (ViTForImageClassification, ViTConfig(**VIT)),
    "deit": (DeiTForImageClassification, DeiTConfig(**VIT)),
    "dinov2": (Dinov2ForImageClassification, BACKBONES["dinov2"]),
    "dinov2_with_registers": (Dinov2WithRegistersForImageClassification, BACKBONES["dinov2_with_registers"]),
    "dinov3_vit": (DINOv3ViTModel, BACKBONES["dinov3_vit"]),
    "vision_conformer": (VisionConformerForImageClassification, BACKBONES["vision_conformer"]),
}
"""What a checkpoint of each family is when it starts a method: with a classifier where the family has one."""


def config_of(method: str, backbone: str = "vit", **fields) -> PreTrainedConfig:
    config = copy.deepcopy(BACKBONES[backbone])
    start = TINY if config is None else {"num_labels": 5, "num_spatial_layers": 2, "backbone_config": config}
    if method != "sat":
        start = {name: value for name, value in start.items() if name != "num_spatial_layers"}
    if (method, backbone) == ("bas", "vision_conformer"):
        start["losses"] = "sat"  # its own need blocks that stand alone
    return METHODS[method].config_class(**{**start, **fields})


def model_of(method: str, backbone: str = "vit", seed: int = 0, **fields) -> PreTrainedModel:
    """In eval mode, with weights large enough that images differ in their maps and no two terms vanish."""
    torch.manual_seed(seed)
    model = METHODS[method].model_class(config_of(method, backbone, **fields))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not any(part in name for part in ("norm", "lambda", "diffusion")):
                parameter.normal_(std=0.25)
    return model.eval()


def tiny_config(**fields) -> SATConfig:
    return SATConfig(**{**TINY, **fields})


def tiny_model(seed: int = 0, **fields) -> SATForWeaklySupervisedLocalization:
    return model_of("sat", seed=seed, **fields)


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
    method = "sat"
    backbone = "vit"
    config: dict = {}

    @pytest.fixture
    def model(self) -> PreTrainedModel:
        return model_of(self.method, self.backbone, **self.config)

    @pytest.fixture
    def inputs(self, model) -> torch.Tensor:
        return images(3, *pair(model.config.image_size))

    def grid(self, model, size: tuple[int, int]) -> tuple[int, int]:
        return tuple(side // patch for side, patch in zip(size, pair(model.config.patch_size)))

    def other_size(self, model) -> tuple[int, int]:
        """Of 3 × 6 patches."""
        return tuple(count * patch for count, patch in zip((3, 6), pair(model.config.patch_size)))

    def spatial_layers(self, model) -> int:
        return getattr(model.config, "num_spatial_layers", 0)

    def tokens(self, model) -> int:
        """How many the backbone computes with."""
        patches = np.prod(self.grid(model, pair(model.config.image_size)))
        registers = getattr(model.vit.config, "num_register_tokens", 0)
        return patches + 1 + registers + (self.backbone == "deit") + (self.method == "sat")

    def gradients(self, model, inputs) -> dict[str, torch.Tensor]:
        """Of the loss in training, all randomness (dropout, stochastic depth) from one seed."""
        model = copy.deepcopy(model).train()  # which leaves the statistics of batch norms as they are
        model.zero_grad()
        torch.manual_seed(1)
        model(inputs, labels=LABELS).loss.backward()
        return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.requires_grad}

    def test_output_shapes_and_ranges(self, model, inputs):
        with torch.no_grad():
            outputs = model(inputs, labels=LABELS)
        grid = self.grid(model, inputs.shape[2:])
        assert outputs.logits.shape == (3, 5)
        assert outputs.localization_map.shape == (3, *grid)
        assert 0 <= outputs.localization_map.min() < outputs.localization_map.max() <= 1
        if self.spatial_layers(model):
            assert outputs.layer_localization_maps.shape == (3, self.spatial_layers(model), *grid)
            torch.testing.assert_close(outputs.localization_map, outputs.layer_localization_maps.mean(1))
        assert outputs.class_maps is None
        assert outputs.hidden_states is None and outputs.attentions is None
        assert model(inputs).loss is None

    def test_the_classification_loss_is_the_cross_entropy(self, model, inputs):
        with torch.no_grad():
            outputs = model(inputs, labels=LABELS)
        expected = torch.nn.functional.cross_entropy(outputs.logits, LABELS)
        torch.testing.assert_close(outputs.classification_loss, expected)
        if any(outputs.get(name) is not None for name in FOREGROUND_LOSSES):
            return  # whose sum is tested with the method
        terms = [outputs.area_loss, outputs.normalization_loss]
        if any(term is not None for term in terms):
            # Eq. 9; 2 and 0.5 instead of 1 and 1, so that a forgotten weight shows.
            model.config.area_loss_weight, model.config.normalization_loss_weight = 2.0, 0.5
            assert 0 < outputs.area_loss < 1 and 0 < outputs.normalization_loss <= 0.25
            expected = expected + 2 * outputs.area_loss + 0.5 * outputs.normalization_loss
        with torch.no_grad():
            torch.testing.assert_close(model(inputs, labels=LABELS).loss, expected)

    def test_a_class_map_is_of_its_class(self, model, inputs):
        if not model.maps_are_of_a_class:
            pytest.skip("the map is of no class")
        with torch.no_grad():
            outputs = model(inputs, output_class_maps=True)
        assert outputs.class_maps.shape == (3, 5, *self.grid(model, inputs.shape[2:]))
        for localization_map, maps, logits in zip(outputs.localization_map, outputs.class_maps, outputs.logits):
            chosen = maps[logits.argmax()]
            expected = (chosen - chosen.min()) / (chosen.max() - chosen.min()).clamp(min=1e-5)
            torch.testing.assert_close(localization_map, expected)

    def test_initial_values(self):
        torch.manual_seed(0)
        model = METHODS[self.method].model_class(config_of(self.method, self.backbone, **self.config))
        for name, weight in model.named_parameters():
            weight = weight.detach()
            if name.startswith("diffusion."):
                assert weight.item() == (0.5 if name.endswith("threshold") else 1), name
            elif name.startswith(("patch_classifier.", "cue_routing.")) or (self.method == "lctr" and name.startswith("branch")):  # fmt: skip
                # PyTorch's own: uniform in ±1/√(inputs), so that the standard deviation is the bound over √3.
                bound = model.get_parameter(name.rpartition(".")[0] + ".weight")[0].numel() ** -0.5
                assert weight.abs().max() <= bound, name
                assert weight.numel() < 100 or weight.std() > 0.2 * bound, name
            elif (
                self.backbone == "vision_conformer" and weight.ndim == 4 and name.startswith("vit.")
            ):  # Kaiming's, of the outputs
                std = (2 / (weight.shape[0] * weight.shape[2] * weight.shape[3])) ** 0.5
                assert weight.std().item() == pytest.approx(std, rel=0.5), name
            elif name.endswith("projection.bias") and self.backbone == "vision_conformer":
                assert weight.abs().max() > 0, name  # PyTorch's own
            elif "norm" in name or "lambda" in name or "scale" in name:
                assert (weight == (0 if name.endswith("bias") else 1)).all(), name
            elif name.endswith("bias") or "mask_token" in name or (self.backbone == "deit" and name.endswith(("cls_token", "distillation_token", "position_embeddings"))) or (self.backbone == "dinov2_with_registers" and "register" in name):  # fmt: skip
                assert (weight == 0).all(), name
            else:
                assert weight.std().item() == pytest.approx(0.02, rel=0.5), name
                assert abs(weight.mean().item()) < 0.01, name

    def test_starts_from_a_checkpoint_of_its_backbone(self, tmp_path):
        if self.config:
            pytest.skip("of the family, not of the variant")
        torch.manual_seed(3)
        model_class, config = ON_THE_HUB[self.backbone]
        source = model_class(copy.deepcopy(config)).eval()
        source.save_pretrained(tmp_path)
        model, report = METHODS[self.method].model_class.from_pretrained(
            tmp_path, output_loading_info=True, num_labels=5, drop_path_rate=0.2
        )
        new = {name for name in report["missing_keys"] if name.startswith("vit.") and "spatial_" not in name}
        assert not new and not report["mismatched_keys"]
        assert {name for name in report["unexpected_keys"] if "distillation" not in name and "branch" not in name} <= {"classifier.weight", "classifier.bias", "distillation_classifier.weight", "distillation_classifier.bias"}  # fmt: skip
        assert model.config.num_labels == 5 and model.config.drop_path_rate == 0.2
        plain = AutoModel.from_pretrained(tmp_path).eval()
        if self.method != "sat" and self.backbone != "deit":  # whose other tokens see one more, or one less
            with torch.no_grad():
                inputs = images(3, *pair(model.config.image_size))
                torch.testing.assert_close(
                    model.encode(inputs).last_hidden_state, plain(inputs).last_hidden_state, rtol=1e-4, atol=1e-4
                )
        weights, expected = model.vit.state_dict(), plain.state_dict()
        names = [name for name in expected if name in weights and not name.endswith("position_embeddings")]
        assert len(names) > 4 * 12
        assert all(torch.equal(weights[name], expected[name]) for name in names)

    def test_save_and_load(self, model, inputs, tmp_path):
        model.save_pretrained(tmp_path)
        loaded, report = type(model).from_pretrained(tmp_path, output_loading_info=True)
        assert not any(report.values())
        kept, expected = loaded.config.to_diff_dict(), model.config.to_diff_dict()
        for settings in (kept, expected):
            (settings.get("backbone_config") or {}).pop("dtype", None)  # known of what was loaded
        assert kept == expected
        assert not loaded.training
        with torch.no_grad():
            assert_same(loaded(inputs), model(inputs), rtol=0, atol=0)
            assert_same(AutoModel.from_pretrained(tmp_path)(inputs), model(inputs), rtol=0, atol=0)
            assert_same(copy.deepcopy(model)(inputs), model(inputs), rtol=0, atol=0)

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
        spatial = range(len(model.blocks))[len(model.blocks) - self.spatial_layers(model) :]
        blind = [
            name
            for index, block in enumerate(model.blocks)
            for name, weight in model.named_parameters()
            if weight is block.attention.k_proj.bias and index not in spatial
        ]
        blind += [name for name in gradients if name.endswith("up.projection.bias")]  # nor a batch norm one before it
        dead = [name for name, gradient in gradients.items() if name not in blind and gradient.abs().max() == 0]
        assert dead == []

    def test_gradient_checkpointing_gives_equal_gradients(self, model, inputs):
        expected = self.gradients(model, inputs)
        model.gradient_checkpointing_enable()
        assert all(block.gradient_checkpointing for block in model.blocks)
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
        atol = 1e-4 if self.method == "scm" else 1e-6  # near a singular matrix, its inverse magnifies rounding
        for name, expected in gradients["eager"].items():
            # Batch norms of three images magnify what is rounded.
            relative = 3e-5 * expected.abs().max().item() if self.backbone == "vision_conformer" else 0
            torch.testing.assert_close(gradients["sdpa"][name], expected, rtol=1e-4, atol=atol + relative)

    def test_attentions_and_hidden_states_on_demand(self, model, inputs):
        assert model.config._attn_implementation == "sdpa"
        with torch.no_grad():
            plain = model(inputs)
            outputs = model(inputs, output_attentions=True, output_hidden_states=True)
            after = model(inputs)
        tokens = self.tokens(model)
        assert [a.shape for a in outputs.attentions] == [(3, 2, tokens, tokens)] * len(model.blocks)
        for attention in outputs.attentions:
            torch.testing.assert_close(attention.sum(-1), torch.ones(3, 2, tokens))
        assert [h.shape for h in outputs.hidden_states] == [(3, tokens, 32)] * (len(model.blocks) + 1)
        if self.backbone == "vit":
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
        inputs = images(2, *self.other_size(model))
        with pytest.raises(ValueError, match="interpolate_pos_encoding=True"):
            model(inputs)
        with torch.no_grad():
            outputs = model(inputs, interpolate_pos_encoding=True)
        assert outputs.localization_map.shape == (2, *self.grid(model, self.other_size(model)))

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
        self.assert_in_float32(outputs)
        # bfloat16 keeps 8 bits: a few parts in a hundred after four layers.
        if not model.maps_are_of_a_class:
            torch.testing.assert_close(outputs.localization_map, expected.localization_map, rtol=0, atol=0.06)
        outputs.loss.backward()
        assert all(weight.grad.isfinite().all() for weight in half.parameters() if weight.grad is not None)

    def assert_in_float32(self, outputs) -> None:
        for name in ("localization_map", "loss", "classification_loss", "area_loss", "normalization_loss"):
            assert outputs.get(name) is None or outputs[name].dtype == torch.float32, name

    def test_autocast_keeps_map_and_losses_in_float32(self, model, inputs):
        model.train()
        with torch.autocast("cpu", torch.bfloat16):
            outputs = model(inputs, labels=LABELS)
        assert outputs.logits.dtype == torch.bfloat16
        self.assert_in_float32(outputs)

    def test_reentrant_checkpointing_is_refused(self, model):
        with pytest.raises(ValueError, match="use_reentrant is True"):
            model.gradient_checkpointing_enable({"use_reentrant": True})


class ThoroughModelMixin(ModelMixin):
    """With what takes seconds: compiled, exported, divided over devices, trained."""

    def test_compiles_into_one_graph(self, model, inputs):
        torch.compiler.reset()
        compiled = torch.compile(model, fullgraph=True, backend="eager")
        with torch.no_grad():
            assert_same(compiled(inputs, labels=LABELS), model(inputs, labels=LABELS), rtol=1e-5, atol=1e-6)

    def test_exports_with_free_sizes(self, model, inputs):
        program = export_program(model).module()
        others = [images(5, *inputs.shape[2:], seed=7), images(1, *self.other_size(model))]
        for other in others:
            with torch.no_grad():
                expected = model(other, interpolate_pos_encoding=True)
            for name, found in program(other).items():
                torch.testing.assert_close(found, expected[name], rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("device_map", ["auto", "cpu"])
    def test_device_map(self, model, inputs, tmp_path, device_map):
        model.save_pretrained(tmp_path)
        loaded = type(model).from_pretrained(tmp_path, device_map=device_map)
        with torch.no_grad():
            assert_same(loaded(inputs), model(inputs))

    def test_layers_offloaded_to_disk(self, model, inputs, tmp_path):
        model.save_pretrained(tmp_path / "model")
        last = next(name for name, module in model.named_modules() if module is model.blocks[-1])
        names = {name.rpartition(".")[0] if name.count(".") else name for name, _ in model.named_parameters()}
        device_map = {name: "cpu" for name in names if not name.startswith(last + ".")} | {last: "disk"}
        device_map |= {name: "cpu" for name, _ in model.named_parameters() if not name.startswith(last + ".")}
        loaded = type(model).from_pretrained(
            tmp_path / "model", device_map=device_map, offload_folder=tmp_path / "offload"
        )
        assert {weight.device.type for weight in loaded.blocks[-1].mlp.parameters()} == {"meta"}
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
        if losses[0].area_loss is not None:
            assert losses[-1].area_loss < 0.1
            assert losses[-1].normalization_loss < losses[0].normalization_loss
