"""What is wrong with a dataset, said in a sentence."""


class DatasetError(ValueError):
    """Something is wrong with the data on disk or with the request for it; the message says what and what to do."""


class MissingSplitError(DatasetError):
    """The dataset has no such split; what can be done without one may go on."""


class UndecodableImageError(DatasetError, OSError):
    """An image that is met on the way cannot be decoded; the message names it."""

    def __init__(self, message: str):
        # A worker process sends its traceback along, which ends in the sentence.
        super().__init__(message.rpartition(f"{type(self).__name__}: ")[2].strip())

    def __str__(self) -> str:
        return str(self.args[0])
