"""What an interrupted run has done, so that the same command continues from there."""

import json
import os
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .files import as_json


CHECKSUM = "checksum"
"""The field of an entry that is made of the others and of the run's settings."""


@dataclass(frozen=True)
class Journal:
    """A file with the settings of a run in its first line, then an entry a line, each of another name.

    Attributes:
        file: where it lies, once the run has begun.
        settings: of the run; the journal of another run counts for nothing.
        name: the field of an entry that names it.
    """

    file: Path
    settings: Mapping[str, Any]
    name: str

    def resume(self) -> dict[str, int]:
        """Goes back to the last good line, and says in a warning what and how much is done again: what comes after a
        line that is damaged, cut off, doubled or of another run, or all of another run.

        Returns:
            name → offset of each entry that is left, in their order.
        """
        if not self.file.exists():
            return {}
        offsets, end, problem = self._read()
        if problem is not None:
            with open(self.file, "rb") as lines:
                lines.seek(end)
                lost = sum(1 for _ in lines) - (end == 0)
            entries = "1 entry counts" if lost == 1 else f"{lost} entries count"
            warnings.warn(
                f"{self.file} {problem}. {entries} for nothing, and what {'it' if lost == 1 else 'they'} held is done "
                f"again; {len(offsets)} before {'are' if len(offsets) != 1 else 'is'} kept.",
                stacklevel=3,
            )
        if offsets:
            os.truncate(self.file, end)
        else:
            self.file.unlink()
        return offsets

    def offsets(self) -> dict[str, int]:
        """Name → offset of each entry before the first line that is none."""
        return self._read()[0] if self.file.exists() else {}

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """To be written to by `append`, after `resume`."""
        is_new = not self.file.exists()
        with open(self.file, "ab") as lines:
            if is_new:
                lines.write(f"{self._first_line}\n".encode())
            yield lines

    def append(self, lines: BinaryIO, entry: Mapping[str, Any]) -> None:
        """Writes an entry to its end.

        Raises:
            ValueError: it holds a number that is not finite.
        """
        text = as_json(entry)
        lines.write(f"{as_json({**entry, CHECKSUM: self._checksum(text)})}\n".encode())
        lines.flush()

    def entries(self, offsets: Iterator[int]) -> Iterator[dict[str, Any]]:
        """The entries at these offsets."""
        with open(self.file, "rb") as lines:
            for offset in offsets:
                lines.seek(offset)
                entry = json.loads(lines.readline())
                del entry[CHECKSUM]
                yield entry

    @property
    def _first_line(self) -> str:
        return json.dumps(dict(self.settings))

    def _checksum(self, text: str) -> int:
        return zlib.crc32((self._first_line + text).encode())

    def _read(self) -> tuple[dict[str, int], int, str | None]:
        """The good entries, where they end, and what the line is that comes after them."""
        offsets: dict[str, int] = {}
        with open(self.file, "rb") as lines:
            first = lines.readline()
            if first != f"{self._first_line}\n".encode():
                return {}, 0, _what_differs(first, json.loads(self._first_line))
            end = len(first)
            for number, line in enumerate(lines, start=2):
                entry = _parsed(line)
                checksum = None if entry is None else entry.pop(CHECKSUM, None)
                if checksum is None or checksum != self._checksum(json.dumps(entry)):
                    return offsets, end, f"is damaged, or of another run, in line {number}"
                if entry[self.name] in offsets:
                    return offsets, end, f"has {entry[self.name]} a second time, in line {number}"
                offsets[entry[self.name]] = end
                end += len(line)
        return offsets, end, None


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A whole line's JSON mapping; None if it is not one."""
    try:
        content = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):  # UnicodeDecodeError is a ValueError
        return None
    return content if isinstance(content, dict) else None


def _what_differs(line: bytes, settings: dict[str, Any]) -> str:
    earlier = _parsed(line) or {}
    names = [name for name in settings if name in earlier and earlier[name] != settings[name]]
    if not names:
        return "is damaged in its first line, which says of what run it is"
    return f"is of a run with another {' and another '.join(names)}"
