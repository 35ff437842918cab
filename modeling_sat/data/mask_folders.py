"""Masks beside the images of a folder: which files are masks, and of which image."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from datasets.data_files import NON_WORDS_CHARS

from ..models.image_conversion_sat import open_image
from .masks import MaskKind


_KINDS: dict[str, MaskKind] = {
    "segmentationclass": "classes",
    "segmentationclassaug": "classes",
    "segmentationobject": "instances",
    "instances": "instances",
    "trimap": "trimap",
    "trimaps": "trimap",
} | dict.fromkeys(
    ("mask", "masks", "segmentation", "segmentations", "seg", "gt", "groundtruth", "annotation",
     "annotations", "label", "labels"),
    "foreground",
)  # fmt: skip
_OWN_SUFFIX = re.compile(
    r"[-_ .](?:mask|masks|trimap|seg|segmentation|gt|groundtruth|label)(?:[-_ ]?\d+)?$", re.IGNORECASE
)
_FEW_VALUES = 64
_NUM_OPENED = 3


def find_masks(
    root: Path, images: Sequence[PurePosixPath]
) -> tuple[dict[PurePosixPath, tuple[MaskKind, list[PurePosixPath]]], set[PurePosixPath], list[PurePosixPath]]:
    """Tells masks from images.

    Masks are in a folder that is named after them (`masks`, `trimaps`, `SegmentationClass`, …) or have a name that ends
    so (`cat_1_mask.png`), most of them are named as an image elsewhere is, and they look like masks: a class of
    photographs that is called `mask` is not one.

    Args:
        root: the data folder.
        images: all image files, relative to it.

    Returns:
        of each image that has some, the kind and the files of its masks; all files that are masks; and those of them
        that are of no image or could be of several.
    """
    groups: dict[tuple[PurePosixPath, bool], list[PurePosixPath]] = defaultdict(list)
    for file in images:
        folder = next((parent for parent in file.parents if _kind_of(parent.name)), None)
        if folder is not None:
            groups[folder, True].append(file)
        elif _OWN_SUFFIX.search(file.stem):
            groups[file.parent, False].append(file)
    if not groups:
        return {}, set(), []

    in_question = {file for files in groups.values() for file in files}
    by_stem = defaultdict(list)
    for image in images:
        if image not in in_question:
            by_stem[_key(image.stem)].append(image)

    found: dict[PurePosixPath, tuple[MaskKind, list[PurePosixPath]]] = {}
    masks: set[PurePosixPath] = set()
    of_none: list[PurePosixPath] = []
    for (folder, in_own_folder), files in sorted(groups.items()):
        fitting = [(file, image) for file in files if (image := _image_of(file, by_stem, in_own_folder))]
        if len(fitting) * 2 < len(files) or not all(
            _looks_like_mask(root / file) for file, _ in fitting[:_NUM_OPENED]
        ):
            continue
        masks.update(files)
        of_none += sorted(set(files) - {file for file, _ in fitting})
        kind = _kind_of(folder.name) if in_own_folder else "foreground"
        for file, image in fitting:
            if image not in found or (found[image][0] == "instances" and kind == "classes"):
                found[image] = (kind, [])
            if found[image][0] == kind:
                found[image][1].append(file)
    return found, masks, of_none


def _kind_of(folder_name: str) -> MaskKind | None:
    name = folder_name.lower()
    words = re.split(f"[{NON_WORDS_CHARS}]+", name)
    words = [name, "".join(words), *words]
    return next((_KINDS[word] for word in words if word in _KINDS), None)


def _image_of(
    mask: PurePosixPath, by_stem: dict[str, list[PurePosixPath]], in_own_folder: bool
) -> PurePosixPath | None:
    """The one image that a mask is named after; of several that which has most words of its folders in common."""
    own = _key(mask.stem)
    candidates = by_stem.get(own) or by_stem.get(_OWN_SUFFIX.sub("", own), [])
    if not in_own_folder:
        candidates = [image for image in candidates if image.parent == mask.parent]
    shared = [len(_words(mask.parent) & _words(image.parent)) for image in candidates]
    nearest = [image for image, count in zip(candidates, shared, strict=True) if count == max(shared)]
    return nearest[0] if len(nearest) == 1 else None


def _key(stem: str) -> str:
    return unicodedata.normalize("NFC", stem).casefold()


def _words(folder: PurePosixPath) -> set[str]:
    return {word for part in folder.parts for word in re.split(r"[-._ ]+", part.lower())}


def _looks_like_mask(file: Path) -> bool:
    """Whether an image has few values, or of a lossy format hardly any but black and white."""
    try:
        with open_image(file) as image:
            if image.format in ("JPEG", "WEBP"):
                grey = np.asarray(image.convert("L"))
                return bool(np.mean((grey < 32) | (grey > 223)) > 0.98)
            values = np.asarray(image)
    except Exception:  # each of Pillow's decoders fails in its own way; what cannot be read is reported as an image
        return False
    if values.ndim == 3 and (values[..., :1] != values[..., :3]).any():
        return len(np.unique(values.reshape(-1, values.shape[-1]), axis=0)) <= _FEW_VALUES
    values = values[..., 0] if values.ndim == 3 else values
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= _FEW_VALUES:
        return True
    return bool(counts[[0, -1]].sum() > 0.9 * values.size)
