"""From `predictions.jsonl` to COCO, YOLO and Pascal VOC, by supervision's converters.

Each exporter reads the predictions image by image, so that memory does not grow with their number, names an image by
its path relative to `image_root`, and copies no image.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import Any, TextIO, TypedDict

import numpy as np
from supervision import Detections
from supervision.dataset.formats.coco import classes_to_coco_categories, detections_to_coco_annotations
from supervision.dataset.formats.pascal_voc import detections_to_pascal_voc
from supervision.dataset.formats.yolo import detections_to_yolo_annotations, save_data_yaml


class PredictedObject(TypedDict):
    """`score` is the probability of the class; `box` is `[x_min, y_min, x_max, y_max]`, half-open."""

    label: str
    score: float
    box: list[float]


class Prediction(TypedDict):
    """One image, its width and height in pixels once upright; boxes are in these pixels."""

    image: str
    width: int
    height: int
    objects: list[PredictedObject]


def read_predictions(file: Path) -> Iterator[Prediction]:
    """The lines of a `predictions.jsonl`."""
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def export_coco(predictions: Path, class_names: list[str], image_root: Path, output_dir: Path) -> None:
    """Writes `annotations.json`: COCO's object detection format, with a `score` in each annotation."""

    def images() -> Iterator[dict[str, Any]]:
        for image_id, prediction in enumerate(read_predictions(predictions), start=1):
            name = _relative_name(prediction, image_root).as_posix()
            yield {"id": image_id, "file_name": name, "width": prediction["width"], "height": prediction["height"]}

    def annotations() -> Iterator[dict[str, Any]]:
        annotation_ids = count(1)
        for image_id, prediction in enumerate(read_predictions(predictions), start=1):
            converted, _ = detections_to_coco_annotations(_detections(prediction, class_names), image_id, 1)
            for annotation, found in zip(converted, prediction["objects"]):
                yield {**annotation, "id": next(annotation_ids), "score": found["score"]}

    with open(output_dir / "annotations.json", "w", encoding="utf-8") as file:
        file.write('{"info": {"description": "Boxes predicted by modeling_sat"},\n')
        _write_list(file, "categories", classes_to_coco_categories(class_names))
        file.write(",\n")
        _write_list(file, "images", images())
        file.write(",\n")
        _write_list(file, "annotations", annotations())
        file.write("}\n")


def export_yolo(predictions: Path, class_names: list[str], image_root: Path, output_dir: Path) -> None:
    """Writes `data.yaml` and `labels/<name>.txt`: class and centred box in fractions of the image, as detectors train on."""
    save_data_yaml(str(output_dir / "data.yaml"), class_names)
    for prediction in read_predictions(predictions):
        size = (prediction["height"], prediction["width"])
        lines = detections_to_yolo_annotations(_detections(prediction, class_names), size)
        file = output_dir / "labels" / _relative_name(prediction, image_root).with_suffix(".txt")
        _write_text(file, "".join(f"{line}\n" for line in lines))


def export_voc(predictions: Path, class_names: list[str], image_root: Path, output_dir: Path) -> None:
    """Writes `annotations/<name>.xml`: Pascal VOC's boxes, which are whole pixels counted from 1."""
    for prediction in read_predictions(predictions):
        name = _relative_name(prediction, image_root)
        shape = (prediction["height"], prediction["width"], 3)
        xml = detections_to_pascal_voc(_detections(prediction, class_names), class_names, name.name, shape)
        # supervision writes its maker as the source of every annotation.
        xml = xml.replace("<database>roboflow.ai<", "<database>predicted by modeling_sat<")
        _write_text(output_dir / "annotations" / name.with_suffix(".xml"), xml)


Exporter = Callable[[Path, list[str], Path, Path], None]
EXPORTERS: dict[str, Exporter] = {"coco": export_coco, "yolo": export_yolo, "voc": export_voc}
ONE_FILE_PER_IMAGE = ("yolo", "voc")
"""Formats that tell images apart by their names without suffix."""


def unique_class_names(id2label: dict[int, str]) -> list[str]:
    """Class names in the order of their ids; a name that an earlier class has gets its id added.

    The formats know classes by name, and ImageNet has two that are called crane.
    """
    names: list[str] = []
    for label in sorted(id2label):
        name = id2label[label]
        names.append(f"{name} ({label})" if name in names else name)
    return names


def _relative_name(prediction: Prediction, image_root: Path) -> Path:
    return Path(os.path.relpath(prediction["image"], image_root))


def _detections(prediction: Prediction, class_names: list[str]) -> Detections:
    objects = prediction["objects"]
    return Detections(
        xyxy=np.array([found["box"] for found in objects], np.float64).reshape(-1, 4),
        class_id=np.array([class_names.index(found["label"]) for found in objects], int),
        confidence=np.array([found["score"] for found in objects], np.float64),
    )


def _write_list(file: TextIO, key: str, items: Iterable[dict[str, Any]]) -> None:
    file.write(f"{json.dumps(key)}: [")
    for index, item in enumerate(items):
        file.write((",\n" if index else "\n") + json.dumps(item, default=float))
    file.write("]")


def _write_text(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
