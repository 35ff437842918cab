"""`cub`: CUB-200-2011, 200 species of birds with a box each, and the separate masks."""

from functools import partial
from pathlib import Path

from .lists import (
    image_paths,
    read_rows,
    require_known,
    require_same_keys,
    unique,
    whole_number,
    yes_or_no,
)
from .masks import MaskFiles
from .paths import benchmark_root, first_existing, require, with_slashes
from .schema import Benchmark, Box, Example, Split
from .wsol_metadata import read_split, read_wsol_metadata


PUBLISHED_COUNTS = {"train": 5994, "validation": 1000, "test": 5794}
IMAGE_FOLDERS = ("images", "CUB_200_2011/images", "CUBV2", "CUB_200_2011/CUBV2", "CUB", ".")
V2_FOLDERS = ("CUBV2", "../CUBV2")


def read_cub(data_dir: str | Path | None, *, metadata_dir: str | None = None) -> Benchmark:
    """Reads what `CUB_200_2011.tgz` unpacks to, and `segmentations/` beside `images/` or beside `CUB_200_2011/`.

    Splits are the official train and test, and validation, CUBV2 of wsolevaluation, where its list files lie in
    `metadata/CUB/val` and its images in `CUBV2/`, both beside `images/` or beside
    `CUB_200_2011/`. Classes are named as in `classes.txt`: "001.Black_footed_Albatross".

    A box is (x, y, x + width, y + height) of `bounding_boxes.txt`, the numbers by which the authors of SAT evaluate
    (`DataLoader/CUB_200_2011.py:11-31`). Those of wsolevaluation differ on 36 test images whose box reaches the right
    or lower edge of the image or leaves it: wsolevaluation clips it to the last pixel.

    Args:
        data_dir: the folder that holds `CUB_200_2011`, or that folder itself.
        metadata_dir: read the splits of these list files of wsolevaluation instead (`read_wsol_metadata`).

    Raises:
        DatasetError: a file of the layout is absent, a line of it unreadable, or the files do not fit one another.
    """
    if metadata_dir is not None:
        return read_wsol_metadata("cub", benchmark_root("cub", data_dir), metadata_dir, IMAGE_FOLDERS)
    root = benchmark_root("cub", data_dir, marker="images.txt", folders=["CUB_200_2011"])
    require(root, "images", "cub")
    classes_file = require(root, "classes.txt", "cub")
    classes = unique(read_rows(classes_file, root, {"id": whole_number, "class": str}), classes_file, root)
    segmentations = first_existing(root, ["segmentations", "../segmentations"])
    splits = {name: partial(_read, root, segmentations, classes, name) for name in ("train", "test")}
    lists = first_existing(root, ["metadata/CUB/val", "../metadata/CUB/val"])
    if lists is not None and first_existing(root, V2_FOLDERS):
        splits["validation"] = partial(read_split, "cub", root, V2_FOLDERS, list(classes.values()), lists)
    return Benchmark(list(classes.values()), splits, PUBLISHED_COUNTS, boxes_as_published=True)


def _read(root: Path, segmentations: Path | None, classes: dict[int, str], split: str) -> Split:
    def table(name: str, **columns) -> dict:
        file = require(root, name, "cub")
        return unique(read_rows(file, root, {"id": whole_number, **columns}), file, root)

    tables = {
        "images.txt": table("images.txt", path=with_slashes),
        "image_class_labels.txt": table("image_class_labels.txt", **{"class": whole_number}),
        "train_test_split.txt": table("train_test_split.txt", is_training=yes_or_no),
        "bounding_boxes.txt": table("bounding_boxes.txt", x=float, y=float, width=float, height=float),
    }
    require_same_keys(tables)
    images, labels, is_training, boxes = tables.values()
    unique([(path, number) for number, path in images.items()], root / "images.txt", root)
    require_known(labels.values(), classes, root / "image_class_labels.txt", root, "classes.txt")
    label_of = {number: label for label, number in enumerate(classes)}
    chosen = [number for number in images if is_training[number] == (split == "train")]
    paths = image_paths(root / "images", [images[number] for number in chosen], root / "images.txt")
    examples = []
    for number, path in zip(chosen, paths, strict=True):
        image_id = path.relative_to(root / "images")
        mask = None if segmentations is None else MaskFiles((segmentations / image_id.with_suffix(".png"),))
        label, box = label_of[labels[number]], _half_open(*boxes[number])
        examples.append(Example(path, image_id.as_posix(), label, [box], mask))
    return Split(examples)


def _half_open(x: float, y: float, width: float, height: float) -> Box:
    return x, y, x + width, y + height
