"""Chooses images and classes of a dataset: validation images, a few per class, a subset of the classes."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import datasets

from ..sentences import did_you_mean, listed
from .schema import DatasetError


def stratified_split(
    image_ids: Sequence[str], labels: Sequence[int], fraction: float, seed: int = 0
) -> tuple[list[int], list[int]]:
    """Chooses about `fraction` of the images of each class.

    An image's rank depends on `seed` and its id alone, so the choice is the same on every machine and in every order
    of the images. Of a class with two images or more at least one is chosen and at least one stays; of a class with
    one image none is chosen.

    Args:
        image_ids: unique names, one per image.
        labels: class indices, one per image.
        fraction: in (0, 1).
        seed: another seed, another choice.

    Returns:
        The positions of the images that stay and of those chosen, both ascending.
    """
    image_ids, chosen = list(image_ids), []
    for positions in _positions_by_label(labels).values():
        ranked = sorted(positions, key=lambda position: _rank(image_ids[position], seed))
        chosen += ranked[: min(max(round(fraction * len(ranked)), 1), len(ranked) - 1)]
    stay = sorted(set(range(len(image_ids))).difference(chosen))
    return stay, sorted(chosen)


def few_per_class(table: datasets.Dataset, k: int, seed: int = 0) -> datasets.Dataset:
    """Keeps `k` images of each class, in the order of the table.

    An image's rank depends on `seed` and its id alone, so the choice is the same on every machine and in every order
    of the images, and that of a smaller `k` is a part of that of a larger one.

    Raises:
        DatasetError: `k` is less than 1, or a class has fewer images.
    """
    if k < 1 or k != int(k):
        raise DatasetError(f"images_per_class is {k}; a whole number of at least 1 was expected.")
    names, ids = table.features["label"].names, table["image_id"][:]
    positions_by_label = _positions_by_label(labels_of(table))
    counts = {name: len(positions_by_label[label]) for label, name in enumerate(names)}
    few = [f"{name}: {count}" for name, count in counts.items() if count < k]
    if few:
        raise DatasetError(
            f"images_per_class is {k}, but there are fewer training images of some classes:\n{listed(few)}\nLower it."
        )
    ranked = (sorted(positions, key=lambda i: _rank(ids[i], seed)) for positions in positions_by_label.values())
    return table.select(sorted(position for positions in ranked for position in positions[:k]))


def with_classes(table: datasets.Dataset, classes: Sequence[str], name: str) -> datasets.Dataset:
    """Keeps the images of some classes and renumbers their labels, in the same order.

    Raises:
        DatasetError: the dataset called `name` has no class of a name that is asked for.
    """
    names = table.features["label"].names
    if not classes:
        raise DatasetError("classes is empty; leave it out to keep all, or name some.")
    for wanted in classes:
        if wanted not in names:
            hint = did_you_mean(wanted, names, f"It has:\n{listed(names)}")
            raise DatasetError(f"{name} has no class {wanted!r}. {hint}")
    kept = [known for known in names if known in set(classes)]
    new_label = {names.index(known): label for label, known in enumerate(kept)}
    labels = labels_of(table)
    columns = table.column_names
    table = table.select([position for position, label in enumerate(labels) if label in new_label])
    labels = [new_label[label] for label in labels if label in new_label]
    table = table.remove_columns("label").add_column("label", labels, feature=datasets.ClassLabel(names=kept))
    return table.select_columns(columns)


def labels_of(table: datasets.Dataset) -> list[int]:
    return table["label"][:]


def _positions_by_label(labels: Sequence[int]) -> dict[int, list[int]]:
    positions_by_label = defaultdict(list)
    for position, label in enumerate(labels):
        positions_by_label[label].append(position)
    return positions_by_label


def _rank(image_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{image_id}".encode()).digest()
