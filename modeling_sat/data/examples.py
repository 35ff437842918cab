"""What every reader yields, and the columns that it becomes."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from pathlib import Path

import datasets
import pyarrow as pa
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
        image_id: unique in its benchmark and the same wherever that lies; of published ones the name they list it by.
        label: index into the benchmark's `class_names`.
        boxes: none where the image is not annotated.
        mask: bytes of a PNG of mode L: 0 background, 1 foreground, 255 ignore; or what makes them of the size
            (width, height) of the image, called when the image has been found to be good.
        annotated_size: (width, height) of the image that the boxes were drawn on, where it is known; they are scaled
            where the file has another size, as copies made for fast training have.
    """

    image: Path | bytes
    image_id: str
    label: int
    boxes: Sequence[Box] = ()
    mask: bytes | Callable[[tuple[int, int]], bytes] | None = None
    annotated_size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Split:
    """One split as its reader found it.

    Attributes:
        examples: a list; or an iterator, of listings too large for one, whose images are not opened to be checked.
        problems: one sentence for each image that had to be left out; an iterator adds to it as it goes.
        state: of an iterator, a text that changes when the listing does; the table is cached under it.
    """

    examples: Iterable[Example]
    problems: list[str] = field(default_factory=list)
    state: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """What a reader returns.

    Attributes:
        class_names: in the order of the labels.
        splits: "train", "validation" and "test", those that exist, to what reads them; a reader of data that has
            checked itself may give the table instead of a `Split`.
        published_counts: images that the splits of the complete official benchmark have.
        boxes_as_published: leave boxes that reach out of their image as their publisher has them, so that metrics are
            those of everyone else; their protocols clip. Otherwise such boxes are clipped or refused.
        unusable: of splits that are not among `splits` although something of them is there, a sentence that says why.
        upright: show every image upright, and turn with it the boxes that were drawn on it as it is stored, as suits
            people's own images. Otherwise images whose boxes were drawn so are shown as they are stored, as the methods
            compared on the benchmark do.
        image_feature: of the column `image`.
    """

    class_names: list[str]
    splits: Mapping[str, Callable[[], Split | datasets.Dataset]]
    published_counts: Mapping[str, int] = field(default_factory=dict)
    boxes_as_published: bool = False
    unusable: Mapping[str, str] = field(default_factory=dict)
    upright: bool = False
    image_feature: datasets.Image = field(default_factory=lambda: datasets.Image(mode="RGB"))

    def __post_init__(self):
        doubled = [name for name, uses in Counter(self.class_names).items() if uses > 1]
        if doubled:
            raise DatasetError(f"Several classes are called {', '.join(doubled[:10])}; each needs a name of its own.")


def to_dataset(
    examples: Iterable[Example],
    class_names: list[str],
    image_feature: datasets.Image | None = None,
    file: Path | None = None,
) -> datasets.Dataset:
    """Builds the table `image, image_id, label, boxes` and, where the examples have masks, `mask`.

    Files are not copied: their images are decoded when a row is read, upright and of mode RGB.

    Args:
        examples: a list, or an iterator of examples without masks.
        image_feature: of the column `image`; default: mode RGB.
        file: write the table there, as an Arrow stream, and map it into memory instead of holding it.
    """
    features = {
        "image": image_feature or datasets.Image(mode="RGB"),
        "image_id": datasets.Value("string"),
        "label": datasets.ClassLabel(names=class_names),
        "boxes": datasets.List(datasets.List(datasets.Value("float32"), length=4)),
    }
    if isinstance(examples, Sequence) and any(example.mask is not None for example in examples):
        features["mask"] = datasets.Image(mode="L")
    schema = datasets.Features(features).arrow_schema
    batches = _record_batches(iter(examples), schema)
    if file is None:
        return datasets.Dataset(datasets.table.InMemoryTable(pa.Table.from_batches(batches, schema)))
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return datasets.Dataset.from_file(str(file))


def _record_batches(examples: Iterator[Example], schema: pa.Schema, size: int = 1000) -> Iterator[pa.RecordBatch]:
    while batch := list(islice(examples, size)):
        columns = {
            "image": [_image_cell(example.image) for example in batch],
            "image_id": [example.image_id for example in batch],
            "label": [example.label for example in batch],
            "boxes": [[list(box) for box in example.boxes] for example in batch],
        }
        if "mask" in schema.names:
            columns["mask"] = [None if example.mask is None else _image_cell(example.mask) for example in batch]
        yield pa.RecordBatch.from_pydict(columns, schema=schema)


def png_bytes(image: Image.Image) -> bytes:
    """Encodes an image as PNG, quickly rather than tightly."""
    buffer = BytesIO()
    image.save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _image_cell(image: Path | bytes) -> dict[str, bytes | str | None]:
    if isinstance(image, bytes):
        return {"bytes": image, "path": None}
    return {"bytes": None, "path": str(image)}
