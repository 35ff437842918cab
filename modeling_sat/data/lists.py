"""Reads the list files of benchmarks: lines of columns, each of which is read or named as unreadable."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..sentences import listed
from .paths import inside
from .schema import DatasetError


def read_rows(
    file: Path, root: Path, columns: Mapping[str, Callable[[str], Any]], separator: str | None = None
) -> list[tuple]:
    r"""The lines of a text file, split into columns and converted.

    The last column takes what is left of its line. Empty lines are skipped; Windows line ends and a byte order
    mark make no difference.

    Args:
        file: UTF-8 text.
        root: the benchmark's folder, from which messages name the file.
        columns: name of each column, for messages, and what converts its text; a ValueError names the line.
        separator: between columns; None: any white space.

    Raises:
        DatasetError: the file is not UTF-8 text or has lines of another form, which are named.
    """
    name = relative_name(file, root)
    try:
        lines = file.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{name} cannot be read as a text file ({error}). Unpack it again.") from error
    rows, bad = [], []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        cells = line.split(separator, len(columns) - 1)
        try:
            if len(cells) != len(columns):
                raise ValueError(f"{len(columns)} columns were expected")
            rows.append(tuple(convert(cell.strip()) for convert, cell in zip(columns.values(), cells, strict=True)))
        except ValueError as error:
            bad.append(f"line {number}: {line[:80]!r} ({error})")
    if bad:
        by = "white space" if separator is None else repr(separator)
        raise DatasetError(
            f"{name} has unreadable lines; {', '.join(columns)} were expected, separated by {by}:\n{listed(bad)}\n"
            "Correct or remove them."
        )
    return rows


def unique(rows: Iterable[tuple], file: Path, root: Path) -> dict[Any, Any]:
    """Rows by their first column: the second column, or a tuple of the others where there are more.

    Raises:
        DatasetError: two rows have the same first column.
    """
    found, doubled = {}, []
    for key, *values in rows:
        if key in found:
            doubled.append(str(key))
        found[key] = values[0] if len(values) == 1 else tuple(values)
    if doubled:
        raise DatasetError(
            f"{relative_name(file, root)} names the same thing twice:\n{listed(doubled)}\nKeep one line of each."
        )
    return found


def require_same_keys(tables: Mapping[str, Mapping[Any, Any]]) -> None:
    """Compares list files of the same images.

    Args:
        tables: the content of each file, by its name; the first is the one that the others must match.

    Raises:
        DatasetError: a file lacks entries of the first one, or has entries that the first one lacks.
    """
    (first, reference), *others = tables.items()
    for name, table in others:
        lacking = [str(key) for key in reference if key not in table]
        foreign = [str(key) for key in table if key not in reference]
        if lacking:
            raise DatasetError(
                f"{name} has {len(table)} entries and {first} {len(reference)}; it lacks:\n{listed(lacking)}\n"
                "Unpack the archive again."
            )
        if foreign:
            raise DatasetError(
                f"{name} has {len(table)} entries and {first} {len(reference)}, which lacks:\n{listed(foreign)}\n"
                "Unpack the archive again."
            )


def require_known(names: Iterable[str], known: Iterable[str], file: Path, root: Path, where: str) -> None:
    """Refuses class names (or numbers) that the benchmark's list of classes lacks.

    Raises:
        DatasetError: as said.
    """
    known = set(known)
    unknown = sorted({str(name) for name in names if name not in known})
    if unknown:
        raise DatasetError(
            f"{relative_name(file, root)} has classes that {where} lacks:\n{listed(unknown)}\n"
            "Add them there or remove the lines."
        )


def image_paths(root: Path, names: Sequence[str], file: Path) -> list[Path]:
    """The files that a list names, below `root`.

    Raises:
        DatasetError: a name leads out of `root`; no such file is read.
    """
    paths = [inside(root, name) for name in names]
    outside = [name for name, path in zip(names, paths, strict=True) if path is None]
    if outside:
        raise DatasetError(
            f"{file} names files outside {root}, which are not read:\n{listed(outside)}\nCorrect or remove the lines."
        )
    return paths


def distinct_names(names: Mapping[str, str]) -> list[str]:
    """Class names by their ids, with the id in brackets where two classes share a name: "crane (n02012849)"."""
    uses = Counter(names.values())
    return [name if uses[name] == 1 else f"{name} ({identifier})" for identifier, name in names.items()]


def whole_number(text: str) -> int:
    """An int of "12" or "12.0"."""
    number = float(text)
    if not number.is_integer():
        raise ValueError(f"{text!r} is not a whole number")
    return int(number)


def positive_number(text: str) -> int:
    """An int of "12" or "12.0", 1 or more."""
    number = whole_number(text)
    if number < 1:
        raise ValueError(f"{text!r} is not a positive number")
    return number


def yes_or_no(text: str) -> bool:
    """Of "1" or "0"."""
    if text not in ("0", "1"):
        raise ValueError(f"{text!r} is neither 0 nor 1")
    return text == "1"


def not_empty(text: str) -> str:
    if not text:
        raise ValueError("a name was expected")
    return text


def relative_name(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix() if file.is_relative_to(root) else str(file)
