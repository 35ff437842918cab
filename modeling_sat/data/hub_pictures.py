"""The images and masks of Hub datasets, checked before they are used."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from datasets import Dataset
from datasets.utils import tqdm

from .cache import MIN_ROWS, cached_table
from .orientation import Orientation
from .schema import DatasetError, UndecodableImageError, UprightImage


MASKS_LOOKED_AT = 10


def null_images(table: Dataset, column: str) -> set[int]:
    null, offset = set(), 0
    for chunk in table.data.column(column).chunks:
        missing = np.asarray(chunk.is_null())
        if pa.types.is_struct(chunk.type):
            fields = [np.asarray(chunk.field(name).is_null()) for name in ("bytes", "path")]
            missing = missing | np.logical_and(*fields)
        null.update((np.flatnonzero(missing) + offset).tolist())
        offset += len(chunk)
    return null


def looks_of(pictures: Dataset, column: str, dataset: str, split: str, decode: bool) -> dict[str, list]:
    """Of each image its `width` and `height`, upright, whether it is stored `turned`, and its `problem`."""
    look = partial(look_at, decode=decode)

    def looks() -> Iterator[dict[str, Any]]:
        progress = tqdm(total=len(pictures), desc=f"Checking the {split} images", unit=" images", leave=False)
        with ThreadPoolExecutor() as pool, progress:
            for batch in pictures.iter(batch_size=256):
                yield from pool.map(look, batch[column])
                progress.update(len(batch[column]))

    def build(file: Path | None) -> tuple[Dataset, bool]:
        table = pa.Table.from_pylist(list(looks()), _LOOKS)
        if file is None:
            return Dataset(table), False
        with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return Dataset.from_file(str(file)), True

    if len(pictures) < MIN_ROWS:
        return build(None)[0].to_dict()
    request = f"looked at {dataset} {split} {column} {decode}"
    return cached_table(request, pictures._fingerprint, build).to_dict()


_LOOKS = pa.schema([("width", pa.int32()), ("height", pa.int32()), ("turned", pa.bool_()), ("problem", pa.string())])


def look_at(picture: dict[str, Any] | None, decode: bool) -> dict[str, Any]:
    nothing = {"width": 0, "height": 0, "turned": False}
    if picture is None or (picture["bytes"] is None and picture["path"] is None):
        return nothing | {"problem": "it has no image"}
    try:
        if picture["bytes"] is None and "://" in picture["path"]:
            image = UprightImage(mode="RGB").decode_example(picture)
            return {"width": image.width, "height": image.height, "turned": False, "problem": None}
        orientation = Orientation.of_header(picture["path"] if picture["bytes"] is None else picture["bytes"])
        width, height = orientation.upright
        if decode:
            width, height = UprightImage(mode="RGB").decode_example(picture).size
    except UndecodableImageError as error:
        return nothing | {"problem": f"the image cannot be decoded ({error.__cause__})"}
    except Exception as error:  # each of Pillow's decoders fails in its own way
        return nothing | {"problem": f"the image cannot be decoded ({error})"}
    return {"width": width, "height": height, "turned": orientation.is_turned, "problem": None}


def check_masks(table: Dataset, column: str) -> None:
    """Refuses black and white masks, by the first few: their 255 would mean `ignore`."""
    masks = table.select_columns([column]).cast_column(column, datasets.Image())
    values, looked_at = set(), 0
    for mask in (row[column] for row in masks):
        if mask is not None:
            grey = np.asarray(mask.convert("L"))
            values |= set(np.unique(grey).tolist())
            if mask.mode == "P" and (np.asarray(mask) != grey).any():
                raise DatasetError(
                    f"The masks in the column {column!r} are indices into a palette "
                    f"({', '.join(map(str, np.unique(mask)[:5]))}); grey was expected, 0 background, 1 foreground and 255 "
                    "ignore. Write the indices, as in Image.fromarray(np.asarray(mask)), with 1 for the objects."
                )
            looked_at += 1
        if looked_at == MASKS_LOOKED_AT:
            break
    if values == {0, 255}:
        raise DatasetError(
            f"The masks in the column {column!r} hold 0 and 255; 0 background, 1 foreground and 255 ignore were "
            "expected. Map 255 to 1."
        )
    if values - {0, 1, 255}:
        shown = ", ".join(map(str, sorted(values)[:5]))
        raise DatasetError(
            f"The masks in the column {column!r} hold {shown} as grey; 0 background, 1 foreground and 255 ignore were "
            "expected. Map the numbers or colours of objects to 1."
        )
