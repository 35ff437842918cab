"""Datasets of the Hub, and folders of Parquet files, with whatever column names they have."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from datasets import Dataset, IterableDataset

from .checks import listed
from .examples import Benchmark, DatasetError, to_dataset
from .hub_boxes import EDGES, BoxFormat, boxes_of, reach
from .paths import contents


COLUMNS = ("image", "image_id", "label", "boxes", "mask")
SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}


def read_hub(
    name: str,
    data_dir: str | Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    box_format: BoxFormat = "xyxy",
    splits: Mapping[str, str] | None = None,
    config: str | None = None,
    revision: str | None = None,
    streaming: bool = False,
) -> Benchmark:
    """Reads a dataset by `datasets.load_dataset` and gives its columns the names that all benchmarks have here.

    Args:
        name: `org/name`, or a folder of Parquet files such as `scripts/prepare_dataset.py` writes.
        data_dir: folder within the dataset's repository; None for all of it.
        columns: ours → theirs, such as `{"boxes": "bbox", "label": "fine_label"}`, where the names differ. A dot reaches
            boxes in a struct: `{"boxes": "objects.bbox"}`. Images without `image_id` are numbered.
        box_format: of four numbers: "xyxy" or "xywh", in pixels. Structs are read by the names of their fields,
            xmin, ymin, xmax, ymax or x, y, width, height.
        splits: ours → theirs, such as `{"test": "validation"}` where the test images have no labels.
        config: of the dataset, where it has several.
        revision: branch, tag or commit.
        streaming: read rows as they are needed, without a download: the splits are `IterableDataset`s.

    Raises:
        DatasetError: there is no such dataset, or a column or split that is asked for is missing or of another type.
    """
    names = dict(zip(COLUMNS, COLUMNS, strict=True)) | dict(columns or {})
    unknown = sorted(set(names) - set(COLUMNS))
    if unknown:
        raise DatasetError(f"columns maps {unknown[0]!r}; the columns here are {', '.join(COLUMNS)}.")
    if box_format not in EDGES:
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
    found = {ours: next((split for split in known if split in theirs), None) for ours, known in SPLITS.items()}
    for ours, split in (splits or {}).items():
        if ours not in SPLITS or split not in theirs:
            raise DatasetError(
                f"splits maps {ours!r} to {split!r}; {name} has {', '.join(theirs)}, for {', '.join(SPLITS)}."
            )
        found[ours] = split
    found = {ours: split for ours, split in found.items() if split is not None}
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
    _check_columns(name, features, names, columns or {})
    tables = None if streaming else (table(split) for split in found.values())  # read only where they must be
    class_names = _class_names(name, features, names["label"], tables)
    convert = _convert_stream if streaming else _convert

    def read(split: str) -> Dataset | IterableDataset:
        return convert(table(found[split]), _Rows(split, names, features, class_names, box_format))

    return Benchmark(class_names, {split: partial(read, split) for split in found})


def _parquet_files(folder: Path) -> dict[str, list[str]]:
    """Split → files, by their names `<split>-NNNNN-of-NNNNN.parquet` or `<split>.parquet`.

    Raises:
        DatasetError: there are none, or some of a split are missing.
    """
    files: dict[str, dict[str, str]] = {}
    missing: list[str] = []
    for file in sorted(folder.rglob("*.parquet")):
        split, _, number = file.stem.partition("-")
        files.setdefault(split, {})[number] = str(file)
    for split, found in files.items():
        _, of, total = next(iter(found)).partition("-of-")
        expected = [f"{index:05}-of-{total}" for index in range(int(total))] if of and total.isdigit() else []
        missing += [f"{split}-{number}.parquet" for number in expected if number not in found]
    if not files:
        held = contents(folder) if folder.is_dir() else "there is no such folder"
        raise DatasetError(f"{folder} holds no Parquet files: {held}.")
    if missing:
        raise DatasetError(f"{folder} lacks shards:\n{listed(missing)}\nPrepare or download it again.")
    order = sorted(files, key=lambda split: (split not in ("train", "validation", "test"), split != "train", split))
    return {split: list(files[split].values()) for split in order}


def _explained(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        nowhere = "" if Path(name).exists() else f" (There is no folder {name} either.)"
        raise DatasetError(f"The dataset {name} cannot be loaded: {reason}{nowhere}") from error


def _check_columns(name: str, features: datasets.Features, names: dict[str, str], asked: Mapping[str, str]) -> None:
    for ours in ("image", "label", *asked):
        there = _reach_feature(features, names[ours]) if ours == "boxes" else names[ours] in features
        if not there:
            raise DatasetError(
                f"{name} has no column {names[ours]!r} for {ours!r}; it has {', '.join(features)}. Say which it is by "
                f"columns, as in columns={{{ours!r}: {next(iter(features))!r}}}."
            )
    if not isinstance(features[names["image"]], datasets.Image):
        raise DatasetError(
            f"The column {names['image']!r} of {name} is {features[names['image']]}; images were expected."
        )


def _reach_feature(features: Mapping[str, Any], name: str) -> Any:
    """The feature at a path with dots, also through lists, or None."""
    found: Any = features
    for part in name.split("."):
        found = getattr(found, "feature", found)
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def _class_names(name: str, features: datasets.Features, column: str, tables: Iterable[Dataset] | None) -> list[str]:
    feature = features[column]
    if isinstance(feature, datasets.ClassLabel):
        return feature.names
    dtype = str(getattr(feature, "dtype", ""))
    if tables is not None and dtype.startswith(("string", "large_string", "int", "uint")):
        values = set().union(*(table.unique(column) for table in tables)) - {None}
        if "string" in dtype:
            return sorted(values)
        return [str(label) for label in range(max(values, default=-1) + 1)]
    raise DatasetError(
        f"The column {column!r} of {name} is {feature}; ClassLabel, or unless streaming names or numbers from 0, were "
        "expected."
    )


@dataclass(frozen=True)
class _Rows:
    """What one split's rows become."""

    split: str
    names: dict[str, str]
    features: datasets.Features
    class_names: list[str]
    box_format: BoxFormat

    def has(self, ours: str) -> bool:
        return self.names[ours].split(".")[0] in self.features

    def annotation(self, row: Mapping[str, Any], index: int) -> dict[str, Any]:
        image_id = row[self.names["image_id"]] if self.has("image_id") else f"{self.split}/{index:08}"
        label = row[self.names["label"]]
        return {
            "image_id": None if image_id is None else str(image_id),
            "label": self.class_names.index(label) if isinstance(label, str) else label,
            "boxes": boxes_of(reach(row, self.names["boxes"]), self.box_format) if self.has("boxes") else [],
        }

    def check(self, annotations: list[dict[str, Any]]) -> None:
        unlabelled = sum(
            not 0 <= (-1 if row["label"] is None else row["label"]) < len(self.class_names) for row in annotations
        )
        if unlabelled:
            raise DatasetError(
                f"{unlabelled} of {len(annotations)} images of the {self.split} split have no label. Choose another by "
                'splits, as in splits={"test": "validation"}.'
            )
        uses = Counter(row["image_id"] for row in annotations)
        wrong = [str(image_id) for image_id, count in uses.items() if image_id is None or count > 1]
        if wrong:
            raise DatasetError(
                f"The column {self.names['image_id']!r} is not the name of one image each in the {self.split} split:\n"
                f"{listed(wrong)}\nMap another one by columns."
            )

    @property
    def target(self) -> datasets.Features:
        features = to_dataset([], self.class_names).features
        return datasets.Features(features | ({"mask": datasets.Image(mode="L")} if self.has("mask") else {}))


