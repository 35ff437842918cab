"""Sheets of images for people: a sample of predictions, and the images on which the boxes are worst."""

from typing import Any

import numpy as np
from datasets import Dataset
from PIL import Image

from ..evaluation import LocalizationEvaluator, View
from ..evaluation.analysis import boxes_at, error_causes
from ..evaluation.records import LocalizationRecord
from .drawing import contact_sheet, draw_localization, object_texts
from .localizer import Localizer


def draw_predictions(
    model, processor, dataset: Dataset, count: int = 24, threshold: float | None = None
) -> Image.Image:
    """`count` images, spread over the dataset, with map, predicted (green) and ground-truth boxes (red).

    What a user of the processor gets: its own view and, if none is given, its own threshold.
    """
    localizer, pictures = Localizer(model, processor), []
    for index in np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int)):
        row = dataset[int(index)]
        image = row["image"]
        (outputs,) = localizer.localize_each([localizer.prepare(image)])
        objects, found = localizer.find(outputs, (image.height, image.width), threshold, return_localization_maps=True)
        localization_map, boxes = found["localization_map"].numpy(), found["boxes"].tolist()
        pictures.append(draw_localization(image, localization_map, boxes, object_texts(objects), row["boxes"]))
    return contact_sheet(pictures, columns=6)


def draw_record(
    record: LocalizationRecord, boxes: np.ndarray, view: View, row: dict[str, Any], **style: float
) -> Image.Image:
    """An image as it was measured: map, predicted boxes (green) and ground-truth boxes (red).

    Args:
        boxes: (n, 4), pixels of the view.
        row: of the dataset that was evaluated.
        style: as `draw_localization` takes it.
    """
    size = row["image"].height, row["image"].width
    view_map = view.array_to_image(record["preview"] / np.float32(255), size)
    predicted = view.to_image(boxes, size).reshape(-1, 4)
    return draw_localization(row["image"], view_map, predicted.tolist(), ground_truth_boxes=row["boxes"], **style)


def draw_worst(evaluator: LocalizationEvaluator, threshold: float, dataset: Dataset, count: int = 24) -> Image.Image:
    """The images with the least overlap, worst first, as the records have them: no model runs.

    Under each stand its overlap, the cause of the error and, where it is wrong, the predicted class.
    """
    names = dataset.features["label"].names
    rows = {image_id: index for index, image_id in enumerate(dataset["image_id"])}
    overlaps, boxes = evaluator.iou(threshold), boxes_at(evaluator, threshold)
    causes = error_causes(evaluator, threshold, of="gt_known_loc")
    records, pictures, captions = evaluator.records, [], []
    for index in np.argsort(overlaps, kind="stable")[:count].tolist():
        record = records[index]
        row = dataset[rows[record["image_id"]]]
        pictures.append(draw_record(record, boxes[index], evaluator.view, row))
        wrong = [] if record["top5"][0] == record["label"] else [f"as {names[record['top5'][0]]}"]
        captions.append(", ".join([f"IoU {overlaps[index]:.2f}", causes[index] or "correct", *wrong]))
    return contact_sheet(pictures, columns=6, captions=captions)
