"""Any benchmark as Parquet shards with a card: one download, one upload, without layouts and lists."""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pyarrow.parquet as pq
from datasets.utils import tqdm
from huggingface_hub import DatasetCard, DatasetCardData
from PIL import Image

from ..models.image_conversion_sat import decode_image, is_plain, open_image, to_upright_rgb
from ..output.files import path_written_aside, read_json, write_json
from ..output.ownership import LOCK_FILE, folder_of_one_run
from .arguments import DataArguments
from .checks import report_problems, scaled_box
from .errors import OnBadImage
from .schema import DatasetError, Example, UprightImage, png_bytes, to_dataset


STATE_FILE = "preparation.json"


@dataclass
class PreparationSettings:
    """What to write; the fields are the options of `scripts/prepare_dataset.py`.

    Args:
        dataset: a name that `load_wsol_dataset` knows.
        output_dir: for `data/<split>-NNNNN-of-NNNNN.parquet` and the card `README.md`.
        data_dir: the dataset's folder; `None` for generated ones.
        splits: those to write; None: all that exist.
        resize_shorter: make images smaller whose shorter side is longer than so many pixels, with their boxes and masks;
            as JPEG of quality 95. None: every file as it is.
        images_per_shard: rows of a Parquet file.
        on_bad_image, allow_partial, dataset_options: as of `load_wsol_dataset`.
    """

    dataset: str
    output_dir: str
    data_dir: str | None = None
    splits: list[str] | None = None
    resize_shorter: int | None = None
    images_per_shard: int = 2000
    on_bad_image: OnBadImage = "raise"
    allow_partial: bool = False
    dataset_options: dict[str, Any] = field(default_factory=dict)


def prepare_dataset(settings: PreparationSettings) -> datasets.DatasetDict:
    """Writes the shards that are not there yet, and the card; a run that was interrupted continues where it stopped.

    Returns:
        the tables that were written, as `load_wsol_dataset` gave them. `load_wsol_dataset(output_dir)` gives tables with
        equal columns, unless images were resized.

    Raises:
        DatasetError: the folder holds shards of another dataset or other settings, or the data are bad.
        FolderInUseError: another run is writing to the folder.
    """
    for name in ("images_per_shard", "resize_shorter"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise DatasetError(f"{name} is {value}; 1 or more was expected.")
    tables = DataArguments.of({"validation_fraction": 0.0, **vars(settings)}).load(settings.splits)
    if isinstance(tables, datasets.IterableDatasetDict):
        raise DatasetError("What is prepared is read from disk; leave streaming out of dataset_options.")
    with folder_of_one_run(settings.output_dir):
        _write(Path(settings.output_dir), settings, tables)
    return tables


def _write(folder: Path, settings: PreparationSettings, tables: datasets.DatasetDict) -> None:
    _begin(folder, settings, tables)
    for split, table in tables.items():
        shards = -(-len(table) // settings.images_per_shard)
        rows = tqdm(total=len(table), desc=f"Writing the {split} shards", unit=" images")
        for shard in range(shards):
            file = folder / "data" / f"{split}-{shard:05}-of-{shards:05}.parquet"
            first = shard * settings.images_per_shard
            part = table.select(range(first, min(first + settings.images_per_shard, len(table))))
            if not file.is_file():
                _write_shard(file, part, split, settings)
            rows.update(len(part))
        rows.close()
    card(settings, tables).save(folder / "README.md")


def card(settings: PreparationSettings, tables: datasets.DatasetDict) -> DatasetCard:
    """A dataset card that describes the tables."""
    first = next(iter(tables.values()))
    data = DatasetCardData(
        pretty_name=settings.dataset,
        task_categories=["image-classification", "object-detection"],
        tags=["weakly-supervised-object-localization"],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in tables],
            }
        ],
    )
    counts = [
        f"| {split} | {len(table):,} | {sum(map(len, table['boxes'])):,} | {'yes' if 'mask' in table.features else 'no'} |"
        for split, table in tables.items()
    ]
    size = (
        "as published" if settings.resize_shorter is None else f"shorter side at most {settings.resize_shorter} pixels"
    )
    names = first.features["label"].names
    content = f"""---
{data.to_yaml()}
---

# {settings.dataset}

{len(names)} classes ({", ".join(names[:5])}, …). Images: {size}.

| split | images | boxes | masks |
|---|---|---|---|
{chr(10).join(counts)}

Columns: `image` (RGB), `image_id`, `label`, `boxes` (`[x_min, y_min, x_max, y_max]` in pixels of the image, half-open)
and, where there are masks, `mask` (0 background, 1 foreground, 255 ignore). The licence and terms of use are those of
the dataset's publisher.

```python
from modeling_sat.data import load_wsol_dataset

load_wsol_dataset("this/repository")
```

Made by `scripts/prepare_dataset.py` of modeling_sat.
"""
    return DatasetCard(content)


