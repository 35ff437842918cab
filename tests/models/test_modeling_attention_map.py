"""The attention map against its formula, written once more on what transformers' own attention computes."""

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from model_mixin import LABELS, config_of, images, model_of

from modeling_sat.methods import METHODS
from modeling_sat.models.losses_wsol import area_loss, normalization_loss


def scores_of_the_class_token(model, layer: int) -> torch.Tensor:
    """(batch, heads, patches), before the softmax, from the layer's input."""
    with torch.no_grad():
        states = model(images(), output_hidden_states=True).hidden_states[layer]
    block = model.blocks[layer]
    states = block.layernorm_before(states)
    query, key = (
        projection(states).unflatten(2, (2, 16)).transpose(1, 2)
        for projection in (block.attention.q_proj, block.attention.k_proj)
    )
    return torch.einsum("bhd,bhkd->bhk", query[:, :, 0], key[:, :, 1:]) / 16**0.5


@pytest.mark.parametrize("head_mean", ["before_sigmoid", "after_sigmoid"])
@pytest.mark.parametrize("num_map_layers", [None, 1, 3])
@torch.no_grad()
def test_the_map_is_the_sigmoid_of_the_class_tokens_scores(head_mean, num_map_layers):
    model = model_of("attention_map", head_mean=head_mean, num_map_layers=num_map_layers)
    outputs = model(images())
    expected = []
    for layer in range(4)[-(num_map_layers or 4) :]:
        scores = scores_of_the_class_token(model, layer)
        expected.append(scores.mean(1).sigmoid() if head_mean == "before_sigmoid" else scores.sigmoid().mean(1))
    expected = torch.stack(expected, dim=1).reshape(3, -1, 4, 4)
    torch.testing.assert_close(outputs.layer_localization_maps, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(outputs.localization_map, expected.mean(dim=1), rtol=1e-5, atol=1e-5)
    assert expected.std() > 0.05  # an even map would hide a wrong one


def test_its_losses_are_sats():
    model = model_of("attention_map", area_target=0.2, area_loss_weight=3.0)
    outputs = model(images(), labels=LABELS)
    area, normalization = area_loss(outputs.localization_map, 0.2), normalization_loss(outputs.localization_map)
    torch.testing.assert_close(outputs.loss, outputs.classification_loss + 3 * area + normalization)
    assert model.has_area_loss and not model_of("attention_map", area_loss_weight=0.0).has_area_loss


def test_the_rest_of_an_accumulated_batch_decides_the_sign_of_the_area_loss():
    model = model_of("attention_map", area_target=0.5, normalization_loss_weight=0.0)

    def gradient(**arguments):
        model.zero_grad()
        model(images(), labels=LABELS, **arguments).area_loss.backward()
        return model.blocks[0].attention.q_proj.weight.grad.clone()

    above, below = (gradient(batch_area=torch.tensor(area)) for area in (0.9, 0.1))
    assert above.abs().max() > 0
    torch.testing.assert_close(above, -below)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_map_layers": 5}, r"num_map_layers is 5; choose a number from 1 to num_hidden_layers \(4\)"),
        ({"num_map_layers": 0}, "num_map_layers is 0"),
        ({"head_mean": "both"}, "head_mean is 'both'; choose one of 'before_sigmoid', 'after_sigmoid'"),
        ({"area_target": 1.5}, "area_target is 1.5"),
    ],
)
def test_settings_that_make_no_sense(fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        config_of("attention_map", **fields)


def test_a_checkpoint_of_another_method_is_refused_by_name(tmp_path):
    model_of("cam").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a checkpoint of 'wsol_cam'"):
        METHODS["attention_map"].model_class.from_pretrained(tmp_path)
