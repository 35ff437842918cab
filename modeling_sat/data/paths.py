"""Finding a benchmark's files, and saying what is there instead."""

from pathlib import Path

from .examples import DatasetError


def benchmark_root(name: str, data_dir: str | Path | None) -> Path:
    """The absolute path of a benchmark's folder.

    Raises:
        DatasetError: `data_dir` is None, absent or not a folder.
    """
    if data_dir is None:
        raise DatasetError(f"{name} is read from disk: pass data_dir, the folder that holds it.")
    root = Path(data_dir).expanduser().absolute()
    if not root.exists():
        parent = next(folder for folder in root.parents if folder.exists())
        raise DatasetError(f"data_dir {root} does not exist; {parent} holds {contents(parent)}.")
    if not root.is_dir():
        raise DatasetError(f"data_dir {root} is a file; the folder of {name} was expected.")
    return root


def require(root: Path, relative_path: str, name: str) -> Path:
    """The path of a file or folder that the benchmark's layout has.

    Raises:
        DatasetError: it is not there.
    """
    path = root / relative_path
    if not path.exists():
        raise DatasetError(
            f"{name} has {relative_path} in its folder, but {root} has not; it holds {contents(root)}. "
            "Pass as data_dir the folder of the original layout."
        )
    return path


def contents(folder: Path, most: int = 8) -> str:
    """The names of the first entries of a folder, for a message."""
    names = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
    more = f", … ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "nothing"
