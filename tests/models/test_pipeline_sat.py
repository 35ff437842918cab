"""`pipeline("weakly-supervised-object-localization")`, and the stock pipelines on the same checkpoint."""

import base64

import datasets
import numpy as np
import pytest
import torch
from model_mixin import tiny_model
from PIL import Image
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

from modeling_sat import SATForWeaklySupervisedLocalization, SATImageProcessor


TASK = "weakly-supervised-object-localization"
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)  # a random model's map falls apart somewhere among them


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_model(id2label={index: f"class {index}" for index in range(5)}).save_pretrained(folder)
    SATImageProcessor(size={"height": 32, "width": 32}, localization_threshold=0.55).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def localize(folder):
    return own_pipeline(folder)


def own_pipeline(folder, **arguments):
    return pipeline(TASK, model=str(folder), **arguments)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST)


def plain(objects: list[dict]) -> list[dict]:
    return [{name: value for name, value in found.items() if name != "mask"} for found in objects]


def test_is_model_and_post_processing(localize, folder):
    image = noise(61, 43)
    model = SATForWeaklySupervisedLocalization.from_pretrained(folder)
    processor = SATImageProcessor.from_pretrained(folder)
    with torch.no_grad():
        outputs = model(**processor(image, return_tensors="pt"))
    (expected,) = processor.post_process_localization(outputs, target_sizes=[(43, 61)], return_masks=True)

    (found,) = localize(image)
    assert set(found) == {"label", "score", "box", "mask"}
    assert found["label"] == f"class {expected['labels'].item()}"
    assert found["score"] == pytest.approx(expected["scores"].item())
    assert any(corner % 1 >= 0.5 for corner in expected["boxes"][0].tolist())  # rounded, not truncated
    assert list(found["box"].values()) == expected["boxes"][0].round().int().tolist()
    assert list(found["box"]) == ["xmin", "ymin", "xmax", "ymax"]
    assert all(type(corner) is int for corner in found["box"].values())
    assert found["mask"].mode == "L" and found["mask"].size == (61, 43)
    np.testing.assert_array_equal(np.asarray(found["mask"]), expected["masks"][0].numpy() * np.uint8(255))


def test_image_path_and_data_url_are_the_same(localize, tmp_path):
    path = tmp_path / "image.png"
    image = noise(60, 40)
    image.putalpha(Image.linear_gradient("L").resize(image.size))  # transparency has its own way to RGB
    image.save(path)
    expected = plain(localize(image))
    url = "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
    for given in (str(path), path, url):
        assert plain(localize(given)) == expected


@pytest.mark.parametrize("batch_size", [1, 2])
def test_list_of_images_of_different_sizes(localize, batch_size):
    given = [noise(60, 40, 1), noise(33, 80, 2), noise(32, 32, 3)]
    together = localize(given, batch_size=batch_size)
    assert [objects[0]["mask"].size for objects in together] == [(60, 40), (33, 80), (32, 32)]
    for objects, image in zip(together, given, strict=True):
        (found,), (alone,) = plain(objects), plain(localize(image))
        assert found["score"] == pytest.approx(alone["score"], abs=1e-5)
        assert (found["label"], found["box"]) == (alone["label"], alone["box"])


def test_threshold_and_multiple_objects(localize):
    image = noise(64, 64)
    low, high = (localize(image, threshold=threshold)[0] for threshold in (0.05, 0.9))
    assert np.asarray(low["mask"]).sum() > np.asarray(high["mask"]).sum()
    found = {threshold: localize(image, threshold=threshold, multiple_objects=True) for threshold in THRESHOLDS}
    threshold, objects = max(found.items(), key=lambda item: len(item[1]))
    areas = [(np.asarray(found["mask"]) > 0).sum() for found in objects]
    assert len(objects) > 1 and areas == sorted(areas, reverse=True)
    assert plain(objects)[0] == plain(localize(image, threshold=threshold))[0]


def test_rotated_photograph_in_upright_pixels(localize, tmp_path):
    image = noise(60, 40)
    image.getexif()[0x0112] = 6
    image.save(tmp_path / "rotated.jpg", quality=100, exif=image.getexif())
    (found,) = localize(tmp_path / "rotated.jpg")
    assert found["mask"].size == (40, 60)


