"""Class activation maps (Zhou et al., CVPR 2016) of a ViT: what the head of SAT and TS-CAM finds without their maps."""

import dataclasses

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import ViTConfig, ViTModel
from transformers.models.vit.modeling_vit import ViTPreTrainedModel
from transformers.utils.generic import can_return_tuple

from .configuration_sat import SATConfig, pair
from .loading_wsol import StartsFromViT
from .modeling_sat import (
    SATForWeaklySupervisedLocalizationOutput,
    SATPatchClassifier,
    SATPreTrainedModel,
    share_of_batch,
)


_SAT_ALONE = {field.name for field in dataclasses.fields(SATConfig)} - {
    field.name for field in dataclasses.fields(ViTConfig)
}


@strict
class CAMConfig(ViTConfig):
    """A ViT's configuration under a name of its own; what a SAT checkpoint's config says of SAT is left out."""

    model_type = "wsol_cam"
    keys_to_ignore_at_inference = SATConfig.keys_to_ignore_at_inference

    layer_norm_eps: float = 1e-6

    def __post_init__(self, **kwargs):
        foreign = _SAT_ALONE | {"auto_map", "custom_pipelines"}
        super().__post_init__(**{name: value for name, value in kwargs.items() if name not in foreign})


class CAMForWeaklySupervisedLocalization(StartsFromViT, ViTPreTrainedModel):
    """A plain ViT with the 3×3-convolution-and-pool head on patch tokens; its map is that of the predicted class.

    Trained by cross-entropy alone. Evaluation measures the map of the true class (`evaluate_localization`).
    """

    config: CAMConfig
    config_class = CAMConfig
    starts_from = (SATConfig.model_type,)
    maps_are_of_a_class = True

    def __init__(self, config: CAMConfig):
        super().__init__(config)
        self.vit = ViTModel(config, add_pooling_layer=False)
        self.patch_classifier = SATPatchClassifier(config)
        self.post_init()

    _init_weights = SATPreTrainedModel._init_weights

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_class_maps: bool = False,
        interpolate_pos_encoding: bool | None = False,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs,
    ) -> SATForWeaklySupervisedLocalizationOutput:
        """
        Args:
            pixel_values: (batch, channels, height, width), normalized.
            labels: (batch,) int64 in [0, num_labels).
            output_class_maps: return the maps of all classes as well.
            interpolate_pos_encoding: accept another size than `config.image_size`, in whole patches.
            num_items_in_batch: images of the whole batch, as in SAT's forward.

        Returns:
            `localization_map` (batch, h, w) in [0, 1]: the predicted class's map, min-max normalized for each image.
        """
        hidden_states = self.vit(
            pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs
        ).last_hidden_state
        grid = [side // patch for side, patch in zip(pixel_values.shape[2:], pair(self.config.patch_size))]
        tokens = hidden_states[:, 1:].unflatten(1, grid)
        class_maps = self.patch_classifier.class_maps(tokens)  # (batch, num_labels, h, w)
        logits = class_maps.mean(dim=(2, 3))
        maps = class_maps.detach()[torch.arange(len(logits), device=logits.device), logits.argmax(dim=1)].float()
        lowest, highest = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
        loss = None if labels is None else nn.functional.cross_entropy(logits.float(), labels)
        return SATForWeaklySupervisedLocalizationOutput(
            loss=None if loss is None else loss * share_of_batch(labels, num_items_in_batch),
            classification_loss=loss,
            logits=logits,
            localization_map=(maps - lowest) / (highest - lowest).clamp(min=1e-5),
            class_maps=class_maps if output_class_maps else None,
        )


__all__ = ["CAMConfig", "CAMForWeaklySupervisedLocalization"]
