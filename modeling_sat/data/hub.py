"""Datasets of the Hub, and folders of Parquet files, with whatever column names they have."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

import datasets
from datasets import Dataset, IterableDataset

from .examples import Benchmark, Box, DatasetError, to_dataset


COLUMNS = ("image", "image_id", "label", "boxes", "mask")
SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
EDGES = {"xyxy": ("xmin", "ymin", "xmax", "ymax"), "xywh": ("x", "y", "width", "height")}

BoxFormat = Literal["xyxy", "xywh"]


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
            into a struct: `{"boxes": "objects.bbox"}`. Images without `image_id` are numbered.
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
    load = partial(datasets.load_dataset, name, config, data_dir=data_dir and str(data_dir), revision=revision)
    theirs = _explained(
        name,
        lambda: datasets.get_dataset_split_names(name, config, data_dir=data_dir and str(data_dir), revision=revision),
    )
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

    tables = {}

    def table(ours: str) -> Dataset | IterableDataset:
        if ours not in tables:
            tables[ours] = _explained(name, lambda: load(split=found[ours], streaming=streaming))
        return tables[ours]

    first = table(next(iter(found)))
    features = first.features or first._resolve_features().features
    _check_columns(name, features, names, columns or {})
    class_names = _class_names(
        name, features, names["label"], [table] if streaming else [table(ours) for ours in found]
    )
    convert = partial(_convert_stream if streaming else _convert, names=names, features=features)
    boxes = partial(_boxes, box_format=box_format)
    return Benchmark(
        class_names,
        {ours: partial(lambda ours: convert(table(ours), ours, class_names, boxes), ours) for ours in found},
    )


def _explained(name: str, load: Callable[[], Any]) -> Any:
    try:
        return load()
    except (OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DatasetError(f"The dataset {name} cannot be loaded: {reason}") from error


def _check_columns(name: str, features: datasets.Features, names: dict[str, str], asked: Mapping[str, str]) -> None:
    for ours in {"image", "label", *asked}:
        top = names[ours].split(".")[0]
        if top not in features:
            raise DatasetError(
                f"{name} has no column {names[ours]!r} for {ours!r}; it has {', '.join(features)}. Say which it is by "
                f"columns, as in columns={{{ours!r}: {next(iter(features))!r}}}."
            )
    if not isinstance(features[names["image"]], datasets.Image):
        raise DatasetError(
            f"The column {names['image']!r} of {name} is {features[names['image']]}; images were expected."
        )


def _class_names(name: str, features: datasets.Features, column: str, tables: list[Any]) -> list[str]:
    feature = features[column]
    if isinstance(feature, datasets.ClassLabel):
        return feature.names
    dtype = getattr(feature, "dtype", "")
    if tables and isinstance(tables[0], Dataset):
        values = set().union(*(set(table.unique(column)) for table in tables))
        if dtype == "string":
            return sorted(values)
        if dtype.startswith(("int", "uint")) and min(values) >= 0:
            return [str(label) for label in range(max(values) + 1)]
    raise DatasetError(
        f"The column {column!r} of {name} is {feature}; ClassLabel, or unless streaming names or numbers from 0, were "
        "expected."
    )


def _convert(table: Dataset, split: str, class_names: list[str], boxes: Callable, *, names, features) -> Dataset:
    number = {name: label for label, name in enumerate(class_names)}
    labels = [number.get(label, label) for label in table[names["label"]]]
    unlabelled = sum(not isinstance(label, int) or not 0 <= label < len(class_names) for label in labels)
    if unlabelled:
        raise DatasetError(
            f"{unlabelled} of {len(labels)} images of the {split} split have no label. Choose another by splits, as in "
            'splits={"test": "validation"}.'
        )
    columns = {
        "image_id": table[names["image_id"]][:] if names["image_id"] in features else _numbered(split, len(table)),
        "label": labels,
        "boxes": _column(table, names["boxes"], features, boxes),
    }
    empty = to_dataset([], class_names)
    annotated = Dataset.from_dict(
        columns, features=datasets.Features({column: empty.features[column] for column in columns})
    )
    images = _only(table, names["image"], "image").cast_column("image", datasets.Image(mode="RGB"))
    parts = [images, annotated]
    if names["mask"] in features:
        parts.append(_only(table, names["mask"], "mask").cast_column("mask", datasets.Image(mode="L")))
    return datasets.concatenate_datasets(parts, axis=1)


def _convert_stream(
    table: IterableDataset, split: str, class_names: list[str], boxes: Callable, *, names, features
) -> IterableDataset:
    def convert(row: dict[str, Any], index: int) -> dict[str, Any]:
        return {
            "image": row[names["image"]],
            "image_id": row[names["image_id"]] if names["image_id"] in features else f"{split}/{index:08}",
            "label": row[names["label"]],
            "boxes": boxes(_reach(row, names["boxes"])) if names["boxes"].split(".")[0] in features else [],
        }

    return table.map(
        convert, with_indices=True, remove_columns=list(features), features=to_dataset([], class_names).features
    )


def _only(table: Dataset, column: str, name: str) -> Dataset:
    table = table.select_columns([column])
    return table if column == name else table.rename_column(column, name)


def _column(table: Dataset, name: str, features: datasets.Features, boxes: Callable) -> list[list[Box]]:
    top = name.split(".")[0]
    if top not in features:
        return [[]] * len(table)
    return [boxes(_reach({top: value}, name)) for value in table[top]]


def _numbered(split: str, count: int) -> list[str]:
    return [f"{split}/{index:08}" for index in range(count)]


def _reach(row: Mapping[str, Any], name: str) -> Any:
    for part in name.split("."):
        row = row[part]
    return row


def _boxes(value: Any, box_format: BoxFormat) -> list[Box]:
    """One box or several, each four numbers or a struct of named edges, or none."""
    if value is None:
        return []
    if isinstance(value, Mapping) and isinstance(next(iter(value.values()), None), list):  # a struct of lists
        value = [dict(zip(value, edges, strict=True)) for edges in zip(*value.values(), strict=True)]
    boxes = (
        [value] if isinstance(value, Mapping) or not len(value) or not isinstance(value[0], (Mapping, list)) else value
    )
    return [_box(box, box_format) for box in boxes if len(box)]


def _box(box: Any, box_format: BoxFormat) -> Box:
    if isinstance(box, Mapping):
        named = {key.replace("_", "").lower(): number for key, number in box.items()}
        known = [(form, edges) for form, edges in EDGES.items() if set(edges) <= set(named)]
        if not known:
            raise DatasetError(
                f"A box has the fields {', '.join(box)}; xmin, ymin, xmax, ymax or x, y, width, height were expected."
            )
        box_format, edges = known[0]
        box = [named[edge] for edge in edges]
    if len(box) != 4:
        raise DatasetError(f"A box has {len(box)} numbers, {list(box)}; four were expected.")
    x, y, third, fourth = map(float, box)
    return (x, y, third, fourth) if box_format == "xyxy" else (x, y, x + third, y + fourth)
