"""Pascal VOC XML."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from .box_units import FRACTIONS_TAKEN, within_a_pixel
from .encodings import read_xml_text
from .records import IN_FRACTIONS, Annotation, reason, size_of, text
from .schema import Box


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


def read_voc(root: Path, file: PurePosixPath) -> Iterator[Annotation | str]:
    """The image of the XML's own name, with zero-based half-open boxes."""
    try:
        voc = read_voc_file(root / file)
    except ValueError as error:
        yield f"{file}: {error}"
        return
    if voc is None:
        return
    if voc.objects and within_a_pixel([edge for _, box in voc.objects for edge in box]):
        objects, size, taken = voc.objects, IN_FRACTIONS, FRACTIONS_TAKEN
    else:
        objects = [(name, (x_min - 1, y_min - 1, x_max, y_max)) for name, (x_min, y_min, x_max, y_max) in voc.objects]
        size, taken = voc.size, None
        for name, box in voc.objects:
            if within_a_pixel(box):
                yield f"{file}: the box {list(box)} of {name!r} is in fractions, but others in this file are in pixels"
                return
    yield Annotation(
        str(file), file, image_name=file.stem, objects=objects, annotated_size=size, by_stem=True, taken=taken
    )


def read_voc_file(file: Path) -> VocFile | None:
    """Reads a Pascal VOC XML, or gives None if the file holds other XML.

    Raises:
        ValueError: it is not XML, or not in the encoding that it declares, or an object has no name or box.
    """
    content = read_xml_text(file)
    try:
        annotation = ElementTree.fromstring(content)
        if annotation.tag != "annotation":
            return None
        objects = [
            (text(_child(item, "name").text).strip(), _voc_box(_child(item, "bndbox")))
            for item in annotation.iter("object")
        ]
    except (ElementTree.ParseError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            "Pascal VOC objects were expected, each with a name and a bndbox of xmin, ymin, xmax and ymax, "
            f"but {reason(error)}"
        ) from error
    return VocFile(size_of(annotation.findtext("size/width"), annotation.findtext("size/height")), objects)


def _voc_box(bndbox: ElementTree.Element) -> Box:
    return tuple(float(_child(bndbox, edge).text) for edge in ("xmin", "ymin", "xmax", "ymax"))


def _child(element: ElementTree.Element, tag: str) -> ElementTree.Element:
    child = element.find(tag)
    if child is None:
        raise KeyError(tag)
    return child
