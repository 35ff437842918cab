"""Finds the columns of a Hub dataset that hold images, labels, boxes and masks, whatever they are called."""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import datasets

from .hub_boxes import EDGES, BoxFormat
from .schema import BOXES_FEATURE, DatasetError


logger = logging.getLogger(__name__)

COLUMNS = ("image", "image_id", "label", "boxes", "mask")

OBJECT_BOXES = "objects.bbox"
"""Hugging Face's own column for object detection, of COCO's x, y, width, height; what `imagefolder` makes of metadata."""

CATEGORIES = ("category", "categories", "label", "labels", "class", "classes", "name", "names", "category_id")
"""What the names of objects are called, beside their boxes."""

_BOX_NAME = re.compile(r"(^|_)(b?box(es)?|bboxs|bounding|rois?|rects?|objects?|annotations?|detections?)(_|$)", re.I)


@dataclass(frozen=True)
class Columns:
    """The columns in which a dataset keeps what is read.

    Attributes:
        names: ours → theirs, a path with dots, those that there are.
        annotated_size: columns of the width and height, in pixels, of the image that the boxes were drawn on.
        categories: path to the names of the objects that the boxes are of, where there are any.
        box_format: of boxes that are lists.
        is_format_given: whether the user has said so.
        is_own_layout: of shards that `scripts/prepare_dataset.py` wrote, whose boxes are as published.
    """

    features: datasets.Features
    names: Mapping[str, str]
    annotated_size: tuple[str, str] | None
    categories: str | None
    box_format: BoxFormat
    is_format_given: bool
    is_own_layout: bool

    def has(self, ours: str) -> bool:
        return ours in self.names

    @property
    def is_label_of_objects(self) -> bool:
        return is_list(self.features, self.names["label"])

    @property
    def described(self) -> list[str]:
        """The columns without pictures."""
        paths = [self.names[ours] for ours in ("image_id", "label", "boxes") if self.has(ours)]
        paths += [*filter(None, [self.categories]), *(self.annotated_size or ())]
        return sorted({path.split(".")[0] for path in paths})


def find_columns(
    name: str,
    features: datasets.Features,
    asked: Mapping[str, str],
    box_format: BoxFormat | None,
) -> Columns:
    """Finds the columns of the dataset called `name`; warns of one that looks like boxes but is not read.

    Args:
        asked: ours → theirs, where the user says so.
        box_format: as the user says; default: COCO's of `objects.bbox` that was found here, else corners.

    Raises:
        DatasetError: the image or the label, or what is asked for, is not there or of another type.
    """
    names = dict(zip(COLUMNS, COLUMNS, strict=True)) | dict(asked)
    found_objects = "boxes" not in asked and "boxes" not in features and reach_feature(features, OBJECT_BOXES)
    if found_objects:
        names["boxes"] = OBJECT_BOXES
    categories = _categories(features, names["boxes"])
    if "label" not in asked and "label" not in features and categories is not None:
        names["label"] = categories
    for ours in ("image", "label", *asked):
        if not _is_there(features, ours, names[ours]):
            raise DatasetError(
                f"{name} has no column {names[ours]!r} for {ours!r}; it has {', '.join(features)}. Name the right "
                f"one by columns, as in columns={{{ours!r}: {_likely(features, ours)!r}}}."
            )
    if not _is_picture(features[names["image"]]):
        raise DatasetError(
            f"The column {names['image']!r} of {name} is {features[names['image']]}; images were expected. Convert "
            "them with `datasets`, as in cast_column('image', Image()) on paths or files, and write them with to_parquet."
        )
    names = {ours: path for ours, path in names.items() if _is_there(features, ours, path)}
    if "boxes" not in names:
        unread = list(paths_of_boxes(features))
        if unread:
            logger.warning(
                "%s: the column %s looks like boxes but is not read. If it holds boxes of objects, pass "
                "columns={'boxes': %r} and box_format, xyxy or xywh.", name, ", ".join(map(repr, unread)), unread[0],
            )  # fmt: skip
    own = not asked and features.get("boxes") == BOXES_FEATURE and features.get("image_id") == datasets.Value("string")
    default = "xywh" if found_objects else "xyxy"
    size = ("width", "height") if all(_is_integer(features.get(side)) for side in ("width", "height")) else None
    return Columns(features, names, size, categories, box_format or default, bool(box_format or found_objects), own)


def reach_feature(features: Mapping[str, Any], name: str) -> Any:
    """The feature at a path with dots, also through lists, or None."""
    found: Any = features
    for part in name.split("."):
        found = item_of(found)
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def is_list(features: Mapping[str, Any], name: str) -> bool:
    """Whether there are several values of a path in a row."""
    found: Any = features
    for part in name.split("."):
        if hasattr(found, "feature"):
            return True
        found = found[part]
    return hasattr(found, "feature")


def paths_of_boxes(features: Mapping[str, Any], parent: str = "") -> Iterator[str]:
    """The paths of columns and fields that are boxes by their type or their name."""
    for key, feature in features.items():
        path, item = f"{parent}{key}", item_of(feature)
        if isinstance(item, Mapping):
            fields = {field.replace("_", "").lower() for field in item}
            if any(set(edges) <= fields for edges in EDGES.values()):
                yield path
            else:
                yield from paths_of_boxes(item, f"{path}.")
        elif _is_box_column(key, feature, item):
            yield path


def _is_picture(feature: Any) -> bool:
    """Whether a column holds image files, even if a tool other than `datasets` wrote it."""
    if isinstance(feature, Mapping):
        return set(feature) == {"bytes", "path"} and str(getattr(feature["bytes"], "dtype", "")).endswith("binary")
    return isinstance(feature, datasets.Image) or str(getattr(feature, "dtype", "")).endswith("binary")


def _is_box_column(name: str, feature: Any, item: Any) -> bool:
    if isinstance(feature, datasets.Image | datasets.ClassLabel):
        return False
    return bool(_BOX_NAME.search(name)) or (getattr(feature, "length", -1) == 4 and _is_number(item))


def _is_there(features: datasets.Features, ours: str, path: str) -> bool:
    if ours == "boxes" or (ours == "label" and "." in path):
        feature = reach_feature(features, path)
        return feature is not None and (ours == "boxes" or is_list(features, path))
    return path in features


def _categories(features: datasets.Features, boxes: str) -> str | None:
    folder, _, _ = boxes.rpartition(".")
    paths = [f"{folder}.{key}" for key in CATEGORIES] if folder else ["category", "categories"]
    return next((path for path in paths if reach_feature(features, path) and is_list(features, path)), None)


def _likely(features: datasets.Features, ours: str) -> str:
    """A column that may be what is missing, for an example."""
    kinds = {
        "image": _is_picture,
        "label": lambda feature: isinstance(feature, datasets.ClassLabel),
        "image_id": lambda feature: getattr(feature, "dtype", "") == "string",
        "mask": _is_picture,
    }
    if ours == "boxes":
        return next(paths_of_boxes(features), next(iter(features)))
    return next((column for column, feature in features.items() if kinds[ours](feature)), next(iter(features)))


def item_of(feature: Any) -> Any:
    """What lists of a feature are lists of, however deep; itself where it is none."""
    while hasattr(feature, "feature"):
        feature = feature.feature
    return feature


def _is_integer(feature: Any) -> bool:
    return str(getattr(feature, "dtype", "")).startswith(("int", "uint"))


def _is_number(feature: Any) -> bool:
    return str(getattr(feature, "dtype", "")).startswith(("int", "uint", "float"))
