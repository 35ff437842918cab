"""The folder reader's layouts and annotation formats; its refusals are in `test_folder_errors.py`."""

import numpy as np
import pytest
from PIL import Image

from modeling_sat.data import load_wsol_dataset


def rows(table) -> dict[str, tuple[str, list]]:
    names = table.features["label"].int2str(table["label"][:])
    return {
        image_id: (name, boxes) for image_id, name, boxes in zip(table["image_id"], names, table["boxes"], strict=True)
    }


def load(folder, split="train", **options):
    return load_wsol_dataset("folder", folder, split, **options)


def test_class_folders(class_folders):
    splits = load_wsol_dataset("folder", class_folders)
    assert splits["train"].column_names == ["image", "image_id", "label", "boxes"]
    assert splits["train"].features["label"].names == ["cat", "dog"]
    assert rows(splits["test"]) == {"test/cat/9.png": ("cat", []), "test/dog/9.png": ("dog", [])}
    assert splits["train"][0]["image"].size == (20, 10)


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Val"])
def test_names_of_the_validation_folder(class_folders, name):
    (class_folders / "test").rename(class_folders / name)
    assert set(load_wsol_dataset("folder", class_folders)) == {"train", "validation"}


def test_class_folders_alone_are_training_images(class_folders):
    assert list(load_wsol_dataset("folder", class_folders / "train")) == ["train"]


def test_test_images_alone(class_folders):
    (class_folders / "train").rename(class_folders.parent / f"{class_folders.name} elsewhere")
    assert list(load_wsol_dataset("folder", class_folders)) == ["test"]


def test_stray_files_are_ignored(class_folders, write_image):
    for path in (
        "train/cat/Thumbs.db",
        "train/cat/.hidden.png",
        "train/cat/._0.png",
        "train/notes.json",
        "README.txt",
    ):
        (class_folders / path).write_text("{}")
    (class_folders / "train/other.xml").write_text("<project/>")
    write_image(class_folders / "__MACOSX/train/cat/0.png")
    write_image(class_folders / "train/.cache/0.png")
    assert len(load(class_folders)) == 6


def test_metadata_jsonl_boxes_are_xywh(class_folders, write_jsonl):
    write_jsonl(
        class_folders / "train/metadata.jsonl",
        {"file_name": "cat/0.png", "objects": {"bbox": [[2, 3, 4, 5], [0, 0, 20, 10]]}},
        {"file_name": "dog/1.png", "label": "ignored, as the folder names the class", "objects": None},
    )
    read = rows(load(class_folders))
    assert read["train/cat/0.png"] == ("cat", [[2, 3, 6, 8], [0, 0, 20, 10]])
    assert read["train/dog/1.png"] == ("dog", [])


def test_flat_metadata_jsonl(tmp_path, write_image, write_jsonl):
    for name in "abcd":
        write_image(tmp_path / f"{name}.png")
    write_jsonl(
        tmp_path / "metadata.jsonl",
        {"file_name": "a.png", "label": "cat"},
        {"file_name": "b.png", "label": 7},
        {"file_name": "c.png", "objects": {"bbox": [[1, 1, 2, 2]], "category": ["cat"]}},
        {"file_name": "d.png", "objects": {"bbox": [[1, 1, 2, 2]], "categories": ["cat"]}},
    )
    box = [[1, 1, 3, 3]]
    assert rows(load(tmp_path)) == {
        "a.png": ("cat", []),
        "b.png": ("7", []),
        "c.png": ("cat", box),
        "d.png": ("cat", box),
    }


def test_flat_metadata_csv(tmp_path, write_image):
    for split in ("train", "test"):
        for name in "ab":
            write_image(tmp_path / split / f"{name}.png")
        (tmp_path / split / "metadata.csv").write_text("file_name,label\na.png,cat\nb.png,dog\n")
    assert rows(load(tmp_path, "test")) == {"test/a.png": ("cat", []), "test/b.png": ("dog", [])}


def test_voc_is_one_based_and_inclusive(tmp_path, write_image, write_voc):
    for name in "ab":
        write_image(tmp_path / f"train/{name}.png")
    write_voc(tmp_path / "train/a.xml", ("cat", 1, 1, 20, 10), ("cat", 3, 4, 3, 4))
    write_voc(tmp_path / "train/b.xml", ("dog", 0, 0, 21, 11))
    assert rows(load(tmp_path)) == {
        "train/a.png": ("cat", [[0, 0, 20, 10], [2, 3, 3, 4]]),
        "train/b.png": ("dog", [[0, 0, 20, 10]]),  # off by one pixel: clipped
    }