def test_another_view_than_the_models_resolution(folder):
    processor = SATImageProcessor(size={"height": 48, "width": 64})
    (found,) = own_pipeline(folder, image_processor=processor)(noise(60, 40))
    assert found["mask"].size == (60, 40)


def test_half_precision(folder, localize):
    (found,) = own_pipeline(folder, dtype=torch.bfloat16)(noise(60, 40))
    assert found["score"] == pytest.approx(localize(noise(60, 40))[0]["score"], abs=0.1)


def test_missing_broken_and_huge_files_by_name(localize, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"nowhere.jpg is not there"):
        localize(str(tmp_path / "nowhere.jpg"))
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"text.png cannot be read as an image"):
        localize(tmp_path / "text.png")
    noise(60, 40).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"cut.png cannot be read as an image"):
        localize(tmp_path / "cut.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ValueError, match=r"whole.png cannot be read as an image .*exceeds limit"):
        localize(tmp_path / "whole.png")


def test_stock_pipelines(folder, localize):
    image = noise(60, 40)
    (found,) = localize(image)
    classes = pipeline("image-classification", model=str(folder))(image)
    assert (classes[0]["label"], classes[0]["score"]) == (found["label"], pytest.approx(found["score"], abs=1e-5))
    detect = pipeline("object-detection", model=str(folder))
    (detected,) = detect(image, threshold=0.0)
    assert detected["label"] == found["label"]
    assert all(abs(detected["box"][corner] - found["box"][corner]) <= 1 for corner in found["box"])
    assert detect(image, threshold=0.9999) == []


class TestArrays:
    """As those of transformers' own pipelines: colours are red, green, blue."""

    image = noise(60, 40)
    rgb = np.asarray(image)
    grey = np.asarray(image.convert("L"))

    @pytest.mark.parametrize(
        "array",
        [
            rgb,
            rgb.transpose(2, 0, 1),
            rgb[..., ::-1].copy()[..., ::-1],  # what OpenCV's frame becomes, a view that runs backwards
            rgb.astype(np.int64),
            rgb.astype(np.float32),
            rgb / 255,
            (rgb / 255).astype(np.float16),
            rgb.astype(np.uint16) * 257,
            rgb.astype(">u2") * 257,
            np.dstack([rgb, np.full((40, 60), 255, np.uint8)]),
            torch.from_numpy(rgb.copy()),
            torch.from_numpy(rgb.copy()).permute(2, 0, 1),
            torch.from_numpy(rgb.copy()).permute(2, 0, 1) / 255,
            (torch.from_numpy(rgb.copy()) / 255).bfloat16(),
            (torch.from_numpy(rgb.copy()) / 255).requires_grad_(),
        ],
        ids=lambda array: f"{type(array).__name__} {array.dtype} {tuple(array.shape)}",
    )
    def test_is_the_image_that_it_was_made_of(self, localize, array):
        (expected,), (found,), (listed,) = localize(self.image), localize(array), localize([self.image, array])[1]
        for objects in (found, listed):
            assert (objects["label"], objects["box"]) == (expected["label"], expected["box"])
            assert objects["score"] == pytest.approx(expected["score"], abs=2e-3)

    @pytest.mark.parametrize(
        "array",
        [grey, grey[..., None], grey[None], grey / 255, torch.from_numpy(grey.copy()), grey.astype(np.uint16) * 257],
    )
    def test_grey(self, localize, array):
        assert plain(localize(array)) == plain(localize(self.image.convert("L")))

    def test_transparent_is_white(self, localize):
        clear = np.zeros((40, 60, 4), np.uint8)
        clear[:, :30] = 255
        assert plain(localize(clear)) == plain(localize(Image.fromarray(clear)))

    @pytest.mark.parametrize("batch_size", [1, 2])
    def test_batches_lists_generators_and_columns(self, localize, batch_size):
        column = datasets.Dataset.from_dict({"image": [self.image] * 2}).cast_column("image", datasets.Image())
        expected = localize(self.image)[0]
        for given in (
            [self.rgb, self.image],
            (self.rgb, self.image),
            (image for image in (self.rgb, self.image)),
            np.stack([self.rgb, self.rgb]),
            torch.from_numpy(np.stack([self.rgb, self.rgb])).permute(0, 3, 1, 2),
            column["image"],
            KeyDataset(column, "image"),
        ):
            found = list(localize(given, batch_size=batch_size))
            assert len(found) == 2
            for (objects,) in found:
                assert (objects["label"], objects["box"]) == (expected["label"], expected["box"])
        assert localize([]) == localize(()) == []
        assert plain(localize(images=self.image)) == plain(localize(self.image))

    @pytest.mark.parametrize(
        ("array", "sentence"),
        [
            (np.zeros(9), r"the shape \(9,\); \(height, width\), \(height, width, channels\) or"),
            (np.zeros((9, 9, 2), np.uint8), r"the shape \(9, 9, 2\)"),
            (np.zeros((0, 5, 3), np.uint8), r"the shape \(0, 5, 3\)"),
            ([np.zeros((2, 9, 9, 3), np.uint8)], r"That is a batch: give list\(batch\), its 2 images"),
            (np.full((9, 9, 3), np.nan), "243 values of 243 that are not finite"),
            (np.linspace(-2, 2.6, 243).reshape(9, 9, 3), r"values from -2 to 2.6; .* before any normalization"),
            (torch.linspace(-1, 1, 243).reshape(3, 9, 9), "values from -1 to 1; the pixels"),
            (np.linspace(0, 2, 243).reshape(9, 9, 3), "values from 0 to 2; the pixels"),
            (np.full((9, 9, 3), 70_000), "values from 70000 to 70000"),
            (np.array([["a"]]), "holds no numbers"),
            (np.dstack([np.full((9, 9, 3), 200.0), np.ones((9, 9))]), "fourth channel, alpha, is at most 1"),
            (None, "The image is None. It is what cv2.imread gives for a file that it cannot read"),
            ([1, 2], "of type int. Give an image of Pillow, a path"),
        ],
    )
    def test_the_rest_gets_a_sentence(self, localize, array, sentence):
        with pytest.raises(ValueError, match=sentence):
            localize(array)

    def test_the_stock_pipeline_takes_them(self, folder):
        classify = pipeline("image-classification", model=str(folder))
        expected = classify(self.image)[0]
        for given in (self.rgb, self.rgb / 255, torch.from_numpy(self.rgb.copy()) / 255, [self.rgb]):
            found = classify(given)
            found = found[0][0] if isinstance(given, list) else found[0]
            assert (found["label"], found["score"]) == (expected["label"], pytest.approx(expected["score"], abs=2e-3))


def test_base64_bytes_and_open_files(localize, tmp_path):
    noise(60, 40).save(tmp_path / "image.png")
    content = (tmp_path / "image.png").read_bytes()
    expected = plain(localize(noise(60, 40)))
    with open(tmp_path / "image.png", "rb") as file:
        for given in (base64.b64encode(content).decode(), content, file, {"bytes": content, "path": None}):
            assert plain(localize(given)) == expected


@pytest.mark.parametrize("output", ["logits", "localization_map"])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_outputs_that_are_not_finite_name_the_image(folder, monkeypatch, output, batch_size):
    spoiled = own_pipeline(folder)
    forward = spoiled._forward

    images = [noise(60, 44), noise(60, 48), noise(60, 40)]

    def spoil_last(inputs, **arguments):
        last = int(inputs["target_size"].reshape(-1, 2)[-1, 0]) == 40
        outputs = forward(inputs, **arguments)
        if last:
            outputs[output][-1] = float("nan")
        return outputs

    monkeypatch.setattr(spoiled, "_forward", spoil_last)
    for _ in range(2):  # the count begins anew
        with pytest.raises(
            ValueError, match=r"Image 2: \d+ of the \d+ numbers of its .* are NaN or infinite\. The weights"
        ):
            spoiled(images, batch_size=batch_size)
