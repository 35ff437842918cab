"""Parts of the sentences that are said to people."""

import difflib
from collections.abc import Iterable, Sequence


MAX_LISTED = 10


def first_line(error: BaseException) -> str:
    """The first line of what an error says, without a full stop, or the kind of one that says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(". ")


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """A question that names the known word nearest to one that is not known; `otherwise` where none is near."""
    near = difflib.get_close_matches(str(word), list(known), n=1)
    return f"Did you mean {near[0]!r}?" if near else otherwise


def listed(sentences: Sequence[str]) -> str:
    """The first ten sentences, one a line, and how many more there are."""
    lines = [f"  - {sentence}" for sentence in sentences[:MAX_LISTED]]
    if len(sentences) > MAX_LISTED:
        lines.append(f"  … and {len(sentences) - MAX_LISTED} more")
    return "\n".join(lines)


def some(names: Iterable[str]) -> str:
    """The first ten names, in a line."""
    names = list(names)
    return ", ".join(names[:MAX_LISTED]) + ", …" * (len(names) > MAX_LISTED)


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """`1 image`, `1,200 images`."""
    return f"1 {singular}" if number == 1 else f"{number:,} {plural or singular + 's'}"
