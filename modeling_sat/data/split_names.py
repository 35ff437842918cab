"""Which folder and file names denote a split: the keywords and delimiters that the Hub documents."""

import re
from pathlib import PurePosixPath

from datasets.data_files import NON_WORDS_CHARS, SPLIT_KEYWORDS


_SPLITS = {keyword: str(split) for split, keywords in SPLIT_KEYWORDS.items() for keyword in keywords}
_KEYWORD = "|".join(_SPLITS)
_WITHIN = re.compile(rf"(?:^|(?<=[{NON_WORDS_CHARS}]))(?:{_KEYWORD})(?=[{NON_WORDS_CHARS}]|$)")
_WORDS = re.compile(rf"[^{NON_WORDS_CHARS}]+")
_OF_ANY_DATA = {"image", "images", "img", "imgs", "photos", "pictures", "data", "dataset", "set", "split", "samples"}


def splits_in(name: str) -> list[str]:
    """The splits whose keywords stand in a name, between delimiters or digits, in any case.

    Example:

    ```python
    >>> splits_in("Training"), splits_in("train_images2017"), splits_in("train_val"), splits_in("latest")
    (['train'], ['train'], ['train', 'validation'], [])

    ```
    """
    return list(dict.fromkeys(_SPLITS[keyword] for keyword in _WITHIN.findall(name.lower())))


def split_of(name: str) -> str | None:
    """The one split whose keyword stands in a name, else None."""
    splits = splits_in(name)
    return splits[0] if len(splits) == 1 else None


def is_split_alone(name: str) -> bool:
    """Whether a name is that of a split and nothing else: `train`, `00_Train`, `test images`, but not `toy train`."""
    words = set(_WORDS.findall(name.lower()))
    return bool(words & set(_SPLITS)) and words <= _OF_ANY_DATA | set(_SPLITS)


def without_numbers(name: str) -> str:
    """A name without digits and delimiters, the same for all parts of a split: `train_1` and `train_2`."""
    return "".join(_WORDS.findall(name.lower()))


def split_of_path(path: PurePosixPath) -> str | None:
    """The split that the first of a file's folders with a keyword names, else None."""
    return next((split for split in map(split_of, path.parent.parts) if split), None)
