"""Files that are whole or not there: written aside, brought to the disk, and then renamed."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO


@contextmanager
def written_aside(file: str | Path) -> Iterator[TextIO]:
    """A text file, UTF-8, that comes to its place when the block has ended well; what was there before stays till then."""
    with path_written_aside(file) as aside, open(aside, "w", encoding="utf-8", errors="backslashreplace") as opened:
        yield opened


@contextmanager
def path_written_aside(file: str | Path) -> Iterator[Path]:
    """As `written_aside`, for libraries that write to a path."""
    file = Path(file)
    aside = file.with_name(f".being-written-{file.name}")
    try:
        yield aside
        to_disk(aside)
        os.replace(aside, file)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


@contextmanager
def folder_written_aside(folder: str | Path) -> Iterator[Path]:
    """A folder to write to, whose files come to theirs in `folder` one after the other when the block has ended well."""
    folder = Path(folder)
    aside = folder.with_name(f".being-written-{folder.name}")
    shutil.rmtree(aside, ignore_errors=True)  # of a run that was killed
    aside.mkdir(parents=True)
    try:
        yield aside
        files = [file for file in sorted(aside.rglob("*")) if file.is_file()]
        for file in files:
            to_disk(file)
        for file in files:
            place = folder / file.relative_to(aside)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, place)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def as_json(content: Any, **arguments: Any) -> str:
    """`content` as JSON, which has no NaN and no infinity.

    Raises:
        ValueError: a number is not finite; says where.
    """
    try:
        return json.dumps(content, allow_nan=False, **arguments)
    except ValueError as error:
        where = next(_not_finite(content), None)
        if where is None:
            raise
        raise ValueError(
            f"{where[0] or 'A number'} is {where[1]}, which is not a result, and which JSON does not have."
        ) from error


def write_json(file: str | Path, content: Any, **arguments: Any) -> None:
    """Writes a JSON file for people and programs, whole or not at all.

    Args:
        arguments: of `json.dumps`.

    Raises:
        ValueError: a number is not finite.
    """
    text = as_json(content, indent=2, **arguments)
    with written_aside(file) as opened:
        opened.write(text + "\n")


def read_json(file: str | Path) -> dict[str, Any]:
    """The mapping that a JSON file holds.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: it is not JSON, or something else than a mapping.
    """
    content = json.loads(Path(file).read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"it holds a {type(content).__name__}; a mapping was expected")
    return content


def _not_finite(content: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Names and values of the numbers that are not finite."""
    if isinstance(content, float) and not math.isfinite(content):
        yield name, content
    items = content.items() if isinstance(content, dict) else ()
    items = enumerate(content) if isinstance(content, (list, tuple)) else items
    for key, value in items:
        yield from _not_finite(value, f"{name}.{key}" if name else str(key))


def to_disk(path: Path) -> None:
    """Brings a file, or the names in a folder, to the disk: a name may else survive a power cut that its content does not."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
