"""`shapes`: generated images with one textured object each, whose box and mask are known exactly."""

from functools import partial
from pathlib import Path

import numpy as np
from datasets.utils import tqdm
from PIL import Image

from .schema import Benchmark, Box, DatasetError, Example, Split, png_bytes
from .textures import TEXTURES


SPLIT_KEYS = {"train": 0, "validation": 1, "test": 2}
MIN_IMAGE_SIZE = 48
MIN_EXTENT, MAX_EXTENT = 0.42, 0.76
"""Smallest and largest width and height of an object, as fractions of the image's side."""


def read_shapes(
    data_dir: str | Path | None = None,
    *,
    num_classes: int = 8,
    image_size: int = 64,
    num_train: int = 5000,
    num_validation: int = 500,
    num_test: int = 500,
    seed: int = 0,
) -> Benchmark:
    """Describes the generated benchmark; a split is drawn when it is read.

    The class of an object is its texture, not its colour or outline. Image `i` of a split depends on `seed`, the
    split, `i`, `num_classes` and `image_size`, not on how many images there are; classes take turns.

    Args:
        data_dir: must be None.
        num_classes: 2 to 11, the first ones of `TEXTURES`.
        image_size: side of the square images in pixels, at least 48. The textures' scale stays the same.
        num_train, num_validation, num_test: images per split; 0 leaves the split out.
        seed: another seed, other images.

    Raises:
        DatasetError: an option out of range.
    """
    if data_dir is not None:
        raise DatasetError(
            f"data_dir is {str(data_dir)!r}, but shapes is generated and reads no folder. Leave it out."
        )
    if not 2 <= num_classes <= len(TEXTURES):
        raise DatasetError(f"num_classes is {num_classes}; shapes has 2 to {len(TEXTURES)} classes.")
    if image_size < MIN_IMAGE_SIZE:
        raise DatasetError(
            f"image_size is {image_size}; at least {MIN_IMAGE_SIZE} pixels were expected, so that textures can be told "
            "apart."
        )
    sizes = {"train": num_train, "validation": num_validation, "test": num_test}
    for split_name, num_images in sizes.items():
        if num_images < 0:
            raise DatasetError(f"num_{split_name} is {num_images}; 0 or more images were expected.")
    return Benchmark(
        class_names=list(TEXTURES)[:num_classes],
        splits={
            split_name: partial(_generate_split, split_name, num_images, num_classes, image_size, seed)
            for split_name, num_images in sizes.items()
            if num_images
        },
    )


def _generate_split(split_name: str, num_images: int, num_classes: int, image_size: int, seed: int) -> Split:
    examples = []
    for index in tqdm(range(num_images), desc=f"Drawing the {split_name} images", unit=" images", leave=False):
        label = index % num_classes
        rng = np.random.default_rng([seed, SPLIT_KEYS[split_name], index])
        pixels, mask = draw_image(rng, list(TEXTURES)[label], image_size)
        examples.append(
            Example(
                image=png_bytes(Image.fromarray(pixels)),
                image_id=f"{split_name}/{index:06d}",
                label=label,
                boxes=[_mask_box(mask)],
                mask=png_bytes(Image.fromarray(mask.astype(np.uint8))),
            )
        )
    return Split(examples)


def draw_image(rng: np.random.Generator, texture_name: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Draws one object on a cluttered background.

    Returns:
        Pixels, uint8 of shape (size, size, 3), and the object's mask, bool of shape (size, size).
    """
    y, x = np.mgrid[:size, :size].astype(np.float32)
    canvas = _gradient(rng, x, y, size)
    for _ in range(rng.integers(2, 5)):
        blob = _outline(rng, size, *rng.uniform(0.1, 0.45, 2))
        canvas[blob] = _gradient(rng, x[blob], y[blob], size)
    for _ in range(rng.integers(1, 4)):
        canvas[_line(rng, x, y)] = rng.uniform(0, 255, 3)

    mask = _outline(rng, size, *rng.uniform(MIN_EXTENT, MAX_EXTENT, 2), inside=True)
    shift_x, shift_y = rng.integers(0, 64, 2)
    values = TEXTURES[texture_name](rng, x + shift_x, y + shift_y)[mask][:, None]
    dark, bright = _contrasting_colours(rng)
    canvas[mask] = dark + (bright - dark) * values
    canvas += rng.standard_normal(canvas.shape, dtype=np.float32) * np.float32(rng.uniform(2, 8))
    return canvas.clip(0, 255).astype(np.uint8), mask


def _outline(rng: np.random.Generator, size: int, width: float, height: float, inside: bool = False) -> np.ndarray:
    """Mask, bool of shape (size, size), of a region with a random smooth outline.

    Args:
        width, height: of its bounding box, as fractions of `size`.
        inside: whether all of it lies inside the image; otherwise its centre does.
    """
    angles = np.linspace(-np.pi, np.pi, 129)
    harmonics = np.arange(2, 6)
    amplitudes = rng.normal(0, 0.2, 4) / np.sqrt(harmonics)
    waves = amplitudes[:, None] * np.cos(harmonics[:, None] * angles + rng.uniform(0, 2 * np.pi, (4, 1)))
    radii = (1 + waves.sum(0)).clip(0.4)
    edge_x, edge_y = radii * np.cos(angles), radii * np.sin(angles)
    scale_x, scale_y = width * size / np.ptp(edge_x), height * size / np.ptp(edge_y)

    if inside:
        left, top = rng.uniform(0, 1, 2) * (1 - np.array([width, height])) * size
        centre_x, centre_y = left - edge_x.min() * scale_x, top - edge_y.min() * scale_y
    else:
        centre_x, centre_y = rng.uniform(0, size, 2)
        left, top = centre_x + edge_x.min() * scale_x, centre_y + edge_y.min() * scale_y

    columns = slice(max(int(left), 0), int(left + width * size) + 1)
    rows = slice(max(int(top), 0), int(top + height * size) + 1)
    mask = np.zeros((size, size), dtype=bool)
    local_x = (np.arange(size)[columns] + 0.5 - centre_x) / scale_x
    local_y = (np.arange(size)[rows, None] + 0.5 - centre_y) / scale_y
    mask[rows, columns] = np.hypot(local_x, local_y) < np.interp(np.arctan2(local_y, local_x), angles, radii)
    return mask


def _gradient(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, size: int) -> np.ndarray:
    """Colours of the pixels (x, y), of shape (*x.shape, 3), that change evenly across the image."""
    angle = rng.uniform(0, 2 * np.pi)
    across = (x / size - 0.5) * np.float32(np.cos(angle)) + (y / size - 0.5) * np.float32(np.sin(angle))
    start, end = rng.uniform(0, 255, (2, 3)).astype(np.float32)
    return start + (end - start) * (0.5 + across / np.float32(np.sqrt(2)))[..., None]


def _line(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    angle = rng.uniform(0, np.pi)
    through_x, through_y = rng.uniform(0, len(x), 2)
    distance = np.abs((x - through_x) * np.sin(angle) - (y - through_y) * np.cos(angle))
    return distance < rng.uniform(0.5, 2)


def _contrasting_colours(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two random colours, each channel of which differs by 80 to 200 of 255, in a direction of its own."""
    difference = rng.uniform(80, 200, 3)
    low = rng.uniform(0, 255 - difference)
    swap = rng.integers(0, 2, 3).astype(bool) if rng.uniform() < 0.5 else np.zeros(3, bool)
    return np.where(swap, low + difference, low), np.where(swap, low, low + difference)


def _mask_box(mask: np.ndarray) -> Box:
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