@pytest.mark.parametrize(
    ("images", "annotations"),
    [
        ("JPEGImages", "Annotations"),
        ("images", "annotations"),
        ("train", "annotations/train"),
        ("train/images", "train/annotations"),
    ],
)
def test_parallel_annotation_folders(tmp_path, write_image, write_voc, images, annotations):
    for name, label in (("a", "cat"), ("b", "dog")):
        write_image(tmp_path / images / f"{name}.png")
        write_voc(tmp_path / annotations / f"{name}.xml", (label, 1, 1, 5, 5))
        if images.startswith("train"):
            write_image(tmp_path / images.replace("train", "test") / f"{name}.png")
            write_voc(tmp_path / annotations.replace("train", "test") / f"{name}.xml", (label, 1, 1, 7, 7))
    assert rows(load(tmp_path)) == {
        f"{images}/a.png": ("cat", [[0, 0, 5, 5]]),
        f"{images}/b.png": ("dog", [[0, 0, 5, 5]]),
    }


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("{split}/_annotations.coco.json", ""),
        ("annotations/instances_{split}.json", ""),
        ("annotations/{split}.json", ""),
        ("{split}.json", "{split}/"),
    ],
)
def test_coco(tmp_path, write_image, write_coco, pattern, prefix):
    for split, side in (("train", 4), ("test", 6)):
        for name in "ab":
            write_image(tmp_path / split / f"{name}.png")
        images = {"a.png": [("cat", [1, 2, side, side])], "b.png": [("dog", [0, 0, 20, 10])]}
        write_coco(
            tmp_path / pattern.format(split=split),
            {prefix.format(split=split) + name: objects for name, objects in images.items()},
        )
    assert rows(load(tmp_path)) == {
        "train/a.png": ("cat", [[1, 2, 5, 6]]),
        "train/b.png": ("dog", [[0, 0, 20, 10]]),
    }
    assert rows(load(tmp_path, "test"))["test/a.png"] == ("cat", [[1, 2, 7, 8]])


def test_images_of_several_classes_are_left_out(tmp_path, write_image, write_voc, caplog):
    for name, labels in {"a": ["cat"], "b": ["dog", "dog"], "c": ["dog", "cat"]}.items():
        write_image(tmp_path / f"{name}.png")
        write_voc(tmp_path / f"{name}.xml", *[(label, 1, 1, 5, 5) for label in labels])
    assert set(rows(load(tmp_path))) == {"a.png", "b.png"}
    assert "Left out 1 of 3 images, which show objects of several classes" in caplog.text
    assert "c.png: cat, dog" in caplog.text


def test_boxes_of_other_classes_are_dropped(class_folders, write_voc):
    write_voc(class_folders / "train/cat/0.xml", ("cat", 1, 1, 5, 5), ("person", 1, 1, 9, 9))
    write_voc(class_folders / "train/cat/1.xml", ("felis catus", 1, 1, 7, 7))
    read = rows(load(class_folders))
    assert read["train/cat/0.png"][1] == [[0, 0, 5, 5]]
    assert read["train/cat/1.png"][1] == []


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGBA", "I;16", "I", "RGB", "CMYK", "F"])
def test_images_of_every_mode_are_read_as_rgb(class_folders, mode):
    suffix = {"CMYK": "jpg", "I": "tif", "F": "tif"}.get(mode, "png")
    Image.new(mode, (6, 4)).save(class_folders / f"train/cat/image.{suffix}")
    row = load(class_folders).filter(lambda image_id: "image." in image_id, input_columns="image_id")[0]
    assert (row["image"].mode, row["image"].size) == ("RGB", (6, 4))


def test_spoilt_conversions_are_done_when_loading(class_folders):
    Image.fromarray(np.full((4, 6), 25700, dtype=np.uint16)).save(class_folders / "train/cat/0.png")
    Image.new("RGBA", (6, 4), (255, 0, 0, 0)).save(class_folders / "train/cat/1.png")
    table = load(class_folders)
    assert table[0]["image"].getpixel((0, 0)) == (100, 100, 100)
    assert table[1]["image"].getpixel((0, 0)) == (255, 255, 255)


def test_exif_rotated_image_and_its_box_are_upright(class_folders, write_image, write_jsonl):
    exif = Image.Exif()
    exif[0x0112] = 6
    write_image(class_folders / "train/cat/0.jpg", 20, 10, exif=exif)
    write_jsonl(
        class_folders / "train/metadata.jsonl", {"file_name": "cat/0.jpg", "objects": {"bbox": [[0, 5, 10, 15]]}}
    )
    row = load(class_folders)[0]
    assert (row["image_id"], row["image"].size) == ("train/cat/0.jpg", (10, 20))
    assert row["boxes"] == [[0, 5, 10, 20]]


def test_real_fruit(real_data, caplog):
    splits = load_wsol_dataset("folder", real_data / "fruit")
    assert {name: len(table) for name, table in splits.items()} == {"train": 221, "test": 55}
    assert splits["train"].features["label"].names == ["apple", "banana", "orange"]
    assert sum(len(boxes) == 1 for table in splits.values() for boxes in table["boxes"]) == 173
    assert "Left out 24 of 300 images" in caplog.text


def test_files_that_are_no_images_are_named(class_folders, caplog):
    (class_folders / "train/cat/2.heic").touch()
    (class_folders / "LICENSE").touch()
    (class_folders / "train/notes.txt").write_text("no list of anything")
    assert len(load_wsol_dataset("folder", class_folders, "train")) == 6
    assert (
        "holds files that are not read, 2 files: 1 .heic (train/cat/2.heic), 1 .txt (train/notes.txt)" in caplog.text
    )
