"""`folder`: a practitioner's folder of labelled images, with boxes or without."""

import logging
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from posixpath import normpath

from .annotations import METADATA_FILES, Annotation, read_annotations
from .checks import MAX_LISTED, listed
from .examples import Benchmark, DatasetError, Example, Split
from .objects import boxes_of_classes
from .paths import IMAGE_SUFFIXES, benchmark_root, contents
from .yolo import is_yolo_file


logger = logging.getLogger(__name__)

SPLIT_FOLDERS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
IMAGE_FOLDERS = ("images", "jpegimages")
ANNOTATION_FOLDERS = ("annotations", "annotation", "labels")
TEXT_SUFFIXES = frozenset(["", ".txt", ".md", ".csv", ".jsonl", ".yaml", ".yml", ".html", ".pdf"])

LAYOUTS = """Expected was one of
  - train/<class>/*.jpg and, if there are any, validation/<class>/*.jpg and test/<class>/*.jpg
  - <class>/*.jpg, all of which are training images
  - train/*.jpg and test/*.jpg, or *.jpg alone, with labels from metadata.jsonl, metadata.csv, Pascal VOC XML or COCO JSON"""


def read_folder(data_dir: str | Path | None) -> Benchmark:
    """Reads a folder in one of these layouts:

    - `train/<class>/…`, and `validation/<class>/…` (or `val`, `valid`) and `test/<class>/…` where they exist;
    - `<class>/…`: all are training images;
    - `train/*.jpg`, …, or `*.jpg` alone, whose labels come from annotations. The images may also be in a subfolder
      `images` or `JPEGImages`.

    Annotations may be one of each image, from
    - `metadata.jsonl` of Hugging Face (`file_name`, `label`, `objects.bbox` in COCO's x, y, width, height, and
      `objects.category` or `objects.categories`), or `metadata.csv` (`file_name`, `label`, and perhaps four columns of
      a box, an object a row); other forms and units of boxes as `units_of` recognises them;
    - Pascal VOC XML of the image's name, beside it or in a parallel folder `Annotations`; one-based inclusive pixels;
    - LabelMe JSON, or a text of YOLO (`read_yolo`), of the image's name, there or in a parallel folder `labels`;
    - a COCO JSON.
    File names in them are relative to the folder of the annotation file, or end the path of one image below it
    (below the parent, when that folder is `annotations`). Boxes are scaled from the size that the annotation says to
    that of the image, and turned with it where they were drawn on it unturned.

    The label is the class folder's name; in flat folders the record's label, or else the one name that all its objects
    have. Images of objects of several names are left out with a warning. Of an image's objects, those of its label give
    boxes (`boxes_of_classes`). Labels are in alphabetical order.

    Raises:
        DatasetError: another layout, an empty class folder, unreadable annotations, or a class that train lacks.
    """
    root = benchmark_root("folder", data_dir)
    tree = _Tree.walk(root)
    if not tree.images:
        raise DatasetError(f"{root} holds no images, but {contents(root)}.\n{LAYOUTS}.")
    if tree.others:
        logger.warning(
            "%s holds %d files that are not read, being no images of a known kind:\n%s",
            root, len(tree.others), listed([str(file) for file in tree.others]),
        )  # fmt: skip
    split_folders = _split_folders(tree, root)
    annotations, absent = _annotations_by_image(root, tree)

    labelled: dict[str, list[tuple[PurePosixPath, str]]] = {}
    problems: dict[str, list[str]] = {}
    several: list[str] = []
    for split, folder in split_folders.items():
        labelled[split], problems[split] = [], []
        for image, class_name in _images_and_classes(tree, folder, root):
            names = [class_name] if class_name else _names(annotations.get(image))
            if len(names) == 1:
                labelled[split].append((image, names[0]))
            elif names:
                several.append(f"{image}: {', '.join(names)}")
            else:
                problems[split].append(
                    f"{image}: it has no label; it is in no class folder and no annotation names it"
                )

        if not labelled[split] and problems[split]:
            raise DatasetError(
                f"{root / folder} holds {len(problems[split])} loose images, but no annotation gives one of them a "
                f"label.\n{LAYOUTS}."
            )

    for split, sentence in absent:
        problems[split if split in problems else next(iter(problems))].append(sentence)
    if several:
        logger.warning(
            "Left out %d of %d images, which show objects of several classes, because an image needs one label:\n%s",
            len(several),
            len(several) + sum(map(len, labelled.values())),
            listed(several),
        )
    class_names = _class_names(labelled)
    labels = {name: label for label, name in enumerate(class_names)}

    boxes = boxes_of_classes([pair for images in labelled.values() for pair in images], annotations)

    def read(split: str) -> Split:
        examples = [
            Example(
                image=root / image,
                image_id=image.as_posix(),
                label=labels[name],
                boxes=boxes.get(image, ()),
                annotated_size=annotations[image].annotated_size if image in annotations else None,
            )
            for image, name in labelled[split]
        ]
        return Split(examples, problems[split])

    return Benchmark(class_names, {split: lambda split=split: read(split) for split in split_folders}, upright=True)


