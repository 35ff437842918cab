"""The view: the resized and possibly cropped image that the model sees, and in whose pixels localization is scored."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class View:
    """Image squashed to `resize`, then cropped in the centre to `crop`. All sizes are (height, width) in pixels.

    The default is the view of the SAT authors: 256x256, centre crop 224x224 (DataLoader/CUB_200_2011.py:57-62).
    `View(resize=(224, 224), crop=None)` is the whole image, the view of Choe et al. 2020 (data_loaders.py:206-211).

    Raises:
        ValueError: sizes that are not two positive whole numbers, or a crop larger than the resized image.
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
        return self.resize if self.crop is None else self.crop

    @property
    def offset(self) -> tuple[int, int]:
        """(top, left) corner of the crop in the resized image, rounded down as the SAT authors do for their boxes."""
        return (self.resize[0] - self.size[0]) // 2, (self.resize[1] - self.size[1]) // 2

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """A mask of the original image seen through the view: nearest neighbour, wsolevaluation evaluation.py:263-273.

        Args:
            mask: uint8 or bool (H, W), original pixels.

        Returns:
            uint8 `self.size`, with the same values.
        """
        height, width = self.resize
        resized = cv2.resize(np.asarray(mask, dtype=np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        top, left = self.offset
        return resized[top : top + self.size[0], left : left + self.size[1]]


def _checked_size(name: str, size) -> tuple[int, int]:
    try:
        height, width = size
        valid = int(height) == height and int(width) == width and height > 0 and width > 0
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(f"{name} is {size!r}; expected (height, width), two positive whole numbers of pixels.")
    return int(height), int(width)
