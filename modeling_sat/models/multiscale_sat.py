"""From pixels to what a model finds in them: by one look, or by several whose findings are averaged."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import ModelOutput


SCALES = {"fast": (1.0,), "high": (1.0, 1.5, 2.0)}
"""The resolutions of each quality, as multiples of the processor's. Below `fast` each is looked at with its mirror image."""


def check_quality(quality: str) -> str:
    """`quality`, if it is one.

    Raises:
        ValueError: another word.
    """
    if quality not in SCALES:
        raise ValueError(f"quality is {quality!r}; choose {' or '.join(map(repr, SCALES))}.")
    return quality


def localize(model: nn.Module, pixel_values: torch.Tensor, quality: str = "fast", **arguments: Any) -> ModelOutput:
    """What `model` finds in images that `image_processing_sat.prepare` prepared.

    With `"high"`, the mean over the images and their mirror images at 1, 1.5 and 2 times the processor's resolution. The
    views may differ in the class that they predict; a model whose maps belong to a class (`maps_are_of_a_class`) is
    therefore asked for its class maps, and the map is that of the class with the highest mean probability.

    Args:
        model: gives `logits`, `localization_map` and, where asked for, `class_maps`, at any resolution in whole patches.
        pixel_values: (batch, channels, height, width) at the largest resolution of `quality`.
        arguments: for the model, besides `interpolate_pos_encoding`.

    Returns:
        `logits` (batch, classes): with `"high"` the logarithm of the mean probability; `localization_map` (batch, h, w)
        in [0, 1] at the finest resolution; `class_maps` (batch, classes, h, w) where they are asked for.

    Raises:
        ValueError: the model gives no localization map.
    """
    if quality == "fast":
        return _looked_at(model, pixel_values, arguments)
    of_a_class = getattr(model, "maps_are_of_a_class", False)
    names = ["localization_map"] + ["class_maps"] * bool(arguments.get("output_class_maps"))
    if of_a_class:
        arguments["output_class_maps"] = True
    scales = SCALES[quality]
    seen, probabilities = [], []
    for scale in reversed(scales):
        view = _resized(pixel_values, scale / scales[-1], model.config.patch_size)
        for flip in (lambda image: image, _mirrored):
            outputs = _looked_at(model, flip(view), arguments)
            seen.append({name: flip(outputs[name]) for name in ("localization_map", "class_maps") if name in outputs})
            probabilities.append(outputs["logits"].float().softmax(dim=-1))
    probabilities = torch.stack(probabilities).mean(dim=0)
    if of_a_class:
        images, predicted = torch.arange(len(probabilities), device=probabilities.device), probabilities.argmax(dim=1)
        for maps in seen:
            maps["localization_map"] = maps["class_maps"][images, predicted]
    finest = seen[0]["localization_map"].shape[-2:]
    means = {name: torch.stack([_to_size(maps[name], finest) for maps in seen]).mean(dim=0) for name in names}
    if of_a_class:
        means["localization_map"] = min_max(means["localization_map"])
    return ModelOutput(logits=probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log(), **means)


def min_max(maps: torch.Tensor) -> torch.Tensor:
    """Maps (batch, h, w), each normalized to [0, 1]."""
    lowest, highest = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
    return (maps - lowest) / (highest - lowest).clamp(min=1e-5)


def _looked_at(model: nn.Module, pixel_values: torch.Tensor, arguments: dict[str, Any]) -> ModelOutput:
    outputs = model(pixel_values=pixel_values, interpolate_pos_encoding=True, **arguments)
    if "localization_map" not in outputs:
        raise ValueError(
            f"{getattr(model, 'name_or_path', '')} holds a {type(model).__name__}, which gives no localization map. "
            "Give a checkpoint of a model that does."
        )
    return outputs


def _resized(pixel_values: torch.Tensor, scale: float, patch_size: int | Iterable[int]) -> torch.Tensor:
    """`pixel_values` scaled down to the nearest whole patches."""
    patches = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
    size = [max(1, round(side * scale / patch)) * patch for side, patch in zip(pixel_values.shape[2:], patches)]
    if size == list(pixel_values.shape[2:]):
        return pixel_values
    return nn.functional.interpolate(pixel_values.float(), size, mode="bilinear", antialias=True).to(
        pixel_values.dtype
    )


def _mirrored(image: torch.Tensor) -> torch.Tensor:
    return image.flip(-1)


def _to_size(values: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if values.shape[-2:] == size:
        return values.float()
    maps = values.float().flatten(0, -3).unsqueeze(1)
    return nn.functional.interpolate(maps, size, mode="bilinear").reshape(*values.shape[:-2], *size)
