"""The units and form of a file's boxes: pixels, fractions or percent; a corner and a size, corners, a centre."""

from collections.abc import Sequence
from dataclasses import dataclass

from .records import IN_FRACTIONS
from .schema import Box


FORMS = {
    "xywh": "x, y, width, height",
    "xyxy": "x_min, y_min, x_max, y_max",
    "cxcywh": "x and y of the centre, width, height",
}
FRACTIONS, PERCENT = (1.0, 1.0), (100.0, 100.0)
ROUNDING = 0.01
"""How far fractions may leave 0 to 1, in files that were converted."""
FRACTIONS_TAKEN = "all boxes lie in 0 to 1, and were read as fractions of the image"

ENOUGH_BOXES, NEARLY_ALL = 5, 85
"""This many boxes that reach so far right and down, and no further than 100, are hardly pixels of larger images."""

MANY_UNFIT = 0.2
"""The share of a file's boxes that must not fit for all to be in another form; fewer are mistakes."""

LARGE = 200 * 200
"""Pixels of images on which boxes within the first 100 pixels each way are percent rather than pixels."""


@dataclass(frozen=True)
class Units:
    """What the four numbers of each box of a file are.

    Attributes:
        form: one of `FORMS`.
        whole: what the image's width and height are in these units; None of pixels.
        taken: what has to be said of it, as the end of "of N images: …".
    """

    form: str
    whole: tuple[float, float] | None = None
    taken: str | None = None

    @property
    def annotated_size(self) -> tuple[int, int] | None:
        return None if self.whole is None else IN_FRACTIONS

    def box(self, numbers: Box) -> Box:
        """The box in pixels, or in fractions where the file has no pixels.

        Raises:
            ValueError: a box in a file of pixels is less than a pixel.
        """
        box = _corners(numbers, self.form)
        if self.whole is not None:
            return tuple(edge / self.whole[0] for edge in box)
        if within_a_pixel(numbers):
            raise ValueError(f"the box {list(numbers)} is in fractions, but others in this file are in pixels")
        return box


def within_a_pixel(numbers: Sequence[float]) -> bool:
    """Whether the numbers of a box, or of all boxes of a file, cannot be pixels, only fractions."""
    return all(0 <= number <= 1 + ROUNDING for number in numbers) and any(number % 1 for number in numbers)


def units_of(
    boxes: Sequence[Box], sizes: Sequence[tuple[int, int] | None], forms: Sequence[str] = tuple(FORMS)
) -> Units | str:
    """The units and form that all boxes of a file agree with, or a sentence that says why it cannot be known.

    Pixels in the first form are what is expected. Numbers that are all in 0 to 1 are fractions. Other readings are taken
    where the expected one does not fit the images and only one does.

    Args:
        boxes: four numbers each.
        sizes: (width, height) of the image of each, where it is known.
        forms: those that the numbers may be in, the expected one first.
    """
    numbers = [number for box in boxes for number in box]
    expected = Units(forms[0])
    if not boxes:
        return expected
    if all(0 <= number <= 1 + ROUNDING for number in numbers):
        return _only(boxes, [(Units(form, FRACTIONS), FRACTIONS) for form in forms], "0 to 1", expected)
    known = [(box, size) for box, size in zip(boxes, sizes, strict=True) if size is not None]
    if not known:
        return expected
    may_be_percent = all(0 <= number <= 100 + ROUNDING for number in numbers)
    unfit = [box for box, size in known if not _fits(_corners(box, forms[0]), size, 1)]
    if len(unfit) >= max(2, MANY_UNFIT * len(known)):
        readings = [Units(form) for form in forms] + [Units(form, PERCENT) for form in forms if may_be_percent]
        fitting = [units for units in readings if all(_fits_units(units, box, size) for box, size in known)]
        if len(fitting) == 1:
            return Units(fitting[0].form, fitting[0].whole, _taken(fitting[0]))
        return _ambiguous(fitting) if fitting else expected
    if unfit or not may_be_percent or any(width * height < LARGE for _, (width, height) in known):
        return expected
    reach = [max(edges) for edges in zip(*(_corners(box, forms[0])[2:] for box in boxes), strict=True)]
    if min(reach) < 50:
        return expected
    has_decimals = any(number % 1 for number in numbers)
    reaches_all = min(reach) >= NEARLY_ALL and len(boxes) >= ENOUGH_BOXES
    if has_decimals and reaches_all:
        return _only(boxes, [(Units(form, PERCENT), PERCENT) for form in forms], "0 to 100", expected)
    if has_decimals or reaches_all:
        return _ambiguous([expected, Units(forms[0], PERCENT)])
    width, height = min((size for _, size in known), key=lambda size: size[0] * size[1])
    return Units(
        forms[0],
        taken=f"all boxes of the file lie within the first 100 pixels of images of {width}×{height} and more. They were "
        "read as pixels; if they are percentages, convert them to pixels",
    )


def _only(
    boxes: Sequence[Box], readings: Sequence[tuple[Units, tuple[float, float]]], span: str, expected: Units
) -> Units | str:
    fitting = {}
    for units, whole in readings:
        corners = [_corners(box, units.form) for box in boxes]
        if all(_fits(box, whole, ROUNDING * whole[0]) for box in corners):
            fitting.setdefault(tuple(corners), units)
    if len(fitting) == 1:
        (units,) = fitting.values()
        return Units(units.form, units.whole, _taken(units))
    if fitting:
        return _ambiguous(list(fitting.values()))
    if not any(number % 1 for box in boxes for number in box):
        return expected
    return (
        f"all numbers of its boxes are in {span}, but as {' and as '.join(FORMS[units.form] for units, _ in readings)} "
        "some have no area or leave their image. Give boxes as x, y, width, height in pixels"
    )


def _taken(units: Units) -> str:
    unit = {None: "pixels", FRACTIONS: "fractions of the image", PERCENT: "percent of the image"}[units.whole]
    return f"all boxes of the file fit {FORMS[units.form]} in {unit} and nothing else, and were read as that"


def _ambiguous(readings: Sequence[Units]) -> str:
    names = [
        f"{FORMS[units.form]} in { {None: 'pixels', FRACTIONS: 'fractions', PERCENT: 'percent'}[units.whole] }"
        for units in readings
    ]
    return (
        f"its boxes may be {' or '.join(names)}; nothing in the file tells these apart. Give boxes as x, y, width, "
        "height in pixels"
    )


def _fits_units(units: Units, box: Box, size: tuple[int, int]) -> bool:
    corners = _corners(box, units.form)
    return _fits(corners, size, 1) if units.whole is None else _fits(corners, units.whole, ROUNDING * units.whole[0])


def _fits(box: Box, whole: tuple[float, float], tolerance: float) -> bool:
    x_min, y_min, x_max, y_max = box
    return (
        -tolerance <= x_min < min(x_max, whole[0])
        and -tolerance <= y_min < min(y_max, whole[1])
        and 0 < x_max <= whole[0] + tolerance
        and 0 < y_max <= whole[1] + tolerance
    )


def _corners(numbers: Box, form: str) -> Box:
    x, y, third, fourth = numbers
    if form == "xyxy":
        return x, y, third, fourth
    if form == "cxcywh":
        return x - third / 2, y - fourth / 2, x + third / 2, y + fourth / 2
    return x, y, x + third, y + fourth
