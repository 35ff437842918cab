"""Finds what is wrong with images and boxes before a training run would."""

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from datasets.utils import tqdm

from ..models.image_conversion_sat import is_plain, open_image, to_upright_rgb
from ..models.localization_sat import same_shape
from ..sentences import counted, listed, some
from .box_units import ROUNDING
from .errors import OnBadImage
from .orientation import Orientation, drawn_on_stored
from .records import IN_FRACTIONS
from .schema import Box, DatasetError, Example, Split, png_bytes


logger = logging.getLogger(__name__)

BOX_TOLERANCE = 1.0
"""Pixels by which a box may leave its image and is clipped: the difference between the usual conventions."""

UPRIGHT_TAKEN = (
    "turned by their EXIF orientation, and nothing says whether their boxes or masks were drawn on them upright or as "
    "they are stored; upright was assumed"
)
STORED_TAKEN = (
    "turned by their EXIF orientation, and nothing says whether their boxes or masks were drawn on them upright or as "
    "they are stored; as stored was assumed, as the methods compared on this benchmark do"
)
EXCHANGED = (
    "whose annotation has width and height swapped; their boxes were assumed to fit the images as they are. If images "
    "were turned since, annotate them again"
)
SQUASHED = (
    "of another shape than the images that their boxes were drawn on; they were assumed to be squashed, and boxes scaled "
    "across and down by different factors. If images were cropped, their boxes are wrong: use uncropped ones"
)


def checked_examples(
    split: Split,
    split_name: str,
    on_bad_image: OnBadImage,
    *,
    boxes_as_published: bool = False,
    upright: bool = False,
    allow_missing: bool = False,
) -> list[Example]:
    """Decodes every image file of a split and compares its boxes with its size.

    Images that Pillow would spoil or refuse when a row is read (transparent, of more than 8 bits, or with damaged
    metadata, see `is_plain`) come back as bytes of an RGB PNG.
    Boxes come back scaled to the image where they were drawn on one of another size, and clipped to it where they
    leave it by at most `BOX_TOLERANCE` pixels. Masks come back as bytes. Where an image's EXIF orientation turns it, but
    its boxes or mask were drawn on the pixels as they are stored, either it comes back as they are stored or, with
    `upright`, boxes and mask turned as it is.

    Args:
        boxes_as_published: leave boxes that leave their image as they are, if some of their area is inside.
        upright: as of `Benchmark`.
        allow_missing: leave out, with a warning, images whose file does not exist.

    Raises:
        DatasetError: `on_bad_image` is "raise" and an image is missing or unreadable, or a box lies outside its
            image or has no area, or was drawn on an image of another shape. With "skip" such images are left out, and
            one warning lists them.
    """
    examples = list(split.examples)
    if allow_missing:
        examples = _without_missing(examples, split_name)
    remarks: dict[str, list[str]] = defaultdict(list)
    check = partial(_checked, boxes_as_published=boxes_as_published, upright=upright, remarks=remarks)
    with ThreadPoolExecutor() as pool:
        results = list(
            tqdm(
                pool.map(check, examples),
                total=len(examples),
                desc=f"Checking the {split_name} images",
                unit=" images",
                leave=False,
            )
        )
    for remark, image_ids in sorted(remarks.items()):
        logger.warning(
            "%s of the %s split %s:\n%s", counted(len(image_ids), "image"), split_name, remark, listed(sorted(image_ids)),
        )  # fmt: skip
    report_problems(
        split.problems + [result for result in results if isinstance(result, str)], split_name, on_bad_image
    )
    return [result for result in results if isinstance(result, Example)]


