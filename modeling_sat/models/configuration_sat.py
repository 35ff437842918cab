"""SAT configuration: a ViT with one more token, one attention rule and three losses."""

from collections.abc import Iterable
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import ViTConfig


AUTO_MAP = {
    "AutoConfig": "configuration_sat.SATConfig",
    "AutoModel": "modeling_sat.SATForWeaklySupervisedLocalization",
    "AutoModelForImageClassification": "modeling_sat.SATForWeaklySupervisedLocalization",
    "AutoModelForObjectDetection": "modeling_sat.SATForWeaklySupervisedLocalization",
}
CUSTOM_PIPELINES = {
    "weakly-supervised-object-localization": {
        "impl": "pipeline_sat.WeaklySupervisedLocalizationPipeline",
        "pt": ["AutoModel"],
        "type": "image",
    }
}

_CHOICES = {
    "classifier": ("patch_tokens", "class_token"),
    "area_reduction": ("global", "local"),
    "spatial_query_scaling": ("head_mean", "hidden_size"),
}


@strict
class SATConfig(ViTConfig):
    r"""
    Configuration of the Spatial-Aware Token model. Every field of [`~transformers.ViTConfig`] keeps its meaning; the
    defaults are DeiT-B with the settings of the authors' ImageNet code, save `area_reduction`.

    Args:
        num_spatial_layers (`int`, defaults to 3):
            How many of the last layers use spatial-query attention; the final map is the mean of their maps.
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
        classifier (`str`, defaults to `"patch_tokens"`):
            `"patch_tokens"`: the paper's head, a 3×3 convolution over patch tokens and average pooling.
            `"class_token"`: a linear layer on the class token, which keeps a pretrained ViT's own classifier.
        spatial_query_scaling (`str`, defaults to `"head_mean"`):
            `"head_mean"`: the mean over heads of q·k/√d, as in the authors' code (`Model/SAT.py:170-171`);
            `"hidden_size"`: QKᵀ/√D, as Eq. 4 is printed.
        drop_path_rate (`float`, defaults to 0.1):
            Stochastic depth of the last layer, rising linearly from 0 in the first; in [0, 1).

    Raises:
        `StrictDataclassError` (of huggingface_hub): for a value of the wrong type or out of its range, with the
            value, the range and the remedy.

    Example:

    ```python
    >>> from modeling_sat import SATConfig

    >>> config = SATConfig(hidden_size=192, num_attention_heads=3, intermediate_size=768)
    >>> config.num_spatial_layers, config.area_target
    (3, 0.35)

    ```
    """

    model_type = "sat"
    keys_to_ignore_at_inference = [
        "classification_loss", "area_loss", "normalization_loss", "localization_map", "layer_localization_maps",
        "class_maps", "hidden_states", "attentions",
    ]  # fmt: skip
    """Outputs beside the logits, which a `compute_metrics` for classifiers does not expect."""

    layer_norm_eps: float = 1e-6
    num_spatial_layers: int = 3
    area_target: float = 0.35
    area_loss_weight: float | int = 1.0
    normalization_loss_weight: float | int = 1.0
    smoothing_kernel_size: int = 3
    smoothing_sigma: float | int = 0.418
    area_reduction: str = "global"
    classifier: str = "patch_tokens"
    spatial_query_scaling: str = "head_mean"
    drop_path_rate: float | int = 0.1

    def __post_init__(self, **kwargs):
        if __package__ == "modeling_sat.models":
            # Installed, the registry of pipelines knows the task; a config that names one itself asks for trust.
            kwargs.pop("custom_pipelines", None)
        super().__post_init__(**kwargs)

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

    def validate_spatial_layers(self):
        if not 1 <= self.num_spatial_layers <= self.num_hidden_layers:
            raise ValueError(
                f"num_spatial_layers is {self.num_spatial_layers}; choose a number from 1 to num_hidden_layers "
                f"({self.num_hidden_layers})."
            )

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

    def validate_drop_path(self):
        if not 0 <= self.drop_path_rate < 1:
            raise ValueError(f"drop_path_rate is {self.drop_path_rate}; choose a probability in [0, 1).")

    def validate_choices(self):
        for field, choices in _CHOICES.items():
            if getattr(self, field) not in choices:
                raise ValueError(
                    f"{field} is {getattr(self, field)!r}; choose one of {', '.join(map(repr, choices))}."
                )

    def to_dict(self) -> dict[str, Any]:
        # Every save ships the code, so the folder itself is where the classes are found.
        return {**super().to_dict(), "auto_map": dict(AUTO_MAP), "custom_pipelines": dict(CUSTOM_PIPELINES)}


def pair(size: int | Iterable[int]) -> tuple[int, int]:
    """(height, width) of a size given as one number or as two."""
    return (size, size) if isinstance(size, int) else tuple(size)


__all__ = ["SATConfig"]
