"""What a run left in `run.json` of the images that it trained on and of those that it held out."""

import base64
import hashlib
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset

from ..output.files import read_json


RUN_FILE = "run.json"
NUMBERED_BY = "content"
"""What `fingerprints` are of, for `run.json` to say."""
_STRETCH = 4096
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
            `fingerprints` of images; `numbered_by`. Empty of runs before these were recorded.
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
        return self._numbers("trained")

    @cached_property
    def held_out(self) -> np.ndarray | None:
        """`fingerprints` of the validation images, None where they are not recorded."""
        return self._numbers("held_out")

    def _numbers(self, which: str) -> np.ndarray | None:
        """None also of the runs of a few days that numbered images by their names."""
        return _unpacked(self.images.get(which), self.path) if self.images.get("numbered_by") == NUMBERED_BY else None


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
    """A number for each image, from what its file holds; uint64, in the table's order.

    The same picture has the same number under another name, in another folder and in a Parquet file. Of large files the
    length and three stretches are read, not all of it. A file that is not there has the number of an empty one.
    """
    column = table.data.column("image")
    positions = range(len(column)) if table._indices is None else table._indices.column(0).to_pylist()
    contents, paths = pc.struct_field(column, "bytes"), pc.struct_field(column, "path")

    def number(position: int) -> bytes:
        content = contents[position]
        if not content.is_valid:
            return _digest_of_file(paths[position].as_py())
        stored = memoryview(content.as_buffer())  # of which only what is read comes from disk
        return _digest(len(stored), [stored[start : start + _STRETCH] for start in _stretches(len(stored))])

    with ThreadPoolExecutor() as pool:
        return np.frombuffer(b"".join(pool.map(number, positions, chunksize=256)), dtype="<u8")


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


def _digest_of_file(path: str | None) -> bytes:
    try:
        with open(path or "", "rb") as file:
            size, read = os.fstat(file.fileno()).st_size, []
            for start in _stretches(size):
                file.seek(start)
                read.append(file.read(_STRETCH))
            return _digest(size, read)
    except OSError:
        return _digest(0, [])


def _stretches(size: int) -> list[int]:
    """Where to read in so many bytes: the start, middle and end."""
    return sorted({0, max(0, size - _STRETCH) // 2, max(0, size - _STRETCH)})


def _digest(size: int, read: Iterable[bytes | memoryview]) -> bytes:
    digest = hashlib.blake2b(str(size).encode(), digest_size=8)
    for stretch in read:
        digest.update(stretch)
    return digest.digest()
