"""The model: what each variant must do (`ModelMixin`), and each piece against a sum that a reader can redo."""

import math
import shutil
import time
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from model_mixin import LABELS, ModelMixin, ThoroughModelMixin, assert_same, images, tiny_config, tiny_model
from transformers import (
    AttentionInterface,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.models.vit.modeling_vit import ViTAttention

import modeling_sat
from modeling_sat import SATConfig, SATForWeaklySupervisedLocalization, SATModel
from modeling_sat.models.attention_wsol import Readings
from modeling_sat.models.backbone_wsol import DropPath
from modeling_sat.models.losses_wsol import area_loss, normalization_loss
from modeling_sat.models.modeling_wsol import PatchClassifier


class TestPatchTokens(ThoroughModelMixin):
    config = {}

    @pytest.mark.skipif(not shutil.which("g++"), reason="flex attention on CPU compiles with g++, which is not here")
    def test_flex_attention_gives_the_same_numbers(self, model, inputs):
        outputs = {}
        for name in ("eager", "flex_attention"):
            model.set_attn_implementation(name)
            with torch.no_grad():
                outputs[name] = model(inputs, labels=LABELS)
        assert_same(outputs["flex_attention"], outputs["eager"], rtol=1e-5, atol=1e-6)

    @pytest.mark.slow
    def test_inductor(self, model, inputs):
        torch.compiler.reset()
        compiled = torch.compile(model, fullgraph=True)
        with torch.no_grad():
            assert_same(compiled(inputs), model(inputs), rtol=1e-5, atol=1e-5)


class TestClassToken(ThoroughModelMixin):
    config = {"classifier": "class_token"}

    def test_class_maps_need_patch_tokens(self, model, inputs):
        with pytest.raises(ValueError, match='classifier="patch_tokens"'):
            model(inputs, output_class_maps=True)


class TestPaperText(ModelMixin):
    config = {"spatial_query_scaling": "hidden_size", "smoothing_sigma": 6}


class TestOneSpatialLayer(ModelMixin):
    config = {"num_spatial_layers": 1}


class TestDropout(ModelMixin):
    config = {"hidden_dropout_prob": 0.1}


class TestNonSquareImage(ModelMixin):
    config = {"image_size": (16, 40)}


class TestNonSquarePatch(ThoroughModelMixin):
    config = {"image_size": (32, 24), "patch_size": (8, 4)}


class TestEmbeddings:
    def test_token_order(self):
        embeddings = tiny_model().vit.embeddings
        tokens = embeddings(images(2))
        positions = embeddings.position_embeddings
        assert tokens.shape == (2, 1 + 16 + 1, 32)
        class_token = (embeddings.cls_token + positions[:, :1]).expand(2, -1, -1)
        spatial_token = (embeddings.spatial_token + embeddings.spatial_position_embedding).expand(2, -1, -1)
        torch.testing.assert_close(tokens[:, :1], class_token)
        torch.testing.assert_close(tokens[:, 1:-1], embeddings.patch_embeddings(images(2)) + positions[:, 1:])
        torch.testing.assert_close(tokens[:, -1:], spatial_token)

    def test_map_and_pixels_are_in_the_same_order(self):
        # One layer: the spatial token has not yet looked at the image, so a patch changes its own place in the map.
        model = tiny_model(num_hidden_layers=1, num_spatial_layers=1, image_size=(24, 32))
        one, other = images(1, 24, 32), images(1, 24, 32)
        other[:, :, 8:16, 24:32] += 1  # row 1 of 3, column 3 of 4
        with torch.no_grad():
            difference = (model(one).localization_map - model(other).localization_map).abs()[0]
        assert difference.nonzero().tolist() == [[1, 3]]

    def test_interpolation_keeps_rows_and_columns_apart(self):
        embeddings = tiny_model(image_size=(16, 40)).vit.embeddings  # 2 × 5 patches
        with torch.no_grad():
            embeddings.position_embeddings[:, 1:] = torch.arange(5.0).repeat(2)[None, :, None]  # the column's number
            positions = embeddings.interpolate_pos_encoding(None, 32, 80)
        torch.testing.assert_close(positions[:, 0], embeddings.position_embeddings[:, 0])
        grid = positions[0, 1:].reshape(4, 10, 32)
        assert (grid - grid[:1]).abs().max() < 1e-5
        assert (grid[:, 1:] > grid[:, :-1]).all()

    @pytest.mark.parametrize(
        ("size", "message"),
        [
            ((30, 32), r"30×32 .* height 30 is not a multiple of the patch size 8. Resize it to 24 or 32"),
            ((32, 33), r"width 33 is not a multiple of the patch size 8. Resize it to 32 or 40"),
            ((4, 32), r"height 4 is not a multiple of the patch size 8. Resize it to 8;"),
        ],
    )
    def test_sizes_that_do_not_fit(self, size, message):
        with pytest.raises(ValueError, match=message):
            tiny_model()(images(1, *size), interpolate_pos_encoding=True)


def equations_4_to_6(attention: torch.nn.Module, tokens: torch.Tensor, scaling: str):
    """One image's tokens (n, D) -> output (n, D) and map (n,), head by head as the paper writes it."""
    heads, dim = attention.num_attention_heads, attention.head_dim
    query, key, value = (layer(tokens) for layer in (attention.q_proj, attention.k_proj, attention.v_proj))
    columns = [slice(head * dim, (head + 1) * dim) for head in range(heads)]
    if scaling == "head_mean":
        # The authors' code: for each head q_spa·k/√d, their mean, then the sigmoid.
        scores = sum(query[-1, c] @ key[:, c].T / math.sqrt(dim) for c in columns) / heads
    else:
        # Eq. 4 as printed: the whole vectors, over √D.
        scores = query[-1] @ key.T / math.sqrt(heads * dim)
    foreground = torch.sigmoid(scores)
    outputs = []
    for c in columns:
        softmax = torch.softmax(query[:, c] @ key[:, c].T / math.sqrt(dim), dim=1)
        # Every query sees column j times M_j; rows no longer sum to one.
        outputs.append((softmax * foreground[None, :]) @ value[:, c])
    return attention.o_proj(torch.cat(outputs, dim=1)), foreground


def attend(attention: torch.nn.Module, tokens: torch.Tensor, **kwargs) -> tuple:
    """Output, softmax weights, and what was read."""
    readings = Readings()
    return (*attention(tokens, readings=readings, **kwargs), readings.values)


class TestSpatialQueryAttention:
    @pytest.mark.parametrize("implementation", ["eager", "sdpa"])
    @pytest.mark.parametrize("scaling", ["head_mean", "hidden_size"])
    def test_equations_4_to_6(self, scaling, implementation):
        model = tiny_model(num_attention_heads=4, spatial_query_scaling=scaling)
        model.set_attn_implementation(implementation)
        attention = model.blocks[-1].attention
        tokens = torch.randn(2, 7, 32, generator=torch.Generator().manual_seed(0)) * 2
        with torch.no_grad():
            outputs, _, (foreground,) = attend(attention, tokens)
            for index in range(2):
                expected, expected_map = equations_4_to_6(attention, tokens[index], scaling)
                torch.testing.assert_close(outputs[index], expected, rtol=1e-5, atol=1e-5)
                torch.testing.assert_close(foreground[index], expected_map)

    def test_the_two_scalings_differ_by_the_square_root_of_the_heads(self):
        # 1/(H√d) against 1/√(Hd): a factor √H.
        models = [
            tiny_model(num_attention_heads=4, spatial_query_scaling=scaling)
            for scaling in ("head_mean", "hidden_size")
        ]
        tokens = torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(0)) / 4
        with torch.no_grad():
            scores = [attend(model.blocks[-1].attention, tokens)[2][0].logit() for model in models]
        torch.testing.assert_close(scores[1], 2 * scores[0], rtol=1e-3, atol=1e-4)

    def test_other_layers_are_plain_vit_attention(self):
        model = tiny_model()
        plain = ViTAttention(model.vit.config)
        plain.load_state_dict(model.blocks[0].attention.state_dict())
        tokens = torch.randn(2, 7, 32)
        output, weights, readings = attend(model.blocks[0].attention, tokens, output_attentions=True)
        assert readings == []
        torch.testing.assert_close(output, plain(tokens)[0])
        torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 7))

    def test_only_the_last_layers_are_spatial(self):
        blocks = tiny_model(num_spatial_layers=3).blocks
        assert [block.attention.reader is not None for block in blocks] == [False, True, True, True]


