"""Backbones of every family: where their patches stand, how they are resized, and what is refused."""

import copy

import pytest
import torch
from model_mixin import BACKBONES, VIT, assert_same, config_of, images, model_of, tiny_model
from transformers import AttentionInterface, AutoModel, BeitConfig, Dinov2Config, ResNetConfig, SwinConfig, ViTConfig
from transformers.models.dinov2.modeling_dinov2 import Dinov2DropPath

from modeling_sat import SATConfig, SATForWeaklySupervisedLocalization
from modeling_sat.methods import METHODS
from modeling_sat.models.backbone_wsol import DropPath
from modeling_sat.models.configuration_wsol import pair


FAMILY = pytest.mark.parametrize("family", BACKBONES)
PATCHES_ALONE = pytest.mark.parametrize("family", [name for name in BACKBONES if name != "vision_conformer"])
"""Where a patch is known by its pixels alone; a Conformer's convolutions see beyond."""


def one_layer(family: str, **fields) -> SATForWeaklySupervisedLocalization:
    """The spatial token has not yet looked at the image, so that its map at a patch is of that patch alone."""
    if BACKBONES[family] is None:
        return model_of("sat", num_hidden_layers=1, num_spatial_layers=1, **fields)
    config = copy.deepcopy(BACKBONES[family])
    config.num_hidden_layers = 1
    return model_of("sat", family, backbone_config=config, num_spatial_layers=1, **fields)


@PATCHES_ALONE
def test_map_and_pixels_are_in_the_same_order(family):
    model = one_layer(family)
    one, other = images(1, 24, 32), images(1, 24, 32)
    other[:, :, 8:16, 24:32] += 1  # row 1 of 3, column 3 of 4
    with torch.no_grad():
        maps = [model(image, interpolate_pos_encoding=True).localization_map[0] for image in (one, other)]
    assert (maps[0] - maps[1]).abs().nonzero().tolist() == [[1, 3]]


@pytest.mark.parametrize(
    ("family", "token"),
    [("deit", "distillation_token"), ("dinov2_with_registers", "register_tokens"), ("dinov3_vit", "register_tokens")],
)
def test_tokens_that_are_no_patches_are_in_no_map(family, token):
    model = one_layer(family)
    with torch.no_grad():
        before = model(images())
        getattr(model.vit.embeddings, token).add_(1)
        after = model(images())
    torch.testing.assert_close(after.localization_map, before.localization_map, rtol=0, atol=0)
    assert not torch.equal(after.logits, before.logits)  # the patches do see them


