"""A checkpoint that finds objects in images: the one path of labelling, the demo, pictures and evaluation.

As in the shipped pipeline, an image is prepared, localized, and its objects are found; batches, devices and precision
come in here, files and threads above.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import torch
from accelerate import Accelerator
from PIL import Image
from torch import nn
from transformers import BaseImageProcessor
from transformers.modeling_outputs import ModelOutput

from ..checkpoints import CheckpointError
from ..models.image_processing_sat import describe_objects, prepare
from ..models.multiscale_sat import localize
from .predictions import PredictedObject, unique_class_names


@dataclass(frozen=True)
class Localizer:
    """Its methods may be called from several threads.

    Attributes:
        model: in evaluation mode.
        processor: makes the view and, with its own threshold if none is given, the boxes.
        quality: how closely the model looks, see `multiscale_sat`.
        accelerator: says where and in which precision the model computes; None: where it is, in its own.
    """

    model: nn.Module
    processor: BaseImageProcessor
    quality: str = "fast"
    accelerator: Accelerator | None = None

    @cached_property
    def class_names(self) -> list[str]:
        """In the order of the model's classes, each name once."""
        return unique_class_names(self.model.config.id2label)

    def prepare(self, image: Image.Image) -> torch.Tensor:
        """(channels, height, width) of the processor's view."""
        return prepare(self.processor, image, self.quality)[0]

    @torch.no_grad()
    def localize(self, pixel_values: torch.Tensor, **arguments: Any) -> ModelOutput:
        """What the model finds in (batch, channels, height, width), where it computes; `arguments` are for the model.

        Raises:
            ValueError: the model gives no localization map.
        """
        device = self.model.device if self.accelerator is None else self.accelerator.device
        with nullcontext() if self.accelerator is None else self.accelerator.autocast():
            return localize(self.model, pixel_values.to(device), self.quality, **arguments)

    def localize_each(self, images: Sequence[torch.Tensor]) -> list[ModelOutput]:
        """`logits` (1, classes) and `localization_map` (1, h, w) of each image that `prepare` gave, float32 on the CPU.

        Raises:
            CheckpointError: the model gives no localization map.
        """
        outputs = []
        for _, batch in groupby(images, key=lambda image: image.shape):
            try:
                found = self.localize(torch.stack(list(batch)))
            except ValueError as error:
                raise CheckpointError(str(error)) from error
            logits, maps = (output.float().cpu().split(1) for output in (found.logits, found.localization_map))
            outputs += [ModelOutput(logits=row, localization_map=map) for row, map in zip(logits, maps)]
        return outputs

    def find(
        self, outputs: ModelOutput, size: tuple[int, int], threshold: float | None = None, **settings: bool
    ) -> tuple[list[PredictedObject], dict[str, torch.Tensor]]:
        """The objects of one image of (height, width) `size` pixels, and all that `post_process_localization` says of it.

        Args:
            outputs: of `localize_each`.
            threshold, settings: as `post_process_localization` takes them.

        Raises:
            ValueError: the outputs are not finite.
        """
        (found,) = self.processor.post_process_localization(outputs, threshold, [size], **settings)
        return describe_objects(found, self.class_names), found
