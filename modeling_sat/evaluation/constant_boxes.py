"""What two constant boxes score: the numbers a localization result has to be read beside."""

from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np

from ..models.localization_sat import View
from .boxes import box_iou
from .protocols import get_protocol
from .records import LocalizationRecord


SCALES = np.arange(1, 21) / 20
"""Heights and widths of the centred boxes that are tried, as fractions of the view."""


class ConstantBoxes:
    """The box around the whole view and the best centred box, scored as GT-known Loc without looking at any image.

    Predicting the whole view scores 50.4 % on ImageNet with the crop of the SAT authors and 41.1 % without it.

    Args:
        view: what the model sees of each image.
        protocol: "sat" or "wsolevaluation".

    Attributes:
        center: the best centred box, in pixels of the view as the protocol writes a prediction; None before `fit`.
    """

    def __init__(self, view: View, protocol: str = "sat"):
        self.view = view
        self.protocol = get_protocol(protocol)
        self.center: tuple[int, int, int, int] | None = None

    @property
    def whole_image(self) -> tuple[int, int, int, int]:
        """The box around the whole view."""
        height, width = self.view.size
        return self.protocol.constant_box((0, 0, width, height), self.view.size)

    def fit(self, records: Iterable[LocalizationRecord]) -> "ConstantBoxes":
        """Choose the centred box with the best GT-known Loc on `records`, which should be of a validation split.

        Of equally good boxes the largest is taken.

        Raises:
            ValueError: no records, or an image without ground-truth boxes.
        """
        candidates = self._centred_boxes()
        self.center = candidates[int(_gt_known_loc(candidates, _ground_truths(records)).argmax())]
        return self

    def score(self, records: Iterable[LocalizationRecord]) -> dict[str, float]:
        """GT-known Loc of the two boxes on `records`: `{"whole_image": fraction, "center": fraction}`.

        Raises:
            ValueError: before `fit`, no records, or an image without ground-truth boxes.
        """
        if self.center is None:
            raise ValueError("The centred box is not chosen yet: call fit(...) with records of the validation split.")
        whole_image, center = _gt_known_loc([self.whole_image, self.center], _ground_truths(records))
        return {"whole_image": float(whole_image), "center": float(center)}

    def _centred_boxes(self) -> list[tuple[int, int, int, int]]:
        """All pairs of `SCALES`, largest first."""
        height, width = self.view.size
        boxes = []
        for box_height in np.rint(SCALES[::-1] * height).astype(int).tolist():
            for box_width in np.rint(SCALES[::-1] * width).astype(int).tolist():
                top, left = (height - box_height) // 2, (width - box_width) // 2
                box = (left, top, left + box_width, top + box_height)
                boxes.append(self.protocol.constant_box(box, self.view.size))
        return sorted(boxes, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]), reverse=True)


def _ground_truths(records: Iterable[LocalizationRecord]) -> list[np.ndarray]:
    ground_truths = []
    for record in records:
        if record["ground_truth"] is None:
            raise ValueError(
                f"Image {record['image_id']!r} has no ground-truth box, so no constant box can be scored on it."
            )
        ground_truths.append(record["ground_truth"])
    return ground_truths


def _gt_known_loc(candidates: Sequence[tuple[int, int, int, int]], ground_truths: Iterable[np.ndarray]) -> np.ndarray:
    """Fraction of images on which each candidate overlaps some ground-truth box by at least 0.5: (C,)."""
    hits, total = np.zeros(len(candidates), dtype=np.int64), 0
    images = iter(ground_truths)
    while chunk := list(islice(images, 1024)):
        overlap = box_iou(candidates, np.concatenate(chunk))  # (C, boxes of the chunk)
        starts = np.cumsum([0] + [len(boxes) for boxes in chunk[:-1]])
        hits += (np.maximum.reduceat(overlap, starts, axis=1) >= 0.5).sum(axis=1)
        total += len(chunk)
    if total == 0:
        raise ValueError("There is no image to score a constant box on.")
    return hits / total
