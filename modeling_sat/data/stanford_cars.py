"""`stanford_cars`: Stanford Cars, 196 models of cars with a box each, in its older and its newer layout."""

from functools import partial
from pathlib import Path

from .checks import listed
from .examples import Benchmark, DatasetError, Example, Split
from .lists import image_paths, relative_name
from .matlab import read_mat, require_fields
from .paths import benchmark_root, first_existing, require
from .wsol_metadata import read_wsol_metadata


PUBLISHED_COUNTS = {"train": 8144, "test": 8041}
BOX = ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2")
TEST_LISTS = ("devkit/cars_test_annos_withlabels.mat", "cars_test_annos_withlabels.mat", "devkit/cars_test_annos.mat")


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
    if metadata_dir is not None:
        root = benchmark_root("stanford_cars", data_dir)
        return read_wsol_metadata("stanford_cars", root, metadata_dir, (".", "car_ims"))
    base = benchmark_root("stanford_cars", data_dir)
    old = first_existing(base, ["cars_annos.mat", "stanford_cars/cars_annos.mat"])
    root = old.parent if old else benchmark_root(
        "stanford_cars", data_dir, marker="devkit/cars_meta.mat", folders=["stanford_cars"]
    )  # fmt: skip
    if old:
        records, class_names = read_mat(old, root, "annotations", "class_names")
        rows = require_fields(records, ("relative_im_path", *BOX, "class", "test"), old, root)
        splits = {
            name: partial(_split, root, old, ".", [row[:-1] for row in rows if bool(row[-1]) == is_test], class_names)
            for name, is_test in (("train", False), ("test", True))
        }
    else:
        (class_names,) = read_mat(root / "devkit/cars_meta.mat", root, "class_names")
        splits = {
            "train": partial(_read_list, root, ["devkit/cars_train_annos.mat"], "cars_train", class_names),
            "test": partial(_read_list, root, TEST_LISTS, "cars_test", class_names),
        }
    return Benchmark([str(name) for name in class_names], splits, PUBLISHED_COUNTS, boxes_as_published=True)


def _read_list(root: Path, lists: list[str], image_folder: str, class_names: list[str]) -> Split:
    file = first_existing(root, lists) or require(root, lists[0], "stanford_cars")
    (records,) = read_mat(file, root, "annotations")
    if records and "class" not in records[0]:
        raise DatasetError(
            f"{relative_name(file, root)} has no classes, as in the challenge; put cars_test_annos_withlabels.mat of "
            f"the same source into {root / 'devkit'}."
        )
    rows = require_fields(records, ("fname", *BOX, "class"), file, root)
    folder = first_existing(root, [f"{image_folder}/{image_folder}", image_folder])
    prefix = relative_name(folder, root) if folder else image_folder
    split = _split(root, file, prefix, rows, class_names)
    names = [f"{image_folder}/{fname}" for fname, *_ in rows]
    return Split([Example(e.image, name, e.label, e.boxes) for e, name in zip(split.examples, names, strict=True)])


def _split(root: Path, file: Path, folder: str, rows: list[tuple], class_names: list[str]) -> Split:
    unknown = sorted({int(row[-1]) for row in rows if not 1 <= row[-1] <= len(class_names)})
    if unknown:
        raise DatasetError(
            f"{relative_name(file, root)} has class numbers that are not 1 to {len(class_names)}:\n"
            f"{listed([str(number) for number in unknown])}\nIs it the official file?"
        )
    paths = image_paths(root / folder, [str(name) for name, *_ in rows], file)
    return Split(
        [
            Example(path, str(name).replace("\\", "/"), int(label) - 1, [tuple(map(float, box))])
            for path, (name, *box, label) in zip(paths, rows, strict=True)
        ]
    )
