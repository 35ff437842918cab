"""The two evaluation protocols in use: how each one reads a map, a ground-truth box and a threshold.

`sat`             the evaluator of the SAT authors (ICCV 2023), evaluator.py of their repository.
`wsolevaluation`  Choe et al., CVPR 2020, evaluation.py and inference.py of clovaai/wsolevaluation.

A protocol is stateless. It turns what comes into a *view map* (float, view size, in [0, 1]) and boxes in pixels of the
view; the metrics after that are the same for both (`records.py`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import cv2
import numpy as np

from ..models.localization_sat import View, normalize_map
from .boxes import box_iou, contour_boxes, largest_component_boxes


@dataclass(frozen=True)
class BoxSweep:
    """The boxes predicted for one map at every threshold of a sweep.

    Attributes:
        boxes: int (T, 4), the one box that GT-known, Top-k Loc and MaxBoxAcc score.
        best_boxes: int (T, 4), of all boxes that MaxBoxAccV2 may choose from, the one closest to the ground truth.
    """

    boxes: np.ndarray
    best_boxes: np.ndarray


class Protocol(ABC):
    """What the two protocols differ in.

    Attributes:
        name: as users write it.
        default_thresholds: float64 (T,), the sweep used when none is given.
    """

    name: str
    default_thresholds: np.ndarray

    @abstractmethod
    def view_map(self, localization_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """The normalized float (H, W) map on the view of `size`, from a raw map of any size.

        Raises:
            ValueError: a map that is not 2-D, or that the protocol rejects.
        """

    @abstractmethod
    def given_map(self, localization_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """As `view_map`, for the map that a user of this protocol hands over (the `evaluate` modules)."""

    @abstractmethod
    def ground_truth(self, boxes: np.ndarray, image_size: tuple[int, int], view: View) -> np.ndarray:
        """Boxes of the original image as this protocol writes them on the view.

        Args:
            boxes: (n, 4), pixels of the original image, the numbers of the annotation files.
            image_size: (height, width) of the original image.

        Returns:
            float64 (n, 4), whole numbers, pixels of the view.
        """

    @abstractmethod
    def sweep(self, view_map: np.ndarray, thresholds: np.ndarray, ground_truth: np.ndarray) -> BoxSweep:
        """The boxes of `view_map` at every threshold."""

    @abstractmethod
    def constant_box(self, box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
        """A half-open box on the view of `size`, written as this protocol writes a prediction."""


class SATProtocol(Protocol):
    """Min-max at map resolution, bilinear to the view, strict `>`, largest 8-connected component.

    A map without a usable range (constant, NaN or infinite values) has nothing above any threshold, and its box is the
    whole view: so it is in the authors' evaluator, where such maps score as the constant box does.
    """

    name = "sat"
    default_thresholds = np.arange(1, 20) / 20  # 0.05 ... 0.95; the authors search 0.3, 0.35, 0.4, 0.45 (train.py:71)

    def view_map(self, localization_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """utils/func.py:45-50; in the precision of the map, at least float32."""
        raw = _as_map(localization_map)
        with np.errstate(invalid="ignore", over="ignore"):
            normalized = normalize_map(raw)
        if not np.isfinite(normalized).all():  # then nothing in it is above 0
            return np.zeros(size, dtype=raw.dtype)
        return cv2.resize(normalized, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)

    given_map = view_map

    def ground_truth(self, boxes: np.ndarray, image_size: tuple[int, int], view: View) -> np.ndarray:
        """DataLoader/ILSVRC.py:27-30: scale, shift by the crop, clip, truncate.

        The top left is clipped at 0 only and the bottom right at size - 1 only, so a box outside the crop
        comes out inverted; it is kept, as there.
        """
        corners = np.asarray(boxes, dtype=np.float64).reshape(-1, 2, 2)  # (n, corner, xy)
        corners = corners / np.array(image_size[::-1]) * np.array(view.resize[::-1]) - np.array(view.offset[::-1])
        corners[:, 0] = np.maximum(corners[:, 0], 0)
        corners[:, 1] = np.minimum(corners[:, 1], np.array(view.size[::-1]) - 1)
        return np.trunc(corners).reshape(-1, 4)

    def sweep(self, view_map: np.ndarray, thresholds: np.ndarray, ground_truth: np.ndarray) -> BoxSweep:
        boxes = largest_component_boxes(view_map, thresholds)
        return BoxSweep(boxes, boxes)

    def constant_box(self, box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
        return box


class WsolEvaluationProtocol(Protocol):
    """Cubic to the view, min-max, 8 bits, contours; the largest for V1, any for V2."""

    name = "wsolevaluation"
    default_thresholds = np.arange(0, 1, 0.001)  # evaluation.py:399, 433

    def view_map(self, localization_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """inference.py:40-54, 87-89: float64, cubic resize, then min-max; a constant or NaN map becomes zeros.

        Constant is judged before the resize too: there, the rounding of the cubic resize makes most constant maps
        vary by 1e-17, and min-max makes noise of that, which depends on how OpenCV was built.

        Raises:
            ValueError: infinite values that survive the resize; their checks reject what min-max makes of them.
        """
        raw = _as_map(localization_map).astype(np.float64)
        resized = cv2.resize(raw, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
        if np.isnan(resized).any() or raw.min() == raw.max() or resized.min() == resized.max():
            return np.zeros_like(resized)
        if np.isinf(resized).any():
            raise ValueError(
                "the map has infinite values; expected finite ones. Check the model output before scoring it."
            )
        resized -= resized.min()
        return resized / resized.max()

    def given_map(self, localization_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """A map that already is what this protocol scores (util.py:47-61): view size, values in [0, 1].

        Raises:
            ValueError: another size, NaN, or values outside [0, 1].
        """
        view_map = _as_map(localization_map).astype(np.float64)
        if view_map.shape != tuple(size):
            raise ValueError(
                f"the map has shape {view_map.shape}; `wsolevaluation` expects the view size {tuple(size)}. "
                "Resize the map (cubic, then min-max) or set view_size."
            )
        if np.isnan(view_map).any():
            raise ValueError(
                "the map has NaN values; `wsolevaluation` expects numbers in [0, 1]. Check the model output."
            )
        if view_map.min() < 0 or view_map.max() > 1:
            raise ValueError(
                f"the map spans [{view_map.min():.6g}, {view_map.max():.6g}]; `wsolevaluation` expects [0, 1]. "
                "Subtract the minimum and divide by the maximum first."
            )
        return view_map

    def ground_truth(self, boxes: np.ndarray, image_size: tuple[int, int], view: View) -> np.ndarray:
        """evaluation.py:97-118: multiply, divide, truncate.

        Our extension for a cropped view, which that protocol does not have: shift by the crop and clip to it.

        Raises:
            ValueError: negative coordinates or an inverted box, which that code rejects too (util.py:96-124).
        """
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        valid = (boxes >= 0).all(axis=1) & (boxes[:, 2:] >= boxes[:, :2]).all(axis=1)
        if not valid.all():
            raise ValueError(
                f"the ground-truth box {boxes[~valid][0].tolist()} is inverted or negative; `wsolevaluation` expects "
                "0 <= x_min <= x_max and 0 <= y_min <= y_max, in original pixels. Correct or remove the box."
            )
        scaled = boxes * np.tile(view.resize[::-1], 2) / np.tile(image_size[::-1], 2)
        if view.crop is not None:
            scaled = np.clip(scaled - np.tile(view.offset[::-1], 2), 0, np.tile(view.size[::-1], 2) - 1)
        return np.trunc(scaled)

    def sweep(self, view_map: np.ndarray, thresholds: np.ndarray, ground_truth: np.ndarray) -> BoxSweep:
        """`gray > int(tau * max)`: at most 256 different images, so each is searched once."""
        gray = (view_map * 255).astype(np.uint8)
        levels, level_of_threshold = np.unique((thresholds * gray.max()).astype(int), return_inverse=True)
        boxes, starts, largest = contour_boxes(gray, levels)
        overlap = box_iou(boxes, ground_truth).max(axis=1)  # (M,)
        # the first contour with the greatest overlap of each level: sort by (level, -overlap), stable
        level_of_box = np.repeat(np.arange(levels.size), np.diff(starts, append=len(boxes)))
        best = np.lexsort((-overlap, level_of_box))[starts]
        return BoxSweep(boxes[largest][level_of_threshold], boxes[best][level_of_threshold])

    def constant_box(self, box: tuple[int, int, int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
        x_min, y_min, x_max, y_max = box
        return x_min, y_min, min(x_max, size[1] - 1), min(y_max, size[0] - 1)


PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in (SATProtocol(), WsolEvaluationProtocol())}


def get_protocol(name: str) -> Protocol:
    """The protocol called `name`.

    Raises:
        ValueError: an unknown name.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"Unknown protocol {name!r}; expected one of {sorted(PROTOCOLS)}.")
    return PROTOCOLS[name]


