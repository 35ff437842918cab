"""LabelMe's JSON, one file per image; also X-AnyLabeling's."""

import logging
import math
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from .box_units import FRACTIONS_TAKEN, within_a_pixel
from .records import IN_FRACTIONS, Annotation, optional_text, reason, size_of
from .schema import Box


logger = logging.getLogger(__name__)

WITHOUT_AREA = ("point", "points", "line", "linestrip")


def read_labelme(file: PurePosixPath, content: dict[str, Any]) -> Iterator[Annotation | str]:
    """The image of the JSON's own name; nothing of other JSON.

    An object's box holds its points. Points and lines give none. A flag of the image that is set is its label.
    """
    if not isinstance(content.get("shapes"), list) or not {"imagePath", "imageWidth", "imageData"} & set(content):
        return
    objects, without_area = [], 0
    for position, shape in enumerate(content["shapes"]):
        try:
            if shape.get("shape_type") in WITHOUT_AREA:
                without_area += 1
            else:
                objects.append((optional_text(shape.get("label")), _box(shape)))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            yield f"{file}, shape {position}: label and points [[x, y], …] were expected, but {reason(error)}"
            return
    if without_area:
        logger.warning("%s: left out %d points and lines, which have no area", file, without_area)
    size, taken = size_of(content.get("imageWidth"), content.get("imageHeight")), None
    if objects and within_a_pixel([edge for _, box in objects for edge in box]):
        size, taken = IN_FRACTIONS, FRACTIONS_TAKEN
    flags = content.get("flags")
    flags = [name for name, is_set in flags.items() if is_set is True] if isinstance(flags, dict) else []
    label = flags[0] if len(flags) == 1 else None
    yield Annotation(str(file), file, file.stem, label, objects, size, by_stem=True, taken=taken)


def _box(shape: dict[str, Any]) -> Box:
    points = [(float(x), float(y)) for x, y in shape["points"]]
    if not points:
        raise ValueError("there are no points")
    if shape.get("shape_type") == "circle":
        (x, y), edge = points
        radius = math.dist((x, y), edge)
        return x - radius, y - radius, x + radius, y + radius
    across, down = zip(*points, strict=True)
    return min(across), min(down), max(across), max(down)
