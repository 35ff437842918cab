"""Pictures for people: a localization map and boxes over an image, and sheets of such pictures."""

from collections.abc import Sequence
from functools import cache

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .predictions import PredictedObject


PREDICTED = (60, 255, 60)
GROUND_TRUTH = (255, 40, 40)
OUTLINE = (0, 0, 0)
MAP_OPACITY = 0.45
READABLE_SIDE = 384
"""Pixels to which the longer side of a smaller image is enlarged, so that its text can be read."""


def draw_localization(
    image: Image.Image,
    localization_map: np.ndarray | None,
    boxes: Sequence[Sequence[float]] = (),
    texts: Sequence[str] = (),
    ground_truth_boxes: Sequence[Sequence[float]] = (),
    opacity: float = MAP_OPACITY,
    line_scale: float = 1.0,
) -> Image.Image:
    """Lays a localization map over an image and draws boxes on it, in the colours of the paper's Figure 3.

    Args:
        image: of any mode; not changed.
        localization_map: (height, width) float in [0, 1] over the whole image, at any resolution; None for no map.
        boxes: predicted, `[x_min, y_min, x_max, y_max]` in pixels of `image`, half-open; drawn in green.
        texts: one for each of the first boxes, such as a class and its score.
        ground_truth_boxes: as `boxes`; drawn in red.
        opacity: of the map, from 0 (only the image is seen) to 1 (only the map).
        line_scale: how many times as thick as usual lines are, for pictures that are shown small.

    Returns:
        A new RGB image of the size of `image`, or enlarged to `READABLE_SIDE` pixels along its longer side.

    Raises:
        ValueError: there are more texts than boxes, or the map is not two-dimensional.

    Example:

    ```python
    >>> photograph = Image.new("RGB", (640, 480))
    >>> picture = draw_localization(photograph, np.eye(14), boxes=[[20, 30, 600, 400]], texts=["apple 0.97"])
    >>> picture.mode, picture.size
    ('RGB', (640, 480))

    ```
    """
    if len(texts) > len(boxes):
        raise ValueError(f"There are {len(texts)} texts for {len(boxes)} boxes; give at most one text for each box.")
    if localization_map is not None and np.ndim(localization_map) != 2:
        raise ValueError(
            f"The localization map has shape {np.shape(localization_map)}; give one map, of shape (height, width)."
        )
    scale = max(1.0, READABLE_SIDE / max(image.size))
    size = tuple(max(1, round(side * scale)) for side in image.size)
    picture = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    if localization_map is not None:
        picture = Image.blend(picture, _in_colours(localization_map, size), opacity)

    draw = ImageDraw.Draw(picture)
    scales = np.array([size[0] / image.width, size[1] / image.height] * 2)
    for box in ground_truth_boxes:
        _draw_box(draw, np.asarray(box) * scales, GROUND_TRUTH, line_scale)
    for box in boxes:
        _draw_box(draw, np.asarray(box) * scales, PREDICTED, line_scale)
    for box, text in zip(boxes, texts):
        _draw_label(draw, np.asarray(box) * scales, text)
    return picture


def object_texts(objects: Sequence[PredictedObject]) -> list[str]:
    """The class of each object and its score, as `draw_localization` takes them."""
    return [f"{found['label']} {found['score']:.2f}" for found in objects]


