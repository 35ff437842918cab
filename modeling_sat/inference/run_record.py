"""What a run left in `run.json` of the images that it trained on and of those that it held out."""

import base64
import hashlib
import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset

from ..output.files import read_json


RUN_FILE = "run.json"
HELD_OUT, OWN_SPLIT = "held out of train", "the dataset's own"
_CHECKPOINT = re.compile(r"checkpoint-([0-9]+)")


class RunRecordError(ValueError):
    """A `run.json` that cannot be read."""


def step_of(folder: Path) -> int | None:
    """N of a folder `checkpoint-N`, None of another."""
    name = _CHECKPOINT.fullmatch(folder.name)
    return int(name[1]) if name and name[1].isascii() else None


@dataclass(frozen=True)
class RunRecord:
    """A run's own word on its data.

    Attributes:
        path: of the `run.json`.
        settings: model, data and training arguments, as `modeling_sat.training` wrote them.
        images: `data_dir`; `validation`, where its validation images came from; `trained` and `held_out`, the
            `fingerprints` of images. Empty of runs before these were recorded.
    """

    path: Path
    settings: dict[str, Any]
    images: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: str | Path | None) -> "RunRecord | None":
        """That of a run's folder or of a `checkpoint-N`, which has its own or lies in the run's folder.

        Raises:
            RunRecordError: it is there and cannot be read.
        """
        if model is None or not Path(model).is_dir():
            return None
        folder = Path(model).resolve()
        places = [folder, folder.parent] if step_of(folder) is not None else [folder]
        path = next((place / RUN_FILE for place in places if (place / RUN_FILE).is_file()), None)
        if path is None:
            return None
        content = read_run(path)
        return cls(path, content["settings"], content.get("images") or {})

    @cached_property
    def trained(self) -> np.ndarray | None:
        """`fingerprints` of the images trained on, None where they are not recorded."""
        return _unpacked(self.images.get("trained"), self.path)

    @cached_property
    def held_out(self) -> np.ndarray | None:
        """`fingerprints` of the validation images, None where they are not recorded."""
        return _unpacked(self.images.get("held_out"), self.path)


def read_run(path: Path) -> dict[str, Any]:
    """
    Raises:
        RunRecordError: it is no JSON, or not what training writes.
    """
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise RunRecordError(f"{path} cannot be read ({error})") from error
    parts = {"settings": dict, "length": dict, "images": (dict, type(None))}
    for name, kind in parts.items():
        if not isinstance(content.get(name, {}), kind) or "settings" not in content:
            raise RunRecordError(f"{path} cannot be read (it is not the record that a training writes)")
    return content


def fingerprints(table: Dataset) -> np.ndarray:
    """A number for each image, from its `image_id` and its size in bytes; uint64, in the table's order.

    Another picture under the same name has, but for chance, another number; the same data in another folder has the
    same.
    """
    digests = (
        hashlib.blake2b(f"{size}:{image_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        for image_id, size in zip(table["image_id"], _sizes(table), strict=True)
    )
    return np.frombuffer(b"".join(digests), dtype="<u8")


def packed(numbers: np.ndarray) -> str:
    """As `run.json` holds them."""
    return base64.b64encode(np.unique(numbers).astype("<u8").tobytes()).decode()


def _unpacked(text: str | None, path: Path) -> np.ndarray | None:
    if text is None:
        return None
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), dtype="<u8")
    except (TypeError, ValueError) as error:
        raise RunRecordError(f"{path} cannot be read (its list of images is damaged)") from error


def _sizes(table: Dataset) -> list[int]:
    column = table.data.column("image")
    lengths, paths = pc.binary_length(pc.struct_field(column, "bytes")), pc.struct_field(column, "path")
    if table._indices is not None:  # so that the bytes themselves are not read
        positions = table._indices.column(0)
        lengths, paths = lengths.take(positions), paths.take(positions)
    return [
        _file_size(path) if length is None else length
        for length, path in zip(lengths.to_pylist(), paths.to_pylist(), strict=True)
    ]


def _file_size(path: str | None) -> int:
    try:
        return -1 if path is None else os.path.getsize(path)
    except OSError:
        return -1
