"""What every reader yields, and the columns that are made of it."""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from ..models.image_conversion_sat import decode_image, to_upright_rgb
from .errors import DatasetError, UndecodableImageError


@dataclass(frozen=True)
class StoredRows:
    """Where the images of a table lie on disk, to say which one cannot be decoded.

    Attributes:
        split: of the dataset.
        column: of the files.
        files: Arrow streams, in the order of the rows.
    """

    split: str
    column: str
    files: tuple[str, ...]

    def number_of(self, content: bytes) -> int | None:
        """The first row, from 0, whose image has this content."""
        offset = 0
        for file in self.files:
            with pa.memory_map(file) as source, pa.ipc.open_stream(source) as reader:
                for batch in reader:
                    stored = batch.column(self.column)
                    stored = stored.field("bytes") if pa.types.is_struct(stored.type) else stored
                    lengths = pc.equal(pc.binary_length(stored), len(content)).fill_null(False)
                    for index in pc.indices_nonzero(lengths).to_pylist():
                        if stored[index].as_py() == content:
                            return offset + index
                    offset += len(batch)
        return None


class UprightImage(datasets.Image):
    """An image that is decoded by `decode_image`, whatever its mode; in files that are written, a plain `Image`.

    Attributes:
        stored: where rows lie that were not decoded beforehand.
        enough: (width, height) in pixels of the smallest image that a JPEG may be decoded to, at 1/2, 1/4 or 1/8 of its
            size; None for its own size.
    """

    stored: StoredRows | None = None
    enough: tuple[int, int] | None = None

    @classmethod
    def of_rows(cls, stored: StoredRows) -> "UprightImage":
        feature = cls(mode="RGB")
        feature.stored = stored
        return feature

    def reduced(self, enough: tuple[int, int]) -> "UprightImage":
        feature = copy.copy(self)
        feature.enough = enough
        return feature

    def decode_example(self, value: Any, token_per_repo_id: dict | None = None) -> Image.Image:
        if not isinstance(value, dict):  # it has been decoded
            return value
        path, content = value["path"], value["bytes"]
        try:
            if content is None and path is None:
                raise ValueError("there is none")
            if content is None and "://" in path:  # within an archive or on a server
                return to_upright_rgb(datasets.Image().decode_example(value, token_per_repo_id))
            return decode_image(path if content is None else content, self.enough)
        except Exception as error:  # a server or a decoder, each of which fails in its own way
            raise UndecodableImageError(
                f"{self._named(path, content)} cannot be decoded ({error}). Repair or remove it"
                + ("." if self.stored is None else ', or pass on_bad_image="skip" to leave it out.')
            ) from error

    def _named(self, path: str | None, content: bytes | None) -> str:
        number = None if self.stored is None or content is None else self.stored.number_of(content)
        if number is None:
            return path or ("An image" if self.stored is None else f"An image of the {self.stored.split} split")
        return f"Row {number} of the {self.stored.split} split{f' ({path})' if path else ''}"


BOXES_FEATURE = datasets.List(datasets.List(datasets.Value("float32"), length=4))


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
    image_feature: datasets.Image = field(default_factory=lambda: UprightImage(mode="RGB"))

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
        image_feature: of the column `image`; default: `UprightImage`.
        file: write the table there, as an Arrow stream, and map it into memory instead of holding it.
    """
    features = {
        "image": image_feature or UprightImage(mode="RGB"),
        "image_id": datasets.Value("string"),
        "label": datasets.ClassLabel(names=class_names),
        "boxes": BOXES_FEATURE,
    }
    if isinstance(examples, Sequence) and any(example.mask is not None for example in examples):
        features["mask"] = datasets.Image(mode="L")
    schema = datasets.Features(features).arrow_schema
    batches = _record_batches(iter(examples), schema)
    if file is None:
        table = datasets.Dataset(datasets.table.InMemoryTable(pa.Table.from_batches(batches, schema)))
    else:
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        table = datasets.Dataset.from_file(str(file))
    return table.cast_column("image", features["image"])  # what Arrow stores of a feature is its name


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
