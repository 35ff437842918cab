"""Turns rows of Hub datasets into those of every other: named, labelled and checked, or named in a sentence."""

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import datasets
from datasets import Dataset, IterableDataset

from ..sentences import listed
from .checks import report_problems, scaled_box
from .errors import OnBadImage
from .hub_boxes import StoredBox, boxes_of, check_format, drawn_on, reach
from .hub_columns import Columns, item_of, reach_feature
from .hub_pictures import check_masks, look_at, looks_of, null_images
from .schema import Box, DatasetError, StoredRows, UprightImage, to_dataset


logger = logging.getLogger(__name__)


@dataclass
class Row:
    """What the columns beside the pictures say of one image.

    Attributes:
        names: of the objects, where the label comes from them.
        stated_size: what the dataset says of the image's width and height.
        drawn_on: width and height of the image that the boxes are of.
        problem: why the row cannot be used.
    """

    index: int
    image_id: str | None
    label: int | None
    boxes: list[StoredBox]
    names: tuple[str, ...] = ()
    stated_size: tuple[Any, Any] | None = None
    drawn_on: tuple[int, int] = (0, 0)
    problem: str | None = None

    def find_drawn_on(self, size: tuple[int, int]) -> None:
        found = drawn_on(self.stated_size, size)
        if isinstance(found, str):
            self.problem = self.problem or found
        else:
            self.drawn_on = found


@dataclass(frozen=True)
class Rows:
    """How one split of a dataset is read.

    Attributes:
        dataset: its name, for messages.
        shares_names: whether the objects are called as the classes are, so that some are of the image's class and
            others are not; None: where a row says so.
    """

    dataset: str
    split: str
    columns: Columns
    class_names: list[str]
    on_bad_image: OnBadImage
    shares_names: bool | None

    @cached_property
    def labels(self) -> dict[str, int]:
        return {name: label for label, name in enumerate(self.class_names)}

    @cached_property
    def is_number_a_name(self) -> bool:
        """Whether labels are numbers without names, which need not begin with 0 or follow each other."""
        return not isinstance(reach_feature(self.columns.features, self.columns.names["label"]), datasets.ClassLabel)

    @property
    def target(self) -> datasets.Features:
        features = to_dataset([], self.class_names).features
        return datasets.Features(features | ({"mask": datasets.Image(mode="L")} if self.columns.has("mask") else {}))

    def row(self, values: Mapping[str, Any], index: int) -> Row:
        columns, names = self.columns, self.columns.names
        image_id = values[names["image_id"]] if columns.has("image_id") else f"{self.split}/{index:08}"
        row = Row(index, None if image_id is None else str(image_id), None, [])
        row.stated_size = columns.annotated_size and tuple(values[side] for side in columns.annotated_size)
        if columns.is_label_of_objects:
            row.names = tuple(sorted(set(self._object_names(values, names["label"]))))
            row.label = self.labels.get(row.names[0]) if len(row.names) == 1 else None
            if not row.names:
                row.problem = f"it has no label: there is no object in {names['label']!r}"
        else:
            label = reach(values, names["label"])
            if isinstance(label, str):
                row.label = self.labels.get(label.strip())
            elif self.is_number_a_name and label not in (None, -1):
                row.label = self.labels[str(label)]
            else:
                row.label = label
            if row.label not in (None, -1) and not 0 <= row.label < len(self.class_names):
                row.problem = f"its label is {label}; one from 0 to {len(self.class_names) - 1} was expected"
                row.label = None
            elif row.label == -1:
                row.label = None
        if columns.has("boxes"):
            try:
                row.boxes = self._own_boxes(values, row.label)
            except DatasetError as error:
                row.problem = row.problem or str(error)
        return row

    def _object_names(self, values: Mapping[str, Any], path: str) -> list[str]:
        return object_names(reach(values, path), reach_feature(self.columns.features, path))

    def _own_boxes(self, values: Mapping[str, Any], label: int | None) -> list[StoredBox]:
        """The boxes of the objects that are of the image's class, or of all where objects are called otherwise."""
        boxes = boxes_of(reach(values, self.columns.names["boxes"]))
        path = self.columns.categories
        if path is None or label is None or self.shares_names is False:
            return [box for box in boxes if box is not None]
        names = [name.casefold() for name in self._object_names(values, path)]
        if len(names) != len(boxes):
            raise DatasetError(f"it has {len(boxes)} boxes and {len(names)} names of objects in {path!r}")
        own = self.class_names[label].casefold()
        if self.shares_names is None and own not in names:
            return [box for box in boxes if box is not None]
        return [box for box, name in zip(boxes, names, strict=True) if box is not None and name == own]

    def described(self, row: Row) -> str:
        image_id = f" ({row.image_id})" if self.columns.has("image_id") else ""
        return f"{self.split}, row {row.index}{image_id}: {row.problem}"


