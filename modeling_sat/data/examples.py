"""What every reader yields, and the columns that it becomes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import datasets
from PIL import Image


class DatasetError(ValueError):
    """Something is wrong with the data on disk or with the request for it; the message says what and what to do."""


class MissingSplitError(DatasetError):
    """The dataset has no such split; what can be done without one may go on."""


Box = tuple[float, float, float, float]
"""`(x_min, y_min, x_max, y_max)` in pixels of the upright original image, half-open."""


@dataclass(frozen=True)
class Example:
    """One labelled image.

    Attributes:
        image: the file, or the bytes of an encoded RGB image.
        image_id: unique in its benchmark; the path relative to the data folder where there is one.
        label: index into the benchmark's `class_names`.
        boxes: none where the image is not annotated.
        mask: bytes of a PNG of mode L: 0 background, 1 foreground, 255 ignore.
    """

    image: Path | bytes
    image_id: str
    label: int
    boxes: Sequence[Box] = ()
    mask: bytes | None = None


@dataclass(frozen=True)
class Split:
    """One split as its reader found it; `problems` has one sentence for each image that had to be left out."""

    examples: list[Example]
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Benchmark:
    """What a reader returns: `splits` maps "train", "validation" and "test", those that exist, to what reads them."""

    class_names: list[str]
    splits: Mapping[str, Callable[[], Split]]


def to_dataset(examples: Sequence[Example], class_names: list[str]) -> datasets.Dataset:
    """Builds the table `image, image_id, label, boxes` and, where the examples have masks, `mask`.

    Files are not copied: their images are decoded when a row is read, upright and of mode RGB.
    """
    features = {
        "image": datasets.Image(mode="RGB"),
        "image_id": datasets.Value("string"),
        "label": datasets.ClassLabel(names=class_names),
        "boxes": datasets.List(datasets.List(datasets.Value("float32"), length=4)),
    }
    columns = {
        "image": [_image_cell(example.image) for example in examples],
        "image_id": [example.image_id for example in examples],
        "label": [example.label for example in examples],
        "boxes": [[list(box) for box in example.boxes] for example in examples],
    }
    if any(example.mask is not None for example in examples):
        features["mask"] = datasets.Image(mode="L")
        columns["mask"] = [None if example.mask is None else _image_cell(example.mask) for example in examples]
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))


def png_bytes(image: Image.Image) -> bytes:
    """Encodes an image as PNG, quickly rather than tightly."""
    buffer = BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _image_cell(image: Path | bytes) -> dict[str, bytes | str | None]:
    if isinstance(image, bytes):
        return {"bytes": image, "path": None}
    return {"bytes": None, "path": str(image)}
