"""One small record per image, made once from its map, and the metrics reduced from many records.

A record is a plain picklable dict: it can be gathered over processes, saved, and reduced again without the model.
All boxes are in pixels of the view, as the protocol writes them.
"""

from collections.abc import Iterable, Sequence
from typing import TypedDict

import cv2
import numpy as np

from .boxes import box_iou
from .pixels import iou_over_thresholds, pixel_bin_edges, pixel_metrics, score_histograms
from .protocols import Protocol


IOU_THRESHOLDS = (0.3, 0.5, 0.7)
"""The overlaps (delta) at which a box counts as correct."""
PREVIEW_SIDE = 16
"""Pixels of a record's preview of its map, about the resolution of a ViT's map."""


class LocalizationRecord(TypedDict):
    """What is kept of one image. `ground_truth`, `label`, `top5` and the histograms are None where not given.

    Neighbouring thresholds with the same boxes are stored once: R runs, `repeats` thresholds each, T in all. So
    `np.repeat(record["boxes"], record["repeats"], axis=0)` is the (T, 4) array of boxes at every threshold.
    """

    image_id: str
    protocol: str
    image_size: tuple[int, int] | None  # (height, width) of the original image
    view_size: tuple[int, int]  # (height, width)
    label: int | None  # ground-truth class
    top5: tuple[int, ...] | None  # predicted classes, best first
    ground_truth: np.ndarray | None  # float64 (n, 4)
    boxes: np.ndarray | None  # unsigned (R, 4), the box scored by GT-known, Top-k Loc and MaxBoxAcc
    best_boxes: np.ndarray | None  # unsigned (R, 4), the box scored by MaxBoxAccV2; None: the same as `boxes`
    predicted_class_boxes: np.ndarray | None  # unsigned (R, 4), the one box of the predicted class's map
    repeats: np.ndarray | None  # unsigned (R,)
    foreground: np.ndarray | None  # unsigned (K,), histogram of the scores of object pixels
    background: np.ndarray | None  # unsigned (K,)
    map_problem: str | None  # "constant"
    preview: np.ndarray  # uint8 (h, w), the map over the view in small, for pictures


def make_record(
    protocol: Protocol,
    thresholds: np.ndarray,
    view_map: np.ndarray,
    *,
    predicted_class_map: np.ndarray | None = None,
    image_id: str,
    ground_truth: np.ndarray | None,
    mask: np.ndarray | None = None,
    pixel_thresholds: np.ndarray | None = None,
    label: int | None = None,
    top5: Sequence[int] | None = None,
    image_size: tuple[int, int] | None = None,
    map_problem: str | None = None,
) -> LocalizationRecord:
    """Reduce one view map to a record.

    Args:
        view_map: float (H, W) in [0, 1], from `Protocol.view_map` or `Protocol.given_map`.
        predicted_class_map: the same of the predicted class, where `view_map` is that of the true one.
        ground_truth: (n, 4) with n > 0, from `Protocol.ground_truth`; None where there are masks only.
        mask: uint8 (H, W) on the view.
        pixel_thresholds: (P,), the thresholds of PxAP and pIoU; needed with a mask.
    """
    record = LocalizationRecord(
        image_id=image_id,
        protocol=protocol.name,
        image_size=image_size,
        view_size=view_map.shape,
        label=label,
        top5=None if top5 is None else tuple(int(index) for index in top5),
        ground_truth=None,
        boxes=None,
        best_boxes=None,
        predicted_class_boxes=None,
        repeats=None,
        foreground=None,
        background=None,
        map_problem=map_problem,
        preview=_preview(view_map),
    )
    if ground_truth is not None:
        record["ground_truth"] = ground_truth
        sweep = protocol.sweep(view_map, thresholds, ground_truth)
        kinds = {"boxes": sweep.boxes, "best_boxes": sweep.best_boxes}
        if predicted_class_map is not None:
            kinds["predicted_class_boxes"] = protocol.sweep(predicted_class_map, thresholds, ground_truth).boxes
        boxes = np.stack(list(kinds.values()), axis=1)  # (T, 2 or 3, 4)
        starts = np.flatnonzero(np.append(True, (boxes[1:] != boxes[:-1]).any(axis=(1, 2))))
        runs = boxes[starts].astype(np.min_scalar_type(max(view_map.shape)))
        for index, kind in enumerate(kinds):
            if kind != "best_boxes" or (runs[:, index] != runs[:, 0]).any():
                record[kind] = runs[:, index].copy()
        record["repeats"] = _smallest_unsigned(np.diff(starts, append=len(boxes)))
    if mask is not None:
        histograms = score_histograms(view_map, mask, pixel_bin_edges(pixel_thresholds))
        record["foreground"], record["background"] = map(_smallest_unsigned, histograms)
    return record


