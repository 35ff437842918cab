"""What is wrong with a dataset, said in a sentence, and whether reading goes on where an image is."""

from typing import Literal


OnBadImage = Literal["raise", "skip"]


class DatasetError(ValueError):
    """The data on disk, or the request for them, is wrong; the message says what is wrong and what to do."""


class MissingSplitError(DatasetError):
    """The dataset has no such split; what can be done without one may go on."""


class UndecodableImageError(DatasetError, OSError):
    """An image cannot be decoded while rows are read; the message names it."""

    def __init__(self, message: str):
        # A worker process sends its traceback along, which ends in the sentence.
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())

    def __str__(self) -> str:
        return str(self.args[0])
