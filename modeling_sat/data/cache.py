"""Tables of checked images kept on disk, so that a second start neither lists nor decodes them again."""

import hashlib
import logging
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

import datasets
import pyarrow as pa

from .schema import Example


logger = logging.getLogger(__name__)

MIN_ROWS = 1000
"""Tables of fewer rows are rebuilt, which takes no longer than reading them."""

FORMAT = 2
"""Changes when the same files would give another table."""


def cached_table(
    request: str, state: str, build: Callable[[Path | None], tuple[datasets.Dataset, bool]]
) -> datasets.Dataset:
    """The table of an earlier run, or a new one that is kept for later runs.

    Tables lie in the cache folder of 🤗 Datasets (`HF_DATASETS_CACHE`), in `modeling_sat`; a new one replaces that of
    the same request. If nothing can be written, nothing is kept.

    Args:
        request: what was asked for.
        state: what it was read from; another state, another table.
        build: makes the table, into the file that it is given if there is one, and says whether it may be kept.
    """
    folder = Path(datasets.config.HF_DATASETS_CACHE) / "modeling_sat"
    stem = _digest(f"{FORMAT} {request}")
    file = folder / f"{stem}-{_digest(state)}.arrow"
    if file.is_file():
        try:
            return datasets.Dataset.from_file(str(file))
        except (OSError, pa.ArrowInvalid) as error:
            logger.warning("The table %s is damaged and is rebuilt: %s", file, error)
    unfinished = file.with_suffix(f".{uuid.uuid4().hex}.tmp")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished.touch()
    except OSError as error:
        logger.warning("The table of images could not be cached: %s", error)
        return build(None)[0]
    try:
        table, may_be_kept = build(unfinished)
        if may_be_kept:
            for outdated in folder.glob(f"{stem}-*.arrow"):
                outdated.unlink(missing_ok=True)
            unfinished.rename(file)
            return datasets.Dataset.from_file(str(file))
        return table
    finally:
        unfinished.unlink(missing_ok=True)


def state_of(examples: Iterable[Example], class_names: Iterable[str]) -> str:
    """A text that changes with any annotation, and with the size or time of an image's or mask's file."""
    digest = hashlib.sha256("\n".join(class_names).encode())
    for example in examples:
        stats = [_size_and_time(file) for file in (example.image, *getattr(example.mask, "files", ()))]
        digest.update(repr((example, stats)).encode())
    return digest.hexdigest()


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
