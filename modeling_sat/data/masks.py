"""Masks of published benchmarks: PNG files of instances and of what is to be ignored, made into one mask an image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..image_conversion_sat import open_image
from ..localization_sat import same_shape
from .examples import png_bytes


FOREGROUND, IGNORED = 1, 255


@dataclass(frozen=True)
class MaskFiles:
    """The union of instance masks, with an ignored region around it.

    As wsolevaluation reads OpenImages30k (`evaluation.py:242-295`) and DA-WSOL the masks of CUB: any value above 0
    counts, and what is both ignored and foreground is foreground.
    """

    instances: tuple[Path, ...]
    ignored: Path | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        return self.instances + (() if self.ignored is None else (self.ignored,))

    def __call__(self, image_size: tuple[int, int]) -> bytes:
        """A PNG of the masks' own size, mode L: 0 background, 1 foreground, 255 ignore.

        The files of OpenImages are smaller or larger than their image; resizing them here and again to the view would
        move edges that resizing them once leaves in place.

        Args:
            image_size: (width, height), of the same shape as the masks but for rounding.

        Raises:
            OSError, ValueError: a file is missing, no image, or of another shape than the image or another mask.
        """
        masks = [_nonzero(file) for file in self.files]
        for file, mask in zip(self.files, masks, strict=True):
            if mask.shape != masks[0].shape or not same_shape(mask.shape[::-1], image_size):
                raise ValueError(
                    f"{file.name} has {mask.shape[1]}×{mask.shape[0]} pixels, its image {image_size[0]}×{image_size[1]}"
                )
        union = np.any(masks[: len(self.instances)], axis=0)
        content = np.where(union, FOREGROUND, 0).astype(np.uint8)
        if self.ignored is not None:
            content[masks[-1] & ~union] = IGNORED
        return png_bytes(Image.fromarray(content))


def _nonzero(file: Path) -> np.ndarray:
    if not file.is_file():
        raise ValueError(f"{file.name} does not exist")
    try:
        with open_image(file) as image:
            values = np.asarray(image)
            channels = len(image.getbands()) - (image.mode in ("LA", "RGBA", "PA"))
    except SyntaxError as error:  # so Pillow calls a damaged PNG
        raise ValueError(f"{file.name}: {error}") from error
    return values[..., :channels].any(axis=-1) if values.ndim == 3 else values != 0
