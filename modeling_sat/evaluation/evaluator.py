"""The evaluator: maps in, records kept, metrics out. It knows no model and no dataset reader."""

import warnings
from collections.abc import Iterable, Sequence

import numpy as np

from ..models.localization_sat import View, same_shape
from .boxes import check_boxes
from .pixels import check_mask, pixel_bin_edges
from .protocols import check_map, get_protocol
from .records import (
    IOU_THRESHOLDS,
    LocalizationRecord,
    box_accuracy_curves,
    class_is_in_top,
    classification_metrics,
    make_record,
    peak_iou_bin,
    pooled_pixel_metrics,
    sweep_iou,
)


CLASSIFICATION_METRICS = ("top1_cls", "top5_cls")
BOX_METRICS = (
    "gt_known_loc", "top1_loc", "top5_loc", "box_acc_30", "box_acc_50", "box_acc_70", "max_box_acc", "max_box_acc_v2",
)  # fmt: skip
PIXEL_METRICS = ("pxap", "piou")
"""What `LocalizationEvaluator.compute` gives of images with classes, with boxes, with masks."""
PREDICTED_CLASS_METRICS = ("gt_known_loc_predicted_class", "max_box_acc_predicted_class")
"""With boxes, of maps that are of a class."""
PIXEL_THRESHOLDS = np.arange(0, 1, 0.001)
"""Thresholds of PxAP and pIoU when none are given, under both protocols (wsolevaluation evaluation.py:399)."""


def check_thresholds(thresholds: Sequence[float]) -> np.ndarray:
    """`thresholds` as float64 (T,).

    Raises:
        ValueError: not an ascending, non-empty list of numbers in [0, 1].
    """
    array = np.asarray(thresholds, dtype=np.float64)
    ascending = array.ndim == 1 and array.size > 0 and (np.diff(array) > 0).all()
    if not (ascending and array[0] >= 0 and array[-1] <= 1):
        raise ValueError(f"thresholds are {thresholds!r}; expected an ascending, non-empty list of numbers in [0, 1].")
    return array


