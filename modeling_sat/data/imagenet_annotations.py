"""Labels and boxes of ImageNet's images from any of the files that have been published with them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from datasets.utils import tqdm

from ..sentences import listed
from .lists import positive_number, read_rows, relative_name, unique
from .paths import first_existing, with_slashes
from .schema import Box, DatasetError
from .voc import read_voc_file
from .wsol_metadata import read_boxes, read_labels, read_sizes


XML_FOLDERS = ("Annotations/CLS-LOC", "ILSVRC/Annotations/CLS-LOC")
SAT_LISTS = ("val_gt.txt", "Data/ILSVRC/val_gt.txt")
METADATA_FOLDERS = ("metadata/ILSVRC/test", "metadata/ILSVRC/val")


@dataclass(frozen=True)
class Annotation:
    """Of one image: the WordNet id, boxes with the numbers of the file, and (width, height) of the annotated image."""

    wnid: str | None
    boxes: list[Box]
    size: tuple[int, int] | None = None


Annotations = dict[str, Annotation]
"""By the image's file name without suffix."""


def read_annotations(root: Path, wnids: list[str]) -> tuple[Annotations, str]:
    """What is known of the official validation images, and the file or folder that says it; both empty if none does.

    Raises:
        DatasetError: the file cannot be read, or has a label that is not a class.
    """
    for folder in XML_FOLDERS:
        if (root / folder / "val").is_dir():
            return _read_xml(root, sorted((root / folder / "val").glob("*.xml")), "val"), f"{folder}/val"
    readers: list[tuple[tuple[str, ...], Callable]] = [
        (("LOC_val_solution.csv", "ILSVRC/LOC_val_solution.csv"), lambda file: _read_kaggle(root, file)),
        (SAT_LISTS, lambda file: _read_sat(root, file)),
        (METADATA_FOLDERS, lambda folder: _read_metadata(root, folder, wnids)),
    ]
    for names, read in readers:
        for name in names:
            if (root / name).exists() and (found := read(root / name)):
                return found, name
    return {}, ""


def train_annotations(root: Path, wnids: list[str]) -> tuple[Callable[[], Annotations], str]:
    """What reads the boxes of the training images that have any, and a text that changes when they do."""
    solution = first_existing(root, ["LOC_train_solution.csv", "ILSVRC/LOC_train_solution.csv"])
    if solution is not None:
        return partial(_read_kaggle, root, solution), f"{solution} {solution.stat().st_mtime_ns}"
    folder = first_existing(root, [f"{name}/train" for name in XML_FOLDERS])
    if folder is None:
        return dict, ""
    folders = [folder / wnid for wnid in wnids if (folder / wnid).is_dir()]

    def read() -> Annotations:
        files = [file for class_folder in folders for file in sorted(class_folder.glob("*.xml"))]
        return _read_xml(root, files, "train")

    return read, f"{[(path.name, path.stat().st_mtime_ns) for path in folders]}"


def _read_xml(root: Path, files: list[Path], split: str) -> Annotations:
    found, bad = {}, []

    def read(file: Path) -> Annotation | str:
        try:
            voc = read_voc_file(file)
            if voc is None or not voc.objects:
                raise ValueError("it has no objects")
            names = {name for name, _ in voc.objects}
            if len(names) > 1:
                raise ValueError(f"its objects are of several classes, {', '.join(sorted(names))}")
            return Annotation(names.pop(), [box for _, box in voc.objects], voc.size)
        except (OSError, ValueError) as error:
            return f"{relative_name(file, root)}: {error}"

    with ThreadPoolExecutor() as pool:
        results = tqdm(
            pool.map(read, files),
            total=len(files),
            desc=f"Reading the {split} annotations",
            unit=" files",
            leave=False,
        )
        for file, result in zip(files, results, strict=True):
            if isinstance(result, str):
                bad.append(result)
            else:
                found[file.stem] = result
    if bad:
        raise DatasetError(
            f"Annotations of imagenet cannot be used:\n{listed(bad)}\nUnpack them again or remove them."
        )
    return found


def _read_kaggle(root: Path, file: Path) -> Annotations:
    """`ImageId,PredictionString`, the latter `wnid x_min y_min x_max y_max` for each box."""

    def boxes(text: str) -> Annotation | None:
        if text == "PredictionString":
            return None
        cells = text.split()
        wnids = set(cells[::5])
        if not cells or len(cells) % 5 or len(wnids) != 1:
            raise ValueError("a WordNet id and four numbers were expected for each box, all of one class")
        numbers = [float(cell) for i, cell in enumerate(cells) if i % 5]
        return Annotation(wnids.pop(), [tuple(numbers[i : i + 4]) for i in range(0, len(numbers), 4)])

    rows = read_rows(file, root, {"ImageId": str, "PredictionString": boxes}, ",")
    return unique([row for row in rows if row[1] is not None], file, root)


def _read_sat(root: Path, file: Path) -> Annotations:
    r"""`wnid\\file width height ; x_min y_min x_max y_max …`, Data/ILSVRC/val_gt.txt of the authors of SAT."""

    def image(text: str) -> tuple[str, str, tuple[int, int]]:
        path, width, height = text.split()
        wnid, _, name = with_slashes(path).rpartition("/")
        return Path(name).stem, wnid.rstrip("/"), (positive_number(width), positive_number(height))

    def boxes(text: str) -> list[Box]:
        numbers = [float(cell) for cell in text.split()]
        if not numbers or len(numbers) % 4:
            raise ValueError("four numbers were expected for each box")
        return [tuple(numbers[i : i + 4]) for i in range(0, len(numbers), 4)]

    rows = read_rows(file, root, {"path width height": image, "boxes": boxes}, ";")
    return unique([(stem, Annotation(wnid, found, size)) for (stem, wnid, size), found in rows], file, root)


def _read_metadata(root: Path, folder: Path, wnids: list[str]) -> Annotations:
    """wsolevaluation's lists, where they name images of `val/`; those of ImageNetV2 stand in `val2/`."""
    labels = {image_id: label for image_id, label in read_labels(folder, root).items() if image_id.startswith("val/")}
    unknown = [f"{image_id}: {label}" for image_id, label in labels.items() if not 0 <= label < len(wnids)]
    if unknown:
        raise DatasetError(
            f"{relative_name(folder / 'class_labels.txt', root)} has labels beyond the {len(wnids)} classes:\n"
            f"{listed(unknown)}\nAdd the classes or remove the lines."
        )
    boxes, sizes = read_boxes(folder, root), read_sizes(folder, root)
    return {
        Path(image_id).stem: Annotation(wnids[label], boxes[image_id], sizes.get(image_id))
        for image_id, label in labels.items()
    }
