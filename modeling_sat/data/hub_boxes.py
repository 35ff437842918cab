"""Boxes from the columns of Hub datasets: lists or structs, one or several per image."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ..models.localization_sat import same_shape
from .checks import BOX_TOLERANCE
from .schema import Box, DatasetError


BoxFormat = Literal["xyxy", "xywh"]

EDGES = {"xyxy": ("xmin", "ymin", "xmax", "ymax"), "xywh": ("x", "y", "width", "height")}


def reach(value: Any, name: str) -> Any:
    """The value at a dotted path, or None; where the path passes a list, the values of its items."""
    for part in name.split("."):
        values = value if isinstance(value, list) else [value]
        reached = [item and item[part] for item in values]
        value = reached if isinstance(value, list) else reached[0]
    return value


@dataclass(frozen=True)
class StoredBox:
    """A box as it stands in a row.

    Attributes:
        given: for messages.
        numbers: four.
        named_format: what the names of its fields say that they are; None of a list.
    """

    given: Any
    numbers: tuple[float, ...]
    named_format: BoxFormat | None = None

    def corners(self, box_format: BoxFormat) -> Box:
        x, y, third, fourth = self.numbers
        return (x, y, third, fourth) if (self.named_format or box_format) == "xyxy" else (x, y, x + third, y + fourth)

    @property
    def is_within_one(self) -> bool:
        """Whether all numbers are in [0, 1], as those of fractions of an image are."""
        return all(0 <= number <= 1 for number in self.numbers)

    def fitted(
        self, box_format: BoxFormat, size: tuple[int, int], *, fraction: bool = False, as_published: bool = False
    ) -> Box | str:
        """The box within its image of (width, height) `size`, or a sentence that says why there is none.

        Args:
            fraction: the numbers are fractions of the image.
            as_published: keep a box that leaves its image by more than `BOX_TOLERANCE` if some of its area is inside.
        """
        problem = self._problem(box_format, size, fraction, as_published)
        if problem is None:
            return self._in_pixels(box_format, size, fraction)
        form = self.named_format or box_format
        other = next(known for known in EDGES if known != form)
        may_be_other = self.named_format is None and self._problem(other, size, fraction, as_published) is None
        hint = f", or pass box_format={other!r} if that is what it is" if may_be_other else ""
        return f"A box is {self.given!r}, which {problem.format(form)}. Correct it{hint}."

    def _in_pixels(self, box_format: BoxFormat, size: tuple[int, int], fraction: bool) -> Box:
        scale = (*size, *size) if fraction else (1, 1, 1, 1)
        return tuple(edge * side for edge, side in zip(self.corners(box_format), scale, strict=True))

    def _problem(self, box_format: BoxFormat, size: tuple[int, int], fraction: bool, as_published: bool) -> str | None:
        box = self._in_pixels(box_format, size, fraction)
        if not (box[0] < box[2] < math.inf and box[1] < box[3] < math.inf):
            return "has no area as {}"
        inside = max(box[0], 0.0), max(box[1], 0.0), min(box[2], size[0]), min(box[3], size[1])
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            return f"as {{}} lies outside its image of {size[0]}×{size[1]} pixels"
        beyond = max(abs(edge - clipped) for edge, clipped in zip(box, inside, strict=True))
        if beyond > BOX_TOLERANCE and not as_published:
            return f"as {{}} leaves its image of {size[0]}×{size[1]} pixels"
        return None


def drawn_on(stated: tuple[Any, Any] | None, size: tuple[int, int]) -> tuple[int, int] | str:
    """(width, height) of the image that boxes were drawn on, or a sentence that says why it cannot be the one of `size`.

    Args:
        stated: what the dataset says, of the image before it was resized; its sides may be swapped.
    """
    if stated is None or None in stated or min(stated) < 1:
        return size
    for sides in (stated, stated[::-1]):
        if same_shape(sides, size):
            return sides
    return (
        f"its boxes were drawn on {stated[0]}×{stated[1]} pixels, as its width and height say, but it has "
        f"{size[0]}×{size[1]}, which is another shape"
    )


def boxes_of(value: Any) -> list[StoredBox | None]:
    """One box or several, each four numbers or a struct of named edges; None gives no boxes.

    Returns:
        as many as there are, with None for those that are null or empty.

    Raises:
        DatasetError: numbers are missing, or edges have other names.
    """
    if value is None:
        return []
    if isinstance(value, Mapping) and isinstance(next(iter(value.values()), None), list):  # a struct of lists
        value = [dict(zip(value, edges, strict=True)) for edges in zip(*value.values(), strict=True)]
    several = isinstance(value, list) and (not value or any(isinstance(item, (Mapping, list)) for item in value))
    boxes = value if several else [value]
    return [None if box is None or (hasattr(box, "__len__") and not len(box)) else _stored(box) for box in boxes]


def _stored(box: Any) -> StoredBox:
    numbers, named_format = box, None
    if isinstance(box, Mapping):
        named = {key.replace("_", "").lower(): number for key, number in box.items()}
        named_format = next((form for form, edges in EDGES.items() if set(edges) <= set(named)), None)
        if named_format is None:
            raise DatasetError(
                f"A box has the fields {', '.join(box)}; xmin, ymin, xmax, ymax or x, y, width, height were expected."
            )
        numbers = [named[edge] for edge in EDGES[named_format]]
    if (
        not isinstance(numbers, list)
        or len(numbers) != 4
        or not all(isinstance(edge, (int, float)) and math.isfinite(edge) for edge in numbers)
    ):
        raise DatasetError(f"A box is {box!r}; four numbers were expected.")
    return StoredBox(box, tuple(map(float, numbers)), named_format)


def check_format(
    boxes: Iterable[tuple[list[StoredBox], tuple[int, int]]], box_format: BoxFormat, fraction: bool, where: str
) -> bool:
    """Refuses a split whose boxes fit their images only in the other format.

    Args:
        boxes: those of each image, and its (width, height).
        fraction: the numbers are fractions of the images.
        where: column and split, for messages.

    Returns:
        whether all boxes would fit their images in the other format too.

    Raises:
        DatasetError: more than a third of the images have a box that does not fit, and of those at most a third of
            the other format.
    """
    other = next(known for known in EDGES if known != box_format)
    unnamed = [(stored, size) for stored, size in boxes if stored and all(box.named_format is None for box in stored)]
    misfits = {
        form: sum(
            any(isinstance(box.fitted(form, size, fraction=fraction), str) for box in stored)
            for stored, size in unnamed
        )
        for form in EDGES
    }
    if 3 * misfits[box_format] > len(unnamed) and 3 * misfits[other] <= misfits[box_format]:
        example = next(
            sentence
            for stored, size in unnamed
            for box in stored
            if isinstance(sentence := box.fitted(box_format, size, fraction=fraction), str)
        )
        raise DatasetError(
            f"The boxes in {where} are not {box_format}: {misfits[box_format]} of {len(unnamed)} images have one that "
            f"does not fit; as {other}, {misfits[other]} do. {example} Pass box_format={other!r}."
        )
    return bool(unnamed) and not misfits[other]
