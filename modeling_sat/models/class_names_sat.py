"""Which row of a pretrained classifier is which class: found by names, never by position alone."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path


_SYNSETS = "imagenet_synsets.txt"
_WNID = re.compile(r"[(\[]?(?<![A-Za-z0-9])(n\d{8})(?![A-Za-z0-9])[)\]]?", re.IGNORECASE)


@dataclass
class ClassRows:
    """Where the classes of a new classifier find their weights in an old one.

    Args:
        names: the wanted classes, in their order.
        rows: for each of them its row in the old classifier, or None where there is none.
        ambiguous: those without a row because their name stands for several.
        by_position: the old classes have no names, and were assumed to be ImageNet-1k's in their order.
        source: how the checkpoint is called.
        source_names: of the old classes, by row.
    """

    names: Sequence[str]
    rows: list[int | None]
    ambiguous: list[str] = field(default_factory=list)
    by_position: bool = False
    source: str = ""
    source_names: Sequence[str] = ()

    @property
    def new(self) -> list[str]:
        return [name for name, row in zip(self.names, self.rows) if row is None]

    def __str__(self) -> str:
        kept, total = len(self.rows) - len(self.new), len(self.rows)
        if not kept:
            has = (
                f"has no names for its {len(self.source_names)} classes"
                if has_no_names(self.source_names)
                else f"knows {_listed(self.source_names)}"
            )
            said = (
                f"The classifier of {self.source} is left out, and a new one of {total} classes stands in its place: "
                f"the classes wanted are {_listed(self.names)}, and the checkpoint {has}."
            )
        elif self.new:
            said = (
                f"{kept} of the {total} classes keep their weights in the classifier of {self.source}, matched by name; "
                f"new are {len(self.new)}: {_listed(self.new)}."
            )
        else:
            said = f"All {total} classes keep their weights in the classifier of {self.source}, matched by name."
        if self.ambiguous:
            said += f" Not guessed, since the name stands for several classes or is there twice: {_listed(self.ambiguous)}."
        if kept and self.by_position:
            said += " It has no names for its classes; its 1000 rows are assumed to be ImageNet-1k's in their order."
        return said


def class_names(id2label: Mapping[int | str, str] | None) -> list[str]:
    """The names of the classes by row; "LABEL_3", as transformers says it, where one has none."""
    id2label = {int(index): str(name) for index, name in (id2label or {}).items()}
    return [id2label.get(index, f"LABEL_{index}") for index in range(len(id2label))]


def has_no_names(names: Sequence[str]) -> bool:
    """Whether these are only numbers: LABEL_0, LABEL_1, … or 0, 1, …"""
    return all(name in (f"LABEL_{index}", str(index)) for index, name in enumerate(names))


def match_classes(wanted: Sequence[str], there: Sequence[str], source: str = "the checkpoint") -> ClassRows:
    """Finds each wanted class among those that a classifier has.

    A class is found by its WordNet id, by its name in any case, with spaces, underscores or hyphens, or, where the
    name is one of ImageNet's, by any of its synonyms: "goldfish" is "goldfish, Carassius auratus" and n01443537. A
    name that several classes have is not guessed, unless the others are wanted under names of their own. A thousand
    classes without names are ImageNet-1k's, whose order is that of the WordNet ids.

    Args:
        wanted: names of classes.
        there: names of the classes of the classifier, by row.
        source: how to call the checkpoint in what is said.
    """
    synsets = imagenet_synsets()
    ids, by_position = list(synsets), False
    row_ids: list[str | None] = [None] * len(there)
    rows = [_Name(name) for name in there]
    if len(there) == len(ids):
        alike = sum(bool(row.parts & _Name(synsets[wnid]).parts) for row, wnid in zip(rows, ids))
        by_position = has_no_names(there)
        if by_position or alike > len(ids) / 2:
            row_ids = ids
    if by_position:
        rows = [_Name(synsets[wnid]) for wnid in ids]
    elif has_no_names(there):
        rows = []  # numbers say nothing
    rows = [row.identified(wnid) for row, wnid in zip(rows, row_ids)]
    names = [_Name(name).identified() for name in wanted]

    candidates = [_candidates(name, rows) for name in names]
    chosen = _settle(names, rows, candidates)
    ambiguous = [name for name, found, row in zip(wanted, candidates, chosen) if found and row is None]
    return ClassRows(list(wanted), chosen, ambiguous, by_position, source, list(there))


@cache
def imagenet_synsets() -> dict[str, str]:
    """WordNet id -> words, of ImageNet-1k in its order; nothing where this file came with a checkpoint, alone."""
    path = Path(__file__).with_name(_SYNSETS)
    if not path.is_file():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines)


class _Name:
    """A class as it is called: `whole`, the `parts` between its commas, its `wnid`, and `synonyms` from ImageNet."""

    def __init__(self, text: str):
        found = _WNID.search(text)
        self.wnid = found[1].lower() if found else None
        self.whole = _plain(_WNID.sub(" ", text))
        self.parts = {_plain(part) for part in _WNID.sub(" ", text).split(",")} - {""}
        self.synonyms: set[str] = set()

    def identified(self, wnid: str | None = None) -> "_Name":
        """Itself, with what ImageNet knows of it; a comma separates synonyms in ImageNet's names alone."""
        self.wnid = self.wnid or wnid
        if self.wnid in imagenet_synsets() and not self.whole:
            named = _Name(imagenet_synsets()[self.wnid])
            self.whole, self.parts = named.whole, named.parts
        meant = {self.wnid} if self.wnid else _synsets_called().get(self.whole, set())
        words = imagenet_synsets().get(next(iter(meant))) if len(meant) == 1 else None
        if words is not None and "," in self.whole:  # all words of a synset are as good as its id
            self.wnid = next(iter(meant))
        if words is None:
            self.parts = {self.whole} - {""}
        else:
            self.synonyms = self.parts | _Name(words).parts
        return self


