"""ORNet: its losses written once more, on what the model's parts give."""

import math

import pytest
import torch
from model_mixin import LABELS, config_of, images, model_of
from torch.nn.functional import conv2d, cross_entropy

from modeling_sat.models.modeling_ornet import erased, foreground_area, weighted_entropy


@pytest.mark.parametrize(("backbone", "prefix"), [("vit", 1), ("dinov2_with_registers", 4), ("dinov3_vit", 4)])
def test_the_loss(backbone, prefix):
    model = model_of("ornet", backbone, map_area_weight=0.3, entropy_weight=0.7)
    inputs, seen = images(), []
    attention = model.blocks[model.generator_index].attention
    hook = attention.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    with torch.no_grad():
        outputs = model(inputs, labels=LABELS)
        hook.remove()
        patches = seen[0][:, prefix:].transpose(1, 2).reshape(3, 32, 4, 4)
        first, second = model.map_classifier.features, model.map_classifier.foreground
        features = conv2d(patches, first.weight, first.bias, padding=1).relu()
        summed = sum(conv2d(features[:, c : c + 1], second.weight[c : c + 1], padding=1) for c in range(5))
        foreground = torch.sigmoid(summed[:, 0])
        large = foreground.repeat_interleave(8, dim=1).repeat_interleave(8, dim=2)  # patches of 8 pixels
        masked = model(inputs * large[:, None]).logits
    # The 4th and 5th most probable of the five classes.
    order = [sorted(range(5), key=lambda c, row=row: -row[c]) for row in masked]
    others = sum(features[i, c].mean() for i, ranks in enumerate(order) for c in ranks[3:]) / 3
    expected = {
        "classification_loss": cross_entropy(outputs.logits, LABELS),
        "foreground_loss": cross_entropy(masked, LABELS),
        "foreground_area": foreground.mean() + others,
    }
    for name, value in expected.items():
        torch.testing.assert_close(outputs[name], value, rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")  # fmt: skip
    torch.testing.assert_close(outputs.localization_map, foreground, rtol=1e-4, atol=1e-5)
    loss = sum(weight * value for weight, value in zip((1, 1, 0.3), expected.values())) + 0.7 * outputs.entropy_loss
    torch.testing.assert_close(outputs.loss, loss, rtol=1e-4, atol=1e-4)


def test_entropy_by_hand():
    # ln 2 at 0.5, weighted by 1; at 0.6, one σ away, by e^-½; 0 and 1 are decided.
    at_six_tenths = -0.6 * math.log(0.6) - 0.4 * math.log(0.4)
    expected = (math.log(2) + at_six_tenths * math.exp(-0.5)) / 4
    assert weighted_entropy(torch.tensor([[[0.5, 0.6], [0.0, 1.0]]])).item() == pytest.approx(expected, abs=1e-6)
    edges = torch.tensor([[[0.0, 1.0]]], requires_grad=True)
    weighted_entropy(edges).backward()
    assert edges.grad.isfinite().all()


def test_area_is_of_the_map_and_of_the_fourth_to_the_25th_class():
    logits = torch.arange(40.0).expand(1, -1)  # class 39 is the first
    features = torch.arange(40.0)[None, :, None, None].expand(-1, -1, 2, 2)
    expected = 0.25 + sum(range(15, 37))
    assert foreground_area(torch.full((1, 2, 2), 0.25), logits, features).item() == pytest.approx(expected)
    few = foreground_area(torch.full((1, 2, 2), 0.25), logits[:, :3], features[:, :3])
    assert few.item() == pytest.approx(0.25)


class TestErasing:
    def object_of(self, size: int, count: int = 200) -> torch.Tensor:
        """A square of ones with its peak in the middle, on a ground of zeros."""
        maps = torch.zeros(count, 14, 14)
        maps[:, 1 : 1 + size, 1 : 1 + size] = 0.99
        maps[:, 1 + size // 2, 1 + size // 2] = 1.0
        return maps

    def test_nothing_is_erased_at_rate_0_or_of_a_small_object(self):
        torch.manual_seed(0)
        for maps, rate in ((self.object_of(9), 0.0), (self.object_of(3), 1.0)):
            torch.testing.assert_close(erased(maps, rate), 0.6 * maps + 0.2)

    def test_what_is_erased_lies_round_the_peak_of_half_of_the_images(self):
        torch.manual_seed(0)
        maps = self.object_of(9)
        lost = erased(maps, 0.5) == 0
        rows, columns = lost.any(0).any(1).nonzero(), lost.any(0).any(0).nonzero()
        # The object reaches from 1 to 9, so the box is up to 4 places, exclusive, from the peak at 5.
        assert rows.min() >= 2 and rows.max() <= 8 and columns.min() >= 2 and columns.max() <= 8
        share = lost.any(2).any(1).float().mean().item()
        # A half; a box of one place, of 1 in 9, keeps it with a probability of 0.2. Four standard deviations are 0.14.
        assert share == pytest.approx(0.5, abs=0.16)

    def test_the_gradient_is_that_of_what_is_left(self):
        maps = self.object_of(9, 20).requires_grad_()
        mask = erased(maps, 1.0)
        mask.sum().backward()
        torch.testing.assert_close(maps.grad, 0.6 * (mask != 0))


@pytest.mark.parametrize("evaluator", ["frozen", "trained"])
def test_who_learns_from_the_masked_image(evaluator):
    model = model_of("ornet", evaluator=evaluator)
    model(images(), labels=LABELS).foreground_loss.backward()
    after = [*model.blocks[-1].mlp.parameters(), *model.patch_classifier.parameters()]
    assert all((weight.grad is not None) == (evaluator == "trained") for weight in after)
    assert model.map_classifier.foreground.weight.grad.abs().max() > 0


def test_both_ways_teach_the_generator_the_same():
    gradients = []
    for evaluator in ("frozen", "trained"):
        model = model_of("ornet", evaluator=evaluator)
        model(images(), labels=LABELS).foreground_loss.backward()
        gradients.append(model.map_classifier.features.weight.grad)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"evaluator": "vgg"}, "evaluator is 'vgg'; choose one of 'frozen', 'trained'"),
        ({"generator_layer": 9}, "generator_layer is 9; choose a layer from 1 to num_hidden_layers"),
        ({"entropy_weight": -1.0}, "entropy_weight is -1.0; choose 0 or more"),
        ({"erasing_rate": 1.5}, r"erasing_rate is 1.5; choose a probability in \[0, 1\]"),
    ],
)
def test_what_a_configuration_refuses(fields, sentence):
    with pytest.raises(Exception, match=sentence):
        config_of("ornet", **fields)


def test_labels_of_other_classes_are_refused():
    with pytest.raises(ValueError, match="Labels hold 7, but the model has 5 classes"):
        model_of("ornet")(images(), labels=torch.tensor([0, 7, 1]))
