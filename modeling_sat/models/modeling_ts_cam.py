"""TS-CAM (Gao et al., ICCV 2021): class maps of patch tokens, coupled with what the class token attends to.

Line references are to the authors' repository, vasgaowei/TS-CAM, `lib/models/deit.py`.
"""

import torch
from huggingface_hub.dataclasses import strict
from transformers.utils.generic import can_return_tuple

from .attention_wsol import class_token_row, read_attention
from .configuration_wsol import WSOLConfig
from .modeling_wsol import PatchClassifier, WSOLOutput, WSOLPreTrainedModel, classification_losses, normalized_map_of


@strict
class TSCAMConfig(WSOLConfig):
    model_type = "ts_cam"


class TSCAMForWeaklySupervisedLocalization(WSOLPreTrainedModel):
    """A ViT with the 3×3-convolution-and-pool head on patch tokens, trained by cross-entropy alone.

    The map of a class is that of the convolution times the attention of the class token, averaged over heads and summed
    over layers (Eq. 8 of the paper).
    """

    config: TSCAMConfig
    config_class = TSCAMConfig
    maps_are_of_a_class = True

    def __init__(self, config: TSCAMConfig):
        super().__init__(config)
        self.patch_classifier = PatchClassifier(config)
        for block in self.blocks:
            read_attention(block.attention, class_token_row)
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
            output_class_maps: return the coupled maps of all classes as well.
            interpolate_pos_encoding: accept another size than `config.image_size`, in whole patches.
            num_items_in_batch: images of the whole batch, as in SAT's forward.

        Returns:
            `localization_map` (batch, h, w) in [0, 1]: the predicted class's map, min-max normalized for each image.
        """
        tokens = self.encode(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs)
        semantic_maps = self.patch_classifier.class_maps(tokens.patches)  # (batch, num_labels, h, w)
        logits = semantic_maps.mean(dim=(2, 3))
        attention = tokens.on_grid(torch.stack(tokens.readings).sum(dim=0))  # (batch, h, w)
        class_maps = semantic_maps.detach() * attention.detach()[:, None]
        return WSOLOutput(
            **classification_losses(logits, labels, num_items_in_batch),
            logits=logits,
            localization_map=normalized_map_of(class_maps, logits.argmax(dim=1)),
            class_maps=class_maps if output_class_maps else None,
            hidden_states=tokens.hidden_states,
            attentions=tokens.attentions,
        )


__all__ = ["TSCAMConfig", "TSCAMForWeaklySupervisedLocalization"]
