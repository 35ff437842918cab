"""From a localization map to boxes and masks: pure functions on arrays, and the geometry of a view.

Maps are float, 1 = foreground. Masks are bool. Boxes are `[x_min, y_min, x_max, y_max]`, half-open.
"""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class View:
    """What the model sees of an image: the image squashed to `resize`, then the centre `crop` of it.

    The default is the view of the SAT authors (`DataLoader/CUB_200_2011.py:57-62`); `View((224, 224), crop=None)` is
    the whole image, the view of Choe et al. 2020 (wsolevaluation `data_loaders.py:206-211`).

    Args:
        resize: (height, width) in pixels to which every image is squashed.
        crop: (height, width) of the centre crop, or `None` for all of the squashed image.

    Raises:
        ValueError: sizes that are not two positive whole numbers, or a crop larger than the resized image.

    Example:

    ```python
    >>> view = View(resize=(256, 256), crop=(224, 224))
    >>> view.offset
    (16, 16)
    >>> view.to_image([[0, 0, 224, 224]], image_size=(512, 1024)).tolist()
    [[64.0, 32.0, 960.0, 480.0]]

    ```
    """

    resize: tuple[int, int] = (256, 256)
    crop: tuple[int, int] | None = (224, 224)

    def __post_init__(self):
        object.__setattr__(self, "resize", _checked_size("resize", self.resize))
        if self.crop is None:
            return
        object.__setattr__(self, "crop", _checked_size("crop", self.crop))
        if self.crop[0] > self.resize[0] or self.crop[1] > self.resize[1]:
            raise ValueError(
                f"crop {self.crop} is larger than the resized image {self.resize}; "
                "give a smaller crop, or crop=None for the whole image."
            )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of what the model sees."""
        return self.crop or self.resize

    @property
    def offset(self) -> tuple[int, int]:
        """(top, left) of the crop in the squashed image, rounded down as the SAT authors do for their boxes."""
        return (self.resize[0] - self.size[0]) // 2, (self.resize[1] - self.size[1]) // 2

    def to_image(self, boxes: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """Takes boxes (n, 4) from pixels of the view to pixels of the image of (height, width) `image_size`."""
        top, left = self.offset
        scale = np.array([image_size[1] / self.resize[1], image_size[0] / self.resize[0]] * 2)
        return (np.asarray(boxes, np.float64).reshape(-1, 4) + [left, top, left, top]) * scale

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask (height, width) of the original image seen through the view, by nearest neighbour.

        As wsolevaluation resizes masks (`evaluation.py:263-273`); the values stay what they are.
        """
        resized = cv2.resize(np.asarray(mask, np.uint8), self.resize[::-1], interpolation=cv2.INTER_NEAREST)
        top, left = self.offset
        return resized[top : top + self.size[0], left : left + self.size[1]]

    def array_to_image(self, array: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
        """Resizes a float array (height, width) over the view bilinearly to `image_size`, 0 outside the crop."""
        height, width = image_size
        left, top, right, bottom = np.rint(self.to_image([[0, 0, *self.size[::-1]]], image_size)[0]).astype(int)
        canvas = np.zeros((height, width), np.float32)
        canvas[top:bottom, left:right] = resize_map(array, (bottom - top, right - left))
        return canvas


def same_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether one size in pixels is the other one scaled, but for a pixel of rounding."""
    return abs(first[0] * second[1] - first[1] * second[0]) <= max(*first, *second)


def _checked_size(name: str, size) -> tuple[int, int]:
    try:
        height, width = size
        valid = int(height) == height and int(width) == width and height > 0 and width > 0
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(f"{name} is {size!r}; expected (height, width), two positive whole numbers of pixels.")
    return int(height), int(width)


def not_finite(**outputs: np.ndarray) -> str | None:
    """What of a model's outputs for an image is NaN or infinite, in a sentence; None if nothing is."""
    for name, values in outputs.items():
        bad = np.size(values) - np.count_nonzero(np.isfinite(values))
        if bad:
            return (
                f"{bad} of the {np.size(values)} numbers of its {name.replace('_', ' ')} are NaN or infinite. The weights, "
                "or a precision that cannot hold them (as fp16), are the likely cause: check the checkpoint, or take "
                "bf16 or float32."
            )
    return None


def normalize_map(localization_map: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """Min-max normalization of a map (height, width) to [0, 1]; a constant map becomes 0 (authors' `utils/func.py:45`)."""
    lowest, highest = localization_map.min(), localization_map.max()
    return (localization_map - lowest) / (highest - lowest + eps)


def resize_map(localization_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinear resize of a map to (height, width) `size`."""
    return cv2.resize(np.ascontiguousarray(localization_map, np.float32), size[::-1], interpolation=cv2.INTER_LINEAR)


def map_to_boxes(
    localization_map: np.ndarray, threshold: float, size: tuple[int, int], multiple_objects: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The objects of one localization map.

    The map is min-max normalized at its own resolution, resized to the view, binarized by a strict `>`, and split
    into 8-connected components, as in the authors' evaluator (`evaluator.py:58-72`).

    Args:
        localization_map: (h, w) float, any range.
        threshold: in [0, 1], on the normalized map.
        size: (height, width) of the view in pixels.
        multiple_objects: every component of at least one patch of the map, the largest first, instead of the
            largest one alone.

    Returns:
        boxes (n, 4) int, pixels of the view, and masks (n, height, width) bool. n >= 1: where nothing is above the
        threshold, the one object is the whole view.
    """
    foreground = resize_map(normalize_map(localization_map), size) > threshold
    count, components, stats, _ = cv2.connectedComponentsWithStats(foreground.astype(np.uint8), connectivity=8)
    if count == 1:
        return np.array([[0, 0, size[1], size[0]]]), np.ones((1, *size), bool)
    stats = stats[1:]
    # Of equally large components the first in reading order, as in the authors' code; OpenCV numbers by 2×2 blocks.
    first_pixels = np.unique(components, return_index=True)[1][1:]
    order = np.lexsort((first_pixels, -stats[:, cv2.CC_STAT_AREA]))
    if multiple_objects:
        patch_area = size[0] * size[1] / localization_map.size
        order = order[: max(1, int((stats[:, cv2.CC_STAT_AREA] >= patch_area).sum()))]
    else:
        order = order[:1]
    x, y, width, height = stats[order, :4].T
    return np.stack([x, y, x + width, y + height], axis=1), components == (order + 1)[:, None, None]