class TestDropPath:
    def test_rates_rise_linearly(self):
        def rates(branch: str, **fields) -> list[float]:
            hooks = [getattr(block, branch)._forward_hooks.values() for block in tiny_model(**fields).blocks]
            return [sum(hook.rate for hook in found if isinstance(hook, DropPath)) for found in hooks]

        for branch in ("attention", "mlp"):
            assert rates(branch, drop_path_rate=0.3) == pytest.approx([0, 0.1, 0.2, 0.3])
            assert rates(branch, num_hidden_layers=1, num_spatial_layers=1) == [0]

    def test_drops_whole_branches_and_keeps_their_mean(self):
        torch.manual_seed(0)
        outputs = DropPath(0.2)(torch.nn.Identity().train(), None, torch.ones(10_000, 2, 3))
        assert (outputs == outputs[:, :1, :1]).all()
        kept = outputs[:, 0, 0] != 0
        torch.testing.assert_close(outputs[kept].mean(), torch.tensor(1.25), rtol=1e-4, atol=0)  # 1 / 0.8
        # 0.8 ± four standard deviations of √(0.8 · 0.2 / 10000) = 0.004.
        assert kept.float().mean().item() == pytest.approx(0.8, abs=0.016)

    def test_evaluation_drops_nothing(self):
        model = tiny_model(drop_path_rate=0.9)
        with torch.no_grad():
            assert_same(model(images()), tiny_model(drop_path_rate=0.0)(images()), rtol=0, atol=0)


