"""Which images of a training set become validation images."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence


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
    positions_by_label = defaultdict(list)
    for position, label in enumerate(labels):
        positions_by_label[label].append(position)

    chosen = []
    for positions in positions_by_label.values():
        ranked = sorted(positions, key=lambda position: _rank(image_ids[position], seed))
        chosen += ranked[: min(max(round(fraction * len(ranked)), 1), len(ranked) - 1)]
    stay = sorted(set(range(len(image_ids))).difference(chosen))
    return stay, sorted(chosen)


def _rank(image_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{image_id}".encode()).digest()
