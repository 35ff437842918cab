"""From `predictions.jsonl` to COCO, YOLO, Pascal VOC and Hugging Face metadata, by supervision's converters.

Each writer reads the predictions image by image, so that memory does not grow with their number, names an image by
its path relative to `image_root`, and copies no image. A file comes to its place when it is whole.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from supervision import Detections, rle_to_mask
from supervision.dataset.formats.coco import classes_to_coco_categories, detections_to_coco_annotations
from supervision.dataset.formats.pascal_voc import detections_to_pascal_voc
from supervision.dataset.formats.yolo import detections_to_yolo_annotations, save_data_yaml
from supervision.dataset.utils import approximate_mask_with_polygons

from ..inference.predictions import PredictedObject, Prediction
from ..output.files import as_json, folder_written_aside, path_written_aside, written_aside


@dataclass(frozen=True)
class Labels:
    """What a run found, to be written in a format.

    Attributes:
        predictions: the `predictions.jsonl` of the run.
        class_names: in the order of the model's classes.
        image_root: the folder that image names are relative to.
        output_dir: where to write.
        masks: `"rle"`, `"polygons"`, or None for boxes alone.
    """

    predictions: Path
    class_names: list[str]
    image_root: Path
    output_dir: Path
    masks: str | None = None

    def __iter__(self) -> Iterator[tuple[Path, Prediction]]:
        """Each image's relative name and prediction."""
        for prediction in read_predictions(self.predictions):
            yield Path(os.path.relpath(prediction["image"], self.image_root)), prediction


def read_predictions(file: Path) -> Iterator[Prediction]:
    """The lines of a `predictions.jsonl`."""
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def write_coco(labels: Labels) -> None:
    """Writes `annotations.json`: COCO's object detection format, with a `score` in each annotation."""

    def images() -> Iterator[dict[str, Any]]:
        for image_id, (name, prediction) in enumerate(labels, start=1):
            size = {"width": prediction["width"], "height": prediction["height"]}
            yield {"id": image_id, "file_name": name.as_posix(), **size}

    def annotations() -> Iterator[dict[str, Any]]:
        annotation_ids = count(1)
        for image_id, (_, prediction) in enumerate(labels, start=1):
            detections = _detections(prediction, labels.class_names)
            converted, _ = detections_to_coco_annotations(detections, image_id, 1)
            for annotation, found in zip(converted, prediction["objects"]):
                # supervision writes a mask with a hole as a crowd, which detectors neither learn nor are measured on.
                segmentation = _segmentation(found, labels.masks)
                yield {**annotation, **segmentation, "id": next(annotation_ids), "score": found["score"]}

    with written_aside(labels.output_dir / "annotations.json") as file:
        file.write('{"info": {"description": "Boxes predicted by modeling_sat"},\n')
        _write_list(file, "categories", classes_to_coco_categories(labels.class_names))
        file.write(",\n")
        _write_list(file, "images", images())
        file.write(",\n")
        _write_list(file, "annotations", annotations())
        file.write("}\n")


def write_yolo(labels: Labels) -> None:
    """Writes `data.yaml` and `labels/<name>.txt`, as detectors train on: class and, in fractions of the image, the
    centred box or the polygons of the mask."""
    with folder_written_aside(labels.output_dir / "labels") as folder:
        for name, prediction in labels:
            size = (prediction["height"], prediction["width"])
            detections = _detections(prediction, labels.class_names, with_masks=labels.masks is not None)
            lines = detections_to_yolo_annotations(detections, size)
            _write_text(folder / name.with_suffix(".txt"), "".join(f"{line}\n" for line in lines))
    with path_written_aside(labels.output_dir / "data.yaml") as file:
        save_data_yaml(str(file), labels.class_names)


def write_voc(labels: Labels) -> None:
    """Writes `annotations/<name>.xml`: Pascal VOC's boxes, which are whole pixels counted from 1."""
    with folder_written_aside(labels.output_dir / "annotations") as folder:
        for name, prediction in labels:
            shape = (prediction["height"], prediction["width"], 3)
            detections = _detections(prediction, labels.class_names)
            xml = detections_to_pascal_voc(detections, labels.class_names, name.name, shape)
            # supervision writes its maker as the source of every annotation.
            xml = xml.replace("<database>roboflow.ai<", "<database>predicted by modeling_sat<")
            _write_text(folder / name.with_suffix(".xml"), xml)


def write_metadata(labels: Labels) -> None:
    """Writes `metadata.jsonl` for the folder of the images, where `load_dataset("imagefolder")` reads it, and so does
    `load_wsol_dataset("folder")`: boxes as `[x, y, width, height]`."""
    with written_aside(labels.output_dir / "metadata.jsonl") as file:
        for name, prediction in labels:
            found = prediction["objects"]
            objects = {
                "bbox": [[x, y, right - x, bottom - y] for x, y, right, bottom in (thing["box"] for thing in found)],
                "categories": [thing["label"] for thing in found],
                "scores": [thing["score"] for thing in found],
            }
            if labels.masks is not None:
                objects["segmentation"] = [_segmentation(thing, labels.masks)["segmentation"] for thing in found]
            line = {"file_name": name.as_posix(), "label": found[0]["label"], "objects": objects}
            file.write(as_json(line, default=float) + "\n")


WRITERS: dict[str, Callable[[Labels], None]] = {
    "coco": write_coco, "yolo": write_yolo, "voc": write_voc, "metadata": write_metadata,
}  # fmt: skip
LABEL_FORMATS = ("jsonl", *WRITERS)
MASKS = {
    "jsonl": ("rle",),
    "coco": ("rle", "polygons"),
    "yolo": ("polygons",),
    "metadata": ("rle", "polygons"),
    "voc": (),
}
"""The ways in which each format can have masks."""
ONE_FILE_PER_IMAGE = ("yolo", "voc")
"""Formats that tell images apart by their names without suffix."""


def _detections(prediction: Prediction, class_names: list[str], with_masks: bool = False) -> Detections:
    objects = prediction["objects"]
    return Detections(
        xyxy=np.array([found["box"] for found in objects], np.float64).reshape(-1, 4),
        mask=np.stack([_mask(found) for found in objects]) if with_masks and objects else None,
        class_id=np.array([class_names.index(found["label"]) for found in objects], int),
        confidence=np.array([found["score"] for found in objects], np.float64),
    )


def _segmentation(found: PredictedObject, masks: str | None) -> dict[str, Any]:
    """COCO's fields of a mask; polygons of one with holes have seams to them."""
    if masks is None:
        return {}
    mask = _mask(found)
    segmentation = found["mask"]
    if masks == "polygons":
        polygons = approximate_mask_with_polygons(mask, approximation_percentage=0.75, bridge_holes=True)
        segmentation = [polygon.flatten().tolist() for polygon in polygons]
    return {"segmentation": segmentation, "area": int(mask.sum())}


def _mask(found: PredictedObject) -> np.ndarray:
    height, width = found["mask"]["size"]
    return rle_to_mask(found["mask"]["counts"], (width, height))


def _write_list(file: TextIO, key: str, items: Iterable[dict[str, Any]]) -> None:
    file.write(f"{json.dumps(key)}: [")
    for index, item in enumerate(items):
        file.write((",\n" if index else "\n") + as_json(item, default=float))
    file.write("]")


def _write_text(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