class TestPatchClassifier:
    def test_two_by_two_by_hand(self):
        # Tokens 1 2 / 3 4 and weights 1…9. Each weight meets the tokens that its shift leaves in the image:
        #   top-left     1·1, top    2·(1+2),     top-right    3·2,
        #   left     4·(1+3), centre 5·(1+2+3+4), right    6·(2+4),
        #   bottom-left  7·3, bottom 8·(3+4),     bottom-right 9·4     -> 228, over 4 patches 57, bias 0.5.
        head = PatchClassifier(SATConfig(hidden_size=1, num_attention_heads=1, num_labels=1))
        with torch.no_grad():
            head.weight[:] = torch.arange(1.0, 10).view(1, 1, 3, 3)
            head.bias[:] = 0.5
            logits = head(torch.tensor([[1.0, 2], [3, 4]])[None, :, :, None])
        assert logits.tolist() == [[57.5]]

    @pytest.mark.parametrize("grid", [(1, 1), (1, 5), (5, 1), (2, 2), (2, 7), (14, 14)])
    def test_is_convolution_and_mean(self, grid):
        torch.manual_seed(0)
        head = PatchClassifier(tiny_config())
        tokens = torch.randn(3, *grid, 32)
        maps = torch.nn.functional.conv2d(tokens.permute(0, 3, 1, 2), head.weight, head.bias, padding=1)
        torch.testing.assert_close(head(tokens), maps.mean((2, 3)), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(head.class_maps(tokens), maps)

    def test_class_maps_on_demand(self):
        model = tiny_model(image_size=(16, 40))
        outputs = model(images(3, 16, 40), output_class_maps=True)
        assert outputs.class_maps.shape == (3, 5, 2, 5)
        torch.testing.assert_close(outputs.class_maps.mean((2, 3)), outputs.logits, rtol=1e-5, atol=1e-5)

    def test_a_quantizer_that_replaces_layers_leaves_it_whole(self):
        # As quanto does: every linear layer and convolution gives way to one of the quantizer's own.
        model = tiny_model()
        inputs = images()
        with torch.no_grad():
            expected = model(inputs, output_class_maps=True)
            for module in list(model.modules()):
                for name, child in module.named_children():
                    if isinstance(child, torch.nn.Linear):
                        replaced = torch.nn.Linear(child.in_features, child.out_features, child.bias is not None)
                    elif isinstance(child, torch.nn.Conv2d):
                        replaced = torch.nn.Conv2d(
                            child.in_channels, child.out_channels, child.kernel_size, child.stride, child.padding
                        )
                    else:
                        continue
                    replaced.load_state_dict(child.state_dict())
                    setattr(module, name, replaced)
            assert_same(model(inputs, output_class_maps=True), expected, rtol=0, atol=0)


class TestAreaLoss:
    # mean(0.2, 0.4, 0.6, 0.8) = 0.5
    @pytest.mark.parametrize(("target", "loss", "slope"), [(0.35, 0.15, 0.25), (0.75, 0.25, -0.25)])
    def test_by_hand(self, target, loss, slope):
        localization_map = torch.tensor([[[0.2, 0.4], [0.6, 0.8]]], requires_grad=True)
        value = area_loss(localization_map, target)
        value.backward()
        assert value.item() == pytest.approx(loss)
        torch.testing.assert_close(localization_map.grad, torch.full((1, 2, 2), slope))

    def test_is_of_the_batch_and_not_of_its_images(self):
        # Means 0.1 and 0.6: 0.35 together. Image by image it would be 0.25.
        maps = torch.stack([torch.full((2, 2), 0.1), torch.full((2, 2), 0.6)])
        assert area_loss(maps, 0.35).item() == pytest.approx(0, abs=1e-7)

    def test_without_processes_global_is_local(self):
        maps = torch.rand(2, 3, 3)
        assert area_loss(maps, 0.35, over_all_processes=True) == area_loss(maps, 0.35)


def larger_root(product: float) -> float:
    """x >= 0.5 with x(1 - x) = product."""
    return (1 + math.sqrt(1 - 4 * product)) / 2


class TestNormalizationLoss:
    @pytest.mark.parametrize(
        ("sigma", "center", "edge", "corner"),
        [(0.418, 0.805, 0.046, 0.0026), (6, 0.1132, 0.1116, 0.1101)],
    )
    def test_kernel(self, sigma, center, edge, corner):
        # A single 1 in a map of 1×1, 1×2 and 2×2 patches leaves c; c and e; c, e, e and k after the filter.
        def total(*shape):
            impulse = torch.zeros(1, *shape, dtype=torch.float64)
            impulse[0, 0, 0] = 1
            return normalization_loss(impulse, 3, sigma).item() * impulse.numel()

        terms = {"center": total(1, 1), "edge": total(1, 2) - total(1, 1)}
        terms["corner"] = total(2, 2) - terms["center"] - 2 * terms["edge"]
        kernel = {name: 1 - larger_root(value) for name, value in terms.items()}
        if center > 0.5:
            kernel["center"] = larger_root(terms["center"])
        assert kernel["center"] == pytest.approx(center, abs=0.0005)
        assert kernel["edge"] == pytest.approx(edge, abs=0.0005)
        assert kernel["corner"] == pytest.approx(corner, abs=0.00005)
        assert kernel["center"] + 4 * (kernel["edge"] + kernel["corner"]) == pytest.approx(1)

    def test_without_filter_by_hand(self):
        # (0·1 + 1·0 + 0.5·0.5 + 0.1·0.9) / 4 = 0.34 / 4
        localization_map = torch.tensor([[[0, 1], [0.5, 0.1]]])
        assert normalization_loss(localization_map, kernel_size=1).item() == pytest.approx(0.085)

    def test_zero_padding_shows_at_the_border(self):
        # All ones, 1×3; the kernel's profile is 0.05131, 0.89739, 0.05131. The rows above and below are zero, which
        # leaves 0.89739 in the middle, and 0.89739 · (0.89739 + 0.05131) = 0.85135 at each end.
        # (2 · 0.85135 · 0.14865 + 0.89739 · 0.10261) / 3 = 0.11506
        assert normalization_loss(torch.ones(1, 1, 3)).item() == pytest.approx(0.11506, abs=2e-5)


class TestLabels:
    @pytest.mark.parametrize("label", [-100, -1, 5])
    def test_out_of_range(self, label):
        message = f"Labels hold {label}, but the model has 5 classes, 0 to 4. Set num_labels"
        with pytest.raises(ValueError, match=message):
            tiny_model()(images(), labels=torch.tensor([0, label, 2]))

    def test_label_names_of_the_config_survive(self, tmp_path):
        model = SATForWeaklySupervisedLocalization(tiny_config(num_labels=2, id2label={0: "cat", 1: "dog"}))
        model.save_pretrained(tmp_path)
        assert SATForWeaklySupervisedLocalization.from_pretrained(tmp_path).config.id2label == {0: "cat", 1: "dog"}


class TestInitialization:
    def test_number_of_parameters_of_deit_s_on_cub(self):
        # The authors' checkpoint has 22,357,841; 9 of them are the Gaussian kernel that they save as a parameter.
        with torch.device("meta"):
            model = SATForWeaklySupervisedLocalization(
                SATConfig(hidden_size=384, num_attention_heads=6, intermediate_size=1536, num_labels=200)
            )
        assert model.num_parameters() == 22_357_841 - 9

    def test_scales(self):
        torch.manual_seed(0)
        model = SATForWeaklySupervisedLocalization(
            tiny_config(hidden_size=512, num_hidden_layers=1, num_spatial_layers=1)
        )
        embeddings, head = model.vit.embeddings, model.patch_classifier
        for token in (embeddings.spatial_token, embeddings.spatial_position_embedding):
            assert token.std().item() == pytest.approx(0.02, rel=0.15)
        # PyTorch's own: uniform in ±1/√(512·9), so that the standard deviation is the bound over √3.
        bound = (512 * 9) ** -0.5
        assert head.weight.abs().max() <= bound
        assert head.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


class TestLoading:
    def test_backbone_of_a_whole_model(self, tmp_path):
        model = tiny_model()
        model.save_pretrained(tmp_path)
        backbone = SATModel.from_pretrained(tmp_path)
        with torch.no_grad():
            torch.testing.assert_close(backbone(images()).localization_map, model(images()).localization_map)

    @pytest.mark.parametrize("fields", [{"num_spatial_layers": 99}, {"area_target": 2.0}, {"classifier": "cls"}])
    def test_overrides_are_checked(self, tmp_path, fields):
        tiny_model().save_pretrained(tmp_path)
        with pytest.raises(Exception, match=next(iter(fields))) as raised:
            SATForWeaklySupervisedLocalization.from_pretrained(tmp_path, **fields)
        assert isinstance(raised.value.__cause__, ValueError)

    def test_another_architecture_is_refused(self, tmp_path):
        config = ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1], layer_type="basic")
        ResNetForImageClassification(config).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="is a checkpoint of 'resnet'"):
            SATForWeaklySupervisedLocalization.from_pretrained(tmp_path)

    def test_saved_folder_holds_the_code(self, tmp_path):
        tiny_model().save_pretrained(tmp_path)
        code = {path.name for path in tmp_path.iterdir()} - {"config.json", "model.safetensors"}
        here = Path(modeling_sat.__file__).parent / "models"
        others = {path.name for path in here.glob("modeling_*.py")} - {"modeling_sat.py", "modeling_wsol.py"}
        assert code == {path.name for path in here.glob("*.py")} - others - {"__init__.py"}


