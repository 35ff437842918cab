"""Text files, read in the encoding that they declare."""

import json
import re
from pathlib import Path


SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "shift-jis": "cp932", "euc-kr": "cp949"}
"""The encodings that browsers use for files that declare a smaller one."""


def read_text(file: Path) -> str:
    """The text of a JSON or CSV file: UTF-8, or UTF-16 or UTF-32 with a byte order mark or of Latin first letters.

    Raises:
        ValueError: it is in another encoding.
    """
    content = file.read_bytes()
    encoding = json.detect_encoding(content)
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"UTF-8 or UTF-16 was expected, but line {line} holds bytes that are neither; save the file as UTF-8"
        ) from error


def read_xml_text(file: Path) -> str:
    """The text of an XML file, by its byte order mark, or else by the encoding that it declares, or else as UTF-8.

    Python knows far more encodings (GBK, Shift_JIS, windows-1251, …) than the parser does.

    Raises:
        ValueError: it is not in the encoding that it declares, or that is unknown.
    """
    content = file.read_bytes()
    encoding = json.detect_encoding(content)
    if encoding in ("utf-8", "utf-8-sig"):
        declared = re.match(rb"""(?:\xef\xbb\xbf)?\s*<\?xml[^>]*?encoding\s*=\s*["']([^"']+)["']""", content)
        if declared and encoding == "utf-8":
            encoding = declared[1].decode("ascii", errors="replace").lower()
            encoding = SUPERSETS.get(encoding, encoding)
            if encoding.startswith(
                ("utf-16", "utf16", "utf-32", "ucs-2", "unicode")
            ):  # whose letters take several bytes
                encoding = "utf-8"
    try:
        return content.decode(encoding).removeprefix("\ufeff").lstrip()
    except LookupError as error:
        raise ValueError(f"it declares the encoding {encoding!r}, which is unknown; save it as UTF-8") from error
    except UnicodeError as error:
        raise ValueError(
            f"it is not in the encoding {encoding} that it {'declares' if b'encoding' in content[:200] else 'should have'} "
            f"({error}); declare the right one, or save it as UTF-8"
        ) from error
