"""The class of each image in a user's folder: from an annotation file, or else from the folder that it is in."""

import logging
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..sentences import listed, some
from .folder_layout import SplitImages
from .objects import is_of, letters_of
from .records import Annotation
from .schema import DatasetError


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Labels:
    """Attributes:
    classes: of each image that has one class.
    several: of each image that has objects of several, their names.
    """

    classes: dict[PurePosixPath, str] = field(default_factory=dict)
    several: dict[PurePosixPath, list[str]] = field(default_factory=dict)


def names_of(annotation: Annotation | None) -> list[str]:
    """The names of classes that an annotation has for its image: its label, or those of its objects."""
    if annotation is None:
        return []
    names = [name for name, _ in annotation.objects] if annotation.label is None else [annotation.label]
    return sorted({unicodedata.normalize("NFC", name).strip() for name in names if name} - {""})


def label_images(
    root: Path, splits: Mapping[str, SplitImages], annotations: Mapping[PurePosixPath, Annotation]
) -> Labels:
    """Gives each image its class.

    As on the Hub, a file wins over folders if it has a label for every image. Otherwise folders win over files, and a
    warning counts the images on which they disagree.

    Raises:
        DatasetError: folders are to name the classes, and it is not clear which are classes.
    """
    images = [item for split in splits.values() for item in split.images]
    names = {image: names_of(annotations.get(image)) for image, _ in images}
    in_folders = {image: folder for image, folder in images if folder is not None}
    spelling = {letters_of(folder): folder for folder in in_folders.values()}
    class_letters = set(spelling)

    def agree(image: PurePosixPath) -> bool:
        return image in in_folders and any(is_of(name, in_folders[image], class_letters) for name in names[image])

    other = [image for image in in_folders if names[image] and not agree(image)]

    labels = Labels()
    by_file = bool(other or not in_folders or _objections(splits)) and _files_name_classes(names, in_folders, agree)
    if by_file:
        if in_folders:
            logger.warning(
                "%s: the annotations have a label for every image, so the folders (%s) are not used as classes; they "
                "say otherwise for %d of %d images:\n%s",
                root, some(sorted(spelling.values())), len(other), len(images),
                listed([f"{image}: {', '.join(names[image])} in {annotations[image].source}" for image in other]),
            )  # fmt: skip
    else:
        for objection in _objections(splits):
            raise DatasetError(objection)
        if other:
            logger.warning(
                "%s: the annotations name other classes than the folder for %d of %d images. The folder's name is taken, "
                "because the annotations do not distinguish the classes of all images:\n%s",
                root, len(other), len(images),
                listed([f"{image}: {', '.join(names[image])} in {annotations[image].source}" for image in other]),
            )  # fmt: skip
    for image, folder in images:
        if folder is not None and (not by_file or agree(image)):
            labels.classes[image] = folder
        elif len(names[image]) == 1:
            labels.classes[image] = spelling.get(letters_of(names[image][0]), names[image][0])
        elif names[image]:
            labels.several[image] = names[image]
    return labels


def _objections(splits: Mapping[str, SplitImages]) -> list[str]:
    return [objection for split in splits.values() for objection in split.objections]


def _files_name_classes(
    names: Mapping[PurePosixPath, list[str]],
    in_folders: Mapping[PurePosixPath, str],
    agree: Callable[[PurePosixPath], bool],
) -> bool:
    """Whether annotations have a name for every image, one for most of them, and tell classes apart.

    They do not where all objects have one name (`object`) and folders several, nor where they number the folders.
    """
    if not all(names.values()):
        return False
    clear = {
        image: (in_folders.get(image), in_folders[image] if agree(image) else own[0])
        for image, own in names.items()
        if len(own) == 1 or agree(image)
    }
    pairs = set(clear.values())
    folders, classes = {folder for folder, _ in pairs}, {name for _, name in pairs}
    if len(clear) * 2 <= len(names) or len(set(map(letters_of, classes))) < min(2, len(folders)):
        return False
    are_numbers = all(name.isdecimal() for name in classes) and None not in folders
    return not (are_numbers and len(pairs) == len(folders) == len(classes))
