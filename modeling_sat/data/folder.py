"""`folder`: a user's folder of labelled images, with or without boxes."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ..sentences import listed, some
from .folder_labels import Labels, label_images, names_of
from .folder_layout import LAYOUTS, SplitImages, find_splits, folders_not_read
from .folder_matching import FolderAnnotations, match_annotations
from .folder_tree import FolderTree
from .masks import FolderMask
from .objects import boxes_of_classes, letters_of
from .paths import benchmark_root, contents, passed_over, shown
from .schema import Benchmark, DatasetError, Example, Split
from .split_names import split_of_path


logger = logging.getLogger(__name__)


def read_folder(data_dir: str | Path | None) -> Benchmark:
    """Reads a folder in one of these layouts:

    - `train/<class>/…`, and `validation/<class>/…` and `test/<class>/…` where they exist, by any name that the Hub
      knows for them (`split_names.py`: `Training`, `dev`, `train2017`, `01-test`), also doubled, below folders that hold
      nothing else, or in the names of all files;
    - `<class>/…`: all are training images, but for those of a folder `test` or `validation` beside them;
    - `train/*.jpg`, …, or `*.jpg` alone, whose labels come from annotations. The images may also be in a subfolder
      `images` or `JPEGImages`.

    Annotations (`annotations.py`) may be `metadata.jsonl` or `metadata.csv` of Hugging Face, a COCO JSON, or a file for
    each image, of its name, beside it or in a parallel folder: Pascal VOC XML, LabelMe JSON, YOLO text. File names in
    them are found as `folder_matching.py` says. Masks beside images are read as such (`mask_folders.py`).

    The label is that of the annotations where they have one for every image, be it the one name that all its objects
    have, else the class folder's name (`folder_labels.py`). Images of objects of several names are left out with a
    warning. Labels are in alphabetical order.

    What is not read, be it a file, a folder or a split without labels, is named in a warning.

    Raises:
        DatasetError: another layout, an empty class folder, unreadable annotations, or a class that train lacks.
    """
    root = benchmark_root("folder", data_dir)
    tree = FolderTree.walk(root)
    if not tree.images:
        unread = f" It holds {passed_over(tree.others)}, none of which can be read as an image." if tree.others else ""
        names = f" {len(tree.unnamed)} have names that are not UTF-8." if tree.unnamed else ""
        raise DatasetError(f"{root} holds no images, but {contents(root)}.{unread}{names}\n{LAYOUTS}.")
    annotations = match_annotations(root, tree)
    of_image = annotations.by_image
    splits = find_splits(tree, root, {image: names_of(annotation) for image, annotation in of_image.items()})
    _warn_of_what_is_not_read(root, tree, splits, annotations)

    labels = label_images(root, splits, of_image)
    if labels.several:
        logger.warning(
            "Left out %d of %d images, which show objects of several classes, because an image needs one label:\n%s",
            len(labels.several),
            len(labels.several) + len(labels.classes),
            listed([f"{image}: {', '.join(names)}" for image, names in labels.several.items()]),
        )
    unusable = {
        split: _why_unlabelled(root, split, found, annotations, labels, tree)
        for split, found in splits.items()
        if not any(image in labels.classes or image in labels.several for image, _ in found.images)
    }
    labelled = {
        split: [(image, labels.classes[image]) for image, _ in found.images if image in labels.classes]
        for split, found in splits.items()
        if split not in unusable
    }
    unusable |= _without_known_classes(root, labelled)
    usable = {split: images for split, images in labelled.items() if split not in unusable}
    if not usable:
        raise DatasetError(f"{next(iter(unusable.values()))}\n{LAYOUTS}.")
    for split, sentence in unusable.items():
        logger.warning("The %s split is not read. %s", split, sentence)
    if "train" not in splits:
        unusable["train"] = _why_no_train(tree, splits)
    class_names = _class_names(usable)
    _warn_of_names_alike(root, class_names)
    numbers = {name: label for label, name in enumerate(class_names)}
    problems = _problems(tree, splits, annotations, labels, list(usable))

    boxes = boxes_of_classes([pair for images in usable.values() for pair in images], of_image)

    def read(split: str) -> Split:
        examples = [
            Example(
                image=root / image,
                image_id=image.as_posix(),
                label=numbers[name],
                boxes=boxes.get(image, ()),
                mask=_mask_of(root, tree, image, name),
                annotated_size=of_image[image].annotated_size if image in of_image else None,
            )
            for image, name in usable[split]
        ]
        return Split(examples, problems[split])

    return Benchmark(
        class_names, {split: lambda split=split: read(split) for split in usable}, unusable=unusable, upright=True
    )


def _warn_of_what_is_not_read(
    root: Path, tree: FolderTree, splits: Mapping[str, SplitImages], annotations: FolderAnnotations
) -> None:
    files = [*tree.others, *annotations.not_read]
    if files:
        logger.warning("%s holds files that are not read, %s", root, passed_over(files))
    if tree.masks_of_none:
        logger.warning(
            "%s holds masks that belong to no image or to several, %s", root, passed_over(tree.masks_of_none)
        )
    folders = folders_not_read(tree, splits, root)
    if folders:
        logger.warning(
            "%s holds folders and images that are not read, because they are not in the folder of a split or class:\n%s",
            root, listed(folders),
        )  # fmt: skip


def _why_unlabelled(
    root: Path, split: str, found: SplitImages, annotations: FolderAnnotations, labels: Labels, tree: FolderTree
) -> str:
    """Why none of a split's images has a label: the most likely reason."""
    absent = [sentence for of_split, sentence in annotations.absent if of_split in (split, None)]
    silent = [image for image, _ in found.images if image in annotations.by_image]
    where = root / found.folders[0]
    if absent:
        reason = f"{len(absent)} annotation records name none of its images:\n{listed(absent)}"
    elif silent:
        reason = f"{annotations.by_image[silent[0]].source} and {len(silent) - 1} others name them but give no label."
    elif annotations.not_read:
        reason = f"the folder holds {passed_over(annotations.not_read)}, but not in a format that is read."
    else:
        reason = "they are not in class folders and no annotation names them."
    return f"{where} holds {len(found.images)} loose images, but no annotation gives any of them a label: {reason}"