@cache
def _synsets_called() -> dict[str, set[str]]:
    """A name, or all words of a synset together -> the WordNet ids that it may stand for."""
    called = defaultdict(set)
    for wnid, words in imagenet_synsets().items():
        name = _Name(words)
        for part in name.parts | {name.whole}:
            called[part].add(wnid)
    return called


def _plain(text: str) -> str:
    composed = unicodedata.normalize("NFC", text)  # macOS takes letters and their accents apart
    return " ".join(re.sub(r"[\s_.'’-]+", " ", composed).casefold().split())


def _candidates(name: _Name, rows: Sequence[_Name]) -> set[int]:
    """The rows that may be meant: by WordNet id, else by what they are called themselves, else by synonyms."""
    possible = {index: row for index, row in enumerate(rows) if not (name.wnid and row.wnid)}
    if name.wnid:
        exact = {index for index, row in enumerate(rows) if row.wnid == name.wnid}
        exact = exact or {index for index, row in possible.items() if name.whole and row.whole == name.whole}
        if exact:
            return exact
    for ours, theirs in (("parts", "parts"), ("synonyms", "synonyms")):
        shared = {i: len(getattr(name, ours) & getattr(row, theirs)) for i, row in possible.items()}
        most = max(shared.values(), default=0)
        if most:
            return {index for index, count in shared.items() if count == most}
    return set()


def _settle(names: Sequence[_Name], rows: Sequence[_Name], candidates: Iterable[set[int]]) -> list[int | None]:
    """One row for each name, none for two; of several candidates that which no other name has a claim to."""
    remaining = [set(found) for found in candidates]
    while True:
        claims = defaultdict(list)
        for index, found in enumerate(remaining):
            whole = {row for row in found if rows[row].whole == names[index].whole}
            for row in whole if len(whole) == 1 else found if len(found) == 1 else ():
                claims[row].append(index)
        reduced = [
            found - {row for row in found if len(found) > 1 and claims.get(row, [index]) != [index]}
            for index, found in enumerate(remaining)
        ]
        if reduced == remaining:
            break
        remaining = reduced
    taken = [next(iter(found)) if len(found) == 1 else None for found in remaining]
    return [row if row is not None and taken.count(row) == 1 else None for row in taken]


def _listed(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


__all__ = ["ClassRows", "class_names", "has_no_names", "imagenet_synsets", "match_classes"]
