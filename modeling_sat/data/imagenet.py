"""`imagenet`: ILSVRC 2012, 1000 classes, as the official archives or Kaggle's unpack, and ImageNetV2."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..sentences import listed
from .checks import BOX_TOLERANCE, STORED_TAKEN, scaled_box
from .imagenet_annotations import Annotation, Annotations, read_annotations, train_annotations
from .lists import distinct_names, read_rows, unique
from .orientation import Orientation, drawn_on_stored
from .paths import IMAGE_SUFFIXES, benchmark_root, contents, first_existing
from .schema import Benchmark, DatasetError, Example, Split
from .wsol_metadata import read_split, read_wsol_metadata


logger = logging.getLogger(__name__)

PUBLISHED_COUNTS = {"train": 1_281_167, "validation": 10_000, "test": 50_000}
IMAGE_FOLDERS = (".", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "ILSVRC", "dataset/ILSVRC")
SYNSET_FILES = ("LOC_synset_mapping.txt", "synset_words.txt", "ILSVRC/LOC_synset_mapping.txt")
V2_FOLDERS = ("val2", "imagenetv2-threshold0.7", "imagenetv2-threshold0.7-format-val")
V2_METADATA = "metadata/ILSVRC/val"


def read_imagenet(
    data_dir: str | Path | None,
    *,
    train_boxes: bool = True,
    metadata_dir: str | None = None,
    allow_partial: bool = False,
) -> Benchmark:
    """Reads `train/<wnid>/` and `val/`, flat or by wnid, or Kaggle's `ILSVRC/Data/CLS-LOC/{train,val}`.

    Splits are train, test (the official val) and, where they exist, validation (ImageNetV2 in `val2/` or
    `imagenetv2-threshold0.7/` with wsolevaluation's lists in `metadata/ILSVRC/val`). Labels are in the order of the
    WordNet ids, as everywhere. A class is named by its line of `LOC_synset_mapping.txt` or `synset_words.txt`, "tench,
    Tinca tinca", or by its WordNet id where there is no such file; the two cranes by both.

    Labels and boxes of val come from the first of these that is there: the XML tree `Annotations/CLS-LOC/val`; Kaggle's
    `LOC_val_solution.csv`; the lists `val_gt.txt` of the authors of SAT, or those of wsolevaluation in
    `metadata/ILSVRC`. All have the same numbers. Boxes are scaled to val images that were resized, unless by
    Kaggle's file, which has no sizes.

    Images of train are listed, not opened: what is broken shows when it is read.

    Args:
        data_dir: the folder of one of these layouts.
        train_boxes: read the boxes of the part of train that has them, from `LOC_train_solution.csv` or the XML tree
            `Annotations/CLS-LOC/train`, where one is there; half a million XML files take minutes, the first time.
        metadata_dir: read the splits of these list files of wsolevaluation instead (`read_wsol_metadata`).
        allow_partial: accept a part of the classes and of the images.

    Raises:
        DatasetError: the layout is another one, classes are missing, or a list has an unknown class or unreadable line.
    """
    root = benchmark_root("imagenet", data_dir)
    synsets = _synsets(root)
    if metadata_dir is not None:
        class_names = distinct_names({wnid: synsets[wnid] for wnid in sorted(synsets)})
        return read_wsol_metadata("imagenet", root, metadata_dir, IMAGE_FOLDERS, class_names or None)
    folder = _image_folder(root)
    wnids = _class_folders(folder / "train") or sorted(synsets) or _class_folders(folder / "val")
    if not wnids:
        raise DatasetError(
            f"The classes of imagenet are not known: {folder} has no train/ and no val/ with a folder per WordNet id, and "
            f"{root} none of {', '.join(SYNSET_FILES[:2])}. Put one of these files there."
        )
    foreign = sorted(set(wnids).difference(synsets)) if synsets else []
    if foreign:
        raise DatasetError(
            f"{folder / 'train'} has folders that are not classes of {first_existing(root, SYNSET_FILES).name}:\n"
            f"{listed(foreign)}\nMove them elsewhere."
        )
    missing = [f"{wnid} {synsets[wnid]}" for wnid in sorted(set(synsets).difference(wnids))]
    if missing and not allow_partial:
        raise DatasetError(
            f"{folder / 'train'} lacks classes:\n{listed(missing)}\n"
            "Unpack their archives, or pass allow_partial=True to use the others."
        )
    published = sorted(synsets) or wnids
    splits = {}
    if (folder / "train").is_dir():
        splits["train"] = partial(_read_train, root, folder / "train", wnids, train_boxes)
    if (folder / "val").is_dir():
        splits["test"] = partial(_read_val, root, folder / "val", wnids, published, allow_partial)
    version_2 = first_existing(root, [f"{base}/{name}" for base in IMAGE_FOLDERS for name in V2_FOLDERS])
    lists = first_existing(root, [V2_METADATA])
    if version_2 is not None and lists is not None:
        splits["validation"] = partial(_read_version_2, root, version_2, lists, wnids, published)
    class_names = distinct_names({wnid: synsets.get(wnid, wnid) for wnid in wnids})
    return Benchmark(class_names, splits, PUBLISHED_COUNTS, boxes_as_published=True)


def _image_folder(root: Path) -> Path:
    for name in IMAGE_FOLDERS:
        if (root / name / "train").is_dir() or (root / name / "val").is_dir():
            return root / name
    raise DatasetError(
        f"imagenet has train/ or val/ in its folder, or ILSVRC/Data/CLS-LOC with them, but {root} has neither; it holds "
        f"{contents(root)}. Pass as data_dir the folder of the original layout."
    )


def _synsets(root: Path) -> dict[str, str]:
    """WordNet id → words."""
    file = first_existing(root, SYNSET_FILES)
    if file is None:
        return {}
    return unique(read_rows(file, root, {"WordNet id": str, "words": str}), file, root)


def _class_folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if re.fullmatch(r"n\d{8}", entry.name) and entry.is_dir())


def _read_train(root: Path, folder: Path, wnids: list[str], with_boxes: bool) -> Split:
    annotations, state = train_annotations(root, wnids) if with_boxes else (dict, "")
    changes = [(folder / wnid).stat().st_mtime_ns if (folder / wnid).is_dir() else 0 for wnid in wnids]
    problems: list[str] = []
    examples = _list_train(folder, wnids, annotations, problems)
    return Split(examples, problems, state=f"{folder} {list(zip(wnids, changes, strict=True))} {state}")


def _list_train(
    folder: Path, wnids: list[str], read_boxes: Callable[[], Annotations], problems: list[str]
) -> Iterator[Example]:
    """The images of each class folder by name. Other files are warned about; duplicates and empty folders are problems."""
    annotations = read_boxes()
    strays: list[str] = []
    undecided: list[str] = []
    for label, wnid in enumerate(wnids):
        names = _image_names(folder / wnid, strays)
        if not names:
            problems.append(f"train/{wnid}: the folder holds no images")
        stems = set()
        for name in names:
            stem = name.rpartition(".")[0]
            if stem in stems:
                problems.append(f"train/{wnid}/{name}: there is another image of this name with another suffix")
                continue
            stems.add(stem)
            path = folder / wnid / name
            example = Example(path, f"train/{wnid}/{name}", label)
            if stem in annotations:
                example = _with_boxes(example, annotations[stem], undecided)
            yield example
    _warn_of_strays(folder, strays)
    if undecided:
        logger.warning("%d images of the train split %s:\n%s", len(undecided), STORED_TAKEN, listed(undecided))


def _with_boxes(example: Example, annotation: Annotation, undecided: list[str]) -> Example:
    """The example with its boxes, on the image as they were drawn, also if it was resized since.

    Only the header of the image is read, unless the boxes were drawn on stored pixels that its orientation turns.
    """
    annotated = replace(example, boxes=annotation.boxes, annotated_size=annotation.size)
    try:
        orientation = Orientation.of_header(example.image)
        size, as_stored = orientation.upright, False
        if orientation.is_turned:
            decided = drawn_on_stored(annotated, orientation, BOX_TOLERANCE)
            if decided is None:
                undecided.append(example.image_id)
            as_stored = decided in (None, True)
            size = orientation.stored if as_stored else size
        boxes = [scaled_box(box, annotation.size, size) for box in annotation.boxes]
        image = orientation.stored_image(example.image) if as_stored else example.image
        return replace(example, image=image, boxes=boxes)
    except Exception:  # found out, with its reason, when the image is decoded
        return replace(example, boxes=annotation.boxes)


def _image_names(folder: Path, strays: list[str]) -> list[str]:
    """The images in a folder, sorted; names of other files, but for hidden ones, go to `strays`."""
    names = []
    if not folder.is_dir():
        return names
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name[0] == ".":
                continue
            if entry.name[entry.name.rfind(".") :].lower() in IMAGE_SUFFIXES:
                names.append(entry.name)
            elif entry.is_file():
                strays.append(f"{folder.name}/{entry.name}")
    return sorted(names)


def _warn_of_strays(folder: Path, strays: list[str]) -> None:
    if strays:
        logger.warning("%s holds %d files that are not images:\n%s", folder, len(strays), listed(strays))


def _read_val(root: Path, folder: Path, wnids: list[str], published: list[str], allow_partial: bool) -> Split:
    """Every image that is there or that the annotations name, so that what is missing is found out."""
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    annotations, source = read_annotations(root, published)
    class_folders = _class_folders(folder)
    split, unknown = Split([]), []
    there = _find_val(folder, class_folders, split.problems)
    if not annotations and not class_folders:
        raise DatasetError(
            f"The images in {folder} are not in class folders, and nothing says their classes: {root} has none of "
            "Annotations/CLS-LOC/val/*.xml, LOC_val_solution.csv, val_gt.txt and metadata/ILSVRC. Add one of them."
        )
    for stem in sorted(set(there) | set(annotations)):
        path = there.get(stem, folder / f"{stem}.JPEG")
        annotation = annotations.get(stem, Annotation(None, []))
        wnid = annotation.wnid if path.parent == folder else path.parent.name
        image_id = f"val/{path.name}"
        if wnid is None:
            split.problems.append(
                f"{image_id}: {source or 'no class folder'} does not name it, so its class is not known"
            )
        elif annotation.wnid not in (None, wnid):
            split.problems.append(f"{image_id}: it lies in the folder {wnid}, but {source} says {annotation.wnid}")
        elif wnid not in labels:
            unknown.append(f"{image_id}: {wnid}")
        else:
            split.examples.append(
                Example(path, image_id, labels[wnid], annotation.boxes, annotated_size=annotation.size)
            )
    if unknown and not allow_partial:
        raise DatasetError(f"val has images of classes that train lacks:\n{listed(unknown)}\nAdd them to train.")
    if unknown:
        logger.warning("Left out %d images of val, of classes that train lacks", len(unknown))
    return split


def _find_val(folder: Path, class_folders: list[str], problems: list[str]) -> dict[str, Path]:
    """Name without suffix → file, of the images in `val/` and in its class folders."""
    strays: list[str] = []
    found: dict[str, Path] = {}
    for place in (folder, *(folder / wnid for wnid in class_folders)):
        for name in _image_names(place, strays):
            path, stem = place / name, name.rpartition(".")[0]
            if stem in found:
                problems.append(f"val/{path.relative_to(folder)}: there is also {found[stem].relative_to(folder)}")
            else:
                found[stem] = path
    _warn_of_strays(folder, strays)
    return found


def _read_version_2(root: Path, folder: Path, lists: Path, wnids: list[str], published: list[str]) -> Split:
    """ImageNetV2, whose labels count in the published classes; those that are not here are left out."""
    split = read_split("imagenet", root, [folder.relative_to(root)], published, lists, prefix="val2/")
    label = {wnid: label for label, wnid in enumerate(wnids)}
    here = [example for example in split.examples if published[example.label] in label]
    return Split([replace(example, label=label[published[example.label]]) for example in here])
