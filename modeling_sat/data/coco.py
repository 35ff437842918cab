"""COCO JSON."""

import logging
from collections import defaultdict
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from .box_units import units_of
from .records import Annotation, reason, size_of, text
from .schema import Box


logger = logging.getLogger(__name__)


def read_coco(file: PurePosixPath, content: dict[str, Any]) -> Iterator[Annotation | str]:
    """The images of a COCO file; nothing of other JSON.

    Crowds give no boxes. Objects without a box have that of their polygons; those without area are left out with a
    warning.
    """
    if not {"images", "annotations", "categories"} <= set(content):
        return
    try:
        names = _by_id(content["categories"], "name")
        image_names = _by_id(content["images"], "file_name")
        images = {_key(image["id"]): image for image in content["images"]}
    except (ValueError, TypeError, KeyError) as error:
        yield f"{file}: images with id and file_name and categories with id and name were expected, but {reason(error)}"
        return
    sizes = {key: size_of(image.get("width"), image.get("height")) for key, image in images.items()}

    objects: dict[str, list[tuple[str, Box]]] = defaultdict(list)
    empty = 0
    for position, item in enumerate(content["annotations"] or ()):
        try:
            if item.get("iscrowd"):
                continue
            image, category = _key(item["image_id"]), _key(item["category_id"])
            if image not in images or category not in names:
                raise KeyError(item["image_id" if image not in images else "category_id"])
            name, box = names[category], _box(item)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            yield (
                f"{file}, annotation {position}: a known image_id, a known category_id and bbox [x, y, width, height] "
                f"were expected, but {reason(error)}"
            )
            continue
        if box[2] == 0 or box[3] == 0:
            empty += 1
        else:
            objects[image].append((name, box))
    if empty:
        logger.warning("%s: left out %d objects whose box has no width or no height", file, empty)

    boxes = [(image, box) for image, found in objects.items() for _, box in found]
    units = units_of([box for _, box in boxes], [None] * len(boxes), forms=("xywh",))
    if isinstance(units, str):
        yield f"{file}: {units}"
        return
    for image, name in image_names.items():
        source = f"{file}, image {image}"
        try:
            found = [(category, units.box(box)) for category, box in objects[image]]
        except ValueError as error:
            yield f"{source}: {error}"
            continue
        size = units.annotated_size or sizes[image]
        yield Annotation(source, file, name, objects=found, annotated_size=size, taken=units.taken)


def _by_id(records: list[dict[str, Any]], key: str) -> dict[str, str]:
    """Id → name.

    Raises:
        ValueError: an id is that of two names, as in files that were put together.
    """
    names: dict[str, str] = {}
    for record in records:
        number, name = _key(record["id"]), text(record[key])
        if names.setdefault(number, name) != name:
            raise ValueError(f"id {number} is both {names[number]!r} and {name!r}; give each its own id")
    return names


def _box(item: dict[str, Any]) -> Box:
    """x, y, width, height of an object, if need be of its polygons."""
    box = item.get("bbox")
    if not box or not any(map(float, box)):
        polygons = item.get("segmentation")
        if isinstance(polygons, list) and polygons:
            polygons = polygons if isinstance(polygons[0], list) else [polygons]
            numbers = [[float(number) for number in polygon] for polygon in polygons if polygon]
            across = [x for polygon in numbers for x in polygon[::2]]
            down = [y for polygon in numbers for y in polygon[1::2]]
            return min(across), min(down), max(across) - min(across), max(down) - min(down)
        if isinstance(polygons, dict) and isinstance(polygons.get("counts"), list):
            return _box_of_runs(polygons)
    x, y, width, height = map(float, item["bbox"])
    return x, y, width, height


def _box_of_runs(mask: dict[str, Any]) -> Box:
    """Of a mask as lengths of runs, background first, down one column of pixels after the other."""
    height = int(mask["size"][0])
    columns, rows, position = [], [], 0
    for index, length in enumerate(map(int, mask["counts"])):
        if index % 2 and length:
            first, last = position, position + length - 1
            columns += [first // height, last // height]
            spans = first // height != last // height
            rows += [0, height - 1] if spans else [first % height, last % height]
        position += length
    if not columns:
        return 0.0, 0.0, 0.0, 0.0
    left, top = min(columns), min(rows)
    return float(left), float(top), float(max(columns) + 1 - left), float(max(rows) + 1 - top)


def _key(number: Any) -> str:
    """An id as text: files made by hand have numbers here and text there."""
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    return text(number)
