import numpy as np
import pytest

from modeling_sat.data import DatasetError, load_wsol_dataset
from modeling_sat.data.shapes import read_shapes


def draw(split="test", **options):
    options = {"num_train": 0, "num_validation": 0, "num_test": 0} | {f"num_{split}": 16} | options
    return load_wsol_dataset("shapes", split=split, **options)


def test_columns_and_defaults():
    splits = load_wsol_dataset("shapes", num_train=8, num_validation=4, num_test=4)
    assert {name: len(table) for name, table in splits.items()} == {"train": 8, "validation": 4, "test": 4}
    assert splits["train"].column_names == ["image", "image_id", "label", "boxes", "mask"]
    assert splits["train"]["label"][:] == list(range(8))
    row = splits["test"][0]
    assert (row["image"].mode, row["image"].size, row["mask"].mode) == ("RGB", (64, 64), "L")
    assert row["image_id"] == "test/000000"


@pytest.mark.parametrize("image_size", [48, 64, 96])
def test_box_is_the_tight_box_of_the_mask(image_size):
    for row in draw(image_size=image_size):
        mask = np.asarray(row["mask"])
        assert mask.shape == (image_size, image_size) and set(np.unique(mask)) == {0, 1}
        (x_min, y_min, x_max, y_max) = map(int, row["boxes"][0])
        assert mask[y_min:y_max, x_min:x_max].sum() == mask.sum()
        assert all(edge.any() for edge in (mask[y_min], mask[y_max - 1], mask[:, x_min], mask[:, x_max - 1]))
        assert min(x_max - x_min, y_max - y_min) >= 0.36 * image_size


def images_of(table):
    return [np.asarray(row["image"]).tobytes() for row in table]


def test_image_depends_on_seed_split_and_index_alone():
    images = images_of(draw())
    assert images == images_of(draw())
    assert images == images_of(draw(num_test=24))[:16]
    assert not set(images) & set(images_of(draw(seed=1)))
    assert not set(images) & set(images_of(draw("train")))
    assert not set(images) & set(images_of(draw("validation")))


def test_colour_does_not_tell_the_class():
    table = draw(num_classes=2, num_test=120)
    means = np.array([np.asarray(row["image"])[np.asarray(row["mask"]) == 1].mean(0) for row in table])
    labels = np.array(table["label"])
    difference = np.abs(means[labels == 0].mean(0) - means[labels == 1].mean(0))
    assert (difference < 4 * means.std(0) / np.sqrt(30)).all()


def test_constant_boxes_do_not_localize():
    boxes = np.array(draw(num_test=200)["boxes"][:])[:, 0]  # (images, 4)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])

    def score(side):
        low, high = 32 - side / 2, 32 + side / 2
        overlap = np.minimum(boxes[:, 2:], high) - np.maximum(boxes[:, :2], low)
        intersection = overlap.clip(0).prod(1)
        return (intersection / (areas + side**2 - intersection) >= 0.5).mean()

    assert max(score(side) for side in range(24, 66, 2)) <= 0.60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_classes": 1}, "num_classes is 1; shapes has 2 to 11"),
        ({"num_classes": 99}, "shapes has 2 to 11"),
        ({"image_size": 32}, "image_size is 32; at least 48"),
        ({"num_test": -1}, "num_test is -1"),
        ({"data_dir": "somewhere"}, "reads no folder"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(DatasetError, match=message):
        read_shapes(**options)