@FAMILY
@pytest.mark.parametrize("method", METHODS)
def test_the_tokens_are_those_of_the_plain_backbone(method, family):
    """But for SAT, whose spatial token others see: there its own is the only one more."""
    model = model_of(method, family)
    plain = AutoModel.from_config(model.vit.config).eval()
    plain.load_state_dict(model.vit.state_dict(), strict=False)
    with torch.no_grad():
        inputs = images(3, *pair(model.config.image_size))
        found, expected = model.encode(inputs), plain(inputs).last_hidden_state
    assert found.last_hidden_state.shape[1] == expected.shape[1] + (method == "sat")
    if method != "sat" and not getattr(model, "masks_itself", False):
        torch.testing.assert_close(found.last_hidden_state, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(found.patches.flatten(1, 2), expected[:, -16:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["dinov2", "dinov2_with_registers"])
def test_positions_are_resized_as_their_own_model_does(family):
    model = model_of("cam", family)
    plain = AutoModel.from_config(model.vit.config).eval()
    plain.load_state_dict(model.vit.state_dict())
    with torch.no_grad():
        inputs = images(2, 48, 40)
        found = model.encode(inputs, interpolate_pos_encoding=True).last_hidden_state
        torch.testing.assert_close(found, plain(inputs).last_hidden_state, rtol=1e-5, atol=1e-5)


def test_patches_of_14_pixels_and_an_input_of_another_size_than_the_table():
    backbone = Dinov2Config(**{**VIT, "patch_size": 14, "image_size": 70, "mlp_ratio": 2})
    model = SATForWeaklySupervisedLocalization(SATConfig(backbone_config=backbone, image_size=(28, 42)))
    assert model.config.patch_size == 14 and model.config.intermediate_size == 64
    assert model(images(2, 28, 42)).localization_map.shape == (2, 2, 3)
    with pytest.raises(ValueError, match="made for 28×42"):
        model(images(2, 70, 70))
    with pytest.raises(ValueError, match=r"height 30 is not a multiple of the patch size 14\. Resize it to 28 or 42"):
        model(images(2, 30, 28), interpolate_pos_encoding=True)
    assert SATConfig(backbone_config=backbone).image_size == 70


@FAMILY
def test_drop_path_is_the_methods_own_and_rises(family):
    if family == "dinov2":
        config = Dinov2Config(**{**VIT, "mlp_ratio": 2}, drop_path_rate=0.9)
        model = model_of("cam", "dinov2", backbone_config=config, drop_path_rate=0.3)
        assert not [module for module in model.modules() if isinstance(module, Dinov2DropPath)]
    else:
        model = model_of("cam", family, drop_path_rate=0.3)
    rates = [
        [hook.rate for part in (block.attention, block.mlp) for hook in part._forward_hooks.values() if isinstance(hook, DropPath)]
        for block in model.blocks
    ]  # fmt: skip
    last = len(model.blocks) - 1
    assert rates == [[], *([pytest.approx(0.3 * index / last)] * 2 for index in range(1, last + 1))]


@FAMILY
def test_the_kernel_that_is_wished_for_gets_the_modules_own_configuration(family):
    """Flash attention asks it which one it is."""
    seen = []

    def kernel(module, query, key, value, mask, **kwargs):
        seen.append(module.config._attn_implementation)
        assert "readings" not in kwargs and next(module.parameters()) is not None and module.is_causal is False
        output = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=kwargs["scaling"])
        return output.transpose(1, 2).contiguous(), None

    AttentionInterface.register("a_kernel", kernel)
    model = model_of("sat", family)
    inputs = images(3, *pair(model.config.image_size))
    with torch.no_grad():
        expected = model(inputs).logits
        model.set_attn_implementation("a_kernel")
        torch.testing.assert_close(model(inputs).logits, expected, rtol=1e-4, atol=1e-5)
    assert seen == ["a_kernel"] * len(model.blocks)


@pytest.mark.parametrize(
    ("backbone", "message"),
    [
        (ResNetConfig(), "a ResNetConfig, which has no one hidden_size"),
        (SwinConfig(), "a SwinConfig, which has no one num_attention_heads"),
        (BeitConfig(), "A 'beit' cannot be a backbone, .* Choose one of 'vit', 'deit'"),
    ],
)
def test_what_is_no_vision_transformer_of_a_known_family_is_refused(backbone, message):
    with pytest.raises(ValueError, match=message):
        SATForWeaklySupervisedLocalization(SATConfig(backbone_config=backbone))


def test_fields_that_contradict_the_backbone_are_refused():
    with pytest.raises(ValueError, match="hidden_size is 64, but backbone_config has 32; leave hidden_size out"):
        SATConfig(backbone_config=ViTConfig(**VIT), hidden_size=64)


def test_a_configuration_is_not_changed_by_the_model_that_is_built_of_it():
    backbone = Dinov2Config(**{**VIT, "mlp_ratio": 2}, drop_path_rate=0.9)
    SATForWeaklySupervisedLocalization(SATConfig(backbone_config=backbone))
    assert backbone.drop_path_rate == 0.9


def test_saved_with_its_backbone(tmp_path):
    config = config_of("ts_cam", "dinov3_vit")
    config.save_pretrained(tmp_path)
    again = type(config).from_pretrained(tmp_path)
    assert type(again.backbone_config) is type(config.backbone_config)
    assert again.backbone_config.num_register_tokens == 3 and again.patch_size == 8


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
