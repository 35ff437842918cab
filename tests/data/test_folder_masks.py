"""Masks beside the images of a folder are read as masks, and are not taken for images."""

from io import BytesIO

import numpy as np
import pytest
from benchmark_mixin import rectangle
from PIL import Image

from modeling_sat.data import DatasetError, load_wsol_dataset
from modeling_sat.data.masks import FolderMask


BOX = rectangle(4, 2, 14, 8)


def write_mask(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


def masks(folder, split="train"):
    table = load_wsol_dataset("folder", folder, split)
    assert "mask" in table.features
    return {
        image_id: None if mask is None else np.asarray(mask)
        for image_id, mask in zip(table["image_id"], table["mask"], strict=True)
    }


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("train/{}/{}.png", "masks/{}/{}.png"),
        ("train/{}/{}.png", "train_masks/{}/{}.png"),
        ("train/{}/{}.png", "train/masks/{}/{}.png"),
        ("images/{}/{}.png", "Masks/{}/{}.png"),
        ("images/training/{}/{}.png", "annotations/training/{}/{}.png"),
        ("train/{}/images/{}.png", "train/{}/masks/{}_mask.png"),
        ("train/{}/{}.png", "train/{}/masks/{}.png"),
        ("{}/{}.png", "{}/{}_mask.png"),
        ("{}/{}.png", "ground truth/{}/{}-seg.png"),
        ("train/{}/{}.png", "labels/{}/{}.bmp"),
    ],
)
def test_layouts(tmp_path, write_image, image, mask):
    for name in ("cat", "dog"):
        for number in range(2):
            write_image(tmp_path / image.format(name, number))
            write_mask(tmp_path / mask.format(name, number), BOX * 255)
    read = masks(tmp_path)
    assert sorted(read) == [image.format(name, number) for name in ("cat", "dog") for number in range(2)]
    assert all((mask == BOX).all() for mask in read.values())


def test_oxford_iiit_pet_as_it_unpacks(tmp_path, write_image, write_voc):
    trimap = np.full((10, 20), 2)
    trimap[2:8, 4:14] = 3
    trimap[3:7, 5:13] = 1
    for image, name in (("Abyssinian_1", "cat"), ("beagle_1", "dog")):
        write_image(tmp_path / f"images/{image}.jpg")
        write_mask(tmp_path / f"annotations/trimaps/{image}.png", trimap)
        write_voc(tmp_path / f"annotations/xmls/{image}.xml", (name, 5, 3, 14, 8))
    (tmp_path / "annotations/list.txt").write_text("Abyssinian_1 1 1 1\n")
    read = masks(tmp_path)
    expected = np.zeros((10, 20))
    expected[2:8, 4:14] = 255
    expected[3:7, 5:13] = 1
    assert list(read) == ["images/Abyssinian_1.jpg", "images/beagle_1.jpg"]
    assert all((mask == expected).all() for mask in read.values())


@pytest.mark.parametrize("with_classes", [True, False])
def test_voc_as_it_unpacks(tmp_path, write_image, write_voc, with_classes):
    for image, name, number in (("2007_1", "cat", 8), ("2007_2", "dog", 12), ("2007_3", "dog", None)):
        write_image(tmp_path / f"JPEGImages/{image}.jpg")
        write_voc(tmp_path / f"Annotations/{image}.xml", (name, 5, 3, 14, 8))
        if number is None:
            continue
        instances = np.where(BOX, 1, 0)
        instances[0] = 255
        write_mask(tmp_path / f"SegmentationObject/{image}.png", instances)
        classes = np.where(BOX, number, 0)
        classes[0], classes[9] = 255, 15
        if with_classes:
            write_mask(tmp_path / f"SegmentationClass/{image}.png", classes)
    read = masks(tmp_path)
    expected = BOX.copy()
    expected[0] = 255
    assert read.pop("JPEGImages/2007_3.jpg") is None
    assert len(read) == 2
    assert all((mask == expected).all() for mask in read.values())


def test_several_masks_of_an_image(tmp_path, write_image):
    for name in ("benign", "malignant"):
        write_image(tmp_path / f"{name}/{name} (1).png")
        write_mask(tmp_path / f"{name}/{name} (1)_mask.png", BOX * 255)
    write_mask(tmp_path / "benign/benign (1)_mask_1.png", rectangle(15, 0, 20, 10) * 255)
    assert (masks(tmp_path)["benign/benign (1).png"] == np.maximum(BOX, rectangle(15, 0, 20, 10))).all()


@pytest.mark.parametrize("folders", [("mask", "no_mask"), ("masks", "faces"), ("with mask", "without mask")])
def test_classes_of_photographs_are_no_masks(tmp_path, write_image, folders):
    for name in folders:
        for number in range(3):
            write_image(tmp_path / name / f"{number}.png")
    table = load_wsol_dataset("folder", tmp_path, "train")
    assert table.features["label"].names == sorted(folders)
    assert (len(table), "mask" in table.features) == (6, False)


def test_masks_of_no_image_are_counted(class_folders, caplog):
    for name in ("cat", "dog"):
        for number in range(3):
            write_mask(class_folders / f"masks/train/{name}/{number}.png", BOX)
    write_mask(class_folders / "masks/train/zebra.png", BOX)
    assert len(masks(class_folders)) == 6
    assert "holds masks that belong to no image or to several, 1 file: 1 .png (masks/train/zebra.png)" in caplog.text


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((30, 20)), "0.png has 20×30 pixels, its image 20×10"),
        (BOX + rectangle(0, 0, 2, 2) * 2, "0.png has the values 0, 1, 2, which do not tell where its cat is"),
    ],
)
def test_masks_that_cannot_be_used(class_folders, pixels, message):
    for number in range(3):
        write_mask(class_folders / f"masks/train/cat/{number}.png", pixels)
    with pytest.raises(DatasetError, match=message):
        masks(class_folders)


@pytest.mark.parametrize(
    ("kind", "pixels", "expected"),
    [
        ("foreground", BOX * 255, BOX),
        ("foreground", BOX * 7, BOX),
        ("foreground", np.zeros((10, 20)), np.zeros((10, 20))),
        ("foreground", np.where(BOX, 1, 255), np.where(BOX, 1, 255)),
        ("foreground", np.where(BOX, 255, rectangle(3, 2, 4, 4) * 90), BOX),
        ("trimap", np.where(BOX, 255, 128), np.where(BOX, 1, 255)),
        ("instances", BOX * 2 + rectangle(0, 0, 2, 2), BOX | rectangle(0, 0, 2, 2)),
        ("classes", BOX * 8 + rectangle(0, 0, 2, 2) * 15, BOX),
        ("classes", BOX * 255, BOX),
    ],
)
def test_values(tmp_path, kind, pixels, expected):
    write_mask(tmp_path / "a.png", pixels)
    if kind == "classes" and pixels.max() == 255:
        mask = FolderMask((tmp_path / "a.png",), kind, "lynx")
    else:
        mask = FolderMask((tmp_path / "a.png",), kind, "cat")
    assert (np.asarray(Image.open(BytesIO(mask((20, 10))))) == expected).all()


def test_masks_as_jpeg(tmp_path):
    Image.fromarray(BOX * np.uint8(255)).resize((200, 100)).save(tmp_path / "a.jpg")
    mask = np.asarray(Image.open(BytesIO(FolderMask((tmp_path / "a.jpg",), "foreground", "cat")((200, 100)))))
    assert set(np.unique(mask)) == {0, 1}
    assert abs(mask.mean() - BOX.mean()) < 0.02
