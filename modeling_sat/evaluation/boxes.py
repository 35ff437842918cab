"""Boxes from maps, and how much two boxes overlap. Boxes are [x_min, y_min, x_max, y_max] in pixels of the view."""

import cv2
import numpy as np


def check_boxes(boxes: np.ndarray) -> np.ndarray:
    """Boxes of a user as float64 (n, 4).

    Raises:
        ValueError: another shape, or numbers that are not finite.
    """
    try:
        boxes = np.asarray(boxes, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"its boxes are {boxes!r}; expected (n, 4) numbers [x_min, y_min, x_max, y_max].") from error
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(
            f"its boxes have shape {boxes.shape}; expected (n, 4) finite numbers [x_min, y_min, x_max, y_max]."
        )
    bad = ~np.isfinite(boxes).all(axis=1)
    if bad.any():
        raise ValueError(
            f"its boxes hold {boxes[bad][0].tolist()}; expected finite numbers [x_min, y_min, x_max, y_max]. Correct or "
            "drop the box."
        )
    return boxes


def box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union, counting both ends of every side (the `+1` that both published evaluators use).

    SAT utils/accuracy.py:4-14 and wsolevaluation evaluation.py:48-94 compute the same number. A side of length
    `x_max - x_min + 1` that is zero or negative (an inverted box) gives an empty intersection; where the union is not
    positive either, the result is 0 (evaluation.py:88-92; in SAT's evaluator such a pair never wins either).

    Args:
        boxes: (n, 4).
        others: (m, 4).

    Returns:
        float64 (n, m) in [0, 1].
    """
    intersection = box_intersections(boxes, others)
    union = box_areas(boxes)[:, None] + box_areas(others) - intersection
    return np.divide(intersection, union, out=np.zeros_like(intersection), where=union > 0)


def box_intersections(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Pixels that boxes (n, 4) and (m, 4) share, counted as in `box_iou`: float64 (n, m)."""
    a = np.asarray(boxes, dtype=np.float64)[:, None]  # (n, 1, 4)
    b = np.asarray(others, dtype=np.float64)[None]  # (1, m, 4)
    shared = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2]) + 1
    return shared.clip(min=0).prod(axis=-1)


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """Pixels of boxes (n, 4), counted as in `box_iou`; of an inverted box, what the formula gives: float64 (n,)."""
    boxes = np.asarray(boxes, dtype=np.float64)
    return (boxes[:, 2:] - boxes[:, :2] + 1).prod(axis=-1)


def _extents(view_map: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Half-open (T, 4) box around all pixels above each threshold; meaningless where there is none."""

    def ends(profile: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        above = profile[None] > thresholds[:, None]  # (T, length)
        return above.argmax(axis=1), profile.size - above[:, ::-1].argmax(axis=1)

    top, bottom = ends(view_map.max(axis=1))
    left, right = ends(view_map.max(axis=0))
    return np.stack([left, top, right, bottom], axis=1)


def largest_component_boxes(view_map: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Half-open box of the largest 8-connected component of `view_map > threshold`, for every threshold.

    The component with most pixels; among equals the one met first in reading order. The whole view where no pixel is
    above the threshold. As SAT evaluator.py:58-71 and utils/func.py:7-19.

    Args:
        view_map: float (H, W), no NaN.
        thresholds: (T,); compared in the precision of the map, as `float32 map > python float` is.

    Returns:
        int64 (T, 4).
    """
    thresholds = np.asarray(thresholds).astype(view_map.dtype)
    height, width = view_map.shape
    boxes = _extents(view_map, thresholds)
    occupied = view_map.max() > thresholds
    boxes[~occupied] = (0, 0, width, height)
    for index in np.flatnonzero(occupied):
        left, top, right, bottom = boxes[index]
        above = (view_map[top:bottom, left:right] > thresholds[index]).view(np.uint8)
        count, labels = cv2.connectedComponents(above, connectivity=8)
        if count == 2:  # the background and one component: its box is the extent
            continue
        pixels = np.bincount(labels.ravel())[1:]
        largest = 1 + np.flatnonzero(pixels == pixels.max())
        if largest.size > 1:  # OpenCV numbers components by 2x2 blocks, not in reading order
            largest = labels.flat[np.isin(labels, largest).argmax()]
        component = np.equal(labels, largest).astype(np.uint8)
        x, y, w, h = cv2.boundingRect(component)
        boxes[index] = (left + x, top + y, left + x + w, top + y + h)
    return boxes


def contour_boxes(gray: np.ndarray, levels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes of all contours of `gray > level`, for every level: outer contours and holes (cv2.RETR_TREE).

    As wsolevaluation evaluation.py:141-172: a box is (x, y, min(x + w, W - 1), min(y + h, H - 1)), and [0, 0, 0, 0]
    stands where there is no contour.

    Args:
        gray: uint8 (H, W).
        levels: int (L,).

    Returns:
        boxes: int64 (M, 4) of all levels, one level after the other, M >= L.
        starts: int64 (L,) index in `boxes` of the first contour of each level.
        largest: int64 (L,) index in `boxes` of the contour with the largest `cv2.contourArea` (the first of equals).
    """
    levels = np.asarray(levels)
    height, width = gray.shape
    extents = _extents(gray, levels)
    occupied = gray.max() > levels
    extents[~occupied] = 0
    rectangles, starts, largest = [], [], []  # rectangles are (x, y, w, h) inside the extent of their level
    for level, extent, any_pixel in zip(levels.tolist(), extents.tolist(), occupied.tolist()):
        starts.append(len(rectangles))
        largest.append(len(rectangles))
        left, top, right, bottom = extent
        contours = ()
        if any_pixel:
            above = cv2.threshold(gray[top:bottom, left:right], level, 1, cv2.THRESH_BINARY)[1]
            contours = cv2.findContours(above, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        if len(contours) < 2:  # nothing, or one component without holes: its box is the extent
            rectangles.append((0, 0, right - left, bottom - top))
            continue
        largest[-1] += int(np.argmax([cv2.contourArea(contour) for contour in contours]))
        rectangles.extend(map(cv2.boundingRect, contours))
    boxes = np.array(rectangles)
    boxes[:, 2:] += boxes[:, :2]
    boxes += np.tile(np.repeat(extents[:, :2], np.diff(starts, append=len(boxes)), axis=0), 2)
    boxes = np.minimum(boxes, [width - 1, height - 1, width - 1, height - 1])
    return boxes, np.array(starts), np.array(largest)
