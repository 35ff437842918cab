"""The `.mat` files of benchmarks, as Python values."""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from .examples import DatasetError
from .lists import relative_name


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


def require_fields(records: list[dict[str, Any]], fields: tuple[str, ...], file: Path, root: Path) -> list[tuple]:
    """The values of some fields of each record.

    Raises:
        DatasetError: a field is not there.
    """
    missing = sorted({field for record in records for field in fields if field not in record})
    if missing:
        raise DatasetError(
            f"{relative_name(file, root)} has records without {', '.join(missing)}; {', '.join(fields)} were expected. "
            "Is it the official file?"
        )
    return [tuple(record[field] for field in fields) for record in records]


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (np.ndarray, list)) else [value]
