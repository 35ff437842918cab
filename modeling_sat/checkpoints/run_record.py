"""What a run left in `run.json`: its settings, its images, its length and its time. No other module knows its keys."""

import base64
import hashlib
import os
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from datasets import Dataset

from ..output.files import read_json, write_json


RUN_FILE = "run.json"
NUMBERED_BY = "content"
"""What `fingerprints` are of, for `run.json` to say."""
_BATCH, _IMAGES = "images in a batch", "training images"
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
class ImagesRecord:
    """Which images a run trained on and which it did not; all None of runs before these were recorded, and of streams.

    Args:
        data_dir: where they were.
        validation: where the validation images came from, `HELD_OUT` or `OWN_SPLIT`; None: there were none.
        trained, held_out: `packed` `fingerprints`.
        numbered_by: what `fingerprints` are of.
    """

    data_dir: str | None = None
    validation: str | None = None
    trained: str | None = None
    held_out: str | None = None
    numbered_by: str | None = None


@dataclass(frozen=True)
class SessionRecord:
    """The training since it was last started, when it has ended.

    Args:
        from_step: where it went on.
        seconds: that it took; None where no step was left.
        hardware: in words.
        versions: library → version.
        hub: "dataset", "base_model" → id, of those that are the Hub's.
        seconds_per_step: without evaluation on the way; reading images counts.
    """

    from_step: int = 0
    seconds: float | None = None
    hardware: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    hub: dict[str, str] = field(default_factory=dict)
    seconds_per_step: float | None = None


@dataclass(frozen=True)
class RunRecord:
    """What a run says of itself: all that `run.json` holds.

    Args:
        settings: the fields of model, data and training that steps depend on, as JSON has them.
        batch_size: images of a step, of all processes and parts.
        training_images: their number; None of a stream.
        length: `num_train_epochs` and `max_steps`.
        frozen_rate: the fraction of the parameters that did not learn.
        parameters: their number.
        session: None while it is trained.
        path: of the file that it was read from.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    batch_size: int | None = None
    training_images: int | None = None
    length: dict[str, float] = field(default_factory=dict)
    images: ImagesRecord = ImagesRecord()
    frozen_rate: float | None = None
    parameters: int | None = None
    session: SessionRecord | None = None
    path: Path | None = None

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
        return None if path is None else cls.load(path)

    @classmethod
    def load(cls, path: Path, partial: bool = False) -> "RunRecord":
        """
        Args:
            partial: read one without settings too, which says nothing of what was trained.

        Raises:
            RunRecordError: it is not JSON, or not what training writes.
        """
        try:
            content = read_json(path)
        except (OSError, ValueError) as error:
            raise RunRecordError(f"{path} cannot be read ({error})") from error
        parts = {name: content.get(name) or {} for name in ("images", "session")}
        parts |= {name: content.get(name, {}) for name in ("settings", "length")}
        if not all(isinstance(part, dict) for part in parts.values()) or not ("settings" in content or partial):
            raise RunRecordError(f"{path} cannot be read (it is not the record that a training writes)")
        settings = dict(parts["settings"])
        return cls(
            batch_size=settings.pop(_BATCH, None),
            training_images=settings.pop(_IMAGES, None),
            settings=settings,
            length=parts["length"],
            images=_made(ImagesRecord, parts["images"]),
            frozen_rate=content.get("frozen_rate"),
            parameters=content.get("parameters"),
            session=_made(SessionRecord, parts["session"]) if parts["session"] else None,
            path=path,
        )

    def save(self, folder: str | Path) -> None:
        """Writes `run.json`, at once: another process may be reading it."""
        content = {"settings": self.told, "length": self.length, "images": asdict(self.images)}
        for name in ("frozen_rate", "parameters"):
            if getattr(self, name) is not None:
                content[name] = getattr(self, name)
        if self.session is not None:
            content["session"] = asdict(self.session)
        write_json(Path(folder, RUN_FILE), content)

    @property
    def told(self) -> dict[str, Any]:
        """In words → what the steps of the run depend on."""
        return {**self.settings, _BATCH: self.batch_size, _IMAGES: self.training_images}

    @cached_property
    def trained(self) -> np.ndarray | None:
        """`fingerprints` of the images trained on, None where they are not recorded."""
        return self._numbers(self.images.trained)

    @cached_property
    def held_out(self) -> np.ndarray | None:
        """`fingerprints` of the validation images, None where they are not recorded."""
        return self._numbers(self.images.held_out)

    def _numbers(self, text: str | None) -> np.ndarray | None:
        """None also of the runs of a few days that numbered images by their names."""
        return _unpacked(text, self.path) if self.images.numbered_by == NUMBERED_BY else None


def _made(kind: type, content: dict[str, Any]) -> Any:
    """Of what a later version may have added nothing is read."""
    return kind(**{name.name: content[name.name] for name in fields(kind) if name.name in content})


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
