"""The list files of wsolevaluation, by `cub` with `metadata_dir`."""

import numpy as np
import pytest
from benchmark_mixin import rectangle, write_lines, write_lists
from PIL import Image

from modeling_sat.data import DatasetError, load_wsol_dataset


TRAIN, TEST = ["1.hen/a.jpg", "1.hen/b.jpg", "2.owl/a.jpg"], ["2.owl/x.jpg", "1.hen/x.jpg"]


@pytest.fixture
def lists(tmp_path, write_image):
    """`metadata/CUB` of two classes, with boxes in test only; images of 20×10 pixels in `CUB/`."""
    folder = tmp_path / "metadata/CUB"
    for split, paths in (("train", TRAIN), ("test", TEST)):
        for path in paths:
            write_image(tmp_path / "CUB" / path)
        write_lists(folder / split, {path: int(path[0]) - 1 for path in paths}, size=(20, 10))
    write_lines(folder / "test/localization.txt", "2.owl/x.jpg,1,2,3,4", "1.hen/x.jpg,5,6,7,8", "2.owl/x.jpg,9,1,12,7")
    return folder


def load(lists, split="test", **options):
    return load_wsol_dataset("cub", lists.parents[1], split, metadata_dir="metadata/CUB", **options)


def refuses(lists, message, split="test", **options):
    with pytest.raises(DatasetError, match=message):
        load(lists, split, **options)


def test_splits_as_listed(lists):
    splits = load(lists, None)
    assert {name: table["image_id"][:] for name, table in splits.items()} == {"train": TRAIN, "test": TEST}
    assert splits["test"]["label"][:] == [1, 0]
    assert splits["test"].features["label"].names == ["1.hen", "2.owl"]
    assert splits["test"]["boxes"][:] == [[[1, 2, 3, 4], [9, 1, 12, 7]], [[5, 6, 7, 8]]]
    assert splits["train"]["boxes"][:] == [[], [], []]
    assert {image.size for image in splits["test"]["image"]} == {(20, 10)}
    with pytest.raises(DatasetError, match="cub has no validation split here, only train, test"):
        load(lists, "validation")


def test_boxes_are_scaled_to_resized_images(lists):
    write_lines(lists / "test/image_sizes.txt", "2.owl/x.jpg,40,40", "1.hen/x.jpg,20,10")
    assert load(lists)["boxes"][:] == [[[0.5, 0.5, 1.5, 1], [4.5, 0.25, 6, 1.75]], [[5, 6, 7, 8]]]


def test_boxes_that_leave_their_image_stay(lists):
    write_lines(lists / "test/localization.txt", "2.owl/x.jpg,-3,2,25,14", "1.hen/x.jpg,5,6,7,8")
    assert load(lists)["boxes"][0] == [[-3, 2, 25, 14]]


def test_back_slashes(lists):
    for file in (lists / "test").iterdir():
        file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n").replace(b"/", b"\\"))
    table = load(lists)
    assert table["image_id"][:] == TEST
    assert table["boxes"][1] == [[5, 6, 7, 8]]


def test_masks(lists):
    root = lists.parents[1]
    rows = []
    for path in TEST:
        mask = path.replace(".jpg", "_mask.png")
        Image.fromarray(rectangle(1, 2, 5, 6) * 255).save(root / "CUB" / mask)
        rows.append(f"{path},{mask},")
    write_lines(lists / "test/localization.txt", *rows)
    assert all((np.asarray(mask) == rectangle(1, 2, 5, 6)).all() for mask in load(lists)["mask"])


@pytest.mark.parametrize("file", ["image_sizes.txt", "localization.txt"])
def test_optional_lists(lists, file):
    (lists / "test" / file).unlink()
    assert load(lists)["image_id"][:] == TEST


