"""`pipeline("weakly-supervised-object-localization")`: an image in; class, box and mask out."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from transformers import Pipeline
from transformers.modeling_outputs import ModelOutput

from .image_arrays_sat import is_array
from .image_conversion_sat import read_image
from .image_processing_sat import describe_objects, prepare, what_is_not_finite
from .multiscale_sat import check_quality, localize


class WeaklySupervisedLocalizationPipeline(Pipeline):
    """Says what is in an image and where, from a checkpoint that has seen image labels alone.

    Called with an image of Pillow, a path, a URL, a base64 string, the bytes of an image file, or a NumPy array or tensor
    of shape (height, width), (height, width, channels) or (channels, height, width), with 1, 3 or 4 channels and values
    in 0–255, 0–1 (floating point) or 0–65535 (uint16); or with a list, batch, generator, column or `KeyDataset` of them.
    The colours of arrays are red, green, blue, as everywhere in transformers: of OpenCV's frames, which are blue, green,
    red, give `frame[..., ::-1]`. `batch_size` as in every pipeline.

    Args:
        threshold: where the normalized localization map becomes foreground, in [0, 1); default: the checkpoint's.
        multiple_objects: every component of the map instead of the largest one.
        quality: `"fast"`, one look at the image, or `"high"`, the mean over flips and three resolutions, some 15 times
            the work.
        timeout: seconds to wait for a URL.

    Returns:
        for each image a list of objects, the largest first: `label` (str), `score` (float, probability of the class),
        `box` (`xmin`, `ymin`, `xmax`, `ymax` in pixels of the upright image, half-open) and `mask` (PIL, mode L,
        255 = object).
    """

    _load_processor = False
    _load_image_processor = True
    _load_feature_extractor = False
    _load_tokenizer = False
    _images_done = 0

    def _sanitize_parameters(self, threshold=None, multiple_objects=None, quality=None, timeout=None):
        preprocess = {"timeout": timeout, "quality": quality}
        forward = {"quality": quality}
        postprocess = {"threshold": threshold, "multiple_objects": multiple_objects}
        if quality is not None:
            check_quality(quality)
        return tuple(
            {name: value for name, value in given.items() if value is not None}
            for given in (preprocess, forward, postprocess)
        )

    def __call__(self, inputs=None, *args, **kwargs):
        self._images_done = 0
        inputs = kwargs.pop("images", inputs)  # as transformers' own pipelines name it, too
        if is_array(inputs) and len(inputs.shape) == 4:
            inputs = list(inputs)
        if not isinstance(inputs, Sequence) or isinstance(inputs, str | bytes | bytearray | memoryview):
            return super().__call__(inputs, *args, **kwargs)
        if len(inputs) == 0:
            return []
        if isinstance(inputs, list):
            return super().__call__(inputs, *args, **kwargs)
        return list(
            super().__call__((image for image in inputs), *args, **kwargs)
        )  # a tuple, or a column of a dataset

    def preprocess(self, image, timeout=None, quality="fast"):
        image = read_image(image, timeout)
        pixel_values = prepare(self.image_processor, image, quality).to(self.dtype)
        return {"pixel_values": pixel_values, "target_size": torch.tensor([[image.height, image.width]])}

    def _forward(self, inputs, quality="fast"):
        outputs = localize(self.model, inputs["pixel_values"], quality)
        found = {name: outputs[name] for name in ("logits", "localization_map")}
        return {**found, "target_size": inputs["target_size"]}

    def postprocess(self, outputs, threshold=None, multiple_objects=False):
        outputs = ModelOutput(outputs)
        index, self._images_done = self._images_done, self._images_done + 1
        problem = what_is_not_finite(outputs)
        if problem is not None:
            raise ValueError(f"Image {index}: {problem}")
        (found,) = self.image_processor.post_process_localization(
            outputs, threshold, outputs.target_size, multiple_objects=multiple_objects, return_masks=True
        )
        objects = describe_objects(found, self.model.config.id2label)
        corners = ("xmin", "ymin", "xmax", "ymax")
        for described, mask in zip(objects, found["masks"]):
            described["box"] = dict(zip(corners, map(round, described["box"])))
            described["mask"] = Image.fromarray(mask.numpy().astype(np.uint8) * 255)
        return objects


__all__ = ["WeaklySupervisedLocalizationPipeline"]
