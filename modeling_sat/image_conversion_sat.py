"""Any image that Pillow opens, as the upright RGB image that a person sees."""

from io import BytesIO
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
from PIL import ExifTags, Image, ImageOps


def read_image(image: "str | Path | Image.Image", timeout: float | None = None) -> Image.Image:
    """An upright RGB image (`to_upright_rgb`) from a path, a URL (`https:`, `http:`, `data:`) or an image.

    Args:
        timeout: seconds to wait for a URL; default: as long as it takes.

    Raises:
        ValueError: the file is missing or is no image, or the URL gives none, by name.
    """
    if isinstance(image, Image.Image):
        return to_upright_rgb(image)
    is_url = str(image).startswith(("http://", "https://", "data:"))
    try:
        with Image.open(_download(str(image), timeout) if is_url else image) as opened:
            return to_upright_rgb(opened)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        missing = not is_url and not Path(image).exists()
        problem = "is not there" if missing else f"cannot be read as an image ({error})"
        raise ValueError(f"{str(image)[:200]} {problem}. Give a JPEG, PNG or other image file.") from error


def _download(url: str, timeout: float | None) -> BytesIO:
    request = Request(url, headers={"User-Agent": "modeling_sat"})  # some sites refuse urllib's own
    with urlopen(request, timeout=timeout) as response:
        return BytesIO(response.read())


def to_upright_rgb(image: Image.Image, copy: bool = True) -> Image.Image:
    """Turns an image of any mode into an upright image of mode RGB.

    - The EXIF orientation is applied.
    - Transparency (alpha channel, transparent palette entry or colour) is composited on white.
    - 16-bit grey is divided by 257, so that 65535 becomes 255.
    - 32-bit integer and floating-point grey is scaled by the first of the ranges [0, 1] (floating point only),
      [0, 255] and [0, 65535] that holds all its values, and from its minimum to its maximum if none does (black
      where they are equal). Values that are not finite become black.
    - Of an animation, the current frame is used: the first one in a file just opened.

    Args:
        image: any Pillow image, loaded or not.
        copy: give a new image even where `image` itself is upright and of mode RGB.

    Returns:
        A loaded image of mode RGB; its size is that of the upright image.

    Raises:
        OSError: the file behind `image` is truncated or damaged.
    """
    if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if has_more_than_8_bits(image):
        image = Image.fromarray(_to_8_bits(np.asarray(image), image.mode))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "RGB" and not copy:
        image.load()
        return image
    return image.convert("RGB")


def has_more_than_8_bits(image: Image.Image) -> bool:
    """Whether the image is of a mode (`I;16*`, `I` or `F`) whose values Pillow's own `convert` clips at 255."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _to_8_bits(values: np.ndarray, mode: str) -> np.ndarray:
    values = values.astype(np.float64)
    finite = np.isfinite(values)
    values[~finite] = 0
    low, high = values.min(), values.max()
    limits = {"I": (255, 65535), "F": (1, 255, 65535)}.get(mode, (65535,))
    if low >= 0 and high <= limits[-1]:
        low, high = 0, next(limit for limit in limits if high <= limit)
    scale = 255 / (high - low) if high > low else 0
    eight_bits = ((values - low) * scale).round()
    return np.where(finite, eight_bits, 0).astype(np.uint8)