class LocalizationEvaluator:
    """Reduces localization maps to per-image records as they come, and records to metrics.

    The memory it needs grows by a record per image (0.5 to 3 kB without masks, some 4 kB more with), not by a map.

    Args:
        protocol: "sat" or "wsolevaluation", see `protocols.py`.
        view: what the model saw of each image.
        thresholds: ascending, in [0, 1]; the sweep of boxes. None: the protocol's own (`sat` 0.05 ... 0.95 by 0.05,
            `wsolevaluation` 0 ... 0.999 by 0.001).
        pixel_thresholds: the same for pixel metrics. None: as `thresholds`, or `PIXEL_THRESHOLDS` if they are None.

    Attributes:
        records: list of `LocalizationRecord`, one per image.
        thresholds: float64 (T,), the sweep.

    Raises:
        ValueError: an unknown protocol, or thresholds that are not ascending in [0, 1].
    """

    def __init__(
        self,
        protocol: str = "sat",
        view: View | None = None,
        thresholds: Sequence[float] | None = None,
        pixel_thresholds: Sequence[float] | None = None,
    ):
        self.protocol = get_protocol(protocol)
        self.view = View() if view is None else view
        self.thresholds = check_thresholds(self.protocol.default_thresholds if thresholds is None else thresholds)
        if pixel_thresholds is None:
            pixel_thresholds = PIXEL_THRESHOLDS if thresholds is None else thresholds
        self.pixel_thresholds = check_thresholds(pixel_thresholds)
        self._records: dict[str, LocalizationRecord] = {}

    @property
    def records(self) -> list[LocalizationRecord]:
        return list(self._records.values())

    def update(
        self,
        image_ids: Sequence[str],
        localization_maps: Sequence[np.ndarray] | np.ndarray,
        top5: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        boxes: Sequence[np.ndarray] | None = None,
        sizes: Sequence[tuple[int, int]] | None = None,
        masks: Sequence[np.ndarray | None] | None = None,
        predicted_class_maps: Sequence[np.ndarray] | np.ndarray | None = None,
    ) -> None:
        """Add a batch of B images. An image that is already there is skipped (samplers repeat images to fill a batch).

        Args:
            image_ids: B unique names.
            localization_maps: B float maps (h, w) of any size, high on the object; the protocol normalizes them.
            top5: int (B, K), predicted classes, best first; K up to 5 is used. None: no classification metrics.
            labels: int (B,), ground-truth classes; needed with `top5`.
            boxes: B arrays (n, 4), `[x_min, y_min, x_max, y_max]` in pixels of the original image, half-open. Both
                protocols scale these numbers as they are and take the result as inclusive, as their code does with
                the numbers of CUB's and ImageNet's files. None: no box metrics.
            sizes: B (height, width) of the original images; needed with `boxes` and `masks`.
            masks: B uint8 (H, W), 0 background, 1 object, 255 ignore, of the original size or that one scaled; None
                where there is none.
            predicted_class_maps: B maps of the predicted class, as `localization_maps`, where those are of the true
                class. None: no `PREDICTED_CLASS_METRICS`.

        Raises:
            ValueError: lists of different lengths, or an image (which is named) without boxes and mask, with a map, boxes
                or a mask that are not finite, with boxes or a map that the protocol rejects, with a mask of another
                shape, or repeated with other ground truth.
        """
        count = len(image_ids)
        columns = {"localization_maps": localization_maps, "top5": top5, "labels": labels}
        columns |= {"boxes": boxes, "sizes": sizes, "masks": masks, "predicted_class_maps": predicted_class_maps}
        for name, column in columns.items():
            if column is not None and len(column) != count:
                raise ValueError(f"{name} has {len(column)} entries for {count} image_ids; expected one per image.")
        if (boxes is not None or masks is not None) and sizes is None:
            raise ValueError("boxes or masks came without sizes; give the (height, width) of every original image.")
        if (top5 is None) != (labels is None):
            raise ValueError("top5 and labels belong together; give both, or neither.")
        for index, image_id in enumerate(image_ids):
            row = {name: None if column is None else column[index] for name, column in columns.items()}
            try:
                record = self._record(image_id, boxes_expected=boxes is not None, **row)
            except ValueError as error:
                raise ValueError(f"Image {image_id!r}: {error}") from error
            self._add(record)

    def _record(
        self, image_id, *, boxes_expected, localization_maps, top5, labels, boxes, sizes, masks, predicted_class_maps
    ):
        localization_map, predicted_class_map = check_map(localization_maps), None
        if predicted_class_maps is not None:
            predicted_class_map = self.protocol.view_map(check_map(predicted_class_maps), self.view.size)
        size = None if sizes is None else _check_size(sizes)
        ground_truth = mask = None
        if masks is not None:
            shape = np.shape(masks)
            is_scaled = len(shape) == 2 and same_shape(shape, size)
            mask = self.view.mask(check_mask(masks, shape if is_scaled else size))
        if boxes is not None and len(boxes):
            ground_truth = self.protocol.ground_truth(check_boxes(boxes), size, self.view)
        elif boxes_expected and mask is None:
            raise ValueError(
                "it has no ground-truth box and no mask. Leave it out, or give boxes=None for all images."
            )
        return make_record(
            self.protocol,
            self.thresholds,
            self.protocol.view_map(localization_map, self.view.size),
            predicted_class_map=predicted_class_map,
            image_id=image_id,
            ground_truth=ground_truth,
            mask=mask,
            pixel_thresholds=self.pixel_thresholds,
            label=None if labels is None else int(labels),
            top5=None if top5 is None else np.asarray(top5).ravel()[:5],
            image_size=size,
            map_problem="constant" if localization_map.min() == localization_map.max() else None,
        )

    def extend(self, records: Iterable[LocalizationRecord]) -> None:
        """Add records of other processes or of a saved run; an image that is already there is not counted twice.

        Raises:
            ValueError: a record of another protocol, view or sweep, of a known image with other ground truth, or of a map
                that was not finite, as earlier versions made them.
        """
        for record in records:
            image_id, sweep = record["image_id"], record["repeats"]
            if record["map_problem"] == "not finite":
                raise ValueError(
                    f"Image {image_id!r}: its map was not finite when it was recorded, so its record cannot be scored. "
                    "Check the model's weights and precision, and evaluate it again."
                )
            came = (record["protocol"], record["view_size"], None if sweep is None else int(sweep.sum()))
            expected = (self.protocol.name, self.view.size, None if sweep is None else self.thresholds.size)
            if came != expected:
                raise ValueError(
                    f"Image {image_id!r}: the record has (protocol, view size, number of thresholds) {came}, "
                    f"this evaluator {expected}. Make both with the same settings."
                )
            self._add(record)

    def _add(self, record: LocalizationRecord) -> None:
        known = self._records.setdefault(record["image_id"], record)
        if known is record:
            return
        same_boxes = np.array_equal(known["ground_truth"], record["ground_truth"])
        if known["label"] != record["label"] or not same_boxes:
            raise ValueError(
                f"Image {record['image_id']!r} came twice with different ground truth; image_ids must be unique."
            )

    def select_threshold(self) -> float:
        """The threshold of the sweep with the best GT-known Loc or, of images with masks alone, with the peak pIoU.

        Neighbouring thresholds often tie. The longest run of best thresholds is taken (the first of equal runs), and
        its middle (the lower of two), the value with most room for change on both sides.

        Raises:
            ValueError: no records, or an image without ground-truth boxes among others with them.
        """
        self._require_records()
        if not self._on_all("ground_truth", "ground-truth boxes") and any(
            record["foreground"] is not None for record in self.records
        ):
            return float(pixel_bin_edges(self.pixel_thresholds)[peak_iou_bin(self.records)])
        self._require_boxes()
        accuracy = box_accuracy_curves(self._records.values(), self.thresholds.size)[0][IOU_THRESHOLDS.index(0.5)]
        edges = np.diff(np.concatenate([[0], accuracy == accuracy.max(), [0]]))
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        longest = np.argmax(ends - starts)
        return float(self.thresholds[(starts[longest] + ends[longest] - 1) // 2])

    def compute(self, threshold: float | None) -> dict[str, float]:
        """All metrics that the ground truth allows, as fractions in [0, 1].

        - with classes: `top1_cls`, `top5_cls`;
        - with boxes, at `threshold`: `gt_known_loc` (overlap >= 0.5), `top1_loc`, `top5_loc` (and the class among the
          best 1, 5), `box_acc_30`, `box_acc_50`, `box_acc_70`, of the one box of the protocol;
        - with boxes, over the sweep: `max_box_acc` (maximum over thresholds of the accuracy at 0.5 of the one box) and
          `max_box_acc_v2` (mean over 0.3, 0.5, 0.7 of the maximum, each at its own threshold; under `wsolevaluation`
          of the best of all contours, under `sat` of the same one box, as that protocol predicts one);
        - with boxes and maps of the predicted class: `gt_known_loc_predicted_class` and `max_box_acc_predicted_class`, the
          same as without the suffix, of the one box of that map, whether the class is right or not. What the authors of
          SCM print as GT-Known is the latter (164140757/SCM @be5bdfa, `tools_cam/test_cam.py:196-215, 386-401`);
        - with masks: `pxap`, `piou`, pooled over all pixels.

        What the authors of SAT print as MaxBoxAccV2 is the mean of `box_acc_30`, `_50`, `_70`: one shared threshold.

        Args:
            threshold: one of `thresholds`. None: leave out what depends on it.

        Raises:
            ValueError: no records, a threshold outside the sweep, or ground truth on some images only.
        """
        self._require_records()
        records = self.records
        self._warn_of_problems(records)
        metrics = {}
        has_classes = self._on_all("top5", "predicted classes")
        if has_classes:
            metrics |= classification_metrics(records)
        if self._on_all("ground_truth", "ground-truth boxes"):
            if threshold is not None:
                overlap = self.iou(threshold)
                metrics["gt_known_loc"] = float(np.mean(overlap >= 0.5))
                for k in (1, 5) if has_classes else ():
                    right_class = np.array([class_is_in_top(record, k) for record in records])
                    metrics[f"top{k}_loc"] = float(np.mean((overlap >= 0.5) & right_class))
                metrics |= {
                    f"box_acc_{round(100 * level)}": float(np.mean(overlap >= level)) for level in IOU_THRESHOLDS
                }
            one, best = box_accuracy_curves(records, self.thresholds.size)
            metrics["max_box_acc"] = float(one[IOU_THRESHOLDS.index(0.5)].max())
            metrics["max_box_acc_v2"] = float(best.max(axis=1).mean())
            if self._on_all("predicted_class_boxes", "map of the predicted class"):
                hits = np.mean([sweep_iou(record, of="predicted_class_boxes") >= 0.5 for record in records], axis=0)
                if threshold is not None:
                    metrics["gt_known_loc_predicted_class"] = float(hits[self.threshold_index(threshold)])
                metrics["max_box_acc_predicted_class"] = float(hits.max())
        if any(record["foreground"] is not None for record in records):
            metrics |= pooled_pixel_metrics(records)
        return metrics

    def iou(self, threshold: float) -> np.ndarray:
        """Overlap of the one box at `threshold` with its closest ground truth: float64 (N,), in `records` order."""
        self._require_boxes()
        index = self.threshold_index(threshold)
        return np.array([sweep_iou(record)[index] for record in self._records.values()])

    def threshold_index(self, threshold: float) -> int:
        """Where `threshold` stands in the sweep.

        Raises:
            ValueError: it is not in the sweep.
        """
        distance = np.abs(self.thresholds - threshold)
        index = int(distance.argmin())
        if not distance[index] < 1e-9:
            raise ValueError(
                f"threshold {threshold} is not in the sweep of {self.thresholds.size} thresholds from "
                f"{self.thresholds[0]:g} to {self.thresholds[-1]:g}; the nearest is {self.thresholds[index]:g}. "
                f"Construct the evaluator with thresholds that include {threshold}."
            )
        return index

    def _require_records(self) -> None:
        if not self._records:
            raise ValueError("There is no image to evaluate: call update(...) or extend(...) first.")

    def _require_boxes(self) -> None:
        self._require_records()
        if not self._on_all("ground_truth", "ground-truth boxes"):
            raise ValueError("No image has a ground-truth box; give `boxes` to update(...).")

    def _on_all(self, key: str, words: str) -> bool:
        """Whether `key` is known of all records, False if of none."""
        missing = [image_id for image_id, record in self._records.items() if record[key] is None]
        if 0 < len(missing) < len(self._records):
            raise ValueError(
                f"{len(missing)} of {len(self._records)} images have no {words}, image {missing[0]!r} first; "
                "evaluate them apart from the others."
            )
        return not missing

    def _warn_of_problems(self, records: Sequence[LocalizationRecord]) -> None:
        problems = [(record["image_id"], record["map_problem"]) for record in records if record["map_problem"]]
        if problems:
            warnings.warn(
                f"{len(problems)} of {len(records)} maps are constant, image {problems[0][0]!r} first; the "
                f"{self.protocol.name!r} protocol scores them all the same, as its code does.",
                stacklevel=3,
            )


def _check_size(size: tuple[int, int]) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in size)
    except (OverflowError, TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1:
        raise ValueError(f"its size is {size!r}; expected the (height, width) of the image, in pixels.")
    return height, width