def object_names(values: Any, feature: Any) -> list[str]:
    """The names of a row's objects, of whichever type they are stored as."""
    feature = item_of(feature)
    values = values if isinstance(values, list) else [] if values is None else [values]
    is_label = isinstance(feature, datasets.ClassLabel)
    return [
        feature.names[value] if is_label and 0 <= value < len(feature.names) else str(value)
        for value in values
        if value is not None
    ]


def convert_table(table: Dataset, rows: Rows) -> Dataset:
    """
    Raises:
        DatasetError: rows cannot be used, and `on_bad_image` is "raise"; or none can, or the boxes have another format.
    """
    names, skip = rows.columns.names, rows.on_bad_image == "skip"
    if rows.columns.has("mask"):
        check_masks(table, names["mask"])
    described = table.select_columns(rows.columns.described)
    found = [rows.row(values, index) for index, values in enumerate(described)]
    found = _labelled(found, rows)
    pictures = table.select_columns([names["image"]]).cast_column(names["image"], datasets.Image(decode=False))
    sizes: list[tuple[int, int] | None] = [None] * len(table)
    for row in found:
        if row.index in null_images(table, names["image"]):
            row.problem = "it has no image"
    if skip or any(row.boxes for row in found):
        looked_at = looks_of(pictures, names["image"], rows.dataset, rows.split, decode=skip)
        sizes = list(zip(looked_at["width"], looked_at["height"], strict=True))
        for row in found:
            if skip or row.boxes:
                row.problem = row.problem or looked_at["problem"][row.index]
            if row.boxes and not row.problem:
                row.find_drawn_on(sizes[row.index])
        turned = sum(looked_at["turned"][row.index] and bool(row.boxes) for row in found)
        if turned:
            logger.warning(
                "%s of the %s split are stored rotated (EXIF) and have boxes, which are read as those of the upright image.",
                f"{turned} images", rows.split,
            )  # fmt: skip
    boxes = _fitted(found, sizes, rows)
    report_problems([rows.described(row) for row in found if row.problem], rows.split, rows.on_bad_image)
    kept = [row for row in found if not row.problem]
    _check_ids(kept, rows)
    return _table(table, rows, kept, [boxes[row.index] for row in kept])


def _table(table: Dataset, rows: Rows, kept: list[Row], boxes: list[list[Box]]) -> Dataset:
    names, target = rows.columns.names, rows.target
    columns = {"image_id": [row.image_id for row in kept], "label": [row.label for row in kept], "boxes": boxes}
    parts = [Dataset.from_dict(columns, features=datasets.Features({ours: target[ours] for ours in columns}))]
    files = tuple(file["filename"] for file in table.cache_files)
    if len(kept) < len(table):
        table = table.select([row.index for row in kept])
    for ours in ("image", "mask"):
        if ours in target:
            pictures = table.select_columns([names[ours]])
            pictures = pictures if names[ours] == ours else pictures.rename_column(names[ours], ours)
            parts.append(pictures.cast_column(ours, target[ours]))
    together = datasets.concatenate_datasets(parts, axis=1).select_columns(list(target))
    return together.cast_column("image", UprightImage.of_rows(StoredRows(rows.split, names["image"], files)))


