"""Finds what is wrong with images and boxes before a training run does."""

import logging
import math
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from datasets.utils import tqdm
from PIL import Image

from ..image_conversion_sat import has_more_than_8_bits, to_upright_rgb
from .examples import Box, DatasetError, Example, Split, png_bytes


logger = logging.getLogger(__name__)

OnBadImage = Literal["raise", "skip"]

BOX_TOLERANCE = 1.0
"""Pixels by which a box may leave its image and is clipped: the difference between the usual conventions."""

MAX_LISTED = 10


def checked_examples(split: Split, split_name: str, on_bad_image: OnBadImage) -> list[Example]:
    """Decodes every image file of a split and holds its boxes against its size.

    Images that Pillow's `convert` would spoil (transparent, or of more than 8 bits) come back as bytes of an RGB PNG;
    boxes come back clipped to their image where they leave it by at most `BOX_TOLERANCE` pixels.

    Raises:
        DatasetError: `on_bad_image` is "raise" and an image is missing or unreadable, or a box lies outside its
            image or has no area. With "skip" such images are left out, and one warning lists them.
    """
    with ThreadPoolExecutor() as pool:
        results = list(
            tqdm(
                pool.map(_checked, split.examples),
                total=len(split.examples),
                desc=f"Checking the {split_name} images",
                unit=" images",
                leave=False,
            )
        )
    problems = split.problems + [result for result in results if isinstance(result, str)]
    if problems and on_bad_image == "raise":
        raise DatasetError(
            f"The {split_name} split has {_count(problems, 'bad image')}:\n{listed(problems)}\n"
            'Repair or remove them, or pass on_bad_image="skip" to leave them out.'
        )
    if problems:
        logger.warning("Left out %s of the %s split:\n%s", _count(problems, "bad image"), split_name, listed(problems))
    return [result for result in results if isinstance(result, Example)]


def check_classes(examples: Sequence[Example], split_name: str, class_names: Sequence[str]) -> None:
    """Refuses a split without images and, of the training split, a single class or one without images.

    Raises:
        DatasetError: as said.
    """
    if not examples:
        raise DatasetError(f"The {split_name} split has no usable image; at least one was expected. Add images to it.")
    if split_name != "train":
        return
    if len(class_names) < 2:
        raise DatasetError(
            f"The train split has the single class {class_names[0]!r}; at least two were expected, because the method "
            "learns where an object is from what tells its class apart. Add images of another class, or of none "
            "(background)."
        )
    present = Counter(example.label for example in examples)
    absent = [name for label, name in enumerate(class_names) if label not in present]
    if absent:
        raise DatasetError(
            f"The train split has no usable image of {_count(absent, 'class', 'classes')}: {', '.join(absent[:MAX_LISTED])}. "
            "Add images or remove the class."
        )


def listed(sentences: Sequence[str]) -> str:
    """The first ten sentences, one a line, and how many more there are."""
    lines = [f"  - {sentence}" for sentence in sentences[:MAX_LISTED]]
    if len(sentences) > MAX_LISTED:
        lines.append(f"  … and {len(sentences) - MAX_LISTED} more")
    return "\n".join(lines)


@dataclass(frozen=True)
class _OpenedImage:
    width: int
    height: int
    image: Path | bytes


def _checked(example: Example) -> Example | str:
    """The example, ready for the table, or a sentence that says what is wrong with it."""
    if isinstance(example.image, bytes):
        return example
    opened = _opened(example.image)
    if isinstance(opened, str):
        return f"{example.image_id}: {opened}"
    boxes = [_clipped(box, opened.width, opened.height) for box in example.boxes]
    for box in boxes:
        if isinstance(box, str):
            return f"{example.image_id}: {box}"
    return replace(example, image=opened.image, boxes=boxes)


def _opened(path: Path) -> _OpenedImage | str:
    if not path.is_file():
        return "the file does not exist"
    try:
        with Image.open(path) as image:
            spoilt_by_convert = has_more_than_8_bits(image) or image.has_transparency_data
            upright = to_upright_rgb(image)
    except Exception as error:  # each of Pillow's decoders fails in its own way
        return f"the image cannot be decoded ({error})"
    return _OpenedImage(upright.width, upright.height, png_bytes(upright) if spoilt_by_convert else path)


def _clipped(box: Box, width: int, height: int) -> Box | str:
    """The box within an image of `width` × `height` pixels, or a sentence that says why there is none."""
    x_min, y_min, x_max, y_max = box
    described = f"box [{', '.join(f'{edge:g}' for edge in box)}] (x_min, y_min, x_max, y_max)"
    if not all(math.isfinite(edge) for edge in box):
        return f"{described} is not made of finite numbers"
    if min(x_min, y_min) < -BOX_TOLERANCE or x_max > width + BOX_TOLERANCE or y_max > height + BOX_TOLERANCE:
        return f"{described} leaves its image of {width}×{height} pixels; correct or remove it"
    x_min, y_min, x_max, y_max = max(x_min, 0.0), max(y_min, 0.0), min(x_max, width), min(y_max, height)
    if x_max <= x_min or y_max <= y_min:
        return f"{described} has no area inside its image of {width}×{height} pixels; correct or remove it"
    return x_min, y_min, x_max, y_max


def _count(items: Sequence[object], singular: str, plural: str | None = None) -> str:
    return f"1 {singular}" if len(items) == 1 else f"{len(items)} {plural or singular + 's'}"
