"""Flips and resolutions averaged."""

import pytest
import torch
from model_mixin import tiny_model
from PIL import Image
from transformers import pipeline
from transformers.modeling_outputs import ModelOutput

from modeling_sat import SATImageProcessor
from modeling_sat.models.image_processing_sat import view_settings
from modeling_sat.models.multiscale_sat import localize


class Brightness:
    """Logits and map are the means of the view's patches: known for every resolution and flip."""

    class config:
        patch_size = 4

    def __init__(self):
        self.seen = []

    def __call__(self, pixel_values, interpolate_pos_encoding):
        assert interpolate_pos_encoding
        self.seen.append(tuple(pixel_values.shape[2:]))
        patches = torch.nn.functional.avg_pool2d(pixel_values, 4)[:, 0]
        logits = torch.stack([patches[:, :, 0].mean(dim=1), patches[:, :, -1].mean(dim=1)], dim=1)
        return ModelOutput(logits=logits, localization_map=patches)


@pytest.fixture
def gradient():
    """(1, 3, 32, 32), from 0 at the left to 1 at the right."""
    return torch.linspace(0, 1, 32).expand(1, 3, 32, 32)


def test_fast_is_the_model(gradient):
    model = Brightness()
    assert torch.equal(localize(model, gradient, "fast").localization_map, model(gradient, True).localization_map)
    assert model.seen == [(32, 32), (32, 32)]


def test_high_looks_at_three_sizes_and_their_mirror_images(gradient):
    model = Brightness()
    outputs = localize(model, gradient, "high")
    assert model.seen == [(32, 32), (32, 32), (24, 24), (24, 24), (16, 16), (16, 16)]
    assert outputs.localization_map.shape == (1, 8, 8)
    # Maps are turned back, so the gradient stays one; the mirror image exchanges the two classes.
    torch.testing.assert_close(
        outputs.localization_map[0, 0], model(gradient, True).localization_map[0, 0], atol=0.04, rtol=0
    )
    torch.testing.assert_close(outputs.logits.softmax(dim=1), torch.tensor([[0.5, 0.5]]))


def test_logits_are_the_mean_probability(gradient):
    class Sure(Brightness):
        def __call__(self, pixel_values, interpolate_pos_encoding):
            outputs = super().__call__(pixel_values, interpolate_pos_encoding)
            outputs["logits"] = torch.log(torch.tensor([[0.9, 0.1]] if len(self.seen) == 1 else [[0.3, 0.7]]))
            return outputs

    # (0.9 + 5 * 0.3) / 6 = 0.4
    probabilities = localize(Sure(), gradient, "high").logits.softmax(dim=1)
    torch.testing.assert_close(probabilities, torch.tensor([[0.4, 0.6]]))


def test_sizes_are_whole_patches():
    model = Brightness()
    localize(model, torch.zeros(1, 3, 40, 56), "high")
    assert set(model.seen) == {(40, 56), (32, 40), (20, 28)}


def test_class_maps_are_averaged_too():
    model = tiny_model()
    outputs = localize(model, torch.randn(2, 3, 64, 64), "high", output_class_maps=True)
    assert outputs.class_maps.shape == (2, 5, *outputs.localization_map.shape[1:])


class ClassMaps(Brightness):
    """Two classes, each with a map of its own; the predicted one changes from view to view, as `predicts` says."""

    maps_are_of_a_class = True

    def __init__(self, predicts: list[float]):
        super().__init__()
        self.predicts = predicts

    def __call__(self, pixel_values, interpolate_pos_encoding, output_class_maps=False):
        assert output_class_maps
        probability = self.predicts[len(self.seen)]
        patches = super().__call__(pixel_values, interpolate_pos_encoding).localization_map
        class_maps = torch.stack([patches, 3 - 2 * patches], dim=1)
        logits = torch.log(torch.tensor([[probability, 1 - probability]]))
        return ModelOutput(
            logits=logits, localization_map=class_maps[:, int(probability < 0.5)], class_maps=class_maps
        )


@pytest.mark.parametrize(("predicts", "rises"), [([0.9] * 4 + [0.1] * 2, True), ([0.45] * 5 + [0.9], True),
                                                 ([0.1] * 4 + [0.9] * 2, False)])  # fmt: skip
def test_views_that_predict_different_classes_give_the_map_of_one(gradient, predicts, rises):
    outputs = localize(ClassMaps(predicts), gradient, "high")
    assert outputs.logits.argmax().item() == int(not rises)
    (row, *_) = outputs.localization_map[0]
    assert (row[0].item(), row[-1].item()) == pytest.approx((0, 1) if rises else (1, 0), abs=1e-6)
    steps = row.diff() if rises else -row.diff()
    assert (steps > 0).all()
    assert "class_maps" not in outputs


def test_the_map_of_a_class_is_that_of_the_mean_class_maps(gradient):
    outputs = localize(ClassMaps([0.3] * 6), gradient, "high", output_class_maps=True)
    mean = outputs.class_maps[0, 1]
    torch.testing.assert_close(outputs.localization_map[0], (mean - mean.min()) / (mean.max() - mean.min()))


@pytest.mark.parametrize("quality", ["fast", "high"])
def test_a_model_without_maps_gets_a_sentence(quality):
    class NoMap(Brightness):
        def __call__(self, **arguments):
            return ModelOutput(logits=torch.zeros(1, 2))

    with pytest.raises(ValueError, match="holds a NoMap, which gives no localization map"):
        localize(NoMap(), torch.zeros(1, 3, 32, 32), quality)


def test_the_processors_view_is_enlarged():
    processor = SATImageProcessor(size={"height": 40, "width": 48}, crop_size={"height": 32, "width": 32})
    assert view_settings(processor, "fast") == {
        "size": {"height": 40, "width": 48},
        "crop_size": {"height": 32, "width": 32},
    }
    assert view_settings(processor, "high") == {
        "size": {"height": 80, "width": 96},
        "crop_size": {"height": 64, "width": 64},
    }


def test_in_the_pipeline(tmp_path):
    tiny_model().save_pretrained(tmp_path)
    processor = SATImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path)
    localizer = pipeline("weakly-supervised-object-localization", model=str(tmp_path))
    image = Image.effect_noise((50, 30), 80).convert("RGB")
    (found,) = localizer(image, quality="high")
    pixel_values = processor(image, return_tensors="pt", **view_settings(processor, "high"))["pixel_values"]
    with torch.no_grad():
        outputs = localize(localizer.model, pixel_values, "high")
    (expected,) = processor.post_process_localization(outputs, target_sizes=[(30, 50)])
    assert found["score"] == pytest.approx(expected["scores"].item(), abs=1e-6)
    assert list(found["box"].values()) == expected["boxes"][0].round().int().tolist()
    with pytest.raises(ValueError, match="quality is 'best'; choose 'fast' or 'high'"):
        localizer(image, quality="best")
