"""TS-CAM against its formula, written once more on what transformers' own backbone returns."""

import pytest
import torch
from model_mixin import TINY, images
from transformers import Dinov2WithRegistersConfig, DINOv3ViTConfig

from modeling_sat.methods import METHODS


FIELDS = {name: value for name, value in TINY.items() if name != "num_spatial_layers"}
_SHAPE = {name: value for name, value in FIELDS.items() if name != "num_labels"}
BACKBONES = {
    "vit": (1, FIELDS),
    "dinov2_with_registers": (5, {"backbone_config": Dinov2WithRegistersConfig(**_SHAPE), "num_labels": 5}),
    "dinov3_vit": (4, {"backbone_config": DINOv3ViTConfig(**_SHAPE, num_register_tokens=3), "num_labels": 5}),
}


@pytest.fixture(params=BACKBONES)
def backbone(request):
    return request.param


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_class_maps_are_semantic_maps_times_the_attention_of_the_class_token(backbone, attention):
    prefix, fields = BACKBONES[backbone]
    torch.manual_seed(0)
    model = METHODS["ts_cam"].model_class._from_config(
        METHODS["ts_cam"].config_class(**fields), attn_implementation=attention
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    plain = type(model.vit)._from_config(model.vit.config, attn_implementation="eager").eval()
    plain.load_state_dict(model.vit.state_dict(), strict=False)  # without a pooler
    with torch.no_grad():
        outputs = model.eval()(images(), output_class_maps=True)
        expected = plain(images(), output_attentions=True)
        tokens = expected.last_hidden_state[:, prefix:].transpose(1, 2).reshape(3, 32, 4, 4)
        head = model.patch_classifier
        semantic = torch.nn.functional.conv2d(tokens, head.weight, head.bias, padding=1)
    row = torch.zeros(3, 16)
    for probabilities in expected.attentions:  # (batch, heads, tokens, tokens)
        row += probabilities[:, :, 0, prefix:].mean(dim=1)
    class_maps = semantic * row.reshape(3, 1, 4, 4)

    torch.testing.assert_close(outputs.logits, semantic.mean(dim=(2, 3)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(outputs.class_maps, class_maps, rtol=1e-5, atol=1e-5)
    for localization_map, maps, logits in zip(outputs.localization_map, class_maps, outputs.logits):
        chosen = maps[logits.argmax()]
        expected = (chosen - chosen.min()) / (chosen.max() - chosen.min())
        torch.testing.assert_close(localization_map, expected, rtol=1e-4, atol=1e-4)
    assert row.std() > 0.03  # an even row would hide a wrong one
