"""`imagenet`: ILSVRC 2012, 1000 classes, as the official archives or Kaggle's unpack, and ImageNetV2."""

import logging
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from .checks import listed
from .examples import Benchmark, DatasetError, Example, Split
from .imagenet_annotations import Annotations, read_annotations, train_annotations
from .lists import distinct_names, read_rows, unique
from .paths import IMAGE_SUFFIXES, benchmark_root, contents, first_existing
from .wsol_metadata import read_boxes, read_labels, read_sizes, read_wsol_metadata


logger = logging.getLogger(__name__)

PUBLISHED_COUNTS = {"train": 1_281_167, "validation": 10_000, "test": 50_000}
IMAGE_FOLDERS = (".", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC", "ILSVRC", "dataset/ILSVRC")
SYNSET_FILES = ("LOC_synset_mapping.txt", "synset_words.txt", "ILSVRC/LOC_synset_mapping.txt")
V2_FOLDERS = ("val2", "imagenetv2-threshold0.7", "imagenetv2-threshold0.7-format-val")
V2_METADATA = ("metadata/ILSVRC/val", "../../metadata/ILSVRC/val")


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
    `metadata/ILSVRC`. All have the same numbers. Boxes are scaled to val images that were resized.

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
    if metadata_dir is not None:
        return read_wsol_metadata("imagenet", root, metadata_dir, IMAGE_FOLDERS)
    folder = _image_folder(root)
    synsets = _synsets(root)
    wnids = _class_folders(folder / "train") or sorted(synsets) or _class_folders(folder / "val")
    if not wnids:
        raise DatasetError(
            f"The classes of imagenet are not known: {folder} has no train/ and no val/ with a folder per WordNet id, and "
            f"{root} none of {', '.join(SYNSET_FILES[:2])}. Put one of these files there."
        )
    missing = [f"{wnid} {synsets[wnid]}" for wnid in sorted(set(synsets).difference(wnids))]
    if missing and not allow_partial:
        raise DatasetError(
            f"{folder / 'train'} lacks classes:\n{listed(missing)}\n"
            "Unpack their archives, or pass allow_partial=True to use the others."
        )
    splits = {}
    if (folder / "train").is_dir():
        splits["train"] = partial(_read_train, root, folder / "train", wnids, train_boxes)
    if (folder / "val").is_dir():
        splits["test"] = partial(_read_val, root, folder / "val", wnids, allow_partial)
    version_2 = first_existing(root, [f"{base}/{name}" for base in IMAGE_FOLDERS for name in V2_FOLDERS])
    lists = first_existing(root, V2_METADATA)
    if version_2 is not None and lists is not None:
        splits["validation"] = partial(_read_version_2, root, version_2, lists)
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
        return sorted(entry.name for entry in entries if entry.name.startswith("n") and entry.is_dir())


def _read_train(root: Path, folder: Path, wnids: list[str], with_boxes: bool) -> Split:
    annotations, state = train_annotations(root, wnids) if with_boxes else ({}, "")
    changes = [(folder / wnid).stat().st_mtime_ns if (folder / wnid).is_dir() else 0 for wnid in wnids]
    problems: list[str] = []
    examples = _list_train(folder, wnids, annotations, problems)
    return Split(examples, problems, state=f"{folder} {list(zip(wnids, changes, strict=True))} {state}")


def _list_train(folder: Path, wnids: list[str], annotations: Annotations, problems: list[str]) -> Iterator[Example]:
    """The images of each class folder by name; what is none is warned of, what is doubled or empty a problem."""
    strays: list[str] = []
    for label, wnid in enumerate(wnids):
        class_folder = folder / wnid
        names = sorted(_file_names(class_folder, strays)) if class_folder.is_dir() else []
        if not names:
            problems.append(f"train/{wnid}: the folder holds no images")
        stems = set()
        for name in names:
            stem = name.rpartition(".")[0]
            if stem in stems:
                problems.append(f"train/{wnid}/{name}: there is another image of this name with another suffix")
                continue
            stems.add(stem)
            boxes = annotations[stem].boxes if stem in annotations else ()
            yield Example(class_folder / name, f"train/{wnid}/{name}", label, boxes)
    if strays:
        logger.warning("%s holds %d files that are no images:\n%s", folder, len(strays), listed(strays))


def _file_names(folder: Path, strays: list[str]) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name[entry.name.rfind(".") :].lower() in IMAGE_SUFFIXES and entry.name[0] != ".":
                yield entry.name
            elif entry.name[0] != ".":
                strays.append(f"{folder.name}/{entry.name}")


def _read_val(root: Path, folder: Path, wnids: list[str], allow_partial: bool) -> Split:
    """Every image that is there or that the annotations name, so that what is missing is found out."""
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    annotations, source = read_annotations(root, wnids)
    strays: list[str] = []
    class_folders = _class_folders(folder)
    places = {name: folder / wnid / name for wnid in class_folders for name in _file_names(folder / wnid, strays)}
    places |= {} if class_folders else {name: folder / name for name in _file_names(folder, strays)}
    if strays:
        logger.warning("%s holds %d files that are no images:\n%s", folder, len(strays), listed(strays))
    there = {Path(name).stem: (name, path) for name, path in places.items()}
    if not annotations and not class_folders:
        raise DatasetError(
            f"The images in {folder} lie in no class folders, and nothing says their classes: {root} has none of "
            "Annotations/CLS-LOC/val/*.xml, LOC_val_solution.csv, val_gt.txt and metadata/ILSVRC. Add one of them."
        )
    split, unknown = Split([]), []
    for stem in sorted(set(there) | set(annotations)):
        name, path = there.get(stem, (f"{stem}.JPEG", folder / f"{stem}.JPEG"))
        annotation = annotations.get(stem)
        wnid = path.parent.name if class_folders and stem in there else annotation and annotation.wnid
        if wnid is None:
            split.problems.append(f"val/{name}: {source} does not name it, so its class is not known")
        elif annotation is not None and annotation.wnid not in (None, wnid):
            split.problems.append(f"val/{name}: it lies in the folder {wnid}, but {source} says {annotation.wnid}")
        elif wnid not in labels:
            unknown.append(f"val/{name}: {wnid}")
        else:
            boxes, size = ((), None) if annotation is None else (annotation.boxes, annotation.size)
            split.examples.append(Example(path, f"val/{name}", labels[wnid], boxes, annotated_size=size))
    if unknown and not allow_partial:
        raise DatasetError(f"val has images of classes that train lacks:\n{listed(unknown)}\nAdd them to train.")
    if unknown:
        logger.warning("Left out %d images of val, of classes that train lacks", len(unknown))
    return split


def _read_version_2(root: Path, folder: Path, lists: Path) -> Split:
    boxes, sizes = read_boxes(lists, root), read_sizes(lists, root)
    return Split(
        [
            Example(
                folder / image_id.removeprefix("val2/"), image_id, label, boxes[image_id], None, sizes.get(image_id)
            )
            for image_id, label in read_labels(lists, root).items()
        ]
    )
