"""Turns whatever people have for an image into the upright RGB image that a person sees, or says why it cannot."""

import base64
import os
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps

from .image_arrays_sat import STRIP, TAKEN_ARRAYS, ImageError, array_to_image, is_array, to_8_bits


IMAGE_FORMATS = (
    "JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "AVIF", "ICO", "PCX", "PSD", "QOI",
    "SGI", "TGA", "HEIF", "JXL",
)  # fmt: skip
"""What Pillow may try: decoders of pixels, none that starts another program, as that of EPS does. The last two are those
of the packages `pillow-heif` and `pillow-jxl-plugin`, where they have been registered."""

MAX_MEGAPIXELS = 120
"""Millions of pixels above which a file is refused before it is decoded: more than the sensors of telephones have, and
a gigabyte of memory at most. The environment variable `SAT_MAX_MEGAPIXELS` sets another limit."""

TAKEN = (
    "an image of Pillow, a path, a URL, a base64 string, the bytes of an image file, or a NumPy array or tensor of shape "
    + TAKEN_ARRAYS
)

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
"""EXIF orientation → what makes the stored image upright."""
_OTHER_CONTENTS = {
    b"%!PS": "PostScript (EPS)", b"\xc5\xd0\xd3\xc6": "PostScript (EPS)", b"%PDF": "PDF",
    b"<": "HTML, SVG or XML", b"version https://git-lfs": "a pointer of Git LFS, whose file was not downloaded",
}  # fmt: skip


class PixelLimitError(ImageError):
    """A file has more pixels than may be decoded."""


def read_image(image: Any, timeout: float | None = None) -> Image.Image:
    """An upright RGB image (`to_upright_rgb`) from whatever holds one.

    Args:
        image: an image of Pillow; a path; a URL (`https:`, `http:`, `data:`); a base64 string; an open image file or
            its bytes, also as `{"bytes": …, "path": …}`; or an array or tensor, see
            `array_to_image`: colours are red, green, blue, so of OpenCV's frames give `frame[..., ::-1]`.
        timeout: seconds to wait for a URL; default: as long as it takes.

    Returns:
        An image of mode RGB without metadata: whatever is done to it, it is not turned again.

    Raises:
        ImageError: the file is missing or is not an image, or the URL gives none, by name; or it is something else.
    """
    if isinstance(image, dict) and image.keys() >= {"bytes", "path"}:
        image = image["path"] if image["bytes"] is None else image["bytes"]
    if isinstance(image, str | Path):
        return _read_named(str(image), image, timeout)
    try:
        if isinstance(image, Image.Image):
            return to_upright_rgb(image)
        if isinstance(image, bytes | bytearray | memoryview):
            return decode_image(bytes(image))
        if hasattr(image, "read"):
            image.seek(0)
            return decode_image(image.read())
    except Exception as error:  # each of Pillow's decoders fails in its own way
        raise ImageError(f"The image cannot be read ({error}). Give a JPEG, PNG or other image file.") from error
    if is_array(image):
        return to_upright_rgb(array_to_image(image))
    hint = "It is what cv2.imread gives for a file that it cannot read. " if image is None else ""
    raise ImageError(f"The image is {_described(image)}. {hint}Give {TAKEN}; or a list of them.")


def _read_named(name: str, source: str | Path, timeout: float | None) -> Image.Image:
    is_url = name.lower().startswith(("http://", "https://", "data:"))
    try:
        if is_url:
            return decode_image(_download(name, timeout))
        if not os.path.exists(name):
            return decode_image(_from_base64(name if isinstance(source, str) else ""))
        return decode_image(source)
    except FileNotFoundError as error:
        missing = _shortened(name) or "An image with an empty path"
        raise ImageError(f"{missing} is not there. Give a JPEG, PNG or other image file.") from error
    except Exception as error:  # a server, a file system or a decoder, each of which fails in its own way
        problem = f"cannot be read as an image ({error}). Give a JPEG, PNG or other image file."
        raise ImageError(f"{_shortened(name)} {problem}") from error


def _download(url: str, timeout: float | None) -> bytes:
    request = Request(url, headers={"User-Agent": "modeling_sat"})  # some sites refuse urllib's own
    with urlopen(request, timeout=timeout) as response:
        return response.read()


