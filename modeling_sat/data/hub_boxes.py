"""Boxes from the columns of Hub datasets, which have them as lists or structs, one or several an image."""

import math
from collections.abc import Mapping
from typing import Any, Literal

from .examples import Box, DatasetError


BoxFormat = Literal["xyxy", "xywh"]

EDGES = {"xyxy": ("xmin", "ymin", "xmax", "ymax"), "xywh": ("x", "y", "width", "height")}


def reach(value: Any, name: str) -> Any:
    """The value at a path with dots, of each item where a list stands on the way, or None where nothing does."""
    for part in name.split("."):
        values = value if isinstance(value, list) else [value]
        reached = [item and item[part] for item in values]
        value = reached if isinstance(value, list) else reached[0]
    return value


def boxes_of(value: Any, box_format: BoxFormat) -> list[Box]:
    """One box or several, each four numbers or a struct of named edges; None gives no boxes.

    Raises:
        DatasetError: numbers are missing, or edges have other names.
    """
    if value is None:
        return []
    if isinstance(value, Mapping) and isinstance(next(iter(value.values()), None), list):  # a struct of lists
        value = [dict(zip(value, edges, strict=True)) for edges in zip(*value.values(), strict=True)]
    several = isinstance(value, list) and (not value or isinstance(value[0], (Mapping, list)))
    boxes = value if several else [value]
    return [_box(box, box_format) for box in boxes if box is not None and len(box)]


def _box(box: Any, box_format: BoxFormat) -> Box:
    numbers = box
    if isinstance(box, Mapping):
        named = {key.replace("_", "").lower(): number for key, number in box.items()}
        known = [(form, edges) for form, edges in EDGES.items() if set(edges) <= set(named)]
        if not known:
            raise DatasetError(
                f"A box has the fields {', '.join(box)}; xmin, ymin, xmax, ymax or x, y, width, height were expected."
            )
        box_format, edges = known[0]
        numbers = [named[edge] for edge in edges]
    if (
        not isinstance(numbers, list)
        or len(numbers) != 4
        or not all(isinstance(edge, (int, float)) for edge in numbers)
    ):
        raise DatasetError(f"A box is {box!r}; four numbers were expected.")
    x, y, third, fourth = map(float, numbers)
    x_max, y_max = (third, fourth) if box_format == "xyxy" else (x + third, y + fourth)
    if not (x < x_max < math.inf and y < y_max < math.inf):
        other = next(form for form in EDGES if form != box_format)
        raise DatasetError(
            f"A box is {box!r}, which has no area as {box_format}. Correct it, or pass box_format={other!r} if that is "
            "what it is."
        )
    return x, y, x_max, y_max
