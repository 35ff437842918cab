"""`caltech101`: photographs of 101 kinds of objects with a box and an outline each, in the official layout."""

import logging
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from datasets.utils import tqdm
from PIL import Image
from scipy.io import loadmat

from ..models.image_conversion_sat import ImageError, open_image
from ..sentences import listed
from .paths import benchmark_root, require
from .schema import Benchmark, Box, DatasetError, Example, Split, png_bytes


logger = logging.getLogger(__name__)

BACKGROUND = "BACKGROUND_Google"
ANNOTATION_FOLDERS = {
    "Faces": "Faces_2",
    "Faces_easy": "Faces_3",
    "Motorbikes": "Motorbikes_16",
    "airplanes": "Airplanes_Side_2",
}
"""Classes whose annotations have a folder of another name in the official archive."""


def read_caltech101(data_dir: str | Path | None, *, num_train: int = 30) -> Benchmark:
    """Reads `101_ObjectCategories/<class>/image_NNNN.jpg` and `Annotations/<class>/annotation_NNNN.mat`.

    Splits are train, the first images of each class by number, and test, the others; Caltech-101 has no official ones.
    Labels are in alphabetical order of the class folders, without `BACKGROUND_Google`. Every annotated image has one
    box and one mask; an image without annotation file has neither.

    Args:
        data_dir: the folder that holds `101_ObjectCategories` and `Annotations`.
        num_train: training images per class.

    Raises:
        DatasetError: a folder of the layout is absent, or a class has fewer than `num_train` images.
    """
    root = benchmark_root("caltech101", data_dir)
    categories = require(root, "101_ObjectCategories", "caltech101")
    require(root, "Annotations", "caltech101")
    images = {
        folder.name: sorted(folder.glob("image_[0-9][0-9][0-9][0-9].jpg"))
        for folder in sorted(categories.iterdir())
        if folder.is_dir() and folder.name != BACKGROUND and not folder.name.startswith(".")
    }
    if not images:
        raise DatasetError(
            f"{categories} holds no class folders; image_NNNN.jpg were expected in one folder per class."
        )
    if num_train < 1:
        raise DatasetError(f"num_train is {num_train}; at least 1 training image per class was expected.")
    too_few = [f"{name}: {len(paths)}" for name, paths in images.items() if len(paths) < num_train]
    if too_few:
        raise DatasetError(
            f"num_train is {num_train}, but these classes of {categories} have fewer images (image_NNNN.jpg):\n"
            f"{listed(too_few)}\nLower num_train, or add the missing images."
        )
    return Benchmark(
        class_names=list(images),
        splits={
            "train": partial(_read, root, "train", [paths[:num_train] for paths in images.values()]),
            "test": partial(_read, root, "test", [paths[num_train:] for paths in images.values()]),
        },
    )


def _read(root: Path, split_name: str, images: list[list[Path]]) -> Split:
    """One split, of which `images` has the files of each class."""
    split, without = Split([]), 0
    labelled = [(path, label) for label, paths in enumerate(images) for path in paths]
    for path, label in tqdm(labelled, desc=f"Reading the {split_name} annotations", unit=" images", leave=False):
        example = Example(path, path.relative_to(root).as_posix(), label)
        file = _annotation_file(root, path)
        if file is None:
            without += 1
        else:
            try:
                box, outline = _read_annotation(file)
                example = Example(path, example.image_id, label, [box], _mask(path, outline))
            except Exception as error:  # a damaged file makes SciPy fail in many ways
                split.problems.append(
                    f"{example.image_id}: its annotation {file.relative_to(root).as_posix()} cannot be used ({error})"
                )
                continue
        split.examples.append(example)
    if without:
        logger.warning("%d of %d images of the %s split have no annotation", without, len(labelled), split_name)
    return split


def _annotation_file(root: Path, image: Path) -> Path | None:
    class_name = image.parent.name
    file_name = image.with_suffix(".mat").name.replace("image", "annotation")
    folders = (class_name, ANNOTATION_FOLDERS.get(class_name, class_name))
    files = [root / "Annotations" / folder / file_name for folder in folders]
    return next((file for file in files if file.is_file()), None)


def _read_annotation(file: Path) -> tuple[Box, np.ndarray]:
    """The box and the outline, int32 (points, 2) of zero-based x, y of the image's pixels.

    In the file, `box_coord` is [[y_min, y_max, x_min, x_max]] in one-based inclusive pixels and `obj_contour` the
    (2, points) x and y of an outline in one-based pixels of the box's cut-out: (1, 1) is the first pixel of the box.
    The archive's `show_annotation.m` draws it one pixel further right and down, but the images speak for this reading:
    over 1,501 of them, edges under the outline are strongest where its zero-based x and y are 2.0 and 1.75 below
    `box_coord` + `obj_contour`.
    """
    content = loadmat(file)
    missing = {"box_coord", "obj_contour"}.difference(content)
    if missing:
        raise ValueError(f"box_coord and obj_contour were expected, but {', '.join(sorted(missing))} is missing")
    box, outline = (content[name].astype(np.float64) for name in ("box_coord", "obj_contour"))
    if box.size != 4:
        raise ValueError(f"box_coord has shape {box.shape}; (1, 4) was expected")
    if outline.ndim != 2 or len(outline) != 2 or outline.shape[1] < 3 or not np.isfinite(outline).all():
        raise ValueError(f"obj_contour has shape {outline.shape}; (2, points) of 3 finite points or more was expected")
    y_min, y_max, x_min, x_max = box.ravel().tolist()
    corner = np.array([x_min - 1, y_min - 1])
    return (x_min - 1, y_min - 1, x_max, y_max), np.rint(outline.T - 1 + corner).astype(np.int32)


def _mask(image: Path, outline: np.ndarray) -> bytes | None:
    """A PNG of the outline and what it encloses, or None where the image is unreadable, which is found out later."""
    try:
        with open_image(image) as opened:
            mask = np.zeros(opened.size[::-1], dtype=np.uint8)
    except ImageError:
        return None
    cv2.fillPoly(mask, [outline], 1)
    if not mask.any():
        raise ValueError("obj_contour lies outside the image")
    return png_bytes(Image.fromarray(mask))
