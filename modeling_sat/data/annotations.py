"""The three annotation formats of a practitioner's folder: Hugging Face metadata, Pascal VOC XML, COCO JSON."""

import csv
import json
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .examples import Box


METADATA_FILES = ("metadata.jsonl", "metadata.csv")


@dataclass(frozen=True)
class Annotation:
    """What one record of an annotation file says of one image.

    Attributes:
        source: the file and line, for messages.
        file: path of the annotation file, relative to the data folder.
        image_name: as the record has it; of VOC, the XML's own name without suffix, since `<filename>` is often stale.
        label: of the image, where the record has one.
        objects: the name, or None, and the box of each object.
        annotated_size: (width, height) of the image that the boxes were drawn on, where the record says it; (1, 1) of
            boxes in fractions of their image.
    """

    source: str
    file: PurePosixPath
    image_name: str
    label: str | None = None
    objects: list[tuple[str | None, Box]] = field(default_factory=list)
    annotated_size: tuple[int, int] | None = None


def read_annotations(root: Path, file: PurePosixPath) -> Iterator[Annotation | str]:
    """Yields the records of an annotation file, and for each that cannot be read a sentence that says why.

    Files that only share a suffix with annotations (some other JSON or XML) yield nothing.
    """
    if file.name == "metadata.jsonl":
        yield from _read_metadata_jsonl(root, file)
    elif file.name == "metadata.csv":
        yield from _read_metadata_csv(root, file)
    elif file.suffix.lower() == ".xml":
        yield from _read_voc(root, file)
    elif file.suffix.lower() == ".json":
        yield from _read_coco(root, file)


def _read_metadata_jsonl(root: Path, file: PurePosixPath) -> Iterator[Annotation | str]:
    lines = (root / file).read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(lines.split("\n"), start=1):
        source = f"{file}, line {number}"
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            objects = record.get("objects") or {}
            boxes = objects.get("bbox") or []
            names = objects.get("category") or objects.get("categories") or [None] * len(boxes)
            yield Annotation(
                source,
                file,
                image_name=_text(record["file_name"]),
                label=_optional_text(record.get("label")),
                objects=[(_optional_text(name), _from_coco_box(box)) for name, box in zip(names, boxes, strict=True)],
            )
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            yield (
                f'{source}: {{"file_name": …, "label": …, "objects": {{"bbox": [[x, y, width, height], …], '
                f'"category": […]}}}} was expected, but {_reason(error)}: {line[:80]}'
            )


def _read_metadata_csv(root: Path, file: PurePosixPath) -> Iterator[Annotation | str]:
    with (root / file).open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        for row in (reader := csv.DictReader(lines)):
            source = f"{file}, line {reader.line_num}"
            if row.get("file_name"):
                yield Annotation(source, file, row["file_name"], label=row.get("label") or None)
            else:
                yield f"{source}: columns file_name and label were expected, but file_name is missing"


def _read_voc(root: Path, file: PurePosixPath) -> Iterator[Annotation | str]:
    try:
        voc = read_voc_file(root / file)
        if voc is not None:
            objects = [
                (name, (x_min - 1, y_min - 1, x_max, y_max)) for name, (x_min, y_min, x_max, y_max) in voc.objects
            ]
            yield Annotation(str(file), file, image_name=file.stem, objects=objects)
    except ValueError as error:
        yield f"{file}: {error}"


@dataclass(frozen=True)
class VocFile:
    """What a Pascal VOC XML says.

    Attributes:
        size: (width, height) of the annotated image, where it is given and not 0.
        objects: name and (xmin, ymin, xmax, ymax) of each, the numbers as they stand there: one-based and inclusive in
            the VOC devkit's own files.
    """

    size: tuple[int, int] | None
    objects: list[tuple[str, Box]]


def read_voc_file(file: Path) -> VocFile | None:
    """Reads a Pascal VOC XML, or gives None if the file holds other XML.

    Raises:
        ValueError: it is no XML, or an object has no name or box.
    """
    try:
        annotation = ElementTree.parse(file).getroot()
        if annotation.tag != "annotation":
            return None
        objects = [
            (_text(_child(item, "name").text).strip(), _voc_box(_child(item, "bndbox")))
            for item in annotation.iter("object")
        ]
    except (ElementTree.ParseError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            "Pascal VOC objects were expected, each with a name and a bndbox of xmin, ymin, xmax and ymax, "
            f"but {_reason(error)}"
        ) from error
    sides = [annotation.findtext(f"size/{side}", "").strip() for side in ("width", "height")]
    size = tuple(int(float(side)) if side.replace(".", "", 1).isdecimal() else 0 for side in sides)
    return VocFile(size if all(size) else None, objects)


def _read_coco(root: Path, file: PurePosixPath) -> Iterator[Annotation | str]:
    try:
        content = json.loads((root / file).read_text(encoding="utf-8-sig"))
    except ValueError as error:
        yield f"{file}: COCO annotations were expected, but {_reason(error)}"
        return
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= set(content):
        return
    try:
        names = {category["id"]: _text(category["name"]) for category in content["categories"]}
        image_names = {image["id"]: _text(image["file_name"]) for image in content["images"]}
    except (TypeError, KeyError) as error:
        yield f"{file}: images with id and file_name and categories with id and name were expected, but {_reason(error)}"
        return

    objects = defaultdict(list)
    for position, item in enumerate(content["annotations"]):
        try:
            if not item.get("iscrowd"):
                image_names[item["image_id"]]
                objects[item["image_id"]].append((names[item["category_id"]], _from_coco_box(item["bbox"])))
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            yield (
                f"{file}, annotation {position}: a known image_id, a known category_id and bbox [x, y, width, height] "
                f"were expected, but {_reason(error)}"
            )
    for image_id, image_name in image_names.items():
        yield Annotation(f"{file}, image {image_id}", file, image_name, objects=objects[image_id])


def _from_coco_box(box: Any) -> Box:
    x, y, width, height = map(float, box)
    return x, y, x + width, y + height


def _voc_box(bndbox: ElementTree.Element) -> Box:
    return tuple(float(_child(bndbox, edge).text) for edge in ("xmin", "ymin", "xmax", "ymax"))


def _child(element: ElementTree.Element, tag: str) -> ElementTree.Element:
    child = element.find(tag)
    if child is None:
        raise KeyError(tag)
    return child


def _text(value: Any) -> str:
    if isinstance(value, (str, int)):
        return str(value)
    raise TypeError(f"{value!r} is not a name")


def _optional_text(value: Any) -> str | None:
    return None if value is None else _text(value)


def _reason(error: Exception) -> str:
    return f"{error.args[0]!r} is missing or unknown" if isinstance(error, KeyError) else str(error)
