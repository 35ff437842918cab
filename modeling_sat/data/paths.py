"""Finds a benchmark's files, or says what is there instead."""

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from posixpath import normpath

from .schema import DatasetError


logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset((
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".avif", ".tga",
))  # fmt: skip

SYSTEM_FOLDERS = frozenset((
    "__macosx", "@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "$recycle.bin", "recycler",
    "system volume information", "lost+found",
))  # fmt: skip
"""Folders in which archivers, network storage and file systems keep thumbnails and deleted files; in lower case."""


def benchmark_root(
    name: str, data_dir: str | Path | None, *, marker: str | None = None, folders: Sequence[str] = ()
) -> Path:
    """The absolute path of a benchmark's folder.

    Args:
        name: of the benchmark, for messages.
        data_dir: what the user gave.
        marker: a file or folder that only the benchmark's folder has.
        folders: names of the folder that an archive unpacks to; it is taken if `data_dir` holds it with the marker.

    Raises:
        DatasetError: `data_dir` is None, absent or not a folder, or the marker is nowhere.
    """
    if data_dir is None:
        raise DatasetError(f"{name} is read from disk: pass data_dir, the folder that holds it.")
    root = Path(data_dir).expanduser().absolute()
    if not root.exists():
        parent = next(folder for folder in root.parents if folder.exists())
        raise DatasetError(f"data_dir {root} does not exist; {parent} holds {contents(parent)}.")
    if not root.is_dir():
        raise DatasetError(f"data_dir {root} is a file; the folder of {name} was expected.")
    if marker is None:
        return root
    for candidate in (root, *(root / folder for folder in folders)):
        if (candidate / marker).exists():
            return candidate
    return require(root, marker, name)


def require(root: Path, relative_path: str, name: str) -> Path:
    """The path of a file or folder that the benchmark's layout has.

    Raises:
        DatasetError: it is not there.
    """
    path = root / relative_path
    if not path.exists():
        folder = next(parent for parent in path.parents if parent.is_dir())
        where = "it" if folder == root else folder.relative_to(root).as_posix() + "/"
        raise DatasetError(
            f"{name} has {relative_path} in its folder, but {root} does not; {where} holds {contents(folder)}. "
            "Pass as data_dir the folder of the original layout."
        )
    return path


def first_existing(root: Path, relative_paths: Sequence[str]) -> Path | None:
    """The first of some files or folders that exists."""
    return next((root / path for path in relative_paths if (root / path).exists()), None)


def inside(root: Path, listed: str) -> Path | None:
    """The path of a file that a list file names, or None where the name leads out of `root`.

    Back-slashes, which some lists have, separate folders as slashes do.
    """
    path = PurePosixPath(normpath(with_slashes(listed)))
    leads_out = path.is_absolute() or path.parts[:1] in ((), ("..",)) or PureWindowsPath(path).drive
    return None if leads_out else root / path


def with_slashes(path: str) -> str:
    return path.replace("\\", "/")


def contents(folder: Path, most: int = 8) -> str:
    """The names of the first entries of a folder, for a message."""
    names = sorted(shown(path.relative_to(folder)) + "/" * path.is_dir() for path in folder.iterdir())
    more = f", … ({len(names)} in all)" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "nothing"


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """The folders at and below `root` as `os.walk` gives them, sorted and without hidden names and those of systems, links followed.

    Links to a folder that they lie in would be followed for ever; they are named in a warning instead. Names may be
    taken from the list of folders, which leaves them out.
    """
    leading_back = []
    for parent, folders, files in os.walk(root, followlinks=True):
        parent = Path(parent)
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and name.lower() not in SYSTEM_FOLDERS
        )
        for name in [name for name in folders if (parent / name).is_symlink()]:
            target = (parent / name).resolve()
            way = [parent, *(folder for folder in parent.parents if folder.is_relative_to(root))]
            if any(folder.resolve().is_relative_to(target) for folder in way):
                folders.remove(name)
                leading_back.append(parent / name)
        yield parent, folders, sorted(name for name in files if not name.startswith("."))
    if leading_back:
        logger.warning(
            "Not followed, because they lead back to a folder that they lie in: %d links (%s)",
            len(leading_back), _some(leading_back),
        )  # fmt: skip


def is_utf8(path: PurePath) -> bool:
    """Whether a name is valid UTF-8; one written by a system of another encoding is not."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(path: PurePath) -> str:
    """A path for a message; bytes that are not UTF-8 as `\\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def passed_over(files: Iterable[PurePath]) -> str:
    """How many files of which suffix there are, for a message: `3 files: 2 .heic (a.heic, …), 1 .csv (labels.csv)`."""
    by_suffix = defaultdict(list)
    for file in files:
        by_suffix[file.suffix.lower() or "without suffix"].append(file)
    kinds = sorted(by_suffix.items(), key=lambda item: (-len(item[1]), item[0]))
    count = sum(map(len, by_suffix.values()))
    described = [f"{len(paths)} {suffix} ({_some(paths, most=2)})" for suffix, paths in kinds]
    return f"{count} file{'s' * (count != 1)}: {', '.join(described)}"


def _some(paths: Sequence[PurePath], most: int = 5) -> str:
    return ", ".join(map(shown, paths[:most])) + ", …" * (len(paths) > most)
