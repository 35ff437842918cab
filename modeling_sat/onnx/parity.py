"""How far an exported model is from the PyTorch model it was made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn
from transformers import BaseImageProcessor

from ..models.configuration_wsol import pair
from ..models.modeling_wsol import WSOLOutput
from .program import OUTPUT_NAMES


MAP_TOLERANCE = 1e-4
BATCH_SIZES = (1, 7)


@dataclass(frozen=True)
class Parity:
    """Of pictures in several batch and image sizes.

    Attributes:
        logits, localization_map: the largest absolute differences; NaN where the exported model gives NaN.
        equal_boxes: how many of `images` pictures have the same box.
        sizes: (height, width) in pixels, each in batches of `BATCH_SIZES`.
    """

    logits: float
    localization_map: float
    equal_boxes: int
    images: int
    sizes: tuple[tuple[int, int], ...]

    @property
    def is_exact(self) -> bool:
        return self.localization_map <= MAP_TOLERANCE and self.equal_boxes == self.images

    def __str__(self) -> str:
        sizes = " and ".join(f"{height}×{width}" for height, width in self.sizes)
        return (
            f"Against PyTorch in float32, batches of {' and '.join(map(str, BATCH_SIZES))} at {sizes} pixels: logits "
            f"differ by up to {self.logits:.1e}, maps by up to {self.localization_map:.1e}, and {self.equal_boxes} of "
            f"{self.images} boxes are equal."
        )


@torch.no_grad()
def measure_parity(
    model: nn.Module,
    exported: Callable[[torch.Tensor], Mapping[str, torch.Tensor]],
    processor: BaseImageProcessor,
) -> Parity:
    """Runs both at the model's own size and at another, on random pictures with as much detail as a map can have.

    Args:
        model: in evaluation mode, on the CPU.
        exported: from pixel values to `logits` and `localization_map`.
        processor: makes the boxes, with its own threshold.
    """
    patches = pair(model.config.patch_size)
    own = pair(model.config.image_size)
    sizes = (own, (own[0] + 6 * patches[0], own[1] + 2 * patches[1]))
    generator = torch.Generator().manual_seed(0)
    largest = dict.fromkeys(OUTPUT_NAMES, torch.tensor(0.0))
    equal, images = 0, 0
    for size in sizes:
        for batch_size in BATCH_SIZES:
            grid = [side // patch for side, patch in zip(size, patches)]
            pictures = torch.randn(batch_size, model.config.num_channels, *grid, generator=generator)
            pixel_values = nn.functional.interpolate(pictures, size, mode="bilinear")
            expected = model(pixel_values, interpolate_pos_encoding=True)
            found = WSOLOutput(**exported(pixel_values))
            for name in OUTPUT_NAMES:
                largest[name] = torch.maximum(largest[name], (found[name] - expected[name]).abs().max())
            equal += sum(map(torch.equal, *(_boxes(processor, outputs, size) for outputs in (found, expected))))
            images += batch_size
    return Parity(
        **{name: value.item() for name, value in largest.items()}, equal_boxes=equal, images=images, sizes=sizes
    )


def _boxes(processor: BaseImageProcessor, outputs, size: tuple[int, int]) -> list[torch.Tensor]:
    """One an image; none of outputs that are not finite."""
    if not (outputs.logits.isfinite().all() and outputs.localization_map.isfinite().all()):
        return []
    results = processor.post_process_localization(outputs, target_sizes=[size] * len(outputs.logits))
    return [result["boxes"] for result in results]