def _labelled(found: list[Row], rows: Rows) -> list[Row]:
    """The rows with one label; images with several are left out with a warning, as in a folder."""
    several = [row for row in found if len(row.names) > 1]
    if several:
        logger.warning(
            "Left out %d of %d images of the %s split, which show objects of several classes, because an image needs "
            "one label:\n%s", len(several), len(found), rows.split,
            listed([f"row {row.index}: {', '.join(row.names)}" for row in several]),
        )  # fmt: skip
    if several and len(several) == len(found):
        raise DatasetError(
            f"No image of the {rows.split} split can be used: each shows objects of several classes "
            f"({rows.columns.names['label']!r}), and an image needs one label. Pass columns to say where it is."
        )
    found = [row for row in found if len(row.names) < 2]
    unlabelled = [row for row in found if row.label is None and row.problem is None]
    if unlabelled and (rows.on_bad_image == "raise" or len(unlabelled) == len(found)):
        raise DatasetError(
            f"{len(unlabelled)} of {len(found)} images of the {rows.split} split have no label. Choose another by "
            'splits, as in splits={"test": "validation"}, or pass on_bad_image="skip" to leave them out:\n'
            + listed([f"{rows.split}, row {row.index}" for row in unlabelled])
        )
    for row in unlabelled:
        row.problem = "it has no label"
    return found


def _check_ids(kept: list[Row], rows: Rows) -> None:
    uses = Counter(row.image_id for row in kept)
    wrong = [str(image_id) for image_id, count in uses.items() if image_id is None or count > 1]
    if wrong:
        raise DatasetError(
            f"The column {rows.columns.names['image_id']!r} is not the name of one image each in the {rows.split} "
            f"split:\n{listed(wrong)}\nMap another one by columns."
        )


def _fitted(found: list[Row], sizes: list, rows: Rows) -> dict[int, list[Box]]:
    """The boxes of each row in pixels, and `problem` of those that have one that does not fit.

    Raises:
        DatasetError: the format is the other one, or the numbers are fractions and it is not known of what.
    """
    columns = rows.columns
    usable = [row for row in found if not row.problem]
    boxed = [row for row in usable if row.boxes]
    where = f"the column {columns.names['boxes']!r} of the {rows.split} split" if boxed else ""
    fraction = bool(boxed) and all(box.is_within_one and min(row.drawn_on) > 1 for row in boxed for box in row.boxes)
    if fraction:
        _check_fractions(boxed[0].boxes[0], columns, where)
    if boxed:
        fit_both = check_format(((row.boxes, row.drawn_on) for row in boxed), columns.box_format, fraction, where)
        if fit_both and not columns.is_format_given and not columns.is_own_layout:
            logger.warning(
                "The boxes in %s are read as %s; all would fit their images in the other format too. Pass box_format "
                "to say which it is.", where, columns.box_format,
            )  # fmt: skip
        _warn_of_percents(boxed, where)
        _warn_of_other_sizes(boxed, sizes, where)
    boxes: dict[int, list[Box]] = {row.index: [] for row in usable}
    leaving = 0
    for row in boxed:
        fit = partial(StoredBox.fitted, box_format=columns.box_format, size=row.drawn_on, fraction=fraction)
        fitted = [fit(box, as_published=columns.is_own_layout) for box in row.boxes]
        row.problem = next((box for box in fitted if isinstance(box, str)), None)
        leaving += columns.is_own_layout and any(isinstance(fit(box), str) for box in row.boxes)
        boxes[row.index] = [] if row.problem else [scaled_box(box, row.drawn_on, sizes[row.index]) for box in fitted]
    if leaving:
        logger.warning("%d images in %s have boxes that leave them; these are kept as they are.", leaving, where)
    if boxed and columns.categories and rows.shares_names:
        logger.info("Of the objects in %s only those of the image's own class give boxes.", where)
    return boxes


def _check_fractions(example: StoredBox, columns: Columns, where: str) -> None:
    if example.named_format is None and not columns.is_format_given:
        raise DatasetError(
            f"The boxes in {where} are fractions of their images, such as {example.given!r}. Pass box_format='xyxy' "
            "if they are corners, box_format='xywh' if left, top, width and height; centres are not read."
        )


