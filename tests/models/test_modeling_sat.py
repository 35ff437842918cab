"""The model: what each variant must do (`ModelMixin`), and each piece against a sum that a reader can redo."""

import math
import shutil
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
    readings = Readings(grid=(3, 2))
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
        of_all = {"modeling_sat.py", "modeling_wsol.py", "modeling_conformer.py"}
        others = {path.name for path in here.glob("modeling_*.py")} - of_all
        assert code == {path.name for path in here.glob("*.py")} - others - {"__init__.py", "foreground_wsol.py"}


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
