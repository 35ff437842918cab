"""Images that their EXIF orientation turns, and boxes and masks drawn on them upright or as stored."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..models.image_conversion_sat import TURNS, decode_image, open_image, orientation_turn
from ..models.localization_sat import same_shape
from .records import IN_FRACTIONS
from .schema import Box, Example, png_bytes


Size = tuple[int, int]
"""(width, height) in pixels."""

_BACK = TURNS | {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}


@dataclass(frozen=True)
class Orientation:
    """How an image file is turned for display.

    Attributes:
        number: of EXIF, 1 to 8; 1 where it says nothing.
        upright: size of the turned image.
    """

    number: int
    upright: Size

    @classmethod
    def of_header(cls, source: Path | str | bytes) -> "Orientation":
        """The orientation of an image file or its bytes; only the header is read.

        Raises:
            ImageError: it is not an image.
        """
        with open_image(source) as image:
            number = _number(image)
            # Pillow gives the size of a TIFF as it will be once turned
            swapped = number >= 5 and image.format != "TIFF"
            return cls(number, image.size[::-1] if swapped else image.size)

    @classmethod
    def of_opened(cls, file: Path, upright: Size) -> "Orientation":
        """The orientation of an intact image file whose upright size is known."""
        with open_image(file) as image:
            return cls(_number(image), upright)

    @property
    def is_turned(self) -> bool:
        return self.number != 1

    @property
    def stored(self) -> Size:
        return self.upright[::-1] if self.number >= 5 else self.upright

    def turned_box(self, box: Box) -> Box:
        """A box on the stored pixels as one on the upright image."""
        corners = [self._turned(x, y) for x, y in (box[:2], box[2:])]
        (x_min, x_max), (y_min, y_max) = (sorted(edges) for edges in zip(*corners, strict=True))
        return x_min, y_min, x_max, y_max

    def _turned(self, x: float, y: float) -> tuple[float, float]:
        width, height = self.stored
        return {
            1: (x, y), 2: (width - x, y), 3: (width - x, height - y), 4: (x, height - y), 5: (y, x),
            6: (height - y, x), 7: (height - y, width - x), 8: (y, width - x),
        }[self.number]  # fmt: skip

    def turned_mask(self, mask: bytes) -> bytes:
        """A PNG of the stored pixels as one of the upright image."""
        with open_image(mask) as opened:
            return png_bytes(opened.transpose(TURNS[self.number]) if self.is_turned else opened)

    def stored_image(self, file: Path) -> bytes:
        """A PNG, without orientation, of the pixels as the file stores them."""
        upright = decode_image(file)
        return png_bytes(upright.transpose(_BACK[self.number]) if self.is_turned else upright)


def drawn_on_stored(example: Example, orientation: Orientation, tolerance: float) -> bool | None:
    """Whether boxes and mask were drawn on the image as it is stored; None where neither shape nor place tells.

    The annotated size decides where it is known, else the size of the mask, else whether the boxes are inside.
    """
    stored, upright = orientation.stored, orientation.upright
    if stored == upright:
        return None
    size = example.annotated_size
    if size is not None and size != IN_FRACTIONS:
        return _only_one(same_shape(size, stored), same_shape(size, upright))
    if example.mask is not None:
        return _only_one(_mask_fits(example, stored), _mask_fits(example, upright))
    if size is None and example.boxes:
        return _only_one(*(all(_inside(box, each, tolerance) for box in example.boxes) for each in (stored, upright)))
    return None


def _only_one(stored: bool, upright: bool) -> bool | None:
    return stored if stored != upright else None


def _mask_fits(example: Example, size: Size) -> bool:
    try:
        mask = example.mask(size) if callable(example.mask) else example.mask
        with open_image(mask) as opened:
            return same_shape(opened.size, size)
    except (OSError, ValueError):
        return False


def _inside(box: Sequence[float], size: Size, tolerance: float) -> bool:
    return (
        min(box[:2]) >= -tolerance
        and box[2] <= size[0] + tolerance
        and box[3] <= size[1] + tolerance
        and box[0] < size[0]
        and box[1] < size[1]
    )


def _number(image: Image.Image) -> int:
    turns = {turn: number for number, turn in TURNS.items()}
    return turns.get(orientation_turn(image), 1)
