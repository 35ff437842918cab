"""SAT image processor: views in, boxes and masks out."""

import numpy as np
import torch
from PIL import Image
from transformers.image_processing_backends import PilBackend, TorchvisionBackend
from transformers.image_transforms import get_resize_output_image_size, get_size_with_aspect_ratio
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    ChannelDimension,
    PILImageResampling,
    SizeDict,
    get_image_size_for_max_height_width,
)
from transformers.processing_utils import ImagesKwargs
from transformers.utils import is_torchvision_available

from .image_arrays_sat import array_to_image, is_array, to_numpy
from .image_conversion_sat import read_image, to_upright_rgb
from .localization_sat import View, map_to_boxes, normalize_map, not_finite
from .multiscale_sat import SCALES, check_quality


class SATImageProcessorKwargs(ImagesKwargs, total=False):
    """
    localization_threshold (`float`):
        Where a min-max normalized localization map becomes foreground, in [0, 1); chosen on validation data.
    """

    localization_threshold: float


class SATLocalizationMixin:
    """What both backends share: the defaults of SAT, upright RGB input, and the way back from maps to boxes.

    The default view is the whole image, squashed to `size`; with `do_center_crop` the model sees the centre
    `crop_size` of it, as in the paper's evaluation (256×256, cropped to 224×224).
    """

    valid_kwargs = SATImageProcessorKwargs
    model_input_names = ["pixel_values"]
    resample = PILImageResampling.BILINEAR
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    size = {"height": 224, "width": 224}
    crop_size = {"height": 224, "width": 224}
    do_convert_rgb = True
    do_resize = True
    do_center_crop = False
    do_rescale = True
    do_normalize = True
    localization_threshold = 0.4

    def fetch_images(self, images):
        """Anything that `read_image` takes, or a list; files come upright and without transparency, with either backend."""
        if isinstance(images, list | tuple):
            return [self.fetch_images(image) for image in images]
        if isinstance(images, Image.Image):
            return images
        if not is_array(images):
            return read_image(images)
        images = images if isinstance(images, torch.Tensor) else to_numpy(images)
        if images.ndim == 2:  # which transformers takes for one row of several images
            return images[None]
        return images if images.ndim in (3, 4) else read_image(images)

    def process_image(self, image, *args, **kwargs):
        """As PIL images, so that an array and the image it was made of give the same, with either backend.

        With `do_rescale=False`, floating-point arrays are what the user has scaled already and stay as they are.
        """
        if kwargs.get("do_convert_rgb"):
            if isinstance(image, Image.Image):
                image = to_upright_rgb(image)
            elif kwargs.get("do_rescale") or not _is_floating_point(image):
                image = to_upright_rgb(array_to_image(image, kwargs.pop("input_data_format", None)))
        return super().process_image(image, *args, **kwargs)

    def view(self, image_size: tuple[int, int] | None = None) -> View:
        """The view that the model gets of an image of (height, width) `image_size` pixels.

        `image_size` matters only where `size` keeps the aspect ratio (`shortest_edge`) or `do_resize` is off.
        """
        size, crop_size = SizeDict(**dict(self.size)), SizeDict(**dict(self.crop_size))
        crop = (crop_size.height, crop_size.width) if self.do_center_crop else None
        if self.do_resize and size.height and size.width:
            return View((size.height, size.width), crop)
        if image_size is None:
            raise ValueError(
                "This processor's view depends on the image; give target_sizes, the (height, width) of each."
            )
        if not self.do_resize:
            return View(tuple(image_size), crop)
        if size.shortest_edge and size.longest_edge:
            resize = get_size_with_aspect_ratio(image_size, size.shortest_edge, size.longest_edge)
        elif size.shortest_edge:
            blank = np.empty((1, *image_size), np.uint8)
            resize = get_resize_output_image_size(
                blank, size.shortest_edge, default_to_square=False, input_data_format=ChannelDimension.FIRST
            )
        else:
            resize = get_image_size_for_max_height_width(image_size, size.max_height, size.max_width)
        return View(tuple(resize), crop)

    def post_process_localization(
        self,
        outputs,
        threshold: float | None = None,
        target_sizes: "list[tuple[int, int]] | torch.Tensor | None" = None,
        multiple_objects: bool = False,
        return_masks: bool = False,
        return_localization_maps: bool = False,
    ) -> list[dict[str, torch.Tensor]]:
        """Turns model outputs into boxes, one dict an image.

        It knows the processor's own settings, not those given to one call: set `processor.size = …` instead.

        Args:
            outputs: of `SATForWeaklySupervisedLocalization`, with `logits` and `localization_map`.
            threshold: on the min-max normalized map, in [0, 1); default: `localization_threshold`.
            target_sizes: (height, width) of each upright original image in pixels; default: the size of the view.
            multiple_objects: every component of the map instead of the largest one; each is of the image's class.
            return_masks: also `masks`.
            return_localization_maps: also `localization_map`.

        Returns:
            `scores` (n,) the probability of the class; `labels` (n,) int64; `boxes` (n, 4) float32
            `[x_min, y_min, x_max, y_max]`, half-open, in pixels of the original image, the largest object first;
            `masks` (n, height, width) bool and `localization_map` (height, width) float32 in [0, 1], normalized, both
            over the original image. Where nothing is above the threshold, the box is the whole view.

        Raises:
            ValueError: a threshold outside [0, 1), another number of target_sizes, or an image, named by its index, with
                outputs that are not finite.

        Example:

        ```python
        >>> from types import SimpleNamespace
        >>> import torch
        >>> from modeling_sat import SATImageProcessor

        >>> localization_map = torch.zeros(1, 14, 14)
        >>> localization_map[0, 5:9, 3:10] = 1
        >>> outputs = SimpleNamespace(logits=torch.tensor([[0.0, 4.0]]), localization_map=localization_map)
        >>> (found,) = SATImageProcessor().post_process_localization(outputs, target_sizes=[(448, 896)])
        >>> found["labels"].tolist(), found["boxes"].tolist()
        ([1], [[184.0, 156.0, 648.0, 292.0]])

        ```
        """
        threshold = self.localization_threshold if threshold is None else threshold
        if not 0 <= threshold < 1:
            raise ValueError(f"The localization threshold is {threshold}; choose one in [0, 1).")
        maps = outputs.localization_map.detach().float().cpu().numpy()
        logits = outputs.logits.detach().float().cpu()
        scores, labels = logits.softmax(dim=-1).max(dim=-1)
        if target_sizes is not None and len(target_sizes) != len(maps):
            raise ValueError(f"There are {len(maps)} images but {len(target_sizes)} target_sizes; give one for each.")
        results = []
        for index, localization_map in enumerate(maps):
            problem = not_finite(logits=logits[index].numpy(), localization_map=localization_map)
            if problem is not None:
                raise ValueError(f"Image {index}: {problem}")
            image_size = None if target_sizes is None else tuple(int(side) for side in target_sizes[index])
            view = self.view(image_size)
            image_size = image_size or view.resize
            boxes, masks = map_to_boxes(localization_map, threshold, view.size, multiple_objects)
            result = {
                "scores": scores[index].repeat(len(boxes)),
                "labels": labels[index].repeat(len(boxes)),
                "boxes": torch.from_numpy(view.to_image(boxes, image_size)).float(),
            }
            if return_masks:
                # Half of a pixel's bilinear weight is the edge that its box has.
                masks = [view.array_to_image(mask, image_size) > 0.5 for mask in masks]
                result["masks"] = torch.from_numpy(np.stack(masks))
            if return_localization_maps:
                full = view.array_to_image(normalize_map(localization_map), image_size)
                result["localization_map"] = torch.from_numpy(full)
            results.append(result)
        return results

    def post_process_object_detection(
        self, outputs, threshold: float = 0.5, target_sizes: "list[tuple[int, int]] | torch.Tensor | None" = None
    ) -> list[dict[str, torch.Tensor]]:
        """As transformers' detectors: the boxes of `post_process_localization` whose class score is above `threshold`."""
        results = self.post_process_localization(outputs, target_sizes=target_sizes)
        return [{key: value[result["scores"] > threshold] for key, value in result.items()} for result in results]

    def to_dict(self) -> dict:
        module = "image_processing_sat"
        auto_map = {"AutoImageProcessor": [f"{module}.SATImageProcessorPil", f"{module}.SATImageProcessor"]}
        return {**super().to_dict(), "auto_map": auto_map, "image_processor_type": "SATImageProcessor"}