def _from_base64(text: str) -> bytes:
    """What `text` encodes, in either alphabet.

    Raises:
        FileNotFoundError: nothing that could be an image, so it was meant to be a path.
    """
    text = "".join(text.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        open_image(content).close()
    except PixelLimitError:
        pass
    except ValueError as error:
        raise FileNotFoundError from error
    return content


def decode_image(source: str | Path | bytes, enough: tuple[int, int] | None = None) -> Image.Image:
    """An image file as an upright RGB image without metadata: the one place where files are decoded.

    Args:
        source: the file, or its bytes.
        enough: (width, height) in pixels; a JPEG is decoded at 1/2, 1/4 or 1/8 of its size where that is not smaller.

    Raises:
        ImageError: the file cannot be opened (see `open_image`) or its pixels are damaged.
    """
    try:
        with open_image(source) as image:
            if enough is not None:
                image.draft("RGB", enough)
            return to_upright_rgb(image)
    except ImageError:
        raise
    except Exception as error:  # each of Pillow's decoders fails in its own way
        raise ImageError(str(error) or type(error).__name__) from error


def open_image(source: str | Path | bytes, max_megapixels: float | None = None) -> Image.Image:
    """`PIL.Image.open` of a file or its bytes, for `IMAGE_FORMATS` alone and within the limit of pixels; nothing is decoded.

    Args:
        max_megapixels: a lower limit than `pixel_limit`.

    Raises:
        ImageError: it is of another format, or its header is damaged.
        PixelLimitError: it is above the limit.
    """
    limit = pixel_limit() if max_megapixels is None else min(pixel_limit(), int(max_megapixels * 1_000_000))
    Image.init()  # so that every format has its decoder, and it is known which ones this Pillow has
    formats = [name for name in IMAGE_FORMATS if name in Image.OPEN]
    if not isinstance(source, bytes) and os.path.exists(source) and not os.path.isfile(source):
        raise ImageError("it is a folder" if os.path.isdir(source) else "it is a device or a pipe, not a file")
    file = BytesIO(source) if isinstance(source, bytes) else source
    try:
        image = Image.open(file, formats=formats)
    except Image.DecompressionBombError as error:
        if Image.MAX_IMAGE_PIXELS is not None and limit > 2 * Image.MAX_IMAGE_PIXELS:  # somebody has lowered it
            raise PixelLimitError(str(error)) from error
        raise PixelLimitError(f"more pixels than {_limit_in_words(limit)}") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(_unidentified(source)) from error
    except Exception as error:  # no such file; or a damaged header, of which each plugin has its own opinion
        raise ImageError(str(error) or type(error).__name__) from error
    try:
        _check_size(image, limit)
    except PixelLimitError:
        image.close()
        raise
    return image


def _check_size(image: Image.Image, limit: int) -> None:
    if image.width * image.height > limit:
        raise PixelLimitError(f"{image.width}×{image.height} pixels are more than {_limit_in_words(limit)}")


def _check_opened(image: Image.Image) -> None:
    """Refuses an image that somebody else has opened, and not decoded yet, as `open_image` would have refused its file."""
    if not isinstance(image, ImageFile.ImageFile) or not image.tile:
        return
    if image.format not in IMAGE_FORMATS:
        raise ImageError(f"its format {image.format} is not read; read are {', '.join(IMAGE_FORMATS)}")
    _check_size(image, pixel_limit())


def pixel_limit() -> int:
    """Pixels that an image file may have: `MAX_MEGAPIXELS`, or what the environment says.

    Raises:
        ImageError: the environment variable is not a number above 0.
    """
    given = os.environ.get("SAT_MAX_MEGAPIXELS")
    if not given:
        return MAX_MEGAPIXELS * 1_000_000
    try:
        limit = int(float(given) * 1_000_000)
    except (ValueError, OverflowError):
        limit = 0
    if limit <= 0:
        raise ImageError(f"SAT_MAX_MEGAPIXELS is {given!r}; a number of millions of pixels above 0 was expected")
    if Image.MAX_IMAGE_PIXELS is not None:  # Pillow refuses what has twice as many
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limit)
    return limit


def _limit_in_words(limit: int) -> str:
    return f"the limit of {limit / 1e6:g} million; reduce the image, or set SAT_MAX_MEGAPIXELS to a higher limit"


def _shortened(name: str) -> str:
    return name if len(name) <= 200 else f"{name[:100]}…"


def _described(image: Any) -> str:
    if image is None:
        return "None"
    described = f"of type {type(image).__name__}"
    names = list(image) if isinstance(image, dict) else getattr(image, "column_names", None)
    if names is not None:
        described += f" with {', '.join(map(str, names)) or 'nothing'}, of which one alone may be the image"
    return described


