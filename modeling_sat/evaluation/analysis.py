"""What the paper's figures show, from saved records: where boxes lie, how large objects are, why an image fails."""

from collections.abc import Sequence

import numpy as np

from .boxes import box_areas, box_intersections, box_iou
from .evaluator import LocalizationEvaluator
from .pixels import pixel_bin_edges
from .records import IOU_THRESHOLDS, LocalizationRecord, box_accuracy_curves


CORRECT = 0.5
"""Overlap from which a box counts as correct (GT-known Loc)."""

ERROR_CAUSES = ("classification", "multiple instances", "part", "more", "other")


def boxes_at(evaluator: LocalizationEvaluator, threshold: float) -> np.ndarray:
    """The one box of every image at `threshold`, one of the sweep: int64 (N, 4), pixels of the view."""
    index = evaluator.threshold_index(threshold)
    run_ends = (np.cumsum(record["repeats"]) for record in evaluator.records)
    runs = (np.searchsorted(ends, index, side="right") for ends in run_ends)
    return np.array([record["boxes"][run] for record, run in zip(evaluator.records, runs)], np.int64)


def median_of_correct(iou: np.ndarray) -> float | None:
    """Median overlap of the correct boxes (the paper's Fig. 5), None if no box is correct."""
    correct = iou[iou >= CORRECT]
    return float(np.median(correct)) if correct.size else None


def accuracy_by_threshold(evaluator: LocalizationEvaluator) -> np.ndarray:
    """GT-known Loc at every threshold of the sweep (Fig. 7): float64 (T,)."""
    return box_accuracy_curves(evaluator.records, evaluator.thresholds.size)[0][IOU_THRESHOLDS.index(CORRECT)]


def sizes_and_overlaps(evaluator: LocalizationEvaluator, threshold: float) -> tuple[np.ndarray, np.ndarray, str]:
    """How large each object is and how well it is found (Fig. 6).

    Returns:
        sizes: float64 (N,), the object's share of the view in [0, 1].
        overlaps: float64 (N,), IoU in [0, 1].
        kind: "mask" if all images have one, as in the paper: the object's pixels without the ignored ones, against
            all pixels of the map at or above `threshold`. Otherwise "box": the closest ground-truth box.
    """
    records = evaluator.records
    if all(record["foreground"] is not None and record["foreground"].any() for record in records):
        edge = np.searchsorted(pixel_bin_edges(evaluator.pixel_thresholds), threshold - 1e-9)
        foreground = np.array([(record["foreground"][edge:].sum(), record["foreground"].sum()) for record in records])
        background = np.array([(record["background"][edge:].sum(), record["background"].sum()) for record in records])
        sizes = foreground[:, 1] / (foreground[:, 1] + background[:, 1])
        return sizes, foreground[:, 0] / (foreground[:, 1] + background[:, 0]), "mask"
    boxes = boxes_at(evaluator, threshold)
    closest = [record["ground_truth"][_closest(box, record)] for box, record in zip(boxes, records)]
    sizes = box_areas(np.array(closest)).clip(min=0) / np.prod(evaluator.view.size)
    return sizes, evaluator.iou(threshold), "box"


def error_causes(evaluator: LocalizationEvaluator, threshold: float, of: str = "top1_loc") -> list[str | None]:
    """Why each image fails, one of `ERROR_CAUSES`; None where it does not.

    TS-CAM's order and limits (vasgaowei/TS-CAM @25aece4, `lib/cams_deit.py:304-346`), with IoG the intersection over
    the ground-truth box and IoP over the predicted one; an overlap of exactly 0.5 is correct here, as in GT-known Loc:

    1. classification: the class is wrong, wherever the box is;
    2. (correct: overlap >= 0.5)
    3. multiple instances: several ground-truth boxes have IoG > 0.3;
    4. part: IoP > 0.5 with the closest ground-truth box;
    5. more: IoG >= 0.7 with it;
    6. other.

    Args:
        of: "top1_loc"; or "gt_known_loc", which asks for no class and so leaves out the first cause.
    """
    if of not in ("top1_loc", "gt_known_loc"):
        raise ValueError(f"of is {of!r}; choose 'top1_loc' or 'gt_known_loc'.")
    boxes, overlaps = boxes_at(evaluator, threshold), evaluator.iou(threshold)
    causes = []
    for record, box, overlap in zip(evaluator.records, boxes, overlaps):
        wrong_class = of == "top1_loc" and record["top5"] is not None and record["top5"][0] != record["label"]
        causes.append(_cause(record, box, overlap, wrong_class))
    return causes


def _cause(record: LocalizationRecord, box: np.ndarray, overlap: float, wrong_class: bool) -> str | None:
    if wrong_class:
        return "classification"
    if overlap >= CORRECT:
        return None
    shared = box_intersections(box[None], record["ground_truth"])[0]
    areas = box_areas(record["ground_truth"])
    over_ground_truth = np.divide(shared, areas, out=np.zeros_like(shared), where=areas > 0)
    closest = _closest(box, record)
    if (over_ground_truth > 0.3).sum() > 1:
        return "multiple instances"
    if shared[closest] / box_areas(box[None])[0] > 0.5:
        return "part"
    return "more" if over_ground_truth[closest] >= 0.7 else "other"


def count_causes(causes: Sequence[str | None]) -> dict[str, float]:
    """Fraction of all images that fail for each of `ERROR_CAUSES`."""
    return {cause: causes.count(cause) / len(causes) for cause in ERROR_CAUSES}


def _closest(box: np.ndarray, record: LocalizationRecord) -> int:
    """Index of the ground-truth box with the greatest overlap."""
    return int(box_iou(box[None], record["ground_truth"])[0].argmax())
