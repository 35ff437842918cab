import shutil

import numpy as np
import pytest
from benchmark_mixin import BenchmarkMixin, Row, rectangle, write_lines, write_lists
from PIL import Image

from modeling_sat.data import DatasetError, load_wsol_dataset


def write_mask(file, *box, size=(20, 10)):
    Image.fromarray(rectangle(*box, size=size) * 255).save(file)


@pytest.fixture
def benchmark(tmp_path, write_image):
    """Two known classes and one unknown; train without masks, val and test with instances and ignored regions."""
    for split, folders in (("train", ["01226z", "015p6", "0zzz"]), ("val", ["015p6"]), ("test", ["01226z", "015p6"])):
        numbers, rows = {"01226z": 0, "015p6": 1, "0zzz": 2}, []
        labels = {f"{split}/{folder}/{letter}.jpg": numbers[folder] for folder in folders for letter in "ab"}
        for path in labels:
            write_image(tmp_path / path)
            if split == "train":
                continue
            stem = path.removesuffix(".jpg")
            write_mask(tmp_path / f"{stem}_m0_1.png", 1, 1, 5, 5)
            write_mask(tmp_path / f"{stem}_m0_2.png", 8, 2, 12, 6)
            write_mask(tmp_path / f"{stem}_ignore.png", 3, 3, 10, 9)
            rows += [f"{path},{stem}_m0_1.png,{stem}_ignore.png", f"{path},{stem}_m0_2.png,"]
        write_lists(tmp_path / "metadata/OpenImages" / split, labels, rows)
    return tmp_path


MASK = np.where(rectangle(3, 3, 10, 9) == 1, 255, 0).astype(np.uint8)
MASK[1:5, 1:5] = MASK[2:6, 8:12] = 1


class TestOpenImages30k(BenchmarkMixin):
    name = "openimages30k"
    class_names = ["Football", "Bird", "0zzz"]
    published = {"train": 29819, "validation": 2500, "test": 5000}
    marker = "metadata/OpenImages"
    damaged = ("test", "test/015p6/b.jpg")
    expected = {
        "train": [
            Row(f"train/{folder}/{letter}.jpg", name, [])
            for folder, name in (("01226z", "Football"), ("015p6", "Bird"), ("0zzz", "0zzz"))
            for letter in "ab"
        ],
        "validation": [Row(f"val/015p6/{letter}.jpg", "Bird", [], mask=MASK) for letter in "ab"],
        "test": [
            Row(f"test/{folder}/{letter}.jpg", name, [], mask=MASK)
            for folder, name in (("01226z", "Football"), ("015p6", "Bird"))
            for letter in "ab"
        ],
    }


def load(folder, split="test", **options):
    return load_wsol_dataset("openimages30k", folder, split, allow_partial=True, **options)


def refuses(folder, message, split="test", **options):
    with pytest.raises(DatasetError, match=message):
        load(folder, split, **options)


def first_mask(folder):
    return np.asarray(load(folder)[0]["mask"])


def localize(folder, *rows):
    """Puts other lines for the first test image, and keeps those of the others."""
    file = folder / "metadata/OpenImages/test/localization.txt"
    write_lines(file, *rows, *file.read_text().splitlines()[2:])


@pytest.mark.parametrize("images", ["OpenImages", "dataset/OpenImages"])
def test_images_in_a_folder(benchmark, images):
    (benchmark / images).mkdir(parents=True)
    for split in ("train", "val", "test"):
        (benchmark / split).rename(benchmark / images / split)
    table = load(benchmark)
    assert table["image_id"][0] == "test/01226z/a.jpg"
    assert (first_mask(benchmark) == MASK).all()


def test_masks_of_another_resolution_keep_it(benchmark):
    stem = "test/01226z/a"
    for name in ("m0_1", "m0_2", "ignore"):
        write_mask(benchmark / f"{stem}_{name}.png", 4, 4, 30, 16, size=(40, 20))
    assert (first_mask(benchmark) == rectangle(4, 4, 30, 16, size=(40, 20))).all()


