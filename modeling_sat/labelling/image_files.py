"""Which image files a run looks at, and what they are called."""

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.folder_tree import ANNOTATION_SUFFIXES, DOCUMENT_SUFFIXES, DOCUMENTS
from ..data.paths import IMAGE_SUFFIXES, contents, is_utf8, passed_over, walk


logger = logging.getLogger(__name__)

QUIET_SUFFIXES = ANNOTATION_SUFFIXES | DOCUMENT_SUFFIXES | {".yaml", ".yml"}
"""Of files that lie beside images without anyone taking them for such."""


class PredictionError(ValueError):
    """A run that cannot give any box; the message says why."""


@dataclass(frozen=True)
class ImageFiles:
    """The images of a run.

    Attributes:
        root: the absolute folder that holds all of them; their names are relative to it.
        paths: as they were asked for, sorted, each image once.
    """

    root: Path
    paths: list[Path]

    @classmethod
    def find(cls, inputs: Sequence[str | Path], leave_out: Path | None = None) -> "ImageFiles":
        """Finds the images of folders, at any depth, by suffix; hidden ones are left out. Files are taken as they are.

        A warning counts the files of folders that are neither images nor known to lie beside them, and those whose names
        are not UTF-8, which no result could name.

        Args:
            inputs: image files and folders.
            leave_out: a folder whose images are none, such as the overlays of the run before.

        Raises:
            PredictionError: an input does not exist, or there is no image.
        """
        inputs = [Path(path).expanduser() for path in inputs]
        for path in inputs:
            if not path.exists():
                raise PredictionError(f"{path} does not exist. Give image files or folders of images.")
        found, others, unnamed = {}, {}, {}
        for path in inputs:
            for file in _files_below(path, leave_out) if path.is_dir() else [path]:
                if path.is_dir() and file.suffix.lower() not in IMAGE_SUFFIXES:
                    others[_absolute(file)] = file
                else:
                    (found if is_utf8(file) else unnamed)[_absolute(file)] = file
        if others:
            logger.warning(
                "Not read, because they are not images of a known kind: %s. Convert them to JPEG or PNG if they are images.",
                passed_over(others.values()),
            )
        if unnamed:
            logger.warning(
                "Not read, because their names are not UTF-8: %s. Rename them, for example with convmv -f latin1 -t utf8 "
                "-r --notest.",
                passed_over(unnamed.values()),
            )
        if not found:
            folders = "; ".join(f"{path} holds {contents(path)}" for path in inputs)
            raise PredictionError(f"There are no image files ({', '.join(sorted(IMAGE_SUFFIXES))}): {folders}.")
        root = os.path.commonpath([_absolute(path if path.is_dir() else path.parent) for path in inputs])
        return cls(Path(root), [found[path] for path in sorted(found)])

    def name(self, path: Path) -> Path:
        """The path of an image relative to `root`."""
        return _absolute(path).relative_to(self.root)

    def sharing_a_stem(self) -> set[Path]:
        """The names of the images that differ from another by their suffix alone."""
        names = [self.name(path) for path in self.paths]
        times = Counter(name.with_suffix("") for name in names)
        return {name for name in names if times[name.with_suffix("")] > 1}


def _files_below(folder: Path, leave_out: Path | None) -> Iterator[Path]:
    for parent, folders, names in walk(folder):
        if leave_out is not None:
            folders[:] = [name for name in folders if _absolute(parent / name) != _absolute(leave_out)]
        for file in (parent / name for name in names):
            suffix = file.suffix.lower()
            if suffix in IMAGE_SUFFIXES or not (suffix in QUIET_SUFFIXES or file.stem.lower() in DOCUMENTS):
                yield file


def _absolute(path: Path) -> Path:
    """Without `..`, which `Path.absolute` leaves, and with symbolic links, which `Path.resolve` follows."""
    return Path(os.path.abspath(path))
