"""Datasets of the Hub and folders of Parquet files, with any column names."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, IterableDataset

from ..sentences import first_line, listed
from .errors import OnBadImage
from .hub_boxes import EDGES, BoxFormat, reach
from .hub_columns import COLUMNS, Columns, find_columns, item_of, reach_feature
from .hub_rows import Rows, convert_stream, convert_table, object_names
from .paths import contents
from .schema import Benchmark, DatasetError
from .split_names import split_of


logger = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")


def read_hub(
    name: str,
    data_dir: str | Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    box_format: BoxFormat | None = None,
    splits: Mapping[str, str] | None = None,
    config: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
    on_bad_image: OnBadImage = "raise",
) -> Benchmark:
    """Reads a dataset by `datasets.load_dataset` and gives its columns the names that all benchmarks have here.

    Without a column `boxes` they are read from Hugging Face's own column for object detection: `objects`, with `bbox`
    in COCO's x, y, width, height. Where its objects are called as the classes are, only those of the image's own class
    give boxes. Columns `width` and `height` say which size of the image the boxes were drawn on. Without a column `label` that is the one name that all objects of an image have; images of objects of
    several names are left out with a warning.

    Args:
        name: `org/name`, or a folder of Parquet files such as `scripts/prepare_dataset.py` writes.
        data_dir: folder within the dataset's repository; None for all of it.
        columns: ours → theirs, such as `{"boxes": "bbox", "label": "fine_label"}`, where the names differ. A dot reaches
            boxes in a struct: `{"boxes": "objects.bbox"}`. Images without `image_id` are numbered.
        box_format: of four numbers: "xyxy" or "xywh", in pixels, or in fractions of the image where all are in [0, 1];
            default: "xywh" of `objects.bbox` that is found without `columns`, else "xyxy". Structs are read by the
            names of their fields, xmin, ymin, xmax, ymax or x, y, width, height.
        splits: ours → theirs, such as `{"test": "validation"}` where the test images have no labels.
        config: of the dataset, where it has several.
        revision: branch, tag or commit.
        streaming: read rows as they are needed, without a download: the splits are `IterableDataset`s.
        on_bad_image: "raise", or "skip" to leave out rows without an image that can be decoded, without a label of the
            dataset, or with a box that does not fit; with "raise", images are decoded when a row is read.

    Raises:
        DatasetError: there is no such dataset, or a column or split that is asked for is missing or of another type;
            when a split is read, a row cannot be used, by split and number, or the boxes are not of `box_format`.
    """
    unknown = sorted(set(columns or {}) - set(COLUMNS))
    if unknown:
        raise DatasetError(f"columns maps {unknown[0]!r}; the columns here are {', '.join(COLUMNS)}.")
    if box_format not in (None, *EDGES):
        raise DatasetError(f"box_format is {box_format!r}; {' or '.join(EDGES)} was expected.")
    if Path(name).is_dir():
        # By their files: a folder's own card would let an earlier conversion of it stand in for what it holds now.
        files = _parquet_files(Path(name) / (data_dir or config or ""))
        load, theirs, features = partial(datasets.load_dataset, "parquet", data_files=files), list(files), None
    else:
        source = {"data_dir": data_dir and str(data_dir), "revision": revision}
        load = partial(datasets.load_dataset, name, config, **source)
        theirs = _explained(name, lambda: datasets.get_dataset_split_names(name, config, **source))
        features = _explained(name, lambda: datasets.load_dataset_builder(name, config, **source).info.features)
    found = _found_splits(name, theirs)
    for ours, split in (splits or {}).items():
        if ours not in SPLITS or split not in theirs:
            raise DatasetError(
                f"splits maps {ours!r} to {split!r}; {name} has {', '.join(theirs)}, for {', '.join(SPLITS)}."
            )
        found[ours] = split
    if not found:
        raise DatasetError(
            f"{name} has the splits {', '.join(theirs)}; say which is which by splits, as in splits={{'train': {theirs[0]!r}}}."
        )

    @cache
    def table(split: str) -> Dataset | IterableDataset:
        return _explained(name, lambda: load(split=split, streaming=streaming))

    if features is None:  # nothing but the data says
        first = table(next(iter(found.values())))
        features = first.features or first._resolve_features().features
    places = find_columns(name, features, columns or {}, box_format)

    def tables() -> Iterable[Dataset] | None:  # read only where they must be
        return None if streaming else map(table, found.values())

    class_names = _class_names(name, places, tables())
    shares_names = _shares_names(name, places, class_names, tables())
    convert = convert_stream if streaming else convert_table

    def read(split: str) -> Dataset | IterableDataset:
        return convert(table(found[split]), Rows(name, split, places, class_names, on_bad_image, shares_names))

    return Benchmark(class_names, {split: partial(read, split) for split in found})


def _found_splits(name: str, theirs: Iterable[str]) -> dict[str, str]:
    """Ours → theirs: the split of the very name, else the one whose name has a keyword of it (`split_names`).

    Raises:
        DatasetError: several have, and none the very name.
    """
    found = {}
    for ours in SPLITS:
        known = [split for split in theirs if split_of(split) == ours]
        if ours in known:
            known = [ours]
        if len(known) > 1:
            raise DatasetError(
                f"{name} has several splits that may be {ours}: {', '.join(known)}; choose one by splits, as in "
                f"splits={{{ours!r}: {known[0]!r}}}."
            )
        if known:
            found[ours] = known[0]
    return found


def _parquet_files(folder: Path) -> dict[str, list[str]]:
    """Split → files, by their names `<split>-NNNNN-of-NNNNN.parquet` or `<split>.parquet`, or `<split>/NNNN.parquet`.

    Raises:
        DatasetError: there are none, or some of a split are missing, or there are several datasets.
    """
    files: dict[str, dict[Path, dict[str, str]]] = {}  # split → folder → number → file
    for file in sorted(folder.rglob("[!.]*.parquet")):
        split, _, number = file.stem.partition("-")
        place = file.parent
        if split_of(split) is None and (split.isdecimal() or split_of(place.name)) and place != folder:
            split, place, number = place.name, place.parent, file.stem  # as the Hub converts datasets itself
        files.setdefault(split, {}).setdefault(place, {})[number] = str(file)
    if not files:
        raise DatasetError(f"{folder} holds no Parquet files: {_instead_of_parquet(folder)}.")
    several = next((places for places in files.values() if len(places) > 1), {})
    if several:
        names = [place.relative_to(folder).as_posix() for place in several]
        raise DatasetError(
            f"{folder} holds several datasets, in {', '.join(names)}; choose one by config, as in "
            f"config={max(names, key=len)!r}, or give its folder."
        )
    found = {split: next(iter(places.values())) for split, places in files.items()}
    missing: list[str] = []
    for split, numbers in found.items():
        _, of, total = next(iter(numbers)).partition("-of-")
        expected = [f"{index:05}-of-{total}" for index in range(int(total))] if of and total.isdigit() else []
        missing += [f"{split}-{number}.parquet" for number in expected if number not in numbers]
    if missing:
        raise DatasetError(f"{folder} lacks shards:\n{listed(missing)}\nPrepare or download it again.")
    order = sorted(found, key=lambda split: (split not in ("train", "validation", "test"), split != "train", split))
    named = {split: list(found[split].values()) for split in order}
    _check_class_numbers(folder, [file for files in named.values() for file in files])
    return named


def _instead_of_parquet(folder: Path) -> str:
    if not folder.is_dir():
        return "there is no such folder"
    if (folder / "dataset_info.json").is_file() or (folder / "dataset_dict.json").is_file():
        return (
            "it is what `save_to_disk` of datasets writes. Write each split by `to_parquet`, as in "
            'load_from_disk(FOLDER)["train"].to_parquet("NEW/train.parquet")'
        )
    return contents(folder)


def _check_class_numbers(folder: Path, files: list[str]) -> None:
    """`datasets` reads all files by the names of the first one's classes; those of others may be in another order.

    Raises:
        DatasetError: they are.
    """
    first: dict[str, tuple[str, list[str]]] = {}
    for file in files:
        try:
            features = datasets.Features.from_arrow_schema(pq.read_schema(file))
        except (OSError, ValueError, pa.ArrowException):
            continue  # said when it is loaded
        for path, names in _class_labels(features):
            known_file, known = first.setdefault(path, (file, names))
            if known != names:
                raise DatasetError(
                    f"The files of {folder} number the classes of the column {path!r} differently: "
                    f"{Path(known_file).name} has {', '.join(known[:5])}, {Path(file).name} has {', '.join(names[:5])} "
                    "(first five). Write them with one ClassLabel, as by cast_column, or with the names as text."
                )


def _class_labels(features: Any, path: str = "") -> Iterator[tuple[str, list[str]]]:
    while hasattr(features, "feature"):
        features = features.feature
    if isinstance(features, datasets.ClassLabel):
        yield path, features.names
    elif isinstance(features, Mapping):
        for name, feature in features.items():
            yield from _class_labels(feature, f"{path}.{name}" if path else name)


def _explained(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = first_line(error)
        nowhere = "" if Path(name).exists() else f" (There is no folder {name} either.)"
        raise DatasetError(f"The dataset {name} cannot be loaded: {reason}{nowhere}") from error


def _class_names(name: str, columns: Columns, tables: Iterable[Dataset] | None) -> list[str]:
    path = columns.names["label"]
    feature = reach_feature(columns.features, path)
    item = item_of(feature)
    dtype = str(getattr(item, "dtype", ""))
    is_label, is_name = isinstance(item, datasets.ClassLabel), "string" in dtype
    if is_label and (tables is None or not columns.is_label_of_objects):
        return item.names
    if tables is not None and dtype.startswith(("string", "large_string", "int", "uint")):
        if columns.is_label_of_objects:
            column = path.split(".")[0]
            used = set()
            for table in tables:
                for row in table.select_columns([column]):
                    names = set(object_names(reach(row, path), feature))
                    used |= names if len(names) == 1 else set()
            if is_label:
                return [known for known in item.names if known in used]
            return sorted(used, key=lambda known: known if is_name else int(known))
        values = set().union(*(table.unique(path) for table in tables)) - {None}
        if is_name:
            return sorted({value.strip() for value in values} - {""})
        return [str(value) for value in sorted(values - {-1})]
    raise DatasetError(
        f"The column {path!r} of {name} is {feature}; ClassLabel was expected or, without streaming, names or "
        "whole numbers."
    )


def _shares_names(
    name: str, columns: Columns, class_names: list[str], tables: Iterable[Dataset] | None
) -> bool | None:
    """Whether objects are called as classes are; None where only the rows of a stream will tell."""
    path = columns.categories
    if path is None or not columns.has("boxes") or columns.names["label"] == path:
        return path is not None or None
    feature = reach_feature(columns.features, path)
    item = item_of(feature)
    if isinstance(item, datasets.ClassLabel):
        known = set(item.names)
    elif "string" not in str(getattr(item, "dtype", "")):
        known = set()  # numbers of another list, as far as can be known
    elif tables is None:
        return None
    else:
        column = path.split(".")[0]
        rows = (row for table in tables for row in table.select_columns([column]))
        known = {object_name for row in rows for object_name in object_names(reach(row, path), feature)}
    shares = not {known_name.casefold() for known_name in known}.isdisjoint(map(str.casefold, class_names))
    if not shares:
        logger.warning("%s: the objects in %r do not have the classes' names, so all of them give boxes.", name, path)
    return shares
