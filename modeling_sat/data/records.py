"""What one record of an annotation file says about one image, whatever the file's format."""

from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from .schema import Box


IN_FRACTIONS = (1, 1)
"""The size of an image that boxes in fractions of theirs were drawn on."""


@dataclass(frozen=True)
class Annotation:
    """What one record of an annotation file says about one image.

    Attributes:
        source: the file and line, for messages.
        file: path of the annotation file, relative to the data folder.
        image_name: as the record has it; of files that are of one image, their own name without suffix, since what they
            say of its name is often stale.
        label: of the image, where the record has one.
        objects: the name, or None, and the box of each object.
        annotated_size: (width, height) of the image that the boxes were drawn on, where the record says it;
            `IN_FRACTIONS` of boxes in fractions of their image.
        by_stem: whether the file is of the image of its own name (Pascal VOC, LabelMe, YOLO).
        taken: what was assumed about the boxes and has to be said, as the end of "of N images: …".
    """

    source: str
    file: PurePosixPath
    image_name: str
    label: str | None = None
    objects: list[tuple[str | None, Box]] = field(default_factory=list)
    annotated_size: tuple[int, int] | None = None
    by_stem: bool = False
    taken: str | None = None


def text(value: Any) -> str:
    """A name as it stands in JSON, where it may be a number.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(value, (str, int)):
        return str(value)
    raise TypeError(f"{value!r} is not a name")


def optional_text(value: Any) -> str | None:
    return None if value is None or value == "" else text(value)


def size_of(width: Any, height: Any) -> tuple[int, int] | None:
    """(width, height) in pixels as a file says them, or None where they are absent, 0 or not numbers."""
    try:
        size = int(float(width)), int(float(height))
    except (TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None


def reason(error: Exception) -> str:
    return f"{error.args[0]!r} is missing or unknown" if isinstance(error, KeyError) else str(error)