def _convert(table: Dataset, rows: _Rows) -> Dataset:
    described = {rows.names[ours].split(".")[0] for ours in ("image_id", "label", "boxes") if rows.has(ours)}
    annotations = [rows.annotation(row, index) for index, row in enumerate(table.select_columns(sorted(described)))]
    rows.check(annotations)
    target = rows.target
    columns = {ours: [row[ours] for row in annotations] for ours in ("image_id", "label", "boxes")}
    _check_mask(table, rows)
    parts = [Dataset.from_dict(columns, features=datasets.Features({ours: target[ours] for ours in columns}))]
    for ours in ("image", "mask"):
        if ours in target:
            pictures = table.select_columns([rows.names[ours]])
            pictures = pictures if rows.names[ours] == ours else pictures.rename_column(rows.names[ours], ours)
            parts.append(pictures.cast_column(ours, target[ours]))
    return datasets.concatenate_datasets(parts, axis=1).select_columns(list(target))


def _check_mask(table: Dataset, rows: _Rows) -> None:
    """Refuses the usual pictures of black and white, in which 255 would mean to ignore, by the first mask."""
    if not rows.has("mask"):
        return
    masks = table.select_columns([rows.names["mask"]]).cast_column(rows.names["mask"], datasets.Image(mode="L"))
    first = next((row[rows.names["mask"]] for row in masks if row[rows.names["mask"]] is not None), None)
    if first is not None and set(np.unique(first)) == {0, 255}:
        raise DatasetError(
            f"The masks in the column {rows.names['mask']!r} hold 0 and 255; 0 background, 1 foreground and 255 ignore "
            "were expected. Map 255 to 1."
        )


def _convert_stream(table: IterableDataset, rows: _Rows) -> IterableDataset:
    target = rows.target
    pictures = [ours for ours in ("image", "mask") if ours in target]
    for ours in pictures:
        table = table.cast_column(rows.names[ours], target[ours])

    convert = partial(_converted, rows=rows, pictures=pictures)
    return table.map(convert, with_indices=True, remove_columns=list(rows.features), features=target)


def _converted(row: dict[str, Any], index: int, rows: _Rows, pictures: list[str]) -> dict[str, Any]:
    annotation = rows.annotation(row, index)
    rows.check([annotation])
    return annotation | {ours: row[rows.names[ours]] for ours in pictures}