def _unidentified(source: str | Path | bytes) -> str:
    if isinstance(source, bytes):
        head = source[:32]
    else:
        with open(source, "rb") as file:
            head = file.read(32)
    known = next((text for start, text in _OTHER_CONTENTS.items() if head.startswith(start)), None)
    if not head:
        known = "empty"
    elif head[4:8] == b"ftyp":
        known = "HEIC or a film"
    formats = ", ".join(name for name in IMAGE_FORMATS if name in Image.OPEN)
    return f"cannot identify it: it is {known or 'damaged or of another format'}; read are {formats}"


def to_upright_rgb(image: Image.Image) -> Image.Image:
    """Turns an image of any mode into an upright image of mode RGB that has no metadata left to turn it again.

    - The EXIF orientation is applied. Where the EXIF block is too damaged to have one, or it is none of 1 to 8, the image
      is left as it is stored, as browsers show it.
    - Transparency (alpha channel, transparent palette entry or colour) is composited on white.
    - 16-bit grey is divided by 257, so that 65535 becomes 255.
    - 32-bit integer and floating-point grey is scaled by the first of the ranges [0, 1] (floating point only),
      [0, 255] and [0, 65535] that holds all its values, and from its minimum to its maximum if none does (black
      where they are equal). Values that are not finite become black.
    - Of an animation, the current frame is used: the first one in a file just opened.

    Args:
        image: any Pillow image, loaded or not.

    Returns:
        A new image of mode RGB; its size is that of the upright image.

    Raises:
        OSError: the file behind `image` is truncated or damaged.
        ImageError: it is one that `open_image` refuses.
    """
    _check_opened(image)
    _load(image)
    turn = orientation_turn(image)
    if has_more_than_8_bits(image):
        upright = _by_strips(image, _eight_bits_of(image))
    elif image.has_transparency_data:
        upright = _by_strips(image, _on_white)
    else:
        upright = image.convert("RGB")
    upright = upright if turn is None else upright.transpose(turn)
    upright.info = {}
    return upright


def _load(image: Image.Image) -> None:
    """Decodes the image, whereby Pillow turns a TIFF."""
    if image.format != "TIFF":
        image.load()
        return
    # Without a name Pillow does not map the file into memory, which it does by the size that the image has when turned.
    name, image.filename = image.filename, ""
    image.load()
    image.filename = name


def orientation_turn(image: Image.Image) -> Image.Transpose | None:
    """What makes a stored image upright, as its EXIF block says; None where it is, or where the block does not tell."""
    for _ in range(2):  # asked again, Pillow gives what it could read of a damaged block
        try:
            return TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
        except Exception:  # an EXIF block can be damaged in as many ways as any file
            continue
    return None


def has_more_than_8_bits(image: Image.Image) -> bool:
    """Whether the image is of a mode (`I;16*`, `I` or `F`) whose values Pillow's own `convert` clips at 255."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _by_strips(image: Image.Image, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """RGB of an image whose conversion needs several times its memory, a few rows at a time."""
    result = Image.new("RGB", image.size)
    for box in _strips(image.size):
        result.paste(convert(image.crop(box)), box)
    return result


def _strips(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    rows = max(1, STRIP // size[0])
    for top in range(0, size[1], rows):
        yield 0, top, size[0], min(top + rows, size[1])


def _on_white(strip: Image.Image) -> Image.Image:
    strip = strip.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", strip.size, "white"), strip)


def _eight_bits_of(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    low, high = 0.0, 65535.0
    if image.mode in ("I", "F"):
        lows, highs = [], []
        for box in _strips(image.size):
            values = np.asarray(image.crop(box))
            values = values[np.isfinite(values)]
            if values.size:
                lows.append(float(values.min()))
                highs.append(float(values.max()))
        low, high = min(lows, default=0.0), max(highs, default=0.0)
        limits = (255, 65535) if image.mode == "I" else (1, 255, 65535)
        if low >= 0 and high <= limits[-1]:
            low, high = 0.0, float(next(limit for limit in limits if high <= limit))
    return lambda strip: Image.fromarray(to_8_bits(np.asarray(strip), low, high))


def is_plain(image: Image.Image) -> bool:
    """Whether Pillow's own `exif_transpose` and `convert("RGB")` make of an image what `to_upright_rgb` makes of it."""
    turned_tiff = image.format == "TIFF" and orientation_turn(image) is not None  # see `_load`
    _load(image)
    if turned_tiff or has_more_than_8_bits(image) or image.has_transparency_data:
        return False
    try:
        if image.getexif().get(ExifTags.Base.Orientation) in TURNS:
            turned = ImageOps.exif_transpose(image).copy()
            return turned.getexif().get(ExifTags.Base.Orientation) not in TURNS
    except Exception:  # an EXIF block can be damaged in as many ways as any file
        return False
    return True