def _begin(folder: Path, settings: PreparationSettings, tables: datasets.DatasetDict) -> None:
    """Makes the folder, or makes sure that what it holds was started with the same settings and data."""
    request = {name: value for name, value in asdict(settings).items() if name not in ("output_dir", "data_dir")}
    request["images"] = {split: len(table) for split, table in tables.items()}
    request["content"] = {split: _digest(table) for split, table in tables.items()}
    file = folder / STATE_FILE
    if file.is_file():
        try:
            begun = read_json(file)
        except ValueError as error:
            raise DatasetError(f"{file} cannot be read ({error}); remove {folder} to prepare it again.") from error
        other = sorted(name for name in request if begun.get(name) != request[name])
        if other:
            raise DatasetError(
                f"{folder} was started with other settings or data: {other[0]} was {begun.get(other[0])!r} and is "
                f"{request[other[0]]!r}. Choose another output_dir, or remove that folder."
            )
    elif any(path.name != LOCK_FILE for path in folder.iterdir()):
        raise DatasetError(f"{folder} is not empty and no preparation was started in it. Choose another output_dir.")
    (folder / "data").mkdir(parents=True, exist_ok=True)
    write_json(file, request)


def _digest(table: datasets.Dataset) -> str:
    """A digest of a table and of its image files."""
    digest = hashlib.sha256(repr(table.features["label"].names).encode())
    columns = [name for name in ("image_id", "label", "boxes") if name in table.features]
    for row in table.select_columns(columns).iter(batch_size=1000):
        digest.update(repr(row).encode())
    for row in table.select_columns("image").cast_column("image", datasets.Image(decode=False)):
        path = row["image"]["path"]
        if row["image"]["bytes"] is None and Path(path).is_file():
            digest.update(repr((path.rpartition("/")[2], Path(path).stat().st_size)).encode())
    return digest.hexdigest()[:16]


def _write_shard(file: Path, table: datasets.Dataset, split: str, settings: PreparationSettings) -> None:
    problems: list[str] = []
    examples = list(_stored(table, settings.resize_shorter, problems))
    report_problems(problems, split, settings.on_bad_image)
    class_names = table.features["label"].names
    stored = to_dataset(examples, class_names)
    if "mask" in table.features and "mask" not in stored.features:  # no image of this shard has one
        stored = stored.add_column("mask", [None] * len(stored), feature=datasets.Image(mode="L"))
    with path_written_aside(file) as unfinished:
        pq.write_table(stored.data.table, unfinished, row_group_size=100)


def _stored(table: datasets.Dataset, resize_shorter: int | None, problems: list[str]) -> Iterator[Example]:
    """The rows with their images and masks as bytes; those that cannot be read go to `problems`."""
    are_files = type(table.features["image"]) in (datasets.Image, UprightImage)
    raw = table
    for name in [*(["image"] if are_files else []), *(["mask"] if "mask" in table.features else [])]:
        raw = raw.cast_column(name, datasets.Image(decode=False))
    for index, image_id in enumerate(table["image_id"]):
        try:
            row = raw[index]
            mask = _bytes(row["mask"]) if row.get("mask") else None
            if are_files and resize_shorter is None:
                image, boxes = _verified(_bytes(row["image"])), row["boxes"]
            else:
                image = decode_image(_bytes(row["image"])) if are_files else row["image"]
                image, boxes, mask = _smaller(image, row["boxes"], mask, resize_shorter)
            yield Example(image, image_id, row["label"], boxes, mask)
        except Exception as error:  # each of Pillow's decoders fails in its own way
            problems.append(f"{image_id}: the image cannot be read ({error})")


def _smaller(
    image: Image.Image, boxes: list[list[float]], mask: bytes | None, shorter: int | None
) -> tuple[bytes, list, bytes | None]:
    size = image.size
    scale = 1 if shorter is None else min(1, shorter / min(size))
    if scale == 1:
        return png_bytes(image), boxes, mask
    smaller = tuple(max(round(side * scale), 1) for side in size)
    buffer = BytesIO()
    image.resize(smaller, Image.Resampling.BILINEAR).save(buffer, format="JPEG", quality=95)
    if mask is not None:
        with open_image(mask) as opened:
            own = tuple(max(round(side * scale), 1) for side in opened.size)
            mask = png_bytes(opened.resize(own, Image.Resampling.NEAREST))
    return buffer.getvalue(), [scaled_box(box, size, smaller) for box in boxes], mask


def _verified(content: bytes) -> bytes:
    with open_image(content) as image:
        return content if is_plain(image) else png_bytes(to_upright_rgb(image))


def _bytes(cell: dict[str, Any]) -> bytes:
    return cell["bytes"] if cell["bytes"] is not None else Path(cell["path"]).read_bytes()
