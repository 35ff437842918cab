"""Which split and class folder each image of a user's folder is in."""

import logging
import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ..sentences import some
from .folder_tree import ANNOTATION_FOLDERS, IMAGE_FOLDERS, TOP, FolderTree
from .paths import contents, passed_over, shown
from .schema import DatasetError
from .split_names import is_split_alone, split_of, splits_in, without_numbers


logger = logging.getLogger(__name__)

LAYOUTS = """Expected was one of
  - train/<class>/*.jpg and, if there are any, validation/<class>/*.jpg and test/<class>/*.jpg
  - <class>/*.jpg, all of which are training images
  - train/*.jpg and test/*.jpg, or *.jpg alone, with labels from metadata.jsonl, metadata.csv, Pascal VOC XML or COCO JSON"""

SPLITS = ("train", "validation", "test")


@dataclass
class SplitImages:
    """The images of one split.

    Attributes:
        folders: that hold them, for messages.
        images: each with the name of its class folder, or None where it is in none.
        objections: what speaks against those names, as sentences; they do not matter where annotations name the classes.
    """

    folders: list[PurePosixPath] = field(default_factory=list)
    images: list[tuple[PurePosixPath, str | None]] = field(default_factory=list)
    objections: list[str] = field(default_factory=list)


def find_splits(tree: FolderTree, root: Path, names: Mapping[PurePosixPath, list[str]]) -> dict[str, SplitImages]:
    """Distinguishes splits from classes by folder names, and where a name can be either, by what the folder holds.

    Args:
        names: of classes, that annotations have for images.

    Raises:
        DatasetError: a folder's name is of two splits, two folders are of one, or one has no images.
    """
    base = _base(tree)
    folders = _split_folders(tree, base, root, names)
    of_split = {path for paths in folders.values() for path in paths}
    if "train" not in folders and _rest_is_train(tree, base, of_split):
        folders["train"] = [base]
    result = {}
    for split in SPLITS:
        if split in folders:
            result[split] = SplitImages(folders[split])
            for folder in folders[split]:
                leave_out = of_split - {base} if folder == base else set()
                _add_images(result[split], tree, folder, root, leave_out, split)
    return (
        _by_file_names(result, root)
        if folders.get("train") == [base] and len(result) == 1 and split_of(base.name) is None
        else result
    )


def _by_file_names(splits: dict[str, SplitImages], root: Path) -> dict[str, SplitImages]:
    """Splits that no folder has the name of, but every file (`test_001.jpg`), as on the Hub."""
    images = splits["train"].images
    named = {image: split_of(image.stem) for image, _ in images}
    found = [split for split in SPLITS if split in named.values()]
    if len(found) < 2:
        return splits
    if None in named.values():
        logger.warning(
            "%s: %d of %d images have names of a split (%s), but the others do not, so all are read as training images. Put them "
            "into folders train, validation and test if they are splits.",
            root, sum(split is not None for split in named.values()), len(images), ", ".join(found),
        )  # fmt: skip
        return splits
    return {
        split: SplitImages(
            splits["train"].folders, [item for item in images if named[item[0]] == split], splits["train"].objections
        )
        for split in found
    }


def class_name(folder_name: str) -> str:
    """The name in composed letters: macOS writes an é as two characters."""
    return unicodedata.normalize("NFC", folder_name)


def folders_not_read(tree: FolderTree, splits: Mapping[str, SplitImages], root: Path) -> list[str]:
    """Each folder that no image, mask or annotation is read from, and whose siblings are; and images beside folders of
    splits. As sentences, with numbers."""
    read = {image for split in splits.values() for image, _ in split.images}
    useful = {
        parent for file in (*read, *tree.unnamed, *tree.mask_files, *tree.annotation_files) for parent in file.parents
    }
    left = [image for image in tree.images if image not in read]
    sentences = [
        f"{shown(folder)}/ ({_images(sum(image.is_relative_to(folder) for image in left))})"
        for folder in tree.folders
        if folder not in useful and folder.parent in useful | {TOP} and not _is_class_folder(folder, splits)
    ]
    loose = defaultdict(list)
    for image in left:
        if image.parent in useful | {TOP}:
            loose[image.parent].append(image)
    sentences += [f"{_images(len(images))} beside folders ({images[0]}, …)" for images in loose.values()]
    return sentences