def _warn_of_other_sizes(boxed: list[Row], sizes: list, where: str) -> None:
    scaled = sum(row.drawn_on != sizes[row.index] for row in boxed)
    exchanged = sum(
        row.stated_size is not None and row.drawn_on == row.stated_size[::-1] != row.stated_size for row in boxed
    )
    if scaled:
        logger.info("Boxes of %d images in %s were drawn on another size of the image, and are scaled.", scaled, where)
    if exchanged:
        logger.warning("%d images in %s have their width and height swapped in the dataset.", exchanged, where)


def _warn_of_percents(boxed: list[Row], where: str) -> None:
    furthest = max(max(box.numbers) for row in boxed for box in row.boxes)
    if len(boxed) >= 10 and 1 < furthest <= 100 and min(min(row.drawn_on) for row in boxed) >= 200:
        logger.warning(
            "No box in %s reaches beyond 100, although every image has 200 pixels or more a side. If the numbers are "
            "percentages, convert them to pixels.", where,
        )  # fmt: skip


def convert_stream(table: IterableDataset, rows: Rows) -> IterableDataset:
    target, names = rows.target, rows.columns.names
    pictures = [ours for ours in ("image", "mask") if ours in target]
    for ours in pictures:
        table = table.cast_column(names[ours], datasets.Image(decode=False))
    convert = partial(_streamed, rows=rows, pictures=pictures)
    table = table.map(
        convert, with_indices=True, batched=True, batch_size=16, remove_columns=list(rows.columns.features)
    )
    table = table.cast(target)  # not by `map`, which would take the images for decoded
    return table.cast_column("image", UprightImage.of_rows(StoredRows(rows.split, names["image"], ())))


def _streamed(batch: dict[str, list], indices: list[int], rows: Rows, pictures: list[str]) -> dict[str, list]:
    """The rows of a batch that can be used.

    Raises:
        DatasetError: one cannot, and `on_bad_image` is "raise".
    """
    names, converted = rows.columns.names, []
    for position, index in enumerate(indices):
        values = {column: cells[position] for column, cells in batch.items()}
        row = rows.row(values, index)
        if len(row.names) > 1:
            continue
        if row.label is None and row.problem is None:
            row.problem = 'it has no label. Choose another split by splits, as in splits={"test": "validation"}'
        picture, boxes = values[names["image"]], []
        if not row.problem and (row.boxes or rows.on_bad_image == "skip"):
            looked_at = look_at(picture, decode=rows.on_bad_image == "skip")
            row.problem = looked_at["problem"]
            boxes = _streamed_boxes(row, (looked_at["width"], looked_at["height"]), rows)
        elif not row.problem and (picture is None or (picture["bytes"] is None and picture["path"] is None)):
            row.problem = "it has no image"
        if row.problem:
            if rows.on_bad_image == "raise":
                report_problems([rows.described(row)], rows.split, "raise")
            _warn_once(f"{rows.dataset}: left out {rows.described(row)}")
            continue
        fields = {"image_id": row.image_id, "label": row.label, "boxes": boxes}
        if picture["bytes"] is not None:  # what is said of it when it cannot be decoded
            name = f" ({picture['path']})" if picture["path"] else ""
            picture = picture | {"path": f"Row {index} of the {rows.split} split{name}"}
        converted.append(fields | {ours: values[names[ours]] for ours in pictures} | {"image": picture})
    return {ours: [row[ours] for row in converted] for ours in rows.target}


def _streamed_boxes(row: Row, size: tuple[int, int], rows: Rows) -> list[Box]:
    if row.boxes and not row.problem:
        row.find_drawn_on(size)
    if row.problem:
        return []
    columns = rows.columns
    if row.boxes and min(size) > 1 and all(box.is_within_one for box in row.boxes):
        raise DatasetError(
            f"{rows.split}, row {row.index}: its boxes are fractions of the image, such as {row.boxes[0].given!r}; of "
            "a stream, pixels were expected. Leave streaming out."
        )
    fitted = [box.fitted(columns.box_format, row.drawn_on, as_published=columns.is_own_layout) for box in row.boxes]
    row.problem = next((box for box in fitted if isinstance(box, str)), None)
    return [] if row.problem else [scaled_box(box, row.drawn_on, size) for box in fitted]


@lru_cache(maxsize=10_000)
def _warn_once(sentence: str) -> None:
    logger.warning(sentence)
