"""`stanford_cars`: Stanford Cars, 196 models of cars with a box each, in its older and its newer layout."""

from functools import partial
from pathlib import Path

from ..sentences import listed
from .lists import image_paths, relative_name
from .matlab import read_mat, rows_of
from .paths import benchmark_root, first_existing, require, with_slashes
from .schema import Benchmark, DatasetError, Example, Split
from .wsol_metadata import read_wsol_metadata


PUBLISHED_COUNTS = {"train": 8144, "test": 8041}
FIELDS = {"bbox_x1": float, "bbox_y1": float, "bbox_x2": float, "bbox_y2": float, "class": int}
LISTS = {
    "train": ["devkit/cars_train_annos.mat"],
    "test": [
        "devkit/cars_test_annos_withlabels.mat",
        "cars_test_annos_withlabels.mat",
        "devkit/cars_test_annos.mat",
    ],
}


def read_stanford_cars(data_dir: str | Path | None, *, metadata_dir: str | None = None) -> Benchmark:
    """Reads either layout:

    - older: `cars_annos.mat` and `car_ims/`;
    - newer: `devkit/cars_meta.mat`, `devkit/cars_train_annos.mat`, `cars_test_annos_withlabels.mat` (there or in
      `devkit/`), `cars_train/` and `cars_test/`.

    Splits are the official train and test, of the same images under other names in the two layouts. Boxes have the
    numbers of the files, by which the authors of SAT evaluate (`DataLoader/Standford_Car.py:12-19`).

    Args:
        data_dir: the folder of the layout, or one that holds it as `stanford_cars`.
        metadata_dir: read the splits of these list files, in the form of wsolevaluation, instead.

    Raises:
        DatasetError: a file of the layout is absent or damaged, or a class number is unknown.
    """
    base = benchmark_root("stanford_cars", data_dir)
    old = first_existing(base, ["cars_annos.mat", "stanford_cars/cars_annos.mat"])
    if old:
        root = old.parent
        class_names, records = read_mat(old, root, "class_names", "annotations")
        rows = rows_of(records, old, root, {"relative_im_path": str, **FIELDS, "test": bool})
        splits = {
            split: partial(_split, root, old, [row[:-1] for row in rows if row[-1] == is_test], class_names)
            for split, is_test in (("train", False), ("test", True))
        }
    else:
        root = benchmark_root("stanford_cars", base, marker="devkit/cars_meta.mat", folders=["stanford_cars"])
        (class_names,) = read_mat(root / "devkit/cars_meta.mat", root, "class_names")
        splits = {split: partial(_read_list, root, split, class_names) for split in LISTS}
    class_names = [str(name) for name in class_names]
    if metadata_dir is not None:
        return read_wsol_metadata("stanford_cars", root, metadata_dir, (".", "car_ims"), class_names)
    return Benchmark(class_names, splits, PUBLISHED_COUNTS, boxes_as_published=True)


def _read_list(root: Path, split: str, class_names: list[str]) -> Split:
    file = first_existing(root, LISTS[split]) or require(root, LISTS[split][0], "stanford_cars")
    (records,) = read_mat(file, root, "annotations")
    if split == "test" and all(isinstance(record, dict) and "class" not in record for record in records):
        raise DatasetError(
            f"{relative_name(file, root)} has no classes, as in the challenge; put cars_test_annos_withlabels.mat of the "
            f"same source into {root / 'devkit'}."
        )
    rows = rows_of(records, file, root, {"fname": str, **FIELDS})
    folder = f"cars_{split}"
    nested = (root / folder / folder).is_dir()
    return _split(root / folder / (folder if nested else ""), file, rows, class_names, prefix=f"{folder}/")


def _split(folder: Path, file: Path, rows: list[tuple], class_names: list[str], prefix: str = "") -> Split:
    """Of rows of a file name below `folder`, the edges of a box, and a class from 1 on."""
    unknown = sorted({label for *_, label in rows if not 1 <= label <= len(class_names)})
    if unknown:
        raise DatasetError(
            f"{file} has class numbers that are not 1 to {len(class_names)}:\n"
            f"{listed([str(number) for number in unknown])}\nIs it the official file?"
        )
    paths = image_paths(folder, [name for name, *_ in rows], file)
    return Split(
        [
            Example(path, prefix + with_slashes(name), label - 1, [tuple(box)])
            for path, (name, *box, label) in zip(paths, rows, strict=True)
        ]
    )
