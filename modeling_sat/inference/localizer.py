"""A checkpoint at work on image files: read, localize, describe."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from supervision import mask_to_rle
from transformers import BaseImageProcessor, PreTrainedModel

from ..labelling.formats import Prediction, Skipped
from ..labelling.image_files import PredictionError
from ..models.image_conversion_sat import ImageError, decode_image
from ..models.localization_sat import not_finite
from ..models.multiscale_sat import localize, view_settings
from .drawing import draw_localization


MAX_OVERLAY_SIDE = 1280
"""Pixels of an overlay's longer side; a larger image is drawn reduced, its boxes in the file are not."""
NO_BOX = "gets no box"
"""What is said of an image that was read, and of which the model gives nothing that can be used."""


@dataclass(frozen=True)
class LoadedImage:
    """An image file, ready for the model.

    Attributes:
        path: of the file.
        size: (height, width) of the upright image in pixels.
        pixel_values: (channels, height, width) of the view.
        picture: what the overlay is drawn on, at most `MAX_OVERLAY_SIDE` pixels wide and high; None for no overlay.
    """

    path: Path
    size: tuple[int, int]
    pixel_values: torch.Tensor
    picture: Image.Image | None


@dataclass(frozen=True)
class Localizer:
    """A checkpoint with the settings of a run; `read` and `describe` may be called from several threads.

    Attributes:
        class_names: in the order of the model's classes.
        threshold, multiple_objects: as `post_process_localization` takes them.
        quality: how closely the model looks, see `multiscale_sat`.
        masks: whether each object gets its mask.
    """

    model: PreTrainedModel
    processor: BaseImageProcessor
    class_names: list[str]
    threshold: float | None = None
    multiple_objects: bool = False
    quality: str = "fast"
    masks: bool = False

    def read(self, path: Path, with_picture: bool) -> LoadedImage | str:
        """Reads and prepares an image file; of one that cannot be read, a sentence that says so."""
        try:
            image = decode_image(path)
        except ImageError as error:
            return f"{path} cannot be read as an image ({error})."
        settings = view_settings(self.processor, self.quality)
        pixel_values = self.processor(images=image, return_tensors="pt", **settings)["pixel_values"][0]
        size = (image.height, image.width)
        if with_picture:
            image.thumbnail((MAX_OVERLAY_SIDE, MAX_OVERLAY_SIDE))
        return LoadedImage(path, size, pixel_values, image if with_picture else None)

    @torch.inference_mode()
    def localize(self, images: Sequence[LoadedImage], accelerator: Accelerator) -> list[SimpleNamespace]:
        """Each image's `logits` (1, classes) and `localization_map` (1, h, w), float32 on the CPU.

        Raises:
            PredictionError: the model cannot do that.
        """
        outputs = []
        for _, batch in groupby(images, key=lambda image: image.pixel_values.shape):
            pixel_values = torch.stack([image.pixel_values for image in batch]).to(accelerator.device)
            with accelerator.autocast():
                try:
                    found = localize(self.model, pixel_values, self.quality)
                except ValueError as error:
                    raise PredictionError(str(error)) from error
            logits, maps = (output.float().cpu().split(1) for output in (found.logits, found.localization_map))
            outputs += [SimpleNamespace(logits=row, localization_map=map) for row, map in zip(logits, maps)]
        return outputs

    def describe(self, image: LoadedImage, outputs: SimpleNamespace, overlay: Path | None) -> Prediction | Skipped:
        """The objects of an image from what `localize` gave for it; draws them to the file `overlay`. Of outputs that are
        not finite, a sentence that says so."""
        problem = not_finite(logits=outputs.logits.numpy(), localization_map=outputs.localization_map.numpy())
        if problem is not None:
            return {"image": str(image.path), "skipped": f"{image.path} {NO_BOX}: {problem}"}
        (found,) = self.processor.post_process_localization(
            outputs,
            self.threshold,
            [image.size],
            multiple_objects=self.multiple_objects,
            return_masks=self.masks,
            return_localization_maps=overlay is not None,
        )
        columns = (found[key].tolist() for key in ("labels", "scores", "boxes"))
        objects = [
            {"label": self.class_names[label], "score": score, "box": box} for label, score, box in zip(*columns)
        ]
        height, width = image.size
        for described, mask in zip(objects, found.get("masks", ())):
            described["mask"] = {"size": [height, width], "counts": mask_to_rle(mask.numpy(), compressed=True)}
        if overlay is not None:
            boxes = found["boxes"].numpy() * (np.array(image.picture.size * 2) / [width, height, width, height])
            texts = [f"{found['label']} {found['score']:.2f}" for found in objects]
            overlay.parent.mkdir(parents=True, exist_ok=True)
            draw_localization(image.picture, found["localization_map"].numpy(), boxes, texts).save(overlay, quality=90)
        return {"image": str(image.path), "width": width, "height": height, "objects": objects}
