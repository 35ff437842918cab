import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from modeling_sat import SATImageProcessor
from modeling_sat.data import DatasetError
from modeling_sat.data.views import PixelScaling, TrainingView, resized_crop, ten_crops


PROCESSOR = SATImageProcessor(size={"height": 8, "width": 8}, image_mean=[0, 0, 0], image_std=[1, 1, 1])


def numbered(size: int) -> Image.Image:
    """Red counts columns, green rows."""
    rows, columns = np.mgrid[:size, :size]
    return Image.fromarray(np.stack([columns, rows, 0 * rows], axis=-1).astype(np.uint8))


def test_crops_are_windows_of_the_resized_image():
    view = TrainingView(resize=(12, 12), crop=(8, 8), horizontal_flip=0)
    random = np.random.default_rng(0)
    corners = set()
    for _ in range(40):
        pixels = np.asarray(view.augment(numbered(12), random))
        left, top = pixels[0, 0, :2]
        assert (pixels == np.asarray(numbered(12))[top : top + 8, left : left + 8]).all()
        corners.add((left, top))
    # 5 × 5 corners are possible; 40 draws that hit fewer than 10 of them are not uniform draws.
    assert len(corners) >= 10
    assert max(left for left, _ in corners) == 4


def test_flip_mirrors_columns():
    always = TrainingView(resize=(8, 8), crop=(8, 8), horizontal_flip=1)
    assert (
        np.asarray(always.augment(numbered(8), np.random.default_rng(0))) == np.asarray(numbered(8))[:, ::-1]
    ).all()


def test_images_are_squashed_not_cropped_to_a_square():
    wide = Image.new("RGB", (40, 10), "red")
    wide.paste((0, 0, 255), (20, 0, 40, 10))
    view = TrainingView(resize=(8, 8), crop=(8, 8), horizontal_flip=0)
    batch = view({"image": [wide], "label": [3]})
    assert batch["pixel_values"].shape == (1, 3, 8, 8)
    assert batch["labels"].tolist() == [3]
    assert batch["pixel_values"][0, :, 0, 0].tolist() == [255, 0, 0]
    assert batch["pixel_values"][0, :, 0, 7].tolist() == [0, 0, 255]


def test_the_seed_decides():
    view = TrainingView(resize=(12, 12), crop=(8, 8))
    batch = {"image": [numbered(12)] * 8, "label": [0] * 8}
    first, again = (view(batch, [(2, index) for index in range(8)])["pixel_values"] for _ in range(2))
    assert torch.equal(first, again)
    assert torch.equal(first[3], view({"image": [numbered(12)], "label": [0]}, [(2, 3)])["pixel_values"][0])
    assert not torch.equal(first, view(batch, [(3, index) for index in range(8)])["pixel_values"])
    other = TrainingView(resize=(12, 12), crop=(8, 8), seed=1)
    assert not torch.equal(first, other(batch, [(2, index) for index in range(8)])["pixel_values"])


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(ValueError, match="resized to 8×8, which holds no crop of 12×12; set resize_size"):
        TrainingView(resize=(8, 8), crop=(12, 12))


def test_ten_crops():
    # Columns 0..4 of a 4×5 image by value; crops of 2×3: the left corners begin at column 0, the right ones at 2.
    image = torch.arange(5.0).expand(1, 1, 4, 5) + 10 * torch.arange(4.0)[:, None]
    crops = ten_crops(image, (2, 3))
    assert crops.shape == (1, 10, 1, 2, 3)
    corners = crops[0, :, 0, 0, 0].tolist()
    # top left, top right, bottom left, bottom right, centre (1, 1); then the mirror image, columns 4..0
    assert corners == [0, 2, 20, 22, 11, 4, 2, 24, 22, 13]


def test_pixels_are_what_the_processor_makes_of_them():
    processor = SATImageProcessor()
    view = TrainingView(resize=(12, 12), crop=(8, 8))
    pixels = np.random.default_rng(0).integers(0, 256, (4, 20, 30, 3), dtype=np.uint8)
    images = [Image.fromarray(image) for image in pixels]
    batch = view({"image": images, "label": [0, 1, 2, 3]})["pixel_values"]
    augmented = [view.augment(image, np.random.default_rng((0, index))) for index, image in enumerate(images)]
    expected = processor(augmented, do_resize=False, return_tensors="pt")
    assert batch.dtype == torch.uint8
    assert torch.equal(PixelScaling(processor)(batch), expected["pixel_values"])


class TestReducedDecoding:
    @pytest.fixture
    def photograph(self, tmp_path):
        """Smooth, so that it survives JPEG."""
        rows, columns = np.mgrid[:800, :1200]
        waves = [127 + 100 * np.sin(rows / 40), 127 + 100 * np.cos(columns / 70), (rows + columns) / 10]
        path = tmp_path / "photograph.jpg"
        Image.fromarray(np.stack(waves, axis=-1).astype(np.uint8)).save(path, quality=95)
        return path

    def dataset(self, path) -> datasets.Dataset:
        columns = {"image": [{"path": str(path), "bytes": None}], "label": [3]}
        features = datasets.Features(image=datasets.Image(mode="RGB"), label=datasets.Value("int64"))
        return datasets.Dataset.from_dict(columns, features=features)

    def test_large_photographs_differ_by_rounding(self, photograph):
        view = TrainingView(resize=(32, 32), crop=(32, 32), horizontal_flip=0)
        dataset = self.dataset(photograph)
        reduced = view.of(dataset).table[0]["image"]
        assert reduced.size == (150, 100)
        whole = view(dataset[:])["pixel_values"].int()
        assert (view.of(dataset)[0, 0]["pixel_values"].int() - whole).abs().max() <= 2

    def test_smaller_ones_are_decoded_whole(self, photograph):
        view = TrainingView(resize=(256, 256), crop=(224, 224))
        assert view.of(self.dataset(photograph)).table[0]["image"].size == (1200, 800)

    def test_what_cannot_be_decoded_is_named(self, photograph):
        photograph.write_bytes(photograph.read_bytes()[:5000])
        view = TrainingView(resize=(32, 32), crop=(32, 32))
        with pytest.raises(DatasetError, match=r"photograph.jpg cannot be decoded .*Repair or remove it"):
            view.of(self.dataset(photograph))[0, 0]


@pytest.mark.parametrize("size", [(500, 375), (375, 500), (333, 500), (31, 700), (256, 256), (227, 227), (4001, 3003)])
@pytest.mark.parametrize("resize", [(256, 256), (128, 512), (232, 240)])
def test_a_crop_is_that_of_the_resized_image_pixel_for_pixel(size, resize):
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    whole = image.resize(resize, Image.Resampling.BILINEAR)
    for left, top in ((0, 0), (7, 13), (resize[0] - 112, resize[1] - 96)):
        box = (left, top, left + 112, top + 96)
        assert (np.asarray(resized_crop(image, resize, box)) == np.asarray(whole.crop(box))).all()
