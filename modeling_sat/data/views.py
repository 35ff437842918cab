"""Views of an image: what the model learns from, how it is decoded and scaled, and the ten crops that classify."""

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import cv2
import datasets
import numpy as np
import torch
from datasets.distributed import split_dataset_by_node
from PIL import Image

from .schema import UprightImage


class TrainingView:
    """Squash to `resize`, random crop to `crop`, random horizontal flip (paper 4.1; `DataLoader/CUB_200_2011.py:49-54`).

    How an image is cropped and flipped depends on `seed`, the pass and the image's place in the dataset alone: not on
    the number of processes or workers, nor on where a training was interrupted.

    Args:
        resize: (height, width) in pixels.
        crop: (height, width) in pixels, at most `resize`.
        horizontal_flip: probability of a flip, in [0, 1].
        seed: another seed, other crops and flips.

    Returns (on call with a batch of columns `image` and `label`, and for each a number or numbers that its draw depends on,
    by default its place in the batch):
        `pixel_values` (batch, 3, *crop) uint8, as they travel fastest from a worker and to a device, where
        `PixelScaling` makes them what the model takes; and `labels` (batch,) int64.
    """

    REDUCTION_LEFT = 3
    """What resizing must still divide by after a reduced decoding for the difference to be one of rounding: of 55 large
    photographs, at 3 the mean and largest difference was 0.09 and 1 of 255, at 2 up to 0.6 and 23, at 1 up to 2.8 and 70."""

    SHUFFLE_BUFFER = 5000
    """Images of a stream from which the next is drawn; they are held undecoded."""

    def __init__(self, resize: tuple[int, int], crop: tuple[int, int], horizontal_flip: float = 0.5, seed: int = 0):
        if resize[0] < crop[0] or resize[1] < crop[1]:
            raise ValueError(
                f"Training images are resized to {resize[0]}×{resize[1]}, which holds no crop of "
                f"{crop[0]}×{crop[1]}; set resize_size to the model's image_size or more."
            )
        self.resize = resize
        self.crop = crop
        self.horizontal_flip = horizontal_flip
        self.seed = seed

    def of(self, dataset: datasets.Dataset | datasets.IterableDataset) -> "TrainingImages | TrainingStream":
        """A labelled dataset seen through this view, its images decoded no larger than needed."""
        dataset = dataset.select_columns(["image", "label"])
        feature = dataset.features["image"]
        if type(feature) is datasets.Image:
            feature = UprightImage(mode="RGB")
        if type(feature) is UprightImage:
            enough = (self.REDUCTION_LEFT * self.resize[1], self.REDUCTION_LEFT * self.resize[0])
            dataset = dataset.cast_column("image", feature.reduced(enough))
        return (
            TrainingImages(dataset, self) if isinstance(dataset, datasets.Dataset) else TrainingStream(dataset, self)
        )

    def __call__(
        self, batch: dict[str, list[Any]], draws: Sequence[int | tuple[int, ...]] | None = None
    ) -> dict[str, Any]:
        draws = range(len(batch["image"])) if draws is None else draws
        seeds = [(self.seed, *(draw if isinstance(draw, tuple) else (draw,))) for draw in draws]
        views = [self.augment(image, np.random.default_rng(seed)) for image, seed in zip(batch["image"], seeds)]
        views = np.stack([np.asarray(view).transpose(2, 0, 1) for view in views])
        return {"pixel_values": torch.from_numpy(views), "labels": torch.tensor(batch["label"])}

    def augment(self, image: Image.Image, random: np.random.Generator) -> Image.Image:
        top = int(random.integers(self.resize[0] - self.crop[0] + 1))
        left = int(random.integers(self.resize[1] - self.crop[1] + 1))
        image = resized_crop(image, self.resize[::-1], (left, top, left + self.crop[1], top + self.crop[0]))
        if random.random() < self.horizontal_flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return image


class TrainingImages(torch.utils.data.Dataset):
    """The images of a table through a `TrainingView`; `training.batches.TrainingBatches` says which, and in which pass.

    An item's key is (pass, position), both from 0.
    """

    def __init__(self, table: datasets.Dataset, view: TrainingView):
        self.table = table
        self.view = view

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: list[tuple[int, int]]) -> list[dict[str, torch.Tensor]]:
        batch = self.view(self.table[[position for _, position in keys]], keys)
        return [{name: column[index] for name, column in batch.items()} for index in range(len(keys))]


