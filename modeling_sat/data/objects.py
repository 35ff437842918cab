"""Which of an image's annotated objects are of its class."""

import logging
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from ..sentences import listed
from .records import Annotation
from .schema import Box


logger = logging.getLogger(__name__)

NAMES_OF_ANYTHING = frozenset(
    ("object", "objects", "obj", "item", "foreground", "target", "roi", "thing", "bbox", "box")
)
"""Names that tools or people give to objects whose class is known otherwise."""


def boxes_of_classes(
    labelled: Iterable[tuple[PurePosixPath, str]], annotations: Mapping[PurePosixPath, Annotation]
) -> dict[PurePosixPath, list[Box]]:
    """The boxes of each image's own class.

    Those are of the objects that have the class's name (see `same_name`) or none. A name that no class has and all
    objects of several classes do, or that is one for anything, or the one number that the objects of a class have, is
    taken for none, with a warning. Images none of whose objects is of their class are counted in a warning, and have no
    boxes.
    """
    labelled = list(labelled)
    annotated = [(image, label, annotations[image]) for image, label in labelled if image in annotations]
    class_names = {label for _, label in labelled}
    class_letters = set(map(letters_of, class_names))
    classes_of: dict[str, set[str]] = defaultdict(set)
    for _, label, annotation in annotated:
        for name, _ in annotation.objects:
            if name:
                classes_of[name].add(label)
    unknown = {name for name in classes_of if not any(same_name(name, label) for label in class_names)}
    one_name = len(classes_of) == 1 and len(next(iter(classes_of.values()))) > 1
    for_anything = {name for name in unknown if one_name or name.strip().lower() in NAMES_OF_ANYTHING}
    numbers = {name for name in unknown if name.isdecimal()}
    if all(sum(label in classes_of[name] for name in numbers) <= 1 for label in class_names):
        for_anything |= numbers

    boxes: dict[PurePosixPath, list[Box]] = {}
    nameless: Counter[str] = Counter()
    foreign: list[str] = []
    taken: dict[str, list[str]] = defaultdict(list)
    for image, label, annotation in annotated:
        boxes[image] = []
        for name, box in annotation.objects:
            if not name or is_of(name, label, class_letters) or name in for_anything:
                boxes[image].append(box)
                nameless[name] += name in for_anything
        if annotation.objects and not boxes[image]:
            names = sorted({name for name, _ in annotation.objects})
            foreign.append(f"{image}: class {label}; objects {', '.join(names)}")
        if boxes[image] and annotation.taken:
            taken[annotation.taken].append(str(image))
    for name in sorted(for_anything):
        logger.warning(
            "All %d objects that are annotated as %r were taken to be of the class of their image. If they are something "
            "else, remove them.",
            nameless[name], name,
        )  # fmt: skip
    if foreign:
        logger.warning(
            "%d of %d annotated images have no box, since none of their objects has the name of their class:\n%s\n"
            "If they belong to it, give them its name.",
            len(foreign), len(annotated), listed(foreign),
        )  # fmt: skip
    for sentence, images in taken.items():
        logger.warning("Of annotated images, %d in all: %s:\n%s", len(images), sentence, listed(images))
    return boxes


def same_name(first: str, second: str) -> bool:
    """Whether two names differ only in case, spaces, punctuation, a leading number, or a plural."""
    if letters_of(first) == letters_of(second):
        return True
    first, second = _without_number(first), _without_number(second)
    return first == second or any(
        longer == shorter + ending for longer, shorter in ((first, second), (second, first)) for ending in ("s", "es")
    )


def is_of(name: str, label: str, class_letters: set[str]) -> bool:
    """Whether an object's name is that of a class, and not that of another one more nearly.

    Args:
        class_letters: `letters_of` all classes.
    """
    if letters_of(name) in class_letters:
        return letters_of(name) == letters_of(label)
    return same_name(name, label)


def letters_of(name: str) -> str:
    """A name in lower case, without spaces and punctuation."""
    name = unicodedata.normalize("NFKC", name).strip().casefold()
    return "".join(character for character in name if character.isalnum()) or name


def _without_number(name: str) -> str:
    return letters_of(re.sub(r"^(n\d{8}|\d+)[\s._-]+(?=\D)", "", name.strip().casefold()))
