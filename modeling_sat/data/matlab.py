"""The `.mat` files of benchmarks, as Python values."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from .lists import relative_name
from .schema import DatasetError


def read_mat(file: Path, root: Path, *names: str) -> list[Any]:
    """Some variables of a MATLAB file: a struct array as a list of dicts, a cell array as a list of its values.

    Raises:
        DatasetError: the file is damaged, or lacks a variable.
    """
    name = relative_name(file, root)
    try:
        content = loadmat(file, simplify_cells=True)
    except Exception as error:  # a damaged file makes SciPy fail in many ways
        raise DatasetError(f"{name} cannot be read as a MATLAB file ({error}). Unpack the archive again.") from error
    missing = [variable for variable in names if variable not in content]
    if missing:
        held = ", ".join(variable for variable in content if not variable.startswith("__")) or "nothing"
        raise DatasetError(f"{name} has no variable {', '.join(missing)}, but {held}. Is it the official file?")
    return [_as_list(content[variable]) for variable in names]


def rows_of(records: list[Any], file: Path, root: Path, fields: Mapping[str, Callable[[Any], Any]]) -> list[tuple]:
    """Some fields of each record of a struct array that `read_mat` gave, converted.

    Args:
        fields: name of each field and what converts its value; a TypeError or ValueError names the field.

    Raises:
        DatasetError: the variable is not a struct array or lacks a field, or a value is of another kind.
    """
    missing = [
        field for field in fields if any(not isinstance(record, dict) or field not in record for record in records)
    ]
    if missing:
        raise DatasetError(
            f"{relative_name(file, root)} has records without {', '.join(missing)}; {', '.join(fields)} were expected. "
            "Is it the official file?"
        )
    rows = []
    for number, record in enumerate(records, start=1):
        for field, convert in fields.items():
            try:
                record[field] = convert(record[field])
            except (TypeError, ValueError) as error:
                raise DatasetError(
                    f"{relative_name(file, root)} has {record[field]!r} as {field} of record {number}: {error}. Is it the "
                    "official file?"
                ) from error
        rows.append(tuple(record[field] for field in fields))
    return rows


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (np.ndarray, list)) else [value]