@dataclass(frozen=True)
class _Tree:
    """Paths below the data folder, relative to it and sorted, without hidden ones."""

    images: list[PurePosixPath]
    annotation_files: list[PurePosixPath]
    folders: list[PurePosixPath]
    others: list[PurePosixPath]

    @classmethod
    def walk(cls, root: Path) -> "_Tree":
        tree = cls([], [], [], [])
        for parent, folders, files in os.walk(root, followlinks=True):
            folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
            relative = PurePosixPath(Path(parent).relative_to(root).as_posix())
            tree.folders.extend(relative / name for name in folders)
            for file in (relative / name for name in files if not name.startswith(".")):
                if file.suffix.lower() in IMAGE_SUFFIXES:
                    tree.images.append(file)
                elif (
                    file.name in METADATA_FILES
                    or file.suffix.lower() in (".xml", ".json")
                    or (file.suffix.lower() == ".txt" and is_yolo_file(root, file))
                ):
                    tree.annotation_files.append(file)
                elif file.suffix.lower() not in TEXT_SUFFIXES:
                    tree.others.append(file)
        for paths in (tree.images, tree.annotation_files, tree.folders, tree.others):
            paths.sort()
        return tree

    def subfolders(self, folder: PurePosixPath) -> list[PurePosixPath]:
        return [path for path in self.folders if path.parent == folder]

    def image_folder(self, folder: PurePosixPath) -> PurePosixPath:
        """The subfolder `images` or `JPEGImages` where `folder` keeps its images in one, else `folder`."""
        if any(image.parent == folder for image in self.images):
            return folder
        return next((path for path in self.subfolders(folder) if path.name.lower() in IMAGE_FOLDERS), folder)


def _split_folders(tree: _Tree, root: Path) -> dict[str, PurePosixPath]:
    top = PurePosixPath(".")
    for folder in (top, tree.image_folder(top)):
        found: dict[str, PurePosixPath] = {}
        for path in tree.subfolders(folder):
            split = SPLIT_FOLDERS.get(path.name.lower())
            if split in found:
                raise DatasetError(
                    f"{root} holds two folders of the {split} split, {found[split]} and {path}; one was expected. "
                    "Merge them or rename one."
                )
            if split:
                found[split] = path
        if found:
            return {split: found[split] for split in ("train", "validation", "test") if split in found}
    return {"train": top}


def _images_and_classes(
    tree: _Tree, split_folder: PurePosixPath, root: Path
) -> list[tuple[PurePosixPath, str | None]]:
    """The images of a split, with the name of their class folder, or None for all of them where it is flat."""
    folder = tree.image_folder(split_folder)
    depth = len(folder.parts)
    below = [
        image
        for image in tree.images
        if image.parts[:depth] == folder.parts and image.parts[depth].lower() not in ANNOTATION_FOLDERS
    ]
    loose = [image for image in below if image.parent == folder]
    filled = {image.parts[depth] for image in below if image.parent != folder}
    if loose and filled:
        raise DatasetError(
            f"{root / folder} holds both loose images ({loose[0].name}, …) and folders of images "
            f"({', '.join(sorted(filled)[:MAX_LISTED])}); move the loose ones into class folders, or the others out."
        )
    if loose:
        return [(image, None) for image in loose]
    if not below:
        raise DatasetError(f"{root / folder} holds no images, but {contents(root / folder)}.\n{LAYOUTS}.")
    empty = [
        path.as_posix()
        for path in tree.subfolders(folder)
        if path.name not in filled and path.name.lower() not in ANNOTATION_FOLDERS
    ]
    if empty:
        raise DatasetError(
            f"{root} has class folders without images: {', '.join(empty[:MAX_LISTED])} ({len(empty)} in all). "
            "Add images or remove the folders."
        )
    return [(image, image.parts[depth]) for image in below]


