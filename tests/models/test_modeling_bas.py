"""BAS: its losses written once more, on what the model's parts give, and its two variants."""

import pytest
import torch
from model_mixin import LABELS, ModelMixin, config_of, images, model_of
from torch.nn.functional import conv2d, cross_entropy

from modeling_sat.methods import METHODS
from modeling_sat.models.losses_wsol import area_loss, normalization_loss
from modeling_sat.models.modeling_bas import suppressed


class Test_bas_with_the_losses_of_sat(ModelMixin):
    method = "bas"
    config = {"losses": "sat"}


def attention_input(model, inputs) -> torch.Tensor:
    """What the generator's attention receives of the plain pass: (batch, tokens, hidden)."""
    found = []
    attention = model.blocks[model.generator_index].attention
    hook = attention.register_forward_pre_hook(lambda _, arguments: found.append(arguments[0]))
    model.encode(inputs)
    hook.remove()
    return found[0]


def run_with(model, inputs, changed: torch.Tensor) -> torch.Tensor:
    """The patches (batch, hidden, h, w) of a whole pass whose attention gets `changed` in its input's place."""
    attention = model.blocks[model.generator_index].attention
    hook = attention.register_forward_pre_hook(lambda _, arguments: (changed, *arguments[1:]))
    patches = model.encode(inputs).patches
    hook.remove()
    return patches.permute(0, 3, 1, 2)


@pytest.mark.parametrize(("backbone", "prefix"), [("vit", 1), ("deit", 2), ("dinov3_vit", 4)])
def test_the_loss(backbone, prefix):
    model = model_of("bas", backbone, foreground_loss_weight=0.3, map_area_weight=1.7)
    head, generator = model.patch_classifier, model.map_classifier
    with torch.no_grad():
        outputs = model(images(), labels=LABELS, output_class_maps=True)
        tokens = attention_input(model, images())
        patches = tokens[:, prefix:].transpose(1, 2).reshape(3, 32, 4, 4)
        maps = torch.sigmoid(conv2d(patches, generator.weight, generator.bias, padding=1))
        features = model.encode(images()).patches.permute(0, 3, 1, 2)
        activations = conv2d(features, head.weight, head.bias, padding=1).relu()
        foreground = torch.stack([maps[i, label] for i, label in enumerate(LABELS)])
        keep = torch.cat([torch.ones(3, prefix), 1 - foreground.reshape(3, 16)], dim=1)
        background = conv2d(
            run_with(model, images(), tokens * keep[:, :, None]), head.weight, head.bias, padding=1
        ).relu()
    whole, left = (a.mean((2, 3))[torch.arange(3), LABELS] for a in (activations, background))
    ratios = [(b / a).item() if b < a else 0 for a, b in zip(whole, left)]
    expected = {
        "classification_loss": cross_entropy(activations.mean((2, 3)), LABELS),
        "foreground_loss": cross_entropy((activations * foreground[:, None]).mean((2, 3)), LABELS),
        "background_loss": torch.tensor(sum(ratios) / 3),
        "foreground_area": foreground.mean(),
    }
    for name, value in expected.items():
        torch.testing.assert_close(outputs[name], value, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")  # fmt: skip
    total = sum(weight * value for weight, value in zip((1, 0.3, 1, 1.7), expected.values()))
    torch.testing.assert_close(outputs.loss, total, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs.class_maps, maps, rtol=1e-4, atol=1e-5)


def test_a_background_that_has_as_much_as_the_whole_costs_nothing():
    ratio = suppressed(torch.tensor([1.0, 2.0, 3.0, 0.0]), torch.tensor([2.0, 2.0, 2.0, 0.0]))
    torch.testing.assert_close(ratio, torch.tensor([0.5, 0.0, 0.0, 0.0]))


def test_the_background_teaches_the_map_alone():
    model = model_of("bas")
    model(images(), labels=LABELS).background_loss.backward()
    # Through the map the generator learns, and through what it reads the layers before it; none after it does.
    assert model.map_classifier.weight.grad.abs().max() > 0
    assert model.blocks[0].mlp.fc1.weight.grad.abs().max() > 0
    later = [*model.blocks[model.generator_index].mlp.parameters(), *model.blocks[-1].parameters()]
    assert all(weight.grad is None for weight in [*later, *model.patch_classifier.parameters()])


def test_the_gradient_of_the_background_is_that_of_finite_differences():
    model = model_of("bas")
    labels = torch.tensor([1, 2, 3])

    def loss() -> torch.Tensor:
        return model(images(), labels=labels).background_loss

    loss().backward()
    # Of the generator's bias, which the first pass does not see; float32 allows no smaller step.
    for label in (1, 2, 3):
        values = []
        for step in (1e-2, -1e-2):
            with torch.no_grad():
                model.map_classifier.bias[label] += step
                values.append(loss().item())
                model.map_classifier.bias[label] -= step
        slope = (values[0] - values[1]) / 2e-2
        assert model.map_classifier.bias.grad[label].item() == pytest.approx(slope, rel=0.01, abs=1e-4)
    assert model.map_classifier.bias.grad.abs().max() > 1e-3


@pytest.mark.parametrize("count", [1, 2, 0])
def test_the_map_is_the_mean_of_the_most_probable_classes(count):
    model = model_of("bas", num_map_classes=count)
    assert model.maps_are_of_a_class == (count == 1)
    with torch.no_grad():
        outputs = model(images(), output_class_maps=True)
    for found, maps, logits in zip(outputs.localization_map, outputs.class_maps, outputs.logits):
        chosen = sorted(range(5), key=lambda c, logits=logits: -logits[c])[: count or 5]
        mean = sum(maps[c] for c in chosen) / len(chosen)
        torch.testing.assert_close(found, (mean - mean.min()) / (mean.max() - mean.min()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("backbone", "prefix"), [("vit", 1), ("dinov2_with_registers", 4)])
def test_with_the_losses_of_sat_the_one_map_masks_what_the_attention_receives(backbone, prefix):
    model = model_of("bas", backbone, losses="sat", area_loss_weight=2.0)
    assert not model.maps_are_of_a_class and model.has_area_loss
    head, generator = model.patch_classifier, model.spatial_generator
    seen = []
    block = model.blocks[model.generator_index]
    norm = next(module for name, module in block.named_children() if name in ("norm1", "layernorm_before"))
    hook = norm.register_forward_hook(lambda *call: seen.append(call[2]))
    with torch.no_grad():
        outputs = model(images(), labels=LABELS)
        hook.remove()
        tokens = seen[0]
        patches = tokens[:, prefix:].transpose(1, 2).reshape(3, 32, 4, 4)
        foreground = torch.sigmoid(conv2d(patches, generator.weight, generator.bias, padding=1))[:, 0]
        keep = torch.cat([torch.ones(3, prefix), foreground.reshape(3, 16)], dim=1)
        # The test's hook comes after the model's own, and so has the last word.
        features = run_with(model, images(), tokens * keep[:, :, None])
        logits = conv2d(features, head.weight, head.bias, padding=1).mean((2, 3))
    torch.testing.assert_close(outputs.localization_map, foreground, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs.logits, logits, rtol=1e-4, atol=1e-4)
    terms = cross_entropy(logits, LABELS), area_loss(foreground, 0.35), normalization_loss(foreground)
    torch.testing.assert_close(outputs.loss, terms[0] + 2 * terms[1] + terms[2], rtol=1e-4, atol=1e-4)


def test_parts_of_a_batch_add_up_to_its_loss_and_gradients():
    model = model_of("bas")

    def gradients(parts) -> torch.Tensor:
        model.zero_grad()
        for part in parts:
            model(images()[part], labels=LABELS[part], num_items_in_batch=3).loss.backward()
        return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.requires_grad])

    torch.testing.assert_close(gradients([slice(0, 2), slice(2, 3)]), gradients([slice(0, 3)]), rtol=1e-4, atol=1e-5)