def report_problems(problems: Sequence[str], split_name: str, on_bad_image: OnBadImage) -> None:
    """Raises a DatasetError that lists the problems, or with "skip" warns that their images are left out."""
    if problems and on_bad_image == "raise":
        raise DatasetError(
            f"The {split_name} split has {counted(len(problems), 'bad image')}:\n{listed(problems)}\n"
            'Repair or remove them, or pass on_bad_image="skip" to leave them out.'
        )
    if problems:
        logger.warning(
            "Left out %s of the %s split:\n%s", counted(len(problems), "bad image"), split_name, listed(problems)
        )


def check_count(found: int, split_name: str, name: str, published: int | None) -> None:
    """Refuses a split that has not as many images as the official one.

    Raises:
        DatasetError: as said.
    """
    if published is None or found == published:
        return
    raise DatasetError(
        f"The {split_name} split of {name} has {found:,} images here; the published one has {published:,}. Unpack the "
        "official archive again, or pass allow_partial=True to use what is there."
    )


def check_unique(image_ids: Sequence[str], split_name: str, name: str) -> None:
    """Refuses a split that names an image twice.

    Raises:
        DatasetError: as said.
    """
    doubled = [image_id for image_id, uses in Counter(image_ids).items() if uses > 1]
    if doubled:
        raise DatasetError(
            f"The {split_name} split of {name} names images twice:\n{listed(doubled)}\nKeep one line of each."
        )


def check_classes(
    labels: Iterable[int], split_name: str, class_names: Sequence[str], allow_absent: bool = False
) -> None:
    """Refuses a split without images and, of the training split, a single class or one without images.

    Args:
        allow_absent: only warn of classes without images.

    Raises:
        DatasetError: as said.
    """
    present = set(labels)
    if not present:
        raise DatasetError(f"The {split_name} split has no usable image; at least one was expected. Add images to it.")
    if split_name != "train":
        return
    if len(class_names) < 2:
        raise DatasetError(
            f"The train split has the single class {class_names[0]!r}; at least two were expected, because the method "
            "learns where an object is from what tells its class apart. Add images of another class, or of none "
            "(background)."
        )
    absent = [name for label, name in enumerate(class_names) if label not in present]
    if absent and allow_absent:
        logger.warning(
            "The train split has no image of %s:\n%s", counted(len(absent), "class", "classes"), listed(absent)
        )
    elif absent:
        raise DatasetError(
            f"The train split has no usable image of {counted(len(absent), 'class', 'classes')}: {some(absent)}. "
            "Add images or remove the class."
        )


@dataclass(frozen=True)
class _OpenedImage:
    width: int
    height: int
    image: Path | bytes


def _without_missing(examples: list[Example], split_name: str) -> list[Example]:
    there = [isinstance(example.image, bytes) or example.image.is_file() for example in examples]
    missing = [example.image_id for example, is_there in zip(examples, there, strict=True) if not is_there]
    if missing:
        logger.warning(
            "%s of the %s split: these files are missing:\n%s",
            counted(len(missing), "image"),
            split_name,
            listed(missing),
        )
    return [example for example, is_there in zip(examples, there, strict=True) if is_there]