def _without_known_classes(root: Path, labelled: Mapping[str, list[tuple[PurePosixPath, str]]]) -> dict[str, str]:
    """Why splits that share no class with train are not read, such as a contest's images without labels."""
    known = {name for _, name in labelled.get("train", ())}
    if not known:
        return {}
    spelling = {name.casefold(): name for name in known}
    sentences = {}
    for split, images in labelled.items():
        images[:] = [(image, name if name in known else spelling.get(name.casefold(), name)) for image, name in images]
        names = {name for _, name in images}
        if images and not names & known:
            sentences[split] = (
                f"Its {len(images)} images in {root} are called {some(sorted(names))}, but train has no such class, only "
                f"{some(sorted(known))}."
            )
    return sentences


def _why_no_train(tree: FolderTree, splits: Mapping[str, SplitImages]) -> str:
    """Names the folders that were found instead of one with training images."""
    of_split = [folder for found in splits.values() for folder in found.folders]
    others = [str(path) for path in tree.populated(of_split[0].parent) if path not in of_split]
    hint = f"; rename the folder {some(sorted(others))} to train if it holds the training images" if others else ""
    return f"there is no folder of training images beside {some(sorted(map(str, of_split)))}{hint}."


def _problems(
    tree: FolderTree,
    splits: Mapping[str, SplitImages],
    annotations: FolderAnnotations,
    labels: Labels,
    usable: list[str],
) -> dict[str, list[str]]:
    """For each split, a sentence about every image that is missing."""
    problems: dict[str, list[str]] = {split: [] for split in usable}
    for split, sentence in annotations.absent:
        if split not in splits or split in usable:
            problems[split if split in problems else usable[0]].append(sentence)
    for image in tree.unnamed:
        sentence = (
            f"{shown(image)}: its name is not UTF-8; rename it, for example with convmv -f latin1 -t utf8 -r --notest"
        )
        problems[split if (split := split_of_path(image)) in problems else usable[0]].append(sentence)
    for split in usable:
        problems[split] += [
            f"{image}: it has no label; it is not in a class folder and "
            + (
                f"{annotations.by_image[image].source} names no class for it"
                if image in annotations.by_image
                else "no annotation names it"
            )
            for image, _ in splits[split].images
            if image not in labels.classes and image not in labels.several
        ]
    return problems


def _mask_of(root: Path, tree: FolderTree, image: PurePosixPath, class_name: str) -> FolderMask | None:
    if image not in tree.masks:
        return None
    kind, files = tree.masks[image]
    return FolderMask(tuple(root / file for file in files), kind, class_name)


def _class_names(labelled: Mapping[str, list[tuple[PurePosixPath, str]]]) -> list[str]:
    names = {split: {name for _, name in images} for split, images in labelled.items()}
    if not names.get("train"):
        return sorted(set().union(*names.values()))
    for split, present in names.items():
        unknown = sorted(present - names["train"])
        if unknown:
            raise DatasetError(
                f"The {split} split has classes that train lacks: {some(unknown)}; train has "
                f"{some(sorted(names['train']))}. Add training images of them, remove them, or correct "
                "their names."
            )
    return sorted(names["train"])


def _warn_of_names_alike(root: Path, class_names: list[str]) -> None:
    alike = defaultdict(list)
    for name in class_names:
        alike[letters_of(name)].append(name)
    doubled = [" and ".join(map(repr, names)) for names in alike.values() if len(names) > 1]
    if doubled:
        logger.warning(
            "%s: read as different classes, although their names differ only in case, spaces or punctuation:\n%s\n"
            "Give them one name if they are one.",
            root, listed(doubled),
        )  # fmt: skip
