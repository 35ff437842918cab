"""SAT configuration: a ViT with one more token, one attention rule and three losses."""

from huggingface_hub.dataclasses import strict

from .configuration_wsol import WSOLConfig


_CHOICES = {
    "classifier": ("patch_tokens", "class_token"),
    "area_reduction": ("global", "local"),
    "spatial_query_scaling": ("head_mean", "hidden_size"),
}


@strict
class SATConfig(WSOLConfig):
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
        backbone_config, image_size, drop_path_rate:
            As in every method's configuration, [`WSOLConfig`].

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
    num_spatial_layers: int = 3
    area_target: float = 0.35
    area_loss_weight: float | int = 1.0
    normalization_loss_weight: float | int = 1.0
    smoothing_kernel_size: int = 3
    smoothing_sigma: float | int = 0.418
    area_reduction: str = "global"
    classifier: str = "patch_tokens"
    spatial_query_scaling: str = "head_mean"

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

    def validate_choices(self):
        for field, choices in _CHOICES.items():
            if getattr(self, field) not in choices:
                raise ValueError(
                    f"{field} is {getattr(self, field)!r}; choose one of {', '.join(map(repr, choices))}."
                )


__all__ = ["SATConfig"]