def check_map(localization_map: np.ndarray) -> np.ndarray:
    """A map that can be scored, as a non-empty 2-D float32 or float64 array.

    The published evaluators score a NaN map as one without any object (inference.py:40-54 of wsolevaluation), in silence.
    Whoever measures a model is to know, so what takes maps from users asks here first.

    Raises:
        ValueError: another shape or dtype, or values that are not finite or farther apart than their dtype can tell.
    """
    array = _as_map(localization_map)
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad:
        raise ValueError(
            f"the map has {bad} of {array.size} values that are NaN or infinite; expected finite numbers. Check the "
            "model's weights and precision before scoring it."
        )
    with np.errstate(over="ignore"):
        if not np.isfinite(array.max() - array.min()):
            raise ValueError(
                f"the map spans [{array.min():.3g}, {array.max():.3g}], more than {array.dtype} can tell apart; expected "
                "a map that is high on the object. Check the model's output before scoring it."
            )
    return array


def _as_map(localization_map: np.ndarray) -> np.ndarray:
    """A 2-D, non-empty float32 or float64 array."""
    array = np.asarray(localization_map)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"the map has shape {array.shape}; expected a non-empty 2-D (height, width) array.")
    if array.dtype.kind not in "fiub":
        raise ValueError(f"the map has dtype {array.dtype}; expected floating-point numbers.")
    return array.astype(np.float64 if array.dtype in (np.float64, np.int64) else np.float32, copy=False)