def contact_sheet(
    images: Sequence[Image.Image], columns: int, captions: Sequence[str] | None = None, cell_size: int = 320
) -> Image.Image:
    """Puts images side by side, row by row, each scaled to fit into a square cell.

    Args:
        images: of any sizes and modes; at least one.
        columns: number of cells in a row, at least 1.
        captions: one for each image, written below it; shortened where it is wider than the cell.
        cell_size: side of a cell in pixels.

    Raises:
        ValueError: there are no images, no columns, or not as many captions as images.
    """
    if not images or columns < 1:
        raise ValueError(
            f"A sheet of {len(images)} images in {columns} columns cannot be drawn; give at least one of each."
        )
    if captions is not None and len(captions) != len(images):
        raise ValueError(f"There are {len(images)} images but {len(captions)} captions; give one for each image.")
    gap = max(2, cell_size // 40)
    font = _font(max(10, cell_size // 20))
    caption_height = _line_height(font) if captions else 0
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    step_x, step_y = cell_size + gap, cell_size + caption_height + gap
    sheet = Image.new("RGB", (columns * step_x + gap, rows * step_y + gap), "white")
    draw = ImageDraw.Draw(sheet)
    for index, image in enumerate(images):
        left, top = gap + index % columns * step_x, gap + index // columns * step_y
        scale = cell_size / max(image.size)
        size = tuple(max(1, round(side * scale)) for side in image.size)
        offset = left + (cell_size - size[0]) // 2, top + (cell_size - size[1]) // 2
        sheet.paste(image.convert("RGB").resize(size, Image.Resampling.LANCZOS), offset)
        if captions:
            caption = _cut_to_width(captions[index], font, cell_size)
            draw.text((left + cell_size / 2, top + cell_size), caption, fill=OUTLINE, font=font, anchor="ma")
    return sheet


def _in_colours(localization_map: np.ndarray, size: tuple[int, int]) -> Image.Image:
    smooth = cv2.resize(np.ascontiguousarray(localization_map, np.float32), size, interpolation=cv2.INTER_LINEAR)
    return Image.fromarray(_colours()[(smooth.clip(0, 1) * 255).round().astype(np.uint8)])


@cache
def _colours() -> np.ndarray:
    """(256, 3) uint8, from blue at 0 to red at 1: jet's order, without its false edges."""
    return matplotlib.colormaps["turbo"](np.arange(256), bytes=True)[:, :3].copy()


def _draw_box(draw: ImageDraw.ImageDraw, box: np.ndarray, colour: tuple[int, int, int], line_scale: float = 1) -> None:
    """A line just inside the box, with dark edges: the colours of boxes are colours of the map as well."""
    line = round(line_scale * _line_width(draw))
    left, top, right, bottom = np.rint(box).astype(int).tolist()
    right, bottom = max(left, right - 1), max(top, bottom - 1)
    draw.rectangle((left, top, right, bottom), outline=OUTLINE, width=line + 2)
    if right - left > 2 and bottom - top > 2:
        draw.rectangle((left + 1, top + 1, right - 1, bottom - 1), outline=colour, width=line)


def _draw_label(draw: ImageDraw.ImageDraw, box: np.ndarray, text: str) -> None:
    """A strip above the box or, where the image ends there, inside its top; always within the image."""
    image_width = draw.im.size[0]
    font = _font(max(12, round(max(draw.im.size) / 26)))
    margin = _line_width(draw) + 1
    text = _cut_to_width(text, font, image_width - 2 * margin)
    width, height = round(font.getlength(text)) + 2 * margin, _line_height(font)
    left = min(max(0, round(box[0])), max(0, image_width - width))
    top = round(box[1]) - height if box[1] >= height else max(0, round(box[1]))
    draw.rectangle((left, top, left + width - 1, top + height - 1), fill=PREDICTED)
    draw.text((left + margin, top + height / 2), text, fill=OUTLINE, font=font, anchor="lm")


def _line_width(draw: ImageDraw.ImageDraw) -> int:
    return max(2, round(max(draw.im.size) / 160))


def _line_height(font: ImageFont.FreeTypeFont) -> int:
    return sum(font.getmetrics()) + 2


def _cut_to_width(text: str, font: ImageFont.FreeTypeFont, width: float, kept_at_end: int = 5) -> str:
    """The text, or one cut before its last characters: there a class has its score and a file its suffix."""
    if font.getlength(text) <= width:
        return text
    start, end = text[:-kept_at_end], text[-kept_at_end:]
    while start and font.getlength(f"{start}…{end}") > width:
        start = start[:-1]
    return f"{start}…{end}"


def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)