def _annotations_by_image(
    root: Path, tree: _Tree
) -> tuple[dict[PurePosixPath, Annotation], list[tuple[str | None, str]]]:
    """The annotation of each annotated image; and of those that fit none, the split, if known, and a sentence."""
    images_by_name = defaultdict(list)
    for image in tree.images:
        images_by_name[image.name].append(image)
        images_by_name[image.stem].append(image)

    found: dict[PurePosixPath, Annotation] = {}
    absent, unreadable = [], []
    for file in tree.annotation_files:
        split = SPLIT_FOLDERS.get(file.parts[0].lower())
        for annotation in read_annotations(root, file):
            if isinstance(annotation, str):
                unreadable.append(annotation)
                continue
            image = _find_image(annotation, images_by_name)
            if isinstance(image, str):
                absent.append((split, image))
            elif image in found:
                unreadable.append(f"{annotation.source}: {image} is also annotated in {found[image].source}; keep one")
            else:
                found[image] = annotation
    if unreadable:
        raise DatasetError(
            f"The annotations in {root} cannot be used:\n{listed(unreadable)}\nCorrect or remove these records."
        )
    return found, absent


def _find_image(annotation: Annotation, images_by_name: dict[str, list[PurePosixPath]]) -> PurePosixPath | str:
    """The image that an annotation is of, or a sentence that says why there is none."""
    name = annotation.image_name.replace("\\", "/")
    folder = annotation.file.parent
    path = PurePosixPath(normpath(folder / name))
    if path.is_absolute() or path.parts[:1] == ("..",):
        return f"{annotation.source}: it names {name!r}, which is outside the data folder; no such file is read"
    candidates = images_by_name.get(path.name, [])
    beside = [image for image in candidates if (image.with_suffix("") if annotation.by_stem else image) == path]
    if len(beside) == 1:
        return beside[0]

    in_annotation_folder = [part.lower() in ANNOTATION_FOLDERS for part in folder.parts]
    scope = folder.parts[: in_annotation_folder.index(True)] if any(in_annotation_folder) else folder.parts
    ending = PurePosixPath(name).parent.parts
    below = [
        image
        for image in candidates
        if image.parts[: len(scope)] == scope and image.parts[len(image.parts) - 1 - len(ending) : -1] == ending
    ]
    nearest = _nearest(annotation.file, below)
    if len(nearest) > 1:
        return f"{annotation.source}: it fits {len(nearest)} images, {nearest[0]} and {nearest[1]} among them"
    return nearest[0] if nearest else f"{annotation.source}: it names {name!r}, but there is no such image"


def _nearest(file: PurePosixPath, images: list[PurePosixPath]) -> list[PurePosixPath]:
    """Those images that have most folder names in common with an annotation file (`train`, in `instances_train.json`)."""
    words = {*file.parent.parts, *file.stem.split("_")}
    shared = [len(words.intersection(image.parent.parts)) for image in images]
    return [image for image, count in zip(images, shared, strict=True) if count == max(shared)]


def _names(annotation: Annotation | None) -> list[str]:
    if annotation is None:
        return []
    if annotation.label is not None:
        return [annotation.label]
    return sorted({name for name, _ in annotation.objects if name})


def _class_names(labelled: dict[str, list[tuple[PurePosixPath, str]]]) -> list[str]:
    names = {split: {name for _, name in images} for split, images in labelled.items()}
    if not names.get("train"):
        return sorted(set().union(*names.values()))
    for split, present in names.items():
        unknown = sorted(present - names["train"])
        if unknown:
            raise DatasetError(
                f"The {split} split has classes that train lacks: {', '.join(unknown[:MAX_LISTED])}; train has "
                f"{', '.join(sorted(names['train'])[:MAX_LISTED])}. Add training images of them, remove them, or correct "
                "their names."
            )
    return sorted(names["train"])