def _is_class_folder(folder: PurePosixPath, splits: Mapping[str, SplitImages]) -> bool:
    return any(folder.parent in split.folders for split in splits.values() if split.images and split.objections)


def _images(count: int) -> str:
    return f"{count or 'no'} image{'s' * (count != 1)}"


def _base(tree: FolderTree) -> PurePosixPath:
    """The folder that the folders of splits are in, at the top or below folders that hold nothing else."""
    folder = TOP
    while not any(splits_in(path.name) for path in tree.subfolders(folder)):
        populated = tree.populated(folder)
        images = tree.image_folder(folder)
        if images != folder:
            folder = images
        elif len(populated) == 1 and not tree.loose(folder):
            folder = populated[0]
        else:
            return TOP
    return folder


def _split_folders(
    tree: FolderTree, base: PurePosixPath, root: Path, names: Mapping[PurePosixPath, list[str]]
) -> dict[str, list[PurePosixPath]]:
    populated = tree.populated(base)
    named = [path for path in tree.subfolders(base) if splits_in(path.name)]
    for path in named:
        if path not in populated and is_split_alone(path.name) and not _holds_more(tree, path):
            raise DatasetError(f"{root / path} holds no images, but {contents(root / path)}.\n{LAYOUTS}.")
    named = [path for path in named if path in populated]
    classes = [path for path in named if _is_class_like(tree, path, names)]
    if len(classes) == len(named):
        classes = _classes_among(named, has_others=len(populated) > len(named))
        if classes:
            logger.warning(
                "%s: read as classes, not as splits: %s, because the images there have neither class folders nor "
                "labels of their own. Put all classes into a folder train if that is right.",
                root, some(path.name for path in classes),
            )  # fmt: skip
        named = [path for path in named if path not in classes]

    found: dict[str, list[PurePosixPath]] = {}
    for path in named:
        splits = splits_in(path.name)
        if len(splits) > 1:
            raise DatasetError(
                f"{root / path} names {len(splits)} splits, {' and '.join(splits)}; one was expected. Rename it to "
                f"{splits[0]}, or to what it is."
            )
        same = found.setdefault(splits[0], [])
        if same and without_numbers(same[0].name) != without_numbers(path.name):
            raise DatasetError(
                f"{root} holds two folders of the {splits[0]} split, {same[0]} and {path}; one was expected. "
                "Merge them or rename one."
            )
        same.append(path)
    return found or {"train": [base]}


def _holds_more(tree: FolderTree, folder: PurePosixPath) -> bool:
    return any(file.is_relative_to(folder) for file in (*tree.annotation_files, *tree.mask_files))


def _is_class_like(tree: FolderTree, folder: PurePosixPath, names: Mapping[PurePosixPath, list[str]]) -> bool:
    """Whether a folder holds images alone, which annotations call nothing but what the folder is called."""
    images = tree.image_folder(folder)
    if tree.populated(images):
        return False
    called = {name.casefold() for image in tree.loose(images) for name in names.get(image, ())}
    return called <= {class_name(folder.name).casefold()}


def _classes_among(named: list[PurePosixPath], has_others: bool) -> list[PurePosixPath]:
    """Of folders that hold images alone and have names of splits, those that are classes.

    Beside folders of other names, `train` is one, and so is `test tube`; `test` holds images without labels.
    """
    alone = [path for path in named if is_split_alone(path.name)]
    if not has_others:
        is_one_split = len({split_of(path.name) for path in named}) == 1
        return named if len(named) > 1 and is_one_split and not alone else []
    if len({split_of(path.name) for path in alone}) > 1:
        return []
    return [path for path in named if path not in alone or split_of(path.name) == "train"]


def _rest_is_train(tree: FolderTree, base: PurePosixPath, of_split: set[PurePosixPath]) -> bool:
    """Whether class folders beside a test folder hold the training images: as its classes do, or it has none."""
    rest = [path for path in tree.populated(base) if path not in of_split]
    inner = {
        class_name(path.name).casefold() for folder in of_split for path in tree.populated(tree.image_folder(folder))
    }
    if not inner and any(tree.populated(path) for path in rest):
        return False
    return len(rest) > 1 and inner <= {class_name(path.name).casefold() for path in rest}