@pytest.mark.parametrize(
    ("file", "lines", "message"),
    [
        ("image_ids.txt", [*TEST, TEST[0]], r"image_ids.txt names the same thing twice:\n  - 2.owl/x.jpg\n"),
        (
            "image_ids.txt",
            TEST[:1],
            r"class_labels.txt has 2 entries and .*image_ids.txt 1, which lacks:\n  - 1.hen/x",
        ),
        ("image_ids.txt", [*TEST, "1.hen/y.jpg"], r"class_labels.txt has 2 .* 3; it lacks:\n  - 1.hen/y.jpg\n"),
        ("class_labels.txt", ["2.owl/x.jpg,1", "1.hen/x.jpg"], r"line 2: '1.hen/x.jpg' \(2 columns were expected\)"),
        ("class_labels.txt", ["2.owl/x.jpg,1", "1.hen/x.jpg,one"], "line 2: '1.hen/x.jpg,one'"),
        ("class_labels.txt", ["2.owl/x.jpg,2", "1.hen/x.jpg,-1"], r"labels \[-1, 2\]; cub has 2 classes, 0 to 1"),
        ("localization.txt", ["2.owl/x.jpg,1,2,3,4"], r"localization.txt has 1 entries .* it lacks:\n  - 1.hen/x.jpg"),
        ("localization.txt", [f"{path},1,2,3" for path in TEST], r"\(5 columns were expected\)"),
        ("localization.txt", [f"{path},1,2,3,4" for path in [*TEST, "y"]], r"which lacks:\n  - y\n"),
        ("image_sizes.txt", ["2.owl/x.jpg,20,10"], r"image_sizes.txt has 1 entries .* it lacks:\n  - 1.hen/x.jpg"),
        ("image_sizes.txt", [f"{path},20,ten" for path in TEST], "image_sizes.txt has unreadable lines"),
        ("image_sizes.txt", [f"{path},0,0" for path in TEST], "image_sizes.txt|2.owl/x.jpg"),
    ],
)
def test_impossible_lines(lists, file, lines, message):
    write_lines(lists / "test" / file, *lines)
    refuses(lists, message)


def test_path_that_leads_out_is_not_read(lists, write_image):
    write_image(lists.parents[1] / "secret.jpg")
    write_lines(lists / "test/image_ids.txt", "../secret.jpg")
    write_lines(lists / "test/class_labels.txt", "../secret.jpg,0")
    for file in ("image_sizes.txt", "localization.txt"):
        (lists / "test" / file).unlink()
    refuses(lists, r"test/image_ids.txt names files outside .*:\n  - ../secret.jpg\nCorrect or remove the lines")


def test_absent_lists(lists):
    (lists / "test/class_labels.txt").unlink()
    refuses(lists, "metadata/CUB/test has no class_labels.txt, but image_ids.txt, image_sizes.txt, localization.txt")
    (lists / "test/image_ids.txt").unlink()
    refuses(lists, "cub has no test split here, only train")
    (lists / "train/image_ids.txt").unlink()
    refuses(lists, "has no train/image_ids.txt, val/image_ids.txt or test/image_ids.txt, but test/, train/. Pass")


def test_missing_image(lists, caplog):
    (lists.parents[1] / "CUB/2.owl/x.jpg").unlink()
    refuses(lists, "2.owl/x.jpg: the file does not exist")
    assert load(lists, allow_partial=True)["image_id"][:] == ["1.hen/x.jpg"]
    assert load(lists, on_bad_image="skip")["image_id"][:] == ["1.hen/x.jpg"]


def test_labels_with_gaps(lists):
    write_lines(lists / "train/class_labels.txt", *(f"{path},{2 * int(path[0])}" for path in TRAIN))
    with pytest.raises(
        DatasetError, match=r"labels of .*train/class_labels.txt are not 0 to 1 without gaps"
    ) as caught:
        load(lists)
    assert caught.type is DatasetError  # not a split that is missing


def test_two_labels_of_one_folder(lists):
    write_lines(lists / "train/class_labels.txt", "1.hen/a.jpg,0", "1.hen/b.jpg,1", "2.owl/a.jpg,2")
    refuses(lists, "class_labels.txt")


def test_real(real_data):
    folder = real_data / "imagenet-one-per-class"
    splits = load_wsol_dataset("imagenet", folder, allow_partial=True)
    assert {name: len(table) for name, table in splits.items()} == {"train": 1000, "test": 300}
    assert splits["train"].features["label"].names[:2] == ["tench, Tinca tinca", "goldfish, Carassius auratus"]
    test = splits["test"].with_format("numpy", columns=["boxes"])
    assert sum(len(row["boxes"]) for row in test) == 463
    assert all((row["boxes"] >= 0).all() and (row["boxes"] <= 227).all() for row in test)
    listed = load_wsol_dataset("imagenet", folder, "validation", metadata_dir="metadata/ILSVRC")
    assert listed["image_id"][:] == splits["test"]["image_id"][:]
    assert listed["boxes"][:] == splits["test"]["boxes"][:]