class TrainingStream(torch.utils.data.IterableDataset):
    """The images of a stream through a `TrainingView`, pass after pass without end, each pass in an order of its own.

    Rows of a stream cannot be drawn in any order, so the next is drawn from a buffer. The order depends on the view's
    seed and the pass alone, so that a training that is resumed and leaves out what it has seen goes on as if it had
    not been interrupted.
    """

    def __init__(self, stream: datasets.IterableDataset, view: TrainingView):
        self.stream = stream
        self.view = view

    def share_of(self, process_index: int, num_processes: int) -> "TrainingStream":
        """The part of each pass that one of several processes reads."""
        return TrainingStream(split_dataset_by_node(self.stream, process_index, num_processes), self.view)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for pass_number in itertools.count():
            rows = self.stream.shuffle(seed=self.view.seed, buffer_size=self.view.SHUFFLE_BUFFER)
            rows.set_epoch(pass_number)
            index = -1
            for index, row in enumerate(rows):
                batch = self.view({"image": [row["image"]], "label": [row["label"]]}, [(pass_number, index)])
                yield {name: column[0] for name, column in batch.items()}
            if index < 0:  # as for a worker process that no shard is left for
                return


def resized_crop(image: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    """`image.resize(size, BILINEAR).crop(box)`, pixel for pixel, and where it can be without what the crop leaves out.

    Args:
        size: (width, height).
        box: (left, top, right, bottom) within `size`.
    """
    if box != (0, 0, *size) and _box_is_exact(image.size, size, (box[2] - box[0], box[3] - box[1])):
        return _resized_box(image, size, box)
    resized = image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)
    return resized if box == (0, 0, *size) else resized.crop(box)


def _resized_box(image: Image.Image, size: tuple[int, int], box: tuple[int, int, int, int]) -> Image.Image:
    across, down = image.width / size[0], image.height / size[1]
    source = (box[0] * across, box[1] * down, box[2] * across, box[3] * down)
    return image.resize((box[2] - box[0], box[3] - box[1]), Image.Resampling.BILINEAR, box=source)


@lru_cache(maxsize=10_000)
def _box_is_exact(image_size: tuple[int, int], size: tuple[int, int], crop: tuple[int, int]) -> bool:
    """Whether Pillow resizes a box of images of this size to the very pixels that it resizes the whole image to.

    A box is passed in float32, which holds the multiples of a power of two; and Pillow chooses by the sizes whether to
    resize rows or columns first, which is tried.
    """
    if any(side & (side - 1) for side in size):
        return False
    noise = np.random.default_rng(0).integers(0, 256, (image_size[1], image_size[0]), dtype=np.uint8)
    image, box = Image.fromarray(noise), (0, 0, *crop)
    whole = image.resize(size, Image.Resampling.BILINEAR).crop(box)
    return bool((np.asarray(_resized_box(image, size, box)) == np.asarray(whole)).all())


class PixelScaling:
    """What an image processor makes of pixels, without its resizing: float32 of uint8, on any device.

    The processor is asked once for each value of each channel, so the numbers are its own to the last bit.
    """

    def __init__(self, processor):
        every_value = np.arange(256, dtype=np.uint8).reshape(1, 256, 1).repeat(3, axis=2)
        values = processor(Image.fromarray(every_value), do_resize=False, do_center_crop=False, return_tensors="np")
        self.values = torch.from_numpy(np.array(values["pixel_values"], dtype=np.float32)[0, :, 0])

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        """Scales (batch, 3, H, W) uint8."""
        self.values = self.values.to(pixels.device)
        scaled = torch.empty(pixels.shape, dtype=torch.float32, device=pixels.device)
        if pixels.device.type == "cpu":  # where OpenCV looks up faster than torch indexes
            for image, target in zip(pixels.numpy(), scaled.numpy(), strict=True):
                for channel, values in enumerate(self.values.numpy()):
                    cv2.LUT(image[channel], values, dst=target[channel])
            return scaled
        for channel, values in enumerate(self.values):
            scaled[:, channel] = values.index_select(0, pixels[:, channel].flatten().int()).view(
                pixels[:, channel].shape
            )
        return scaled


def ten_crops(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Four corners and centre of each image, and the same of its mirror image (paper 4.1; `evaluator.py:50-53`).

    Args:
        images: (batch, channels, H, W).
        size: (height, width) of a crop, at most (H, W).

    Returns:
        (batch, 10, channels, height, width).
    """
    height, width = size
    bottom, right = images.shape[-2] - height, images.shape[-1] - width
    corners = [(0, 0), (0, right), (bottom, 0), (bottom, right), (bottom // 2, right // 2)]
    both = [images, images.flip(-1)]
    crops = [image[..., top : top + height, left : left + width] for image in both for top, left in corners]
    return torch.stack(crops, dim=1)
