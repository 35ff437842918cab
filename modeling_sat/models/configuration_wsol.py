"""What every method's configuration has: a ViT's fields or another backbone's configuration, and drop path."""

import dataclasses
from collections.abc import Iterable

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig, ViTConfig

from .configuration_conformer import VisionConformerConfig


_OF_THE_BACKBONE = ("hidden_size", "num_hidden_layers", "num_attention_heads", "patch_size", "num_channels")
_VIT_FIELDS = {field.name: field for field in dataclasses.fields(ViTConfig) if field.name in ViTConfig.__annotations__}


@strict
class WSOLConfig(ViTConfig):
    r"""
    Every field of [`~transformers.ViTConfig`] keeps its meaning; with `backbone_config` they describe that backbone.

    Args:
        backbone_config (`PreTrainedConfig` or `dict`, *optional*):
            The vision transformer to build on, such as `Dinov2WithRegistersConfig(…)`; None: a ViT of the fields here.
        image_size (`int` or `(height, width)`, *optional*):
            Pixels of the input. None: what the backbone was made for, 224 for a ViT.
        drop_path_rate (`float`, defaults to 0.1):
            Stochastic depth of the last layer, rising linearly from 0 in the first; in [0, 1).

    Raises:
        `StrictDataclassError` (of huggingface_hub): for a value of the wrong type or out of its range, with the
            value, the range and the remedy.
    """

    sub_configs = {"backbone_config": AutoConfig}
    keys_to_ignore_at_inference = [
        "classification_loss", "area_loss", "normalization_loss", "localization_map", "layer_localization_maps",
        "class_maps", "hidden_states", "attentions",
    ]  # fmt: skip
    """Outputs beside the logits, which a `compute_metrics` for classifiers does not expect."""
    _auto_class = "AutoConfig"

    backbone_config: dict | PreTrainedConfig | None = None
    image_size: int | list[int] | tuple[int, int] | None = None
    layer_norm_eps: float = 1e-6
    drop_path_rate: float | int = 0.1

    def __post_init__(self, **kwargs):
        if type(self).__module__.startswith("modeling_sat."):
            # Installed, the Auto classes and pipelines know the method; a config that names code itself asks for trust.
            kwargs.pop("custom_pipelines", None)
            kwargs.pop("auto_map", None)
        if isinstance(self.backbone_config, dict):
            self.backbone_config = _config_of(**self.backbone_config)
        if self.backbone_config is not None:
            self._describe(self.backbone_config)
        elif self.image_size is None:
            self.image_size = _VIT_FIELDS["image_size"].default
        super().__post_init__(**kwargs)

    def _describe(self, backbone: PreTrainedConfig) -> None:
        for name in _OF_THE_BACKBONE:
            given, there = getattr(self, name), getattr(backbone, name, None)
            if there is None or (name != "patch_size" and not isinstance(there, int)):
                raise ValueError(
                    f"backbone_config is a {type(backbone).__name__}, which has no one {name}. Give the configuration of a "
                    "plain vision transformer, such as Dinov2WithRegistersConfig."
                )
            if given not in (there, _VIT_FIELDS[name].default):
                raise ValueError(f"{name} is {given}, but backbone_config has {there}; leave {name} out.")
            setattr(self, name, there)
        ratio = getattr(backbone, "mlp_ratio", None)
        self.intermediate_size = int(ratio * self.hidden_size) if ratio else backbone.intermediate_size
        self.layer_norm_eps, self.initializer_range = backbone.layer_norm_eps, backbone.initializer_range
        if self.image_size is None:
            self.image_size = backbone.image_size

    def of_backbone(self) -> PreTrainedConfig:
        """The configuration of the backbone alone."""
        if self.backbone_config is not None:
            return self.backbone_config
        return ViTConfig(**{name: getattr(self, name) for name in _VIT_FIELDS})

    def save_pretrained(self, *args, **kwargs):
        """As transformers'. What names the code beside it is of the file alone: in memory it is known already."""
        try:
            super().save_pretrained(*args, **kwargs)
        finally:
            for name in ("auto_map", "custom_pipelines"):
                self.__dict__.pop(name, None)

    def validate_patch_grid(self):
        for field in ("image_size", "patch_size"):
            sides = pair(getattr(self, field))
            if len(sides) != 2 or min(sides) < 1:
                raise ValueError(
                    f"{field} is {getattr(self, field)}; give one number of pixels or (height, width), 1 or more."
                )
        for axis, image, patch in zip(("height", "width"), pair(self.image_size), pair(self.patch_size)):
            if image % patch:
                below = max(image // patch, 1) * patch
                raise ValueError(
                    f"image_size has {axis} {image}, which patch_size {patch} does not divide into whole patches; "
                    f"the nearest {axis}s that it does are {below} and {below + patch}."
                )

    def validate_dimensions(self):
        for field in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "num_labels"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} is {getattr(self, field)}; choose a whole number, 1 or more.")
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} is not a multiple of num_attention_heads {self.num_attention_heads}."
            )

    def validate_drop_path(self):
        if not 0 <= self.drop_path_rate < 1:
            raise ValueError(f"drop_path_rate is {self.drop_path_rate}; choose a probability in [0, 1).")


