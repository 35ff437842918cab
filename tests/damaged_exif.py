"""EXIF blocks as no camera writes them, and image files that have them."""

import struct
import zlib
from io import BytesIO
from pathlib import Path

from PIL import Image


ORIENTATION, SHORT = 0x0112, 3
TURN_RIGHT = (ORIENTATION, SHORT, 1, struct.pack("<HH", 6, 0))


def directory(*entries: tuple[int, int, int, bytes]) -> bytes:
    """A TIFF directory of (tag, type, count, four bytes), little-endian."""
    packed = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", 0)


def block(*entries: tuple[int, int, int, bytes], offset: int = 8) -> bytes:
    return b"II*\0" + struct.pack("<I", offset) + directory(*entries)


UPRIGHT = {
    "truncated header": b"II*",
    "truncated directory": block(TURN_RIGHT)[:16],
    "wrong byte order mark": b"XX" + block(TURN_RIGHT)[2:],
    "other byte order": b"MM" + block(TURN_RIGHT)[2:],
    "noise": bytes(range(200, 255)),
    "orientation as text": block((ORIENTATION, 2, 2, b"6\0\0\0")),
    "orientation 0": block((ORIENTATION, SHORT, 1, bytes(4))),
    "orientation 9": block((ORIENTATION, SHORT, 1, struct.pack("<HH", 9, 0))),
    "orientation of no type": block((ORIENTATION, 99, 1, struct.pack("<HH", 6, 0))),
    "huge offset": block(TURN_RIGHT, offset=0xFFFFFFF0),
}
"""Blocks that say nothing of how the image is to be turned."""

TURNED = {
    "text tag of a float": block(TURN_RIGHT, (0x0131, 11, 1, struct.pack("<f", 2.5))),
    "short tag of bytes": block(TURN_RIGHT, (0x0100, 1, 1, b"\xff\0\0\0")),
    "negative in a tag without sign": block(TURN_RIGHT, (0x0100, 9, 1, struct.pack("<i", -5))),
    "huge count": block(TURN_RIGHT, (0x010F, 2, 0xFFFFFFFF, struct.pack("<I", 8))),
    "directory within itself": block(TURN_RIGHT, (0x8769, 4, 1, struct.pack("<I", 8))),
}
"""Blocks that say "turn right", and of which something else is damaged."""


def image_file(path: Path, image: Image.Image, exif: bytes) -> Path:
    """Saves a JPEG, PNG or WebP with an EXIF block as it is; Pillow would mend some."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = BytesIO()
    kind = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP"}[path.suffix]
    image.save(buffer, kind, **({"exif": b"Exif\0\0" + exif} if kind == "WEBP" else {}))
    content = buffer.getvalue()
    if kind == "JPEG":
        content = content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif + content[2:]
    if kind == "PNG":
        end_of_header = 33
        content = content[:end_of_header] + png_chunk(b"eXIf", exif) + content[end_of_header:]
    path.write_bytes(content)
    return path


def tiff_file(path: Path, image: Image.Image, *entries: tuple[int, int, int, bytes]) -> Path:
    """Saves a TIFF, which is itself what an EXIF block imitates, with more entries."""
    pixels = image.convert("L").tobytes()

    def number(tag: int, value: int) -> tuple[int, int, int, bytes]:
        return tag, 4, 1, struct.pack("<I", value)

    own = [
        number(0x100, image.width), number(0x101, image.height), number(0x102, 8), number(0x103, 1), number(0x106, 1),
        number(0x111, 8), number(0x115, 1), number(0x116, image.height), number(0x117, len(pixels)),
    ]  # fmt: skip
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory(*sorted([*own, *entries])))
    return path


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_of_size(width: int, height: int, bits: int = 16) -> bytes:
    """The beginning of a grey PNG, which is enough for it to be opened."""
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(b""))
