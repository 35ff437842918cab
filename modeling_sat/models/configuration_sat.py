"""SAT configuration: a ViT with one more token, one attention rule and three losses."""

from huggingface_hub.dataclasses import strict

from .configuration_wsol import SpatialLossesConfig, check_choice


@strict
class SATConfig(SpatialLossesConfig):
    r"""
    Configuration of the Spatial-Aware Token model. Every field of [`~transformers.ViTConfig`] keeps its meaning; the
    defaults are DeiT-B with the settings of the authors' ImageNet code, save `area_reduction`.

    Args:
        num_spatial_layers (`int`, defaults to 3):
            How many of the last layers use spatial-query attention; the final map is the mean of their maps.
        classifier (`str`, defaults to `"patch_tokens"`):
            `"patch_tokens"`: the paper's head, a 3×3 convolution over patch tokens and average pooling.
            `"class_token"`: a linear layer on the class token, which keeps a pretrained ViT's own classifier.
        spatial_query_scaling (`str`, defaults to `"head_mean"`):
            `"head_mean"`: the mean over heads of q·k/√d, as in the authors' code (`Model/SAT.py:170-171`);
            `"hidden_size"`: QKᵀ/√D, as Eq. 4 is printed.
        area_target, area_loss_weight, normalization_loss_weight, smoothing_kernel_size, smoothing_sigma, area_reduction:
            Of its losses, [`SpatialLossesConfig`].
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
    classifier: str = "patch_tokens"
    spatial_query_scaling: str = "head_mean"

    def validate_spatial_layers(self):
        if not 1 <= self.num_spatial_layers <= self.num_hidden_layers:
            raise ValueError(
                f"num_spatial_layers is {self.num_spatial_layers}; choose a number from 1 to num_hidden_layers "
                f"({self.num_hidden_layers})."
            )

    def validate_choices(self):
        check_choice(self, "classifier", ("patch_tokens", "class_token"))
        check_choice(self, "spatial_query_scaling", ("head_mean", "hidden_size"))


__all__ = ["SATConfig"]
