"""Views of an image: what the model learns from, and the ten crops by which the paper classifies."""

from typing import Any

import torch
from PIL import Image


class TrainingView:
    """Squash to `resize`, random crop to `crop`, random horizontal flip, normalize (paper 4.1; `DataLoader/CUB_200_2011.py:49-54`).

    A transform for `datasets.Dataset.with_transform`. Its randomness is torch's, so seeds, workers and resuming act
    on it as on the rest of the training.

    Args:
        processor: a `SATImageProcessor`, for its mean and standard deviation.
        resize: (height, width) in pixels.
        crop: (height, width) in pixels, at most `resize`.
        horizontal_flip: probability of a flip, in [0, 1].

    Returns (on call with a batch of columns `image` and `label`):
        `pixel_values` (batch, 3, *crop) float32 and `labels` (batch,) int64.
    """

    def __init__(self, processor, resize: tuple[int, int], crop: tuple[int, int], horizontal_flip: float = 0.5):
        if resize[0] < crop[0] or resize[1] < crop[1]:
            raise ValueError(
                f"Training images are resized to {resize[0]}×{resize[1]}, which holds no crop of "
                f"{crop[0]}×{crop[1]}; set resize_size to the model's image_size or more."
            )
        self.processor = processor
        self.resize = resize
        self.crop = crop
        self.horizontal_flip = horizontal_flip

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, Any]:
        views = [self.augment(image) for image in batch["image"]]
        pixel_values = self.processor(views, do_resize=False, do_center_crop=False, return_tensors="pt")[
            "pixel_values"
        ]
        return {"pixel_values": pixel_values, "labels": torch.tensor(batch["label"])}

    def augment(self, image: Image.Image) -> Image.Image:
        if image.size != self.resize[::-1]:
            image = image.resize(self.resize[::-1], Image.Resampling.BILINEAR)
        top = int(torch.randint(self.resize[0] - self.crop[0] + 1, ()))
        left = int(torch.randint(self.resize[1] - self.crop[1] + 1, ()))
        if self.crop != self.resize:
            image = image.crop((left, top, left + self.crop[1], top + self.crop[0]))
        if float(torch.rand(())) < self.horizontal_flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return image


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
