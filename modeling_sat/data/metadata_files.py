"""Hugging Face's `metadata.jsonl` and `metadata.csv`."""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .box_units import FORMS, Units, units_of
from .encodings import read_text
from .orientation import Orientation
from .paths import inside
from .records import Annotation, optional_text, reason, size_of, text
from .schema import Box


BOX_KEYS = ("bbox", "bboxes", "box", "boxes")
NAME_KEYS = ("category", "categories", "category_name", "class", "class_name", "name", "names", "label", "labels")
LABEL_KEYS = ("class", "class_name", "category", "category_name", "labels")
"""Of an image that has no `label` and no objects."""
FILE_KEYS = ("file_name", "filename")

EDGES: dict[tuple[str, ...], tuple[str, ...]] = {
    ("xmin", "ymin", "xmax", "ymax"): ("xyxy",),
    ("x1", "y1", "x2", "y2"): ("xyxy",),
    ("x0", "y0", "x1", "y1"): ("xyxy",),
    ("left", "top", "right", "bottom"): ("xyxy",),
    ("xcenter", "ycenter", "width", "height"): ("cxcywh",),
    ("centerx", "centery", "width", "height"): ("cxcywh",),
    ("cx", "cy", "width", "height"): ("cxcywh",),
    ("xcenter", "ycenter", "w", "h"): ("cxcywh",),
    ("cx", "cy", "w", "h"): ("cxcywh",),
    ("xmin", "ymin", "width", "height"): ("xywh",),
    ("left", "top", "width", "height"): ("xywh",),
    ("x", "y", "width", "height"): ("xywh", "cxcywh"),
    ("x", "y", "w", "h"): ("xywh", "cxcywh"),
}
"""Names of four columns, in lower case and without signs, and the forms that such numbers are in."""


@dataclass(frozen=True)
class _Row:
    source: str
    image_name: str
    label: str | None
    objects: list[tuple[str | None, Box]]
    forms: tuple[str, ...]
    size: tuple[int, int] | None


def read_metadata_jsonl(root: Path, file: PurePosixPath) -> Iterator[Annotation | str]:
    """Lines of `file_name`, `label` (or `class`, `category`, …) and `objects`: a struct of lists, or a list of structs, of `bbox` and `category`."""
    try:
        lines = read_text(root / file).split("\n")
    except ValueError as error:
        yield f"{file}: {error}"
        return
    rows = []
    for number, line in enumerate(lines, start=1):
        source = f"{file}, line {number}"
        if not line.strip():
            continue
        try:
            rows.append(_row(source, json.loads(line)))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            yield (
                f'{source}: {{"file_name": …, "label": …, "objects": {{"bbox": [[x, y, width, height], …], '
                f'"category": […]}}}} was expected, but {reason(error)}: {line[:80]}'
            )
    yield from _annotations(root, file, rows)


def read_metadata_csv(root: Path, file: PurePosixPath) -> Iterator[Annotation | str]:
    """Rows of `file_name` and `label`, and of boxes in four columns of known names or in one.

    An image may have several rows, one for each object.
    """
    try:
        content = read_text(root / file)
    except ValueError as error:
        yield f"{file}: {error}"
        return
    header = content.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    rows = []
    for cells in (reader := csv.DictReader(io.StringIO(content, newline=""), delimiter=delimiter)):
        source = f"{file}, line {reader.line_num}"
        cells = {key.strip(): value.strip() for key, value in cells.items() if key and isinstance(value, str)}
        if not any(cells.get(key) for key in FILE_KEYS):
            yield f"{source}: columns file_name and label were expected, but file_name is missing"
            continue
        try:
            rows.append(_row(source, {key: _cell(key, value) for key, value in cells.items() if value}))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            yield f"{source}: file_name, label and the four numbers of a box were expected, but {reason(error)}"
    yield from _annotations(root, file, rows)


def _cell(key: str, value: str) -> Any:
    """Of a column of boxes or objects, the list or struct that is written there."""
    if key not in (*BOX_KEYS, "objects", "categories"):
        return value
    if re.fullmatch(r"[\[({]?[-+\d.eE,; ]+[\])}]?", value):
        return [float(number) for number in re.findall(r"[-+\d.eE]+", value)]
    try:
        return json.loads(value)
    except ValueError:
        return json.loads(value.replace("(", "[").replace(")", "]").replace("'", '"'))