@strict
class SpatialLossesConfig(WSOLConfig):
    r"""
    A method that learns where by SAT's losses (Eq. 7-9, `losses_wsol.py`).

    Args:
        area_target (`float`, defaults to 0.35):
            λ of Eq. 7, the fraction of a batch's area that is foreground, in (0, 1). The authors use 0.25 on CUB.
        area_loss_weight, normalization_loss_weight (`float`, defaults to 1.0):
            Weights of Eq. 7 and Eq. 8 in the total loss (Eq. 9 has no weights).
        smoothing_kernel_size (`int`, defaults to 3), smoothing_sigma (`float`, defaults to 0.418):
            The Gaussian of Eq. 8, in patches. 0.418 is what the authors' kernel really is (`Model/SAT.py:25-31`);
            the paper's text says 6. A size of 1 turns it off.
        area_reduction (`str`, defaults to `"global"`):
            `"global"`: the mean area of Eq. 7 is taken over the batches of all processes; `"local"`: over each
            process's own batch, as the authors' ImageNet code does (`train_ImageNet.py:144-146`).
    """

    area_target: float = 0.35
    area_loss_weight: float | int = 1.0
    normalization_loss_weight: float | int = 1.0
    smoothing_kernel_size: int = 3
    smoothing_sigma: float | int = 0.418
    area_reduction: str = "global"

    def validate_losses(self):
        if not 0 < self.area_target < 1:
            raise ValueError(
                f"area_target is {self.area_target}; it is the fraction of the image that objects cover on average, "
                "so choose it between 0 and 1, both excluded (the paper uses 0.25 for CUB and 0.35 for ImageNet)."
            )
        if not (self.area_loss_weight >= 0 and self.normalization_loss_weight >= 0):
            raise ValueError(
                f"area_loss_weight ({self.area_loss_weight}) and normalization_loss_weight "
                f"({self.normalization_loss_weight}) must not be negative; 0 turns a loss off."
            )
        if self.smoothing_kernel_size < 1 or self.smoothing_kernel_size % 2 == 0:
            raise ValueError(
                f"smoothing_kernel_size is {self.smoothing_kernel_size}; choose an odd number, 1 or more."
            )
        if not self.smoothing_sigma > 0:
            raise ValueError(f"smoothing_sigma is {self.smoothing_sigma}; choose a standard deviation above 0.")
        check_choice(self, "area_reduction", ("global", "local"))


def check_choice(config: PreTrainedConfig, field: str, choices: tuple[str, ...]) -> None:
    """
    Raises:
        ValueError: the field's value is none of `choices`.
    """
    if getattr(config, field) not in choices:
        raise ValueError(f"{field} is {getattr(config, field)!r}; choose one of {', '.join(map(repr, choices))}.")


def _config_of(model_type: str, **fields) -> PreTrainedConfig:
    # Not by AutoConfig, which may know a checkpoint's own copy of it.
    own = model_type == VisionConformerConfig.model_type
    return VisionConformerConfig(**fields) if own else AutoConfig.for_model(model_type, **fields)


def pair(size: int | Iterable[int]) -> tuple[int, int]:
    """(height, width) of a size given as one number or as two."""
    return (size, size) if isinstance(size, int) else tuple(size)


__all__ = ["SpatialLossesConfig", "WSOLConfig", "check_choice", "pair"]
