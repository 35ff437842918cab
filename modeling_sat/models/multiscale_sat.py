"""How closely a model looks at an image: once, or several times with what it finds averaged."""

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


def view_settings(processor, quality: str) -> dict[str, dict[str, int]]:
    """The processor's `size` and `crop_size` at the largest resolution of `quality`, to be given to its call."""
    scale = SCALES[check_quality(quality)][-1]
    return {
        name: {side: round(pixels * scale) for side, pixels in dict(getattr(processor, name)).items() if pixels}
        for name in ("size", "crop_size")
    }


def localize(model: nn.Module, pixel_values: torch.Tensor, quality: str, **arguments: Any) -> ModelOutput:
    """What `model` finds in images that `view_settings` prepared.

    With `"high"`, the mean over the images and their mirror images at 1, 1.5 and 2 times the processor's resolution.

    Args:
        model: gives `logits`, `localization_map` and, where asked for, `class_maps`, at any resolution in whole patches.
        pixel_values: (batch, channels, height, width) at the largest resolution of `quality`.
        arguments: for the model, besides `interpolate_pos_encoding`.

    Returns:
        `logits` (batch, classes): with `"high"` the logarithm of the mean probability; `localization_map` (batch, h, w)
        in [0, 1] at the finest resolution; `class_maps` (batch, classes, h, w) where the model gives them.

    Raises:
        ValueError: the model gives no localization map.
    """
    if quality == "fast":
        return _looked_at(model, pixel_values, arguments)
    scales = SCALES[quality]
    seen = []
    for scale in reversed(scales):
        view = _resized(pixel_values, scale / scales[-1], model.config.patch_size)
        for flip in (lambda image: image, _mirrored):
            outputs = _looked_at(model, flip(view), arguments)
            maps = {name: flip(outputs[name]) for name in ("localization_map", "class_maps") if name in outputs}
            seen.append({"probabilities": outputs["logits"].float().softmax(dim=-1), **maps})
    finest = seen[0]["localization_map"].shape[-2:]
    means = {name: torch.stack([_to_size(found[name], finest) for found in seen]).mean(dim=0) for name in seen[0]}
    probabilities = means.pop("probabilities")
    return ModelOutput(logits=probabilities.clamp(min=torch.finfo(probabilities.dtype).tiny).log(), **means)


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
    if values.dim() < 3 or values.shape[-2:] == size:
        return values.float()
    maps = values.float().flatten(0, -3).unsqueeze(1)
    return nn.functional.interpolate(maps, size, mode="bilinear").reshape(*values.shape[:-2], *size)
