"""A folder belongs to one run at a time."""

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from accelerate.utils import broadcast_object_list
from filelock import FileLock, Timeout

from ..processes import are_connected, is_first


LOCK_FILE = ".being-written-to"
"""Lies in the folder while a run is at work there; what counts is the system's lock on it, which ends with the process."""
_WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EIO)
"""What file systems that know no locks answer, some network shares among them."""


class FolderInUseError(ValueError):
    """Another run writes to the folder; the message says why."""


@contextmanager
def folder_of_one_run(folder: str | Path) -> Iterator[None]:
    """Makes the folder, if need be, and keeps other runs out of it until the block or the process ends, however it ends.

    All processes of one `accelerate launch` are one run, and all have to come here.

    Raises:
        FolderInUseError: in every process of the run that came second.
        OSError: the folder cannot be made.
    """
    folder = Path(folder)
    lock, problem = FileLock(folder / LOCK_FILE, mode=0o666), None
    if is_first():
        folder.mkdir(parents=True, exist_ok=True)
        problem = _take(lock, folder)
    if are_connected():
        (problem,) = broadcast_object_list([problem])
    if problem is not None:
        raise FolderInUseError(problem)
    try:
        yield
    finally:
        if lock.is_locked:
            with suppress(OSError):  # Windows removes no file that is open; filelock does it there when it is closed
                (folder / LOCK_FILE).unlink()
            lock.release()


def _take(lock: FileLock, folder: Path) -> str | None:
    """Takes the lock, or says why not."""
    try:
        lock.acquire(timeout=0)
    except (Timeout, RuntimeError):  # RuntimeError: this very thread holds it by another name
        return (
            f"Another run is writing to {folder}, and a folder belongs to one run at a time. Wait for its end, or choose "
            "another output folder."
        )
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            return (
                f"{folder / LOCK_FILE}, by which a run keeps others out of its folder, cannot be locked "
                f"({error.strerror or error}). Choose a folder that you may write to."
            )
        warnings.warn(
            f"The file system of {folder} does not support locks ({error.strerror}); make sure that no other run writes there.",
            stacklevel=4,
        )
    return None
