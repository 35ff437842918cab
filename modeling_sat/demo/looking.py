"""Checkpoints at work on one picture: seen by the model once, drawn and described again at every setting."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from transformers.modeling_outputs import ModelOutput

from ..checkpoints import CheckpointError
from ..checkpoints.load import load_checkpoint
from ..inference.drawing import draw_localization, object_texts
from ..inference.localizer import Localizer
from ..inference.predictions import Prediction
from ..models.image_processing_sat import what_is_not_finite
from .pictures import Picture


MAX_SIDE = 1024
"""Pixels of the longer side of what is drawn."""

LAYERS = ("Map", "Mask", "Boxes only")


@dataclass(frozen=True)
class Settings:
    """What a user chooses for a result.

    Attributes:
        threshold: of the normalized localization map, in [0, 1).
        multiple_objects: every object, not the largest one alone.
        layer: one of `LAYERS`, laid over the picture.
        opacity: of that layer, in [0, 1].
    """

    threshold: float
    multiple_objects: bool = False
    layer: str = LAYERS[0]
    opacity: float = 0.45


@dataclass(frozen=True)
class SeenPicture:
    """A picture after the models have looked at it.

    Attributes:
        name: of the file.
        size: (height, width) of the upright original in pixels.
        image: reduced to at most `MAX_SIDE` pixels along each side.
        outputs: of each model, with `logits` (1, classes) and `localization_map` (1, h, w).
        note: as in `Picture`.
    """

    name: str
    size: tuple[int, int]
    image: Image.Image
    outputs: tuple[ModelOutput, ...]
    note: str = ""


@dataclass(frozen=True)
class DemoModel:
    """A checkpoint, in eval mode on the CPU."""

    name: str
    localizer: Localizer

    @classmethod
    def load(cls, name: str, trust_remote_code: bool = False) -> "DemoModel":
        """Loads a checkpoint folder or Hub id, and runs it once, so that its first picture is not its slowest.

        Raises:
            CheckpointError: it cannot be used, or gives no localization map.
        """
        network, processor = load_checkpoint(name, trust_remote_code)
        folder = Path(name)
        model = cls(folder.resolve().name if folder.is_dir() else name, Localizer(network.eval(), processor))
        model.look(Image.new("RGB", (64, 64)))
        return model

    def look(self, image: Image.Image) -> ModelOutput:
        """`logits` (1, classes) and `localization_map` (1, h, w) of an image.

        Raises:
            CheckpointError: the model gives no localization map, or what it gives is NaN or infinite.
        """
        (outputs,) = self.localizer.localize_each([self.localizer.prepare(image)])
        problem = what_is_not_finite(outputs)
        if problem is not None:
            raise CheckpointError(f"{self.name} found nothing: {problem}")
        return outputs

    def find(self, seen: SeenPicture, outputs: ModelOutput, settings: Settings) -> tuple[Image.Image, Prediction]:
        """The drawn picture and, in pixels of the original, its objects."""
        threshold, several = settings.threshold, settings.multiple_objects
        objects, _ = self.localizer.find(outputs, seen.size, threshold, multiple_objects=several)
        image, map_over_image = seen.image, None
        _, drawn = self.localizer.find(
            outputs,
            (image.height, image.width),
            threshold,
            multiple_objects=several,
            return_masks=settings.layer == "Mask",
            return_localization_maps=settings.layer == "Map",
        )
        if settings.layer == "Map":
            map_over_image = drawn["localization_map"].numpy()
        elif settings.layer == "Mask":
            image = _with_faded_background(image, drawn["masks"].any(dim=0).numpy(), settings.opacity)
        picture = draw_localization(
            image, map_over_image, drawn["boxes"].tolist(), object_texts(objects), opacity=settings.opacity
        )
        height, width = seen.size
        return picture, {"image": seen.name, "width": width, "height": height, "objects": objects}


def look_at(picture: Picture, models: list[DemoModel]) -> SeenPicture:
    """Shows a picture to every model.

    Raises:
        CheckpointError: what one of them gives is NaN or infinite.
    """
    outputs = tuple(model.look(picture.image) for model in models)
    reduced = picture.image.copy()
    reduced.thumbnail((MAX_SIDE, MAX_SIDE))
    return SeenPicture(picture.name, (picture.image.height, picture.image.width), reduced, outputs, picture.note)


def _with_faded_background(image: Image.Image, mask: np.ndarray, opacity: float) -> Image.Image:
    """The image with what is outside the mask (height, width) faded to white."""
    faded = Image.blend(image, Image.new("RGB", image.size, "white"), opacity)
    return Image.composite(image, faded, Image.fromarray(mask.astype(np.uint8) * 255))