CASES = {
    # batch sizes of the two processes, and a shift of each one's scores: below 0 the map is small, above it large
    "both sides of the target": ((2, 2), (-2.0, 2.0)),
    "uneven, both sides": ((3, 1), (-2.0, 3.0)),
    "uneven, the larger one above": ((1, 4), (-3.0, 1.0)),
    "same side": ((2, 2), (1.0, 2.0)),
}


def process_inputs(case: str, rank: int) -> torch.Tensor:
    sizes, shifts = CASES[case]
    generator = torch.Generator().manual_seed(rank)
    return torch.randn(sizes[rank], 4, 4, generator=generator, dtype=torch.float64) + shifts[rank]


def area_of_scores(weight: torch.Tensor, scores: torch.Tensor, over_all_processes: bool = False) -> torch.Tensor:
    return area_loss(torch.sigmoid(weight * scores), 0.35, over_all_processes)


def run_process(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2, timeout=timedelta(seconds=180)
    )
    results = {}
    for case in CASES:
        weight = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
        value = area_of_scores(weight, process_inputs(case, rank), over_all_processes=True)
        value.backward()
        torch.distributed.all_reduce(weight.grad)
        results[case] = (value.item(), weight.grad.item() / 2)  # as DistributedDataParallel averages

    model = tiny_model(drop_path_rate=0.0)
    if rank == 0:
        # Evaluation asks nothing of the other process, which does not come here.
        model(images(1), labels=LABELS[:1])
    for reduction in ("global", "local"):
        model.config.area_reduction = reduction
        parallel = torch.nn.parallel.DistributedDataParallel(model.train())
        model.zero_grad()
        outputs = parallel(images(4)[2 * rank : 2 * rank + 2], labels=torch.tensor([0, 4, 2, 1])[2 * rank :][:2])
        outputs.loss.backward()
        results[reduction] = (
            outputs.area_loss.item(),
            outputs.localization_map.mean().item(),
            torch.cat([parameter.grad.flatten() for parameter in model.parameters()]),
        )
    # Uneven shares of a batch of known size, as Trainer passes them: 3 images and 1.
    model.config.area_reduction = "global"
    parallel = torch.nn.parallel.DistributedDataParallel(model.train())
    model.zero_grad()
    share = slice(0, 3) if rank == 0 else slice(3, 4)
    outputs = parallel(images(4)[share], labels=torch.tensor([0, 4, 2, 1])[share], num_items_in_batch=torch.tensor(4))
    (2 * outputs.loss).backward()  # Trainer does so, since DistributedDataParallel averages
    gradient = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    names = ("loss", "classification_loss", "area_loss", "normalization_loss")
    results["shares"] = ({name: outputs[name].item() for name in names}, gradient)
    torch.save(results, f"{folder}/{rank}.pt")
    # What holds the group goes first, on both sides: freed after it, or after the other has left, it may wait forever.
    del parallel, outputs
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