def sweep_iou(record: LocalizationRecord, best: bool = False, of: str = "boxes") -> np.ndarray:
    """Overlap with the closest ground-truth box at every threshold of the sweep.

    Args:
        best: of `best_boxes` (MaxBoxAccV2) instead of `boxes`.
        of: "boxes"; or "predicted_class_boxes", where the record has them.

    Returns:
        float64 (T,) in [0, 1].
    """
    boxes = record["best_boxes"] if best and record["best_boxes"] is not None else record[of]
    return np.repeat(box_iou(boxes, record["ground_truth"]).max(axis=1), record["repeats"])


def box_accuracy_curves(records: Iterable[LocalizationRecord], num_thresholds: int) -> tuple[np.ndarray, np.ndarray]:
    """Fraction of images whose box overlaps by at least each of `IOU_THRESHOLDS`, at every threshold of the sweep.

    Returns:
        of the one box, and of the best box: float64 (3, T) each.
    """
    levels = np.array(IOU_THRESHOLDS)[:, None]
    counts = np.zeros((2, len(IOU_THRESHOLDS), num_thresholds), dtype=np.int64)
    total = 0
    for record in records:
        hits = sweep_iou(record) >= levels  # (3, T)
        counts[0] += hits
        counts[1] += hits if record["best_boxes"] is None else sweep_iou(record, best=True) >= levels
        total += 1
    return counts[0] / total, counts[1] / total


def classification_metrics(records: Sequence[LocalizationRecord]) -> dict[str, float]:
    """`top1_cls` and `top5_cls`, fractions."""
    return {f"top{k}_cls": float(np.mean([class_is_in_top(record, k) for record in records])) for k in (1, 5)}


def class_is_in_top(record: LocalizationRecord, k: int) -> bool:
    """Whether the ground-truth class is among the `k` best predicted ones."""
    return record["label"] in record["top5"][:k]


def pooled_pixel_metrics(records: Iterable[LocalizationRecord]) -> dict[str, float]:
    """`pxap` and `piou`, fractions, over the pixels of all images that have a mask."""
    return pixel_metrics(*_pooled_histograms(records))


def peak_iou_bin(records: Iterable[LocalizationRecord]) -> int:
    """The first of `pixel_bin_edges` from which on pixels count as object for the pooled IoU to be highest."""
    return int(iou_over_thresholds(*_pooled_histograms(records)).argmax())


def _pooled_histograms(records: Iterable[LocalizationRecord]) -> tuple[np.ndarray, np.ndarray]:
    with_mask = [record for record in records if record["foreground"] is not None]
    return tuple(sum(record[kind].astype(np.int64) for record in with_mask) for kind in ("foreground", "background"))


def _preview(view_map: np.ndarray) -> np.ndarray:
    size = tuple(min(PREVIEW_SIDE, side) for side in view_map.shape[::-1])
    return (cv2.resize(view_map, size, interpolation=cv2.INTER_AREA).clip(0, 1) * 255).astype(np.uint8)


def _smallest_unsigned(counts: np.ndarray) -> np.ndarray:
    return counts.astype(np.min_scalar_type(counts.max()))
