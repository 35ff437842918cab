"""Files that strangers upload, as pictures: refused in a sentence, and before they are decoded where they are too large."""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ..models.image_conversion_sat import PixelLimitError, open_image, to_upright_rgb


MAX_MEGABYTES = 20
MAX_MEGAPIXELS = 50
"""Of strangers' pictures; those of this machine have a limit of their own, `image_conversion_sat.MAX_MEGAPIXELS`."""


class PictureError(ValueError):
    """A file that cannot be shown to a model; the message says why."""


@dataclass(frozen=True)
class Picture:
    """An uploaded picture.

    Attributes:
        name: of the file.
        image: upright, mode RGB.
        note: what a user should know of how it was read; may be empty.
    """

    name: str
    image: Image.Image
    note: str = ""


def read_picture(name: str, content: bytes) -> Picture:
    """Reads the first frame of an image file, which is decoded only if its header promises a size within the limits.

    Args:
        name: of the file, for sentences.
        content: of the file; at most `MAX_MEGABYTES` and, decoded, `MAX_MEGAPIXELS`.

    Raises:
        PictureError: the file is empty, too large, damaged, or no picture.
    """
    if not content:
        raise PictureError(f"{name} is empty. Choose a file that holds a picture.")
    if len(content) > MAX_MEGABYTES * 1_000_000:
        raise PictureError(
            f"{name} has {len(content) / 1e6:.0f} MB; at most {MAX_MEGABYTES} MB are accepted. Choose a smaller file."
        )
    try:
        with open_image(content, MAX_MEGAPIXELS) as opened:
            # MPO is what telephones write: a JPEG with a second picture for machines.
            animated = getattr(opened, "is_animated", False) and opened.format != "MPO"
            image = to_upright_rgb(opened)
    except PixelLimitError as error:
        raise PictureError(
            f"{name} has more than {MAX_MEGAPIXELS} million pixels, which is the limit. Choose a smaller picture."
        ) from error
    except Exception as error:  # each of Pillow's decoders fails in its own way
        raise PictureError(
            f"{name} cannot be read as a picture. Choose a JPEG, PNG, WebP, GIF, BMP or TIFF file that is intact."
        ) from error
    return Picture(name, image, "It has several frames; this is the first one." if animated else "")


def read_example(path: str | Path) -> Picture:
    """Reads a picture file of this machine.

    Raises:
        PictureError: it is not there, or `read_picture` refuses it.
    """
    path = Path(path)
    if not path.is_file():
        raise PictureError(f"The example {path} is not there. Give picture files.")
    return read_picture(path.name, path.read_bytes())