def test_only_the_losses_of_sat_have_an_area_loss():
    assert not model_of("bas").has_area_loss and not model_of("bas", losses="sat", area_loss_weight=0).has_area_loss


@pytest.mark.parametrize(
    ("layers", "given", "index"), [(12, None, 9), (4, None, 1), (2, None, 0), (4, 4, 3), (4, 1, 0)]
)
def test_which_layer_has_the_generator(layers, given, index):
    assert model_of("bas", num_hidden_layers=layers, generator_layer=given).generator_index == index


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"losses": "SAT"}, "losses is 'SAT'; choose one of 'bas', 'sat'"),
        ({"generator_layer": 5}, r"generator_layer is 5; choose a layer from 1 to num_hidden_layers \(4\), or None"),
        ({"generator_layer": 0}, "generator_layer is 0; choose a layer from 1"),
        ({"num_map_classes": 6}, r"num_map_classes is 6, but there are 5 classes \(num_labels\); 0 averages"),
        ({"num_map_classes": -1}, "num_map_classes is -1; choose 0 or more"),
        ({"map_area_weight": -1.0}, "map_area_weight is -1.0; choose 0 or more"),
        ({"foreground_loss_weight": float("nan")}, "foreground_loss_weight is nan; choose 0 or more"),
        ({"area_target": 2.0, "losses": "sat"}, "area_target is 2.0"),
    ],
)
def test_what_a_configuration_refuses(fields, sentence):
    with pytest.raises(Exception, match=sentence):
        config_of("bas", **fields)


def test_labels_of_other_classes_are_refused():
    with pytest.raises(ValueError, match="Labels hold 5, but the model has 5 classes"):
        model_of("bas")(images(), labels=torch.tensor([0, 5, 1]))


def test_another_number_of_classes_keeps_the_maps_of_those_it_knows(tmp_path):
    model = model_of("bas", num_labels=3, id2label={0: "a", 1: "b", 2: "c"})
    model.save_pretrained(tmp_path)
    with pytest.warns(UserWarning, match="d"):
        other = METHODS["bas"].model_class.from_pretrained(tmp_path, id2label={0: "d", 1: "c"})
    torch.testing.assert_close(other.map_classifier.weight[1], model.map_classifier.weight[2])
    torch.testing.assert_close(other.patch_classifier.weight[1], model.patch_classifier.weight[2])