class TestTwoProcesses:
    @pytest.fixture(scope="class")
    def results(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("processes")
        context = torch.multiprocessing.spawn(run_process, (str(folder),), nprocs=2, join=False)
        deadline = time.monotonic() + 300
        while not context.join(timeout=5):
            if time.monotonic() > deadline:
                for process in context.processes:
                    process.kill()
                pytest.fail("The two processes waited for each other for 300 seconds.")
        return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]

    @pytest.mark.parametrize("case", CASES)
    def test_area_loss_is_that_of_one_process(self, results, case):
        weight = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
        parts = [process_inputs(case, rank) for rank in (0, 1)]
        expected = area_of_scores(weight, torch.cat(parts))
        expected.backward()
        for value, gradient in (result[case] for result in results):
            assert value == pytest.approx(expected.item(), abs=1e-6)
            assert gradient == pytest.approx(weight.grad.item(), abs=1e-6)
        # What the authors' code does, each process for itself, is another number where the means lie on both sides.
        local = [area_of_scores(weight, part).item() for part in parts]
        if case != "same side":
            assert abs(sum(local) / 2 - expected.item()) > 0.05

    def test_training_step_of_the_whole_model(self, results):
        model = tiny_model(drop_path_rate=0.0).train()
        outputs = model(images(4), labels=torch.tensor([0, 4, 2, 1]))
        outputs.loss.backward()
        expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        for area, _, gradient in (result["global"] for result in results):
            assert area == pytest.approx(outputs.area_loss.item(), abs=1e-6)
            torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)

    def test_uneven_shares_of_a_batch_add_up(self, results):
        model = tiny_model(drop_path_rate=0.0).train()
        outputs = model(images(4), labels=torch.tensor([0, 4, 2, 1]))
        outputs.loss.backward()
        expected = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
        shares = [result["shares"] for result in results]
        assert sum(losses["loss"] for losses, _ in shares) == pytest.approx(outputs.loss.item(), abs=1e-6)
        for name in ("classification_loss", "area_loss", "normalization_loss"):
            weighted = shares[0][0][name] * 3 / 4 + shares[1][0][name] / 4
            assert weighted == pytest.approx(outputs[name].item(), abs=1e-6)
        for _, gradient in shares:
            torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-6)

    def test_local_reduction_is_each_process_for_itself(self, results):
        for area, mean, _ in (result["local"] for result in results):
            assert area == pytest.approx(abs(mean - 0.35), abs=1e-6)
        assert results[0]["local"][0] != pytest.approx(results[1]["local"][0], abs=1e-4)


