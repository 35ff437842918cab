"""Which image files a run looks at, and what they are called."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.folder import IMAGE_SUFFIXES
from ..data.paths import contents


class PredictionError(ValueError):
    """A run that cannot give any box, said in a sentence."""


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
        found = {}
        for path in inputs:
            for file in _images_below(path, leave_out) if path.is_dir() else [path]:
                found.setdefault(_absolute(file), file)
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


def _images_below(folder: Path, leave_out: Path | None) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and (leave_out is None or _absolute(Path(parent, name)) != _absolute(leave_out))
        ]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(parent, name)


def _absolute(path: Path) -> Path:
    """Without `..`, which `Path.absolute` leaves, and with symbolic links, which `Path.resolve` follows."""
    return Path(os.path.abspath(path))