def view_settings(processor, quality: str = "fast", view: View | None = None) -> dict:
    """What a processor's call takes, so that the model gets a view at the largest resolution of `quality`.

    Args:
        processor: of this module, or with its `size` and `crop_size`.
        view: default: the processor's own.
    """
    scale = SCALES[check_quality(quality)][-1]
    if view is None:
        return {name: _enlarged(dict(getattr(processor, name)), scale) for name in ("size", "crop_size")}
    settings = {"do_resize": True, "size": _enlarged(_sides(view.resize), scale), "do_center_crop": bool(view.crop)}
    return settings | ({"crop_size": _enlarged(_sides(view.crop), scale)} if view.crop else {})


def prepare(processor, images, quality: str = "fast", view: View | None = None) -> torch.Tensor:
    """Pixel values (batch, channels, height, width) of an image or several, for `multiscale_sat.localize` at `quality`.

    The arguments are those of `view_settings`.
    """
    return processor(images=images, return_tensors="pt", **view_settings(processor, quality, view))["pixel_values"]


def describe_objects(found: dict[str, torch.Tensor], class_names) -> list[dict]:
    """`label`, `score` and `box` (four floats) of each object that `post_process_localization` found in an image."""
    columns = (found[name].tolist() for name in ("labels", "scores", "boxes"))
    return [{"label": class_names[label], "score": score, "box": box} for label, score, box in zip(*columns)]


def what_is_not_finite(outputs) -> str | None:
    """`localization_sat.not_finite` of what a model gave for one image."""
    names = ("logits", "localization_map")
    return not_finite(**{name: outputs[name].detach().float().cpu().numpy() for name in names})


def _sides(size: tuple[int, int]) -> dict[str, int]:
    return {"height": size[0], "width": size[1]}


def _enlarged(size: dict[str, int | None], scale: float) -> dict[str, int]:
    return {side: round(pixels * scale) for side, pixels in size.items() if pixels}


def _is_floating_point(array: np.ndarray | torch.Tensor) -> bool:
    return array.is_floating_point() if isinstance(array, torch.Tensor) else array.dtype.kind == "f"


class SATImageProcessorPil(SATLocalizationMixin, PilBackend):
    """SAT's processor on PIL and NumPy."""


class SATImageProcessor(SATLocalizationMixin, TorchvisionBackend if is_torchvision_available() else PilBackend):
    """SAT's processor on torchvision, or on PIL where torchvision is not installed."""


SATImageProcessorPil.register_for_auto_class()
SATImageProcessor.register_for_auto_class()


__all__ = ["SATImageProcessor", "SATImageProcessorPil"]