def _checked(
    example: Example, boxes_as_published: bool, upright: bool, remarks: dict[str, list[str]]
) -> Example | str:
    """The example, ready for the table, or a sentence that says what is wrong with it.

    Args:
        remarks: what has to be said of several images → the ids of these, to be added to.
    """
    if isinstance(example.image, bytes):
        return example
    opened = _opened(example.image)
    if isinstance(opened, str):
        return f"{example.image_id}: {opened}"
    size = (opened.width, opened.height)
    if not example.boxes and example.mask is None:
        return replace(example, image=opened.image)
    orientation = Orientation.of_opened(example.image, size)
    as_stored = False
    if orientation.is_turned:
        decided = drawn_on_stored(example, orientation, BOX_TOLERANCE)
        as_stored = not upright if decided is None else decided
        if decided is None:
            remarks[UPRIGHT_TAKEN if upright else STORED_TAKEN].append(example.image_id)
    annotated = orientation.stored if as_stored else size
    drawn_on = example.annotated_size or annotated
    if example.boxes and drawn_on != IN_FRACTIONS and not same_shape(drawn_on, annotated):
        if same_shape(drawn_on[::-1], annotated):
            drawn_on = drawn_on[::-1]
            remarks[EXCHANGED].append(example.image_id)
        elif upright:
            return (
                f"{example.image_id}: its boxes were drawn on {drawn_on[0]}×{drawn_on[1]} pixels, but it has "
                f"{annotated[0]}×{annotated[1]}, which is another shape; annotate the image that is here, or correct the "
                "size in the annotation"
            )
        else:
            remarks[SQUASHED].append(example.image_id)
    boxes = []
    for box in example.boxes:
        scaled = scaled_box(box, drawn_on, annotated)
        tolerance = math.inf if boxes_as_published else _tolerance(drawn_on, annotated)
        clipped = _clipped(scaled, *annotated, tolerance=tolerance)
        if isinstance(clipped, str):
            scaled_from = "" if drawn_on == annotated else f" (scaled from {drawn_on[0]}×{drawn_on[1]})"
            return f"{example.image_id}: {clipped}{scaled_from}"
        boxes.append(scaled if boxes_as_published else clipped)
    try:
        mask = example.mask(annotated) if callable(example.mask) else example.mask
        if as_stored and upright:
            boxes = [orientation.turned_box(box) for box in boxes]
            mask = mask and orientation.turned_mask(mask)
    except (OSError, ValueError) as error:
        return f"{example.image_id}: its mask cannot be used ({error})"
    image = orientation.stored_image(example.image) if as_stored and not upright else opened.image
    return replace(example, image=image, boxes=boxes, mask=mask, annotated_size=None)


def _tolerance(drawn_on: tuple[int, int], size: tuple[int, int]) -> float:
    """Pixels of the image by which a box may leave it, having left by `BOX_TOLERANCE` the one that it was drawn on."""
    if drawn_on == IN_FRACTIONS:
        return max(BOX_TOLERANCE, ROUNDING * max(size))
    return BOX_TOLERANCE * max(1.0, size[0] / drawn_on[0], size[1] / drawn_on[1])


def scaled_box(box: Box, drawn_on: tuple[int, int] | None, size: tuple[int, int]) -> Box:
    """A box on an image of (width, height) `drawn_on` as one on the same image of (width, height) `size`."""
    if drawn_on is None or drawn_on == size:
        return box
    across, down = size[0] / drawn_on[0], size[1] / drawn_on[1]
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def _opened(path: Path) -> _OpenedImage | str:
    if not path.is_file():
        return "the file does not exist"
    try:
        with open_image(path) as image:
            plain = is_plain(image)
            upright = to_upright_rgb(image)
    except Exception as error:  # each of Pillow's decoders fails in its own way
        return f"the image cannot be decoded ({error})"
    return _OpenedImage(upright.width, upright.height, path if plain else png_bytes(upright))


def _clipped(box: Box, width: int, height: int, tolerance: float) -> Box | str:
    """The box within an image of `width` × `height` pixels, or a sentence that says why there is none."""
    x_min, y_min, x_max, y_max = box
    described = f"box [{', '.join(f'{edge:g}' for edge in box)}] (x_min, y_min, x_max, y_max)"
    if not all(math.isfinite(edge) for edge in box):
        return f"{described} is not made of finite numbers"
    if min(x_min, y_min) < -tolerance or x_max > width + tolerance or y_max > height + tolerance:
        return f"{described} leaves its image of {width}×{height} pixels; correct or remove it"
    x_min, y_min, x_max, y_max = max(x_min, 0.0), max(y_min, 0.0), min(x_max, width), min(y_max, height)
    if x_max <= x_min or y_max <= y_min:
        return f"{described} has no area inside its image of {width}×{height} pixels; correct or remove it"
    return x_min, y_min, x_max, y_max
