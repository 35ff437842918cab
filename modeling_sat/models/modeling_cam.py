"""Class activation maps (Zhou et al., CVPR 2016) of a ViT: what the head of SAT and TS-CAM finds without their maps."""

import torch
from huggingface_hub.dataclasses import strict
from transformers.utils.generic import can_return_tuple

from .configuration_wsol import WSOLConfig
from .modeling_wsol import PatchClassifier, WSOLOutput, WSOLPreTrainedModel, classification_losses, normalized_map_of


@strict
class CAMConfig(WSOLConfig):
    model_type = "wsol_cam"


class CAMForWeaklySupervisedLocalization(WSOLPreTrainedModel):
    """A plain ViT with the 3×3-convolution-and-pool head on patch tokens; its map is that of the predicted class.

    Trained by cross-entropy alone.
    """

    config: CAMConfig
    config_class = CAMConfig
    starts_from = ("sat",)
    maps_are_of_a_class = True

    def __init__(self, config: CAMConfig):
        super().__init__(config)
        self.patch_classifier = PatchClassifier(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_class_maps: bool = False,
        interpolate_pos_encoding: bool | None = False,
        num_items_in_batch: torch.Tensor | int | None = None,
        **kwargs,
    ) -> WSOLOutput:
        """
        Args:
            pixel_values: (batch, channels, height, width), normalized.
            labels: (batch,) int64 in [0, num_labels).
            output_class_maps: return the maps of all classes as well; their mean over patches is `logits`.
            interpolate_pos_encoding: accept another size than `config.image_size`, in whole patches.
            num_items_in_batch: images of the whole batch, as in SAT's forward.

        Returns:
            `localization_map` (batch, h, w) in [0, 1]: the predicted class's map, min-max normalized for each image.
        """
        tokens = self.encode(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs)
        class_maps = self.patch_classifier.class_maps(tokens.patches)  # (batch, num_labels, h, w)
        logits = class_maps.mean(dim=(2, 3))
        return WSOLOutput(
            **classification_losses(logits, labels, num_items_in_batch),
            logits=logits,
            localization_map=normalized_map_of(class_maps.detach(), logits.argmax(dim=1)),
            class_maps=class_maps if output_class_maps else None,
            hidden_states=tokens.hidden_states,
            attentions=tokens.attentions,
        )


__all__ = ["CAMConfig", "CAMForWeaklySupervisedLocalization"]
