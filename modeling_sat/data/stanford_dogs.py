"""`stanford_dogs`: Stanford Dogs, 120 breeds of dogs with one or several boxes per image."""

from functools import partial
from pathlib import Path

from datasets.utils import tqdm

from ..sentences import listed
from .lists import image_paths, relative_name
from .matlab import read_mat
from .paths import benchmark_root, first_existing, require, with_slashes
from .schema import Benchmark, DatasetError, Example, Split
from .voc import read_voc_file
from .wsol_metadata import read_wsol_metadata


PUBLISHED_COUNTS = {"train": 12000, "test": 8580}


def read_stanford_dogs(data_dir: str | Path | None, *, metadata_dir: str | None = None) -> Benchmark:
    """Reads `train_list.mat` and `test_list.mat` (or `lists/…`), `Images/<breed>/` and `Annotation/<breed>/`.

    Classes are named as their folders: "n02085620-Chihuahua". An image has as many boxes as its XML has objects, with
    the numbers of the file, by which the authors of SAT evaluate.

    Args:
        data_dir: the folder that `images.tar`, `annotation.tar` and `lists.tar` were unpacked in.
        metadata_dir: read the splits of these list files, in the form of wsolevaluation, instead.

    Raises:
        DatasetError: a file of the layout is absent or damaged, or the class numbers do not fit the folders.
    """
    root = benchmark_root("stanford_dogs", data_dir)
    if metadata_dir is not None:
        return read_wsol_metadata("stanford_dogs", root, metadata_dir, ("Images", "."))
    for folder in ("Images", "Annotation"):
        require(root, folder, "stanford_dogs")
    lists = first_existing(root, ["train_list.mat", "lists/train_list.mat"]) or require(
        root, "train_list.mat", "stanford_dogs"
    )
    rows = {
        name: _rows(root, require(lists.parent, f"{name}_list.mat", "stanford_dogs")) for name in ("train", "test")
    }
    class_names = _class_names(rows["train"] + rows["test"], lists.parent)
    splits = {name: partial(_read, root, lists.parent / f"{name}_list.mat", rows[name], name) for name in rows}
    return Benchmark(class_names, splits, PUBLISHED_COUNTS, boxes_as_published=True)


def _rows(root: Path, file: Path) -> list[tuple[str, int]]:
    """Image, as `<breed>/<file>.jpg`, and label from 0."""
    names, labels = read_mat(file, root, "file_list", "labels")
    if len(names) != len(labels):
        raise DatasetError(
            f"{relative_name(file, root)} has {len(names)} images and {len(labels)} labels. Unpack it again."
        )
    return [(with_slashes(str(name)), int(label) - 1) for name, label in zip(names, labels, strict=True)]


def _class_names(rows: list[tuple[str, int]], folder: Path) -> list[str]:
    """The folder of each class; classes and folders go one to one."""
    pairs = sorted({(label, image.split("/")[0]) for image, label in rows})
    labels, names = [label for label, _ in pairs], [name for _, name in pairs]
    if labels != list(range(len(pairs))) or len(set(names)) < len(names):
        raise DatasetError(
            f"The class numbers of train_list.mat and test_list.mat in {folder} do not fit the folders of their images, "
            f"one each from 1 on:\n{listed([f'class {label + 1}: {name}' for label, name in pairs])}\nUnpack them again."
        )
    return names


def _read(root: Path, file: Path, rows: list[tuple[str, int]], split_name: str) -> Split:
    split = Split([])
    paths = image_paths(root / "Images", [image for image, _ in rows], file)
    annotated = list(zip(paths, rows, strict=True))
    for path, (image, label) in tqdm(
        annotated, desc=f"Reading the {split_name} annotations", unit=" images", leave=False
    ):
        annotation = root / "Annotation" / Path(image).with_suffix("")
        try:
            split.examples.append(_example(path, image, label, annotation))
        except (OSError, ValueError) as error:
            split.problems.append(
                f"{image}: its annotation {relative_name(annotation, root)} cannot be used ({error})"
            )
    return split


def _example(image: Path, image_id: str, label: int, file: Path) -> Example:
    voc = read_voc_file(file)
    if voc is None or not voc.objects:
        raise ValueError("it has no objects")
    return Example(image, image_id, label, [box for _, box in voc.objects], annotated_size=voc.size)