def _add_images(
    result: SplitImages, tree: FolderTree, split_folder: PurePosixPath, root: Path, leave_out: set, split: str
) -> None:
    """Adds the images below a folder of a split, with the names of their class folders, where they are in any."""
    folder = _inmost(tree, split_folder, split)
    depth = len(folder.parts)
    below = [image for image in tree.below(folder) if not leave_out.intersection(image.parents)]
    if not below:
        raise DatasetError(f"{root / folder} holds no images, but {contents(root / folder)}.\n{LAYOUTS}.")
    classes = [path for path in tree.populated(folder) if path not in leave_out]
    loose = tree.loose(folder)
    result.images += [(image, class_name(image.parts[depth]) if image.parent != folder else None) for image in below]
    where = root / folder
    if loose and classes:
        result.objections.append(
            f"{where} holds both loose images ({loose[0].name}, …) and folders of images "
            f"({some(path.name for path in classes)}); move the loose ones into class folders, or the others out."
        )
    if loose:
        return
    result.objections += _objections_to_classes(tree, classes, where, root, split_folder)
    empty = [
        path
        for path in tree.subfolders(folder)
        if path not in classes
        and path not in leave_out
        and path.name.lower() not in ANNOTATION_FOLDERS
        and not _holds_more(tree, path)
        and not any(file.is_relative_to(path) for file in tree.unnamed)
    ]
    if empty:
        unread = [file for file in tree.others if any(file.is_relative_to(path) for path in empty)]
        known = f" They hold {passed_over(unread)}, which cannot be read as images." if unread else ""
        result.objections.append(
            f"{root} has class folders without images: {some(map(str, empty))} ({len(empty)} in all).{known} "
            "Add images or remove the folders."
        )


def _inmost(tree: FolderTree, folder: PurePosixPath, split: str) -> PurePosixPath:
    """Below folders of images and doubled ones: `train/images`, `train/train`, `training_set/training_set`."""
    while True:
        inner = tree.image_folder(folder)
        populated = tree.populated(inner)
        if inner == folder and len(populated) == 1 and not tree.loose(folder) and folder != TOP:
            name = populated[0].name
            if split_of(name) == split or name.lower() == folder.name.lower():
                inner = populated[0]
        if inner == folder:
            return folder
        folder = inner


def _objections_to_classes(
    tree: FolderTree, classes: list[PurePosixPath], where: Path, root: Path, split_folder: PurePosixPath
) -> list[str]:
    inner = {path: [sub for sub in tree.populated(path) if sub.name.lower() not in IMAGE_FOLDERS] for path in classes}
    holders = defaultdict(list)
    for path, subfolders in inner.items():
        for sub in subfolders:
            holders[class_name(sub.name).casefold()].append(path)
    shared = {name: paths for name, paths in holders.items() if len(paths) > 1}
    within = [name for name in holders if is_split_alone(name)]
    if within and (shared or len(within) > 1):
        first, name = holders[within[0]][0], within[0]
        return [
            f"{where} holds folders ({some(path.name for path in classes)}) that hold folders of splits "
            f"({some(within)}). If they are classes, swap the levels, {name}/{first.name} instead of "
            f"{first.name}/{name}; if they are datasets, pass one of them, such as data_dir={where / first.name}."
        ]
    if shared:
        return [
            f"{where} holds folders ({some(path.name for path in classes)}) that hold folders of the same names "
            f"({some(shared)}), so either may be the classes. Use one folder for each class, as in "
            f"train/{next(iter(shared))}; folders of splits are called train, validation and test."
        ]
    if len(classes) == 1 and len(next(iter(inner.values()))) > 1 and not tree.loose(classes[0]):
        found = some(path.name for path in inner[classes[0]])
        if split_folder == TOP:
            return [
                f"{where} holds the single folder {classes[0].name}, which holds the folders {found}. If they are the "
                f"classes, pass data_dir={root / classes[0]}."
            ]
        return [
            f"{where} holds the single folder {classes[0].name}, which holds the folders {found}. If they are the classes, "
            f"move them up, into {where}."
        ]
    if len(classes) == 1:
        deeper = classes[0]
        while len(tree.populated(deeper)) == 1 and not tree.loose(deeper):
            deeper = tree.populated(deeper)[0]
        if deeper != classes[0] and len(tree.populated(deeper)) > 1 and not tree.loose(deeper):
            return [
                f"{where} holds the single folder {classes[0].name}. If the folders in {root / deeper} "
                f"({some(path.name for path in tree.populated(deeper))}) are the classes, pass data_dir={root / deeper}."
            ]
    return []
