import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import supervision
from datasets import load_dataset
from PIL import Image
from pycocotools.coco import COCO

from modeling_sat.data import load_wsol_dataset
from modeling_sat.inference.predictions import unique_class_names
from modeling_sat.labelling.formats import MASKS, WRITERS, Labels


CLASS_NAMES = ["apple", "granny smith", "Çilek & co"]
SIZES = {"a.jpg": (300, 200), "b.png": (64, 64), "c d.jpg": (4000, 3000)}
OBJECTS = {
    "a.jpg": [("apple", 0.75, [10.25, 20.5, 130.125, 199.75])],
    "b.png": [("Çilek & co", 0.5, [0.0, 0.0, 64.0, 64.0])],
    "c d.jpg": [("granny smith", 0.9, [1000.6, 12.0, 3999.5, 2999.0]), ("granny smith", 0.9, [1.0, 2.0, 30.0, 40.0])],
}


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for name, size in SIZES.items():
        Image.new("L", size).save(folder / name)
    return folder


def mask_of(name: str, box: list[float]) -> np.ndarray:
    """An ellipse that fills the box, with a hole in the image `b.png`."""
    width, height = SIZES[name]
    y, x = np.mgrid[:height, :width] + 0.5
    distance = np.hypot(*((2 * at - end - start) / (end - start) for at, start, end in zip((x, y), box[:2], box[2:])))
    return (distance < 1) & (distance > (0.3 if name == "b.png" else -1))


def write(
    format: str, images: Path, output_dir: Path, image_root: Path | None = None, masks: str | None = None
) -> None:
    output_dir.mkdir()
    predictions = output_dir / "predictions.jsonl"
    with open(predictions, "w") as file:
        for name, (width, height) in SIZES.items():
            objects = [dict(zip(("label", "score", "box"), found)) for found in OBJECTS[name]]
            for found in objects if masks else ():
                counts = supervision.mask_to_rle(mask_of(name, found["box"]), compressed=True)
                found["mask"] = {"size": [height, width], "counts": counts}
            line = {"image": str(images / name), "width": width, "height": height, "objects": objects}
            file.write(json.dumps(line) + "\n")
    WRITERS[format](Labels(predictions, CLASS_NAMES, image_root or images, output_dir, masks))


def assert_same(dataset: supervision.DetectionDataset, tolerance: float) -> None:
    """`tolerance` is in pixels."""
    assert {Path(path).name for path in dataset.image_paths} == set(SIZES)
    for path, detections in dataset.annotations.items():
        expected = OBJECTS[Path(path).name]
        assert [dataset.classes[index] for index in detections.class_id] == [label for label, _, _ in expected]
        np.testing.assert_allclose(detections.xyxy, [box for _, _, box in expected], atol=tolerance, rtol=1e-6)


def test_coco_read_again_is_the_same(images, tmp_path):
    out = tmp_path / "out"
    write("coco", images, out)
    dataset = supervision.DetectionDataset.from_coco(str(images), str(out / "annotations.json"))
    assert dataset.classes == CLASS_NAMES
    assert_same(dataset, tolerance=1e-3)


def test_coco_has_what_the_format_asks_for(images, tmp_path):
    out = tmp_path / "out"
    write("coco", images, out)
    content = json.loads((out / "annotations.json").read_text())
    (first, *_), annotations = content["images"], content["annotations"]
    assert {"info", "categories", "images", "annotations"} == set(content)
    assert [annotation["id"] for annotation in annotations] == [1, 2, 3, 4]
    assert [annotation["image_id"] for annotation in annotations] == [1, 2, 3, 3]
    assert [annotation["score"] for annotation in annotations] == [0.75, 0.5, 0.9, 0.9]
    # width 130.125 - 10.25, height 199.75 - 20.5; area 119.875 · 179.25
    assert annotations[0]["bbox"] == [10.25, 20.5, 119.875, 179.25]
    assert annotations[0]["area"] == pytest.approx(21487.594)
    assert annotations[0]["iscrowd"] == 0
    assert (first["file_name"], first["width"], first["height"]) == ("a.jpg", 300, 200)


def test_yolo_read_again_is_the_same(images, tmp_path):
    out = tmp_path / "out"
    write("yolo", images, out)
    dataset = supervision.DetectionDataset.from_yolo(str(images), str(out / "labels"), str(out / "data.yaml"))
    assert dataset.classes == CLASS_NAMES
    # Five decimals of a width of 4000: centre and half the side are off by at most 0.02 and 0.01 pixels.
    assert_same(dataset, tolerance=0.03)
    # centre (10.25 + 130.125) / 2 / 300, (20.5 + 199.75) / 2 / 200; sides 119.875 / 300, 179.25 / 200
    values = [float(value) for value in (out / "labels" / "a.txt").read_text().split()]
    assert values == pytest.approx([0, 0.233958, 0.550625, 0.399583, 0.89625], abs=1e-5)