VIT = {name: value for name, value in tiny_config().to_dict().items() if name in ViTConfig().to_dict()}
VIT = {
    name: value for name, value in VIT.items() if name not in ("model_type", "architectures", "transformers_version")
}


class TestAgainstViT:
    """With a map of 1 everywhere, SAT's other tokens are a ViT's that also sees one more token."""

    def test_hidden_states_where_the_spatial_token_is_silent(self):
        torch.manual_seed(0)
        vit = ViTForImageClassification(ViTConfig(**{**VIT, "layer_norm_eps": 1e-6})).eval()
        model = tiny_model(classifier="class_token")
        model.load_state_dict(vit.state_dict(), strict=False)
        # Bring the attention back to a ViT's: M = 1, and nobody listens to the spatial token (the last column).
        for block in model.blocks[-2:]:
            block.attention.reader = lambda query, key, value, scaling: (torch.ones(3, 18), value)
        AttentionInterface.register("without_last_column", attention_without_last_column)
        model.set_attn_implementation("without_last_column")
        with torch.no_grad():
            outputs, expected = model(images(), output_hidden_states=True), vit(images(), output_hidden_states=True)
        for hidden, expected_hidden in zip(outputs.hidden_states, expected.hidden_states, strict=True):
            torch.testing.assert_close(hidden[:, :-1], expected_hidden, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(outputs.logits, expected.logits, rtol=1e-5, atol=1e-6)


def attention_without_last_column(module, query, key, value, mask, dropout, scaling, **kwargs):
    attention = torch.nn.functional.scaled_dot_product_attention(
        query, key[:, :, :-1], value[:, :, :-1], scale=scaling
    )
    return attention.transpose(1, 2), None
