"""Masks of published benchmarks, and those beside the images of a folder, made into one mask per image."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from ..models.image_conversion_sat import open_image
from ..models.localization_sat import same_shape
from .schema import png_bytes


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
        _check_shapes(self.files, masks, image_size)
        union = np.any(masks[: len(self.instances)], axis=0)
        content = np.where(union, FOREGROUND, 0).astype(np.uint8)
        if self.ignored is not None:
            content[masks[-1] & ~union] = IGNORED
        return png_bytes(Image.fromarray(content))


def _check_shapes(files: Sequence[Path], masks: Sequence[np.ndarray], image_size: tuple[int, int]) -> None:
    for file, mask in zip(files, masks, strict=True):
        if mask.shape != masks[0].shape or not same_shape(mask.shape[::-1], image_size):
            raise ValueError(
                f"{file.name} has {mask.shape[1]}×{mask.shape[0]} pixels, its image {image_size[0]}×{image_size[1]}"
            )


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


MaskKind = Literal["foreground", "trimap", "classes", "instances"]

# VOC2012 development kit, VOCcode/VOCinit.m, VOCopts.classes; a mask's values are their numbers, counted from 1.
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


@dataclass(frozen=True)
class FolderMask:
    """The mask of an image in a user's folder, as one of these kinds:

    - "foreground": one value besides 0; 255 beside 1 is left out. Edges may be soft.
    - "trimap": as of Oxford-IIIT Pet, 1 object, 2 background, 3 left out; or as of matting, 255 object, 0 background.
    - "classes": as VOC's SegmentationClass, numbers of classes, 255 left out.
    - "instances": as VOC's SegmentationObject, any number is object, 255 left out.

    Attributes:
        files: their union is the mask.
        class_name: of the image.
    """

    files: tuple[Path, ...]
    kind: MaskKind
    class_name: str

    def __call__(self, image_size: tuple[int, int]) -> bytes:
        """A PNG of the masks' own size, mode L: 0 background, 1 foreground, 255 ignore.

        Raises:
            OSError, ValueError: a file is not an image, is of another shape than the image (width, height) or another
                mask, or has values that do not tell where the object is.
        """
        masks = [self._read(file) for file in self.files]
        _check_shapes(self.files, masks, image_size)
        ignored = np.any([mask == IGNORED for mask in masks], axis=0)
        content = np.where(ignored, IGNORED, 0).astype(np.uint8)
        content[np.any([mask == FOREGROUND for mask in masks], axis=0)] = FOREGROUND
        return png_bytes(Image.fromarray(content))

    def _read(self, file: Path) -> np.ndarray:
        values, is_lossy = _values(file)
        if is_lossy:
            return (values > 127).astype(np.uint8)
        present = [int(value) for value in np.unique(values)]
        if self.kind == "trimap" and max(present) <= 3:
            return np.select([values == 1, values == 3], [FOREGROUND, IGNORED], 0)
        if self.kind == "trimap":
            return np.select([values == 255, values > 0], [FOREGROUND, IGNORED], 0)
        objects = [value for value in present if value not in (0, 255)]
        if self.kind == "instances":
            own = objects
        elif self.kind == "classes" and self.class_name.lower() in VOC_CLASSES:
            own = [VOC_CLASSES.index(self.class_name.lower()) + 1]
        elif len(objects) <= 1 and (255 not in present or objects in ([], [1]) or self.kind == "classes"):
            own = objects or [255]
        elif self.kind == "foreground" and 255 in present and _is_soft(values):
            return (values > 127).astype(np.uint8)
        else:
            own = []
        if not set(own) & set(present) and present != [0]:
            raise ValueError(
                f"{file.name} has the values {', '.join(map(str, present[:8]))}, which do not tell where its "
                f"{self.class_name} is; one value besides 0 was expected, in a folder SegmentationClass the numbers of "
                "VOC's classes, in SegmentationObject those of objects. Correct it, or move it out of the data folder"
            )
        return np.select([np.isin(values, own), values == 255], [FOREGROUND, IGNORED], 0)


def _is_soft(values: np.ndarray) -> bool:
    """Whether values between 0 and 255 are but the edges of the object."""
    return bool(np.count_nonzero((values > 0) & (values < 255)) < 0.25 * np.count_nonzero(values))


def _values(file: Path) -> tuple[np.ndarray, bool]:
    """The one number of each pixel (of colours, one made of them), and whether the format is lossy."""
    try:
        with open_image(file) as image:
            if image.format in ("JPEG", "WEBP"):
                return np.asarray(image.convert("L")), True
            values = np.asarray(image).astype(np.int64)
    except SyntaxError as error:  # so Pillow calls a damaged PNG
        raise ValueError(f"{file.name}: {error}") from error
    if values.ndim == 3:
        colours = values[..., : 1 if values.shape[-1] < 3 else 3]
        if (colours == colours[..., :1]).all():
            return colours[..., 0], False
        return colours @ np.array([1 << 16, 1 << 8, 1]), False
    return values, False