@pytest.mark.parametrize("name", ["m0_2", "ignore"])
def test_masks_of_another_shape(benchmark, name):
    write_mask(benchmark / f"test/01226z/a_{name}.png", 1, 1, 5, 5, size=(20, 20))
    refuses(benchmark, f"test/01226z/a.jpg: its mask cannot be used .a_{name}.png has 20×20 pixels, its image 20×10")


def test_nothing_to_ignore(benchmark):
    localize(benchmark, "test/01226z/a.jpg,test/01226z/a_m0_1.png,")
    assert (first_mask(benchmark) == rectangle(1, 1, 5, 5)).all()


def test_ignored_region_on_another_line(benchmark):
    stem = "test/01226z/a"
    localize(benchmark, f"{stem}.jpg,{stem}_m0_1.png,", f"{stem}.jpg,{stem}_m0_2.png,{stem}_ignore.png")
    assert (first_mask(benchmark) == MASK).all()


def test_line_without_mask(benchmark):
    localize(benchmark, "test/01226z/a.jpg,,test/01226z/a_ignore.png")
    refuses(benchmark, "localization.txt")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("test/01226z/a.jpg,test/01226z/x.png,", "a.jpg: its mask cannot be used .x.png does not exist"),
        ("test/01226z/a.jpg,../x.png,", r"localization.txt names files outside .*\n  - ../x.png\n"),
        ("test/01226z/a.jpg,x.png", r"line 1: 'test/01226z/a.jpg,x.png' \(3 columns were expected\)"),
        ("test/01226z/c.jpg,test/01226z/a_m0_1.png,", r"it lacks:\n  - test/01226z/a.jpg\n"),
    ],
)
def test_impossible_masks(benchmark, row, message):
    localize(benchmark, row)
    refuses(benchmark, message)


def test_truncated_mask(benchmark, caplog):
    file = benchmark / "test/015p6/b_m0_1.png"
    file.write_bytes(file.read_bytes()[:60])
    refuses(benchmark, "test/015p6/b.jpg: its mask cannot be used")
    assert len(load(benchmark, on_bad_image="skip")) == 3
    assert "Left out 1 bad image of the test split" in caplog.text


def test_changed_mask_is_noticed(benchmark, monkeypatch):
    monkeypatch.setattr("modeling_sat.data.loading.MIN_ROWS", 1)
    load(benchmark)
    write_mask(benchmark / "test/01226z/a_m0_1.png", 0, 0, 20, 10)
    assert (first_mask(benchmark) == 1).all()


@pytest.mark.parametrize("absolute", ["no", "yes", "home"])
def test_metadata_dir(benchmark, absolute, monkeypatch):
    shutil.copytree(benchmark / "metadata/OpenImages", benchmark / "lists")
    shutil.rmtree(benchmark / "metadata")
    refuses(benchmark, "has no metadata/OpenImages; it holds lists/, test/, train/, val/. Copy them there")
    monkeypatch.setenv("HOME", str(benchmark))
    metadata_dir = {"no": "lists", "yes": str(benchmark / "lists"), "home": "~/lists"}[absolute]
    assert load(benchmark, metadata_dir=metadata_dir).features["label"].names == ["Football", "Bird", "0zzz"]


def test_class_that_no_image_names(benchmark):
    lists = benchmark / "metadata/OpenImages"
    for split in ("train", "val", "test"):
        file = lists / split / "class_labels.txt"
        file.write_text(file.read_text().replace(",2\n", ",4\n"))
    assert load(benchmark).features["label"].names == ["Football", "Bird", "class 2", "class 3", "0zzz"]


def test_negative_label(benchmark):
    file = benchmark / "metadata/OpenImages/test/class_labels.txt"
    file.write_text(file.read_text().replace(",0\n", ",-1\n"))
    refuses(benchmark, r"labels and the folders of their images do not go one to one:\n  - label -1: 01226z")