def _row(source: str, record: Mapping[str, Any]) -> _Row:
    name = record[next((key for key in FILE_KEYS if key in record), FILE_KEYS[0])]
    objects, forms = [], tuple(FORMS)
    for struct in _structs(record):
        category = next((struct[key] for key in NAME_KEYS if struct.get(key) is not None), None)
        numbers, forms = _numbers(struct)
        objects.append((optional_text(category), numbers))
    label = record.get("label")
    if label is None and not objects:
        label = next((record[key] for key in LABEL_KEYS if isinstance(record.get(key), (str, int))), None)
    width, height = record.get("image_width"), record.get("image_height")
    if width is None and not (forms != tuple(FORMS) and {"width", "height"} & _used(record)):
        width, height = record.get("width"), record.get("height")
    return _Row(source, text(name), optional_text(label), objects, forms, size_of(width, height))


def _structs(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A struct of a box and perhaps a name for each object of a record."""
    held = record.get("objects")
    if isinstance(held, list):
        return [struct for struct in held if struct]
    if held is not None and not isinstance(held, Mapping):
        raise TypeError(f"objects is {held!r}")
    several = held or record
    boxes = next((several[key] for key in BOX_KEYS if several.get(key) is not None), None)
    if boxes is None:
        return [record] if held is None and _named_edges(record) else []
    if isinstance(boxes, Mapping) or (boxes and not isinstance(boxes[0], (list, Mapping))):
        boxes = [boxes]
    keys = NAME_KEYS if several is held else [key for key in NAME_KEYS if isinstance(several.get(key), list)]
    names = next((several[key] for key in keys if several.get(key)), None)
    if names is None:
        names = [record.get("category") if several is record else None] * len(boxes)
    names = [names] if isinstance(names, str) else names
    return [{"bbox": box, "category": name} for box, name in zip(boxes, names, strict=True)]


def _numbers(struct: Mapping[str, Any]) -> tuple[Box, tuple[str, ...]]:
    """The four numbers of an object and the forms that they may be in."""
    box = next((struct[key] for key in BOX_KEYS if struct.get(key) is not None), struct)
    if isinstance(box, Mapping):
        edges = _named_edges(box)
        if edges is None:
            raise KeyError("bbox")
        keys, forms = edges
        return tuple(float(box[key]) for key in keys), forms
    x, y, third, fourth = map(float, box)
    return (x, y, third, fourth), tuple(FORMS)


def _named_edges(struct: Mapping[str, Any]) -> tuple[list[str], tuple[str, ...]] | None:
    """The four keys of a struct that are those of a box."""
    keys = {re.sub(r"[^a-z\d]|^(bbox|box)(?=[^a-z\d]?[a-z])", "", key.lower()): key for key in struct}
    for names, forms in EDGES.items():
        if set(names) <= set(keys):
            return [keys[name] for name in names], forms
    return None


def _used(record: Mapping[str, Any]) -> set[str]:
    edges = _named_edges(record)
    return set(edges[0]) if edges else set()


def _annotations(root: Path, file: PurePosixPath, rows: list[_Row]) -> Iterator[Annotation | str]:
    """The rows with their boxes in pixels or fractions, those of one image together."""
    boxed = [(row, numbers) for row in rows for _, numbers in row.objects]
    sizes = {row.image_name: row.size or _size(root, file, row.image_name) for row in rows if row.objects}
    forms = list(dict.fromkeys(row.forms for row in rows if row.objects)) or [tuple(FORMS)]
    if len(forms) > 1:
        yield f"{file}: some boxes are four numbers and others have names, or other names; write all alike"
        return
    units = units_of([numbers for _, numbers in boxed], [sizes[row.image_name] for row, _ in boxed], forms[0])
    if isinstance(units, str):
        yield f"{file}: {units}"
        return
    together: dict[str, list[_Row]] = {}
    for position, row in enumerate(rows):
        several = row.objects and all(each.objects for each in together.get(row.image_name, ()))
        together.setdefault(row.image_name if several else f"{row.image_name}\n{position}", []).append(row)
    for same in together.values():
        try:
            yield _annotation(file, same, units)
        except ValueError as error:
            yield f"{same[0].source}: {error}"


def _annotation(file: PurePosixPath, rows: list[_Row], units: Units) -> Annotation:
    labels = {row.label for row in rows}
    objects = [(name, units.box(numbers)) for row in rows for name, numbers in row.objects]
    return Annotation(
        rows[0].source,
        file,
        rows[0].image_name,
        labels.pop() if len(labels) == 1 else None,
        objects,
        units.annotated_size or rows[0].size,
        taken=units.taken,
    )


def _size(root: Path, file: PurePosixPath, image_name: str) -> tuple[int, int] | None:
    image = inside(root, f"{file.parent}/{image_name}" if image_name[:1] not in "/\\" else image_name)
    try:
        return None if image is None else Orientation.of_header(image).upright
    except Exception:  # found out, with its reason, when the image is decoded
        return None