def test_voc_read_again_is_the_same(images, tmp_path):
    out = tmp_path / "out"
    write("voc", images, out)
    dataset = supervision.DetectionDataset.from_pascal_voc(str(images), str(out / "annotations"))
    assert_same(dataset, tolerance=0.5)
    assert "roboflow" not in (out / "annotations" / "a.xml").read_text(encoding="utf-8")


@pytest.mark.parametrize("masks", [None, *MASKS["metadata"]])
def test_metadata_read_again_by_datasets_is_the_same(images, tmp_path, masks):
    out = tmp_path / "out"
    write("metadata", images, out, masks=masks)
    shutil.copy(out / "metadata.jsonl", images)
    loaded = load_dataset("imagefolder", data_dir=str(images), split="train", cache_dir=str(tmp_path / "cache"))
    for row, (name, objects) in zip(loaded, sorted(OBJECTS.items()), strict=True):
        assert row["image"].size == SIZES[name]
        assert row["objects"]["categories"] == [label for label, _, _ in objects]
        assert row["objects"]["scores"] == [score for _, score, _ in objects]
        for (x, y, width, height), (_, _, box) in zip(row["objects"]["bbox"], objects, strict=True):
            assert [x, y, x + width, y + height] == pytest.approx(box)
        assert ("segmentation" in row["objects"]) == (masks is not None)


def test_metadata_read_again_by_our_own_reader_is_the_same(images, tmp_path):
    out = tmp_path / "out"
    write("metadata", images, out)
    (tmp_path / "again").mkdir()
    shutil.move(images, tmp_path / "again" / "test")
    shutil.copy(out / "metadata.jsonl", tmp_path / "again" / "test")
    dataset = load_wsol_dataset("folder", str(tmp_path / "again"), "test")
    names = dataset.features["label"].names
    for row in dataset:
        objects = OBJECTS[Path(row["image_id"]).name]
        assert names[row["label"]] == objects[0][0]
        np.testing.assert_allclose(row["boxes"], [box for _, _, box in objects], rtol=1e-6)


@pytest.mark.parametrize(("masks", "overlap"), [("rle", 1.0), ("polygons", 0.94)])
def test_coco_masks_by_pycocotools(images, tmp_path, masks, overlap):
    out = tmp_path / "out"
    write("coco", images, out, masks=masks)
    coco = COCO(str(out / "annotations.json"))
    for annotation in coco.dataset["annotations"]:
        name = coco.loadImgs(annotation["image_id"])[0]["file_name"]
        x, y, width, height = annotation["bbox"]
        expected = mask_of(name, [x, y, x + width, y + height])
        assert annotation["area"] == expected.sum()
        assert annotation["iscrowd"] == 0
        if min(width, height) > 40:  # a polygon runs through the middle of the outermost pixels
            assert iou(coco.annToMask(annotation).astype(bool), expected) >= overlap


def test_yolo_masks_by_supervision(images, tmp_path):
    out = tmp_path / "out"
    write("yolo", images, out, masks="polygons")
    dataset = supervision.DetectionDataset.from_yolo(str(images), str(out / "labels"), str(out / "data.yaml"))
    for path, detections in dataset.annotations.items():
        objects = OBJECTS[Path(path).name]
        assert [dataset.classes[index] for index in detections.class_id] == [label for label, _, _ in objects]
        for mask, (_, _, box) in zip(detections.mask, objects, strict=True):
            assert iou(mask, mask_of(Path(path).name, box)) > 0.9


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return (first & second).sum() / (first | second).sum()


def test_folders_of_images_become_folders_of_annotations(images, tmp_path):
    for format in WRITERS:
        write(format, images, tmp_path / format, image_root=images.parent)
    content = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["images/a.jpg", "images/b.png", "images/c d.jpg"]
    assert (tmp_path / "yolo" / "labels" / "images" / "c d.txt").is_file()
    assert (tmp_path / "voc" / "annotations" / "images" / "c d.xml").is_file()


def test_classes_of_one_name_are_told_apart():
    assert unique_class_names({2: "crane", 0: "tench", 1: "crane"}) == ["tench", "crane", "crane (2)"]
