"""NumPy arrays and tensors that hold an image, as transformers' pipelines and processors take them."""

from typing import Any

import numpy as np
import torch
from PIL import Image


TAKEN_ARRAYS = (
    "(height, width), (height, width, channels) or (channels, height, width), with 1 (grey), 3 (RGB) or 4 (RGBA) "
    "channels"
)

CHANNELS = (1, 3, 4)

OVERSHOOT = 0.1
"""Part of a range by which floating-point values may leave it, as those of a bicubic resize do; they are clipped."""

STRIP = 1 << 20
"""Pixels that are converted at a time, so that the copy in a wider type stays small."""


class ImageError(ValueError):
    """Something is not an image that can be shown to a model."""


def is_array(image: Any) -> bool:
    """Whether `image` is an array or tensor, of these or other libraries."""
    return isinstance(image, np.ndarray | torch.Tensor) or (hasattr(image, "__array__") and hasattr(image, "shape"))


def to_numpy(array: Any) -> np.ndarray:
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu()
        return (array.float() if array.is_floating_point() and array.element_size() < 4 else array).numpy()
    return np.asarray(array)


def array_to_image(array: Any, channels: str | None = None) -> Image.Image:
    """An image of mode L, RGB or RGBA from an array or tensor.

    Colours are red, green, blue, as everywhere in transformers. OpenCV reads blue first, which no array shows: give
    `cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)` or `frame[..., ::-1]`.

    Args:
        array: (height, width), (height, width, channels), (channels, height, width), or one of these with a 1 before
            it; 1, 3 or 4 channels. Where both ends could be channels, the first are, as in transformers. Values:

            - integers up to 255, or where there are larger ones up to 65535, which becomes 255;
            - floating point in [0, 1] or, where there are larger ones, in [0, 255];
            - booleans: True is white.
        channels: `"channels_first"` or `"channels_last"`; default: by the shape.

    Raises:
        ImageError: another shape or type, or values that are not finite or in none of these ranges.
    """
    values = _height_width_channels(to_numpy(array), channels)
    low, high = 0, _white(values)
    _check_alpha(values, high)
    if values.dtype != np.uint8:
        eight_bits = np.empty(values.shape, np.uint8)
        rows = max(1, STRIP // values.shape[1])
        for top in range(0, len(values), rows):
            eight_bits[top : top + rows] = to_8_bits(values[top : top + rows], low, high)
        values = eight_bits
    return Image.fromarray(np.ascontiguousarray(values[..., 0] if values.shape[2] == 1 else values))


def to_8_bits(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """From [low, high] to uint8 [0, 255]; what is beyond is clipped, and what is not finite becomes 0."""
    scale = 255 / (high - low) if high > low else 0
    eight_bits = ((np.where(np.isfinite(values), values, low).astype(np.float64) - low) * scale).round()
    return eight_bits.clip(0, 255).astype(np.uint8)


def _height_width_channels(values: np.ndarray, channels: str | None) -> np.ndarray:
    shape = values.shape
    if len(shape) == 4 and shape[0] == 1:
        values = values[0]
    if values.ndim == 2:
        values = values[..., None]
    elif values.ndim == 3:
        channels = getattr(channels, "value", channels)
        first = values.shape[0] in CHANNELS if channels is None else channels == "channels_first"
        values = np.moveaxis(values, 0, -1) if first else values
    if values.ndim == 3 and values.shape[2] in CHANNELS and values.size:
        return values
    several = f" That is a batch: give list(batch), its {shape[0]} images." if len(shape) == 4 and shape[0] > 1 else ""
    raise ImageError(f"The array has the shape {shape}; {TAKEN_ARRAYS} was expected.{several}")


def _white(values: np.ndarray) -> float:
    """The value that is white, by the type and range of the values."""
    described = f"The array of type {values.dtype}"
    if values.dtype.kind not in "buif":
        raise ImageError(f"{described} holds no numbers; uint8 values from 0 to 255 were expected.")
    if values.dtype == bool:
        return 1
    if values.dtype == np.uint8:
        return 255
    low, high = values.min(), values.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        wrong = int((~np.isfinite(values)).sum())
        raise ImageError(
            f"{described} has {wrong} values of {values.size} that are not finite; repair or replace them."
        )
    is_float = values.dtype.kind == "f"
    for white in (1, 255) if is_float else (255, 65535):
        beyond = OVERSHOOT * white if is_float else 0
        dim = 8 if is_float and white == 255 else 0  # next to black for one range, beyond the other
        if low >= -beyond and dim <= high <= white + beyond:
            return white
    expected = "[0, 1] or [0, 255]" if is_float else "[0, 255] or [0, 65535]"
    raise ImageError(
        f"{described} holds values from {low:g} to {high:g}; the pixels of an image in {expected} were expected, before "
        "any normalization. Undo it, or give what is already prepared to the model itself as pixel_values."
    )


def _check_alpha(values: np.ndarray, white: float) -> None:
    """Refuses an alpha channel of another range, with which everything would vanish."""
    if values.shape[2] == 4 and white > 1 and values[..., 3].max() <= 1:
        raise ImageError(
            f"The array's fourth channel, alpha, is at most {values[..., 3].max():g}, where {white} is opaque; give "
            "it the range of the colours, or give the three colours alone."
        )
