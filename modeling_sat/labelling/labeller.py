"""Image files to predictions: read, localized, described."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from supervision import mask_to_rle
from transformers.modeling_outputs import ModelOutput

from ..inference.drawing import draw_localization, object_texts
from ..inference.localizer import Localizer
from ..inference.predictions import Prediction, Skipped
from ..models.image_conversion_sat import ImageError, decode_image
from ..models.image_processing_sat import what_is_not_finite


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
class Labeller:
    """A checkpoint with the settings of a run; `read` and `describe` may be called from several threads.

    Attributes:
        threshold, multiple_objects: as `post_process_localization` takes them.
        masks: whether each object gets its mask.
    """

    localizer: Localizer
    threshold: float | None = None
    multiple_objects: bool = False
    masks: bool = False

    def read(self, path: Path, with_picture: bool) -> LoadedImage | str:
        """Reads and prepares an image file; of one that cannot be read, a sentence that says so."""
        try:
            image = decode_image(path)
        except ImageError as error:
            return f"{path} cannot be read as an image ({error})."
        pixel_values = self.localizer.prepare(image)
        size = (image.height, image.width)
        if with_picture:
            image.thumbnail((MAX_OVERLAY_SIDE, MAX_OVERLAY_SIDE))
        return LoadedImage(path, size, pixel_values, image if with_picture else None)

    def localize(self, images: Sequence[LoadedImage]) -> list[ModelOutput]:
        """As `Localizer.localize_each`."""
        return self.localizer.localize_each([image.pixel_values for image in images])

    def describe(self, image: LoadedImage, outputs: ModelOutput, overlay: Path | None) -> Prediction | Skipped:
        """The objects of an image from what `localize` gave for it; draws them to the file `overlay`. Of outputs that are
        not finite, a sentence that says so."""
        problem = what_is_not_finite(outputs)
        if problem is not None:
            return {"image": str(image.path), "skipped": f"{image.path} {NO_BOX}: {problem}"}
        objects, found = self.localizer.find(
            outputs,
            image.size,
            self.threshold,
            multiple_objects=self.multiple_objects,
            return_masks=self.masks,
            return_localization_maps=overlay is not None,
        )
        height, width = image.size
        for described, mask in zip(objects, found.get("masks", ())):
            described["mask"] = {"size": [height, width], "counts": mask_to_rle(mask.numpy(), compressed=True)}
        if overlay is not None:
            boxes = found["boxes"].numpy() * (np.array(image.picture.size * 2) / [width, height, width, height])
            drawn = draw_localization(image.picture, found["localization_map"].numpy(), boxes, object_texts(objects))
            overlay.parent.mkdir(parents=True, exist_ok=True)
            drawn.save(overlay, quality=90)
        return {"image": str(image.path), "width": width, "height": height, "objects": objects}
