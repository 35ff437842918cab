"""The class token's attention as the localization map, taught by SAT's losses: Table 5 of SAT (ICCV 2023)."""

import torch
from huggingface_hub.dataclasses import strict
from transformers.utils.generic import can_return_tuple, maybe_autocast

from .attention_wsol import read_attention
from .configuration_wsol import SpatialLossesConfig, check_choice
from .modeling_wsol import PatchClassifier, WSOLOutput, WSOLPreTrainedModel


@strict
class AttentionMapConfig(SpatialLossesConfig):
    r"""
    The paper says of this baseline that attention maps are taken "before softmax and adding a sigmoid function", after
    the idea of TS-CAM; its code was not released. What it leaves open is a field here.

    Args:
        num_map_layers (`int`, *optional*):
            The map is the mean over this many of the last layers. None: all of them, as in TS-CAM.
        head_mean (`str`, defaults to `"before_sigmoid"`):
            Where heads are averaged: `"before_sigmoid"`, as SAT does with its spatial token's scores, or
            `"after_sigmoid"`, as TS-CAM averages what comes out of the softmax.
    """

    model_type = "wsol_attention_map"
    num_map_layers: int | None = None
    head_mean: str = "before_sigmoid"

    def validate_map(self):
        check_choice(self, "head_mean", ("before_sigmoid", "after_sigmoid"))
        if self.num_map_layers is not None and not 1 <= self.num_map_layers <= self.num_hidden_layers:
            raise ValueError(
                f"num_map_layers is {self.num_map_layers}; choose a number from 1 to num_hidden_layers "
                f"({self.num_hidden_layers}), or None for all of them."
            )


class AttentionMapForWeaklySupervisedLocalization(WSOLPreTrainedModel):
    """A plain ViT whose class token both classifies by its attention and says where: what SAT's own token is to spare it.

    A layer's map is σ(q_cls·k/√d) over the patches; the map is the mean over layers. No token's part in the attention is
    changed by it, and the head is that of the patch tokens (Eq. 9's losses, on this map).
    """

    config: AttentionMapConfig
    config_class = AttentionMapConfig

    def __init__(self, config: AttentionMapConfig):
        super().__init__(config)
        self.patch_classifier = PatchClassifier(config)
        self.add_branch_classifier()
        self.post_init()

    def extend_backbone(self) -> None:
        for block in self.blocks[-(self.config.num_map_layers or self.config.num_hidden_layers) :]:
            read_attention(block.attention, self.class_token_foreground)

    def class_token_foreground(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A `Reader`: the class token's scores through a sigmoid, (batch, tokens) float32 in [0, 1]."""
        with maybe_autocast(query.device.type, enabled=False):
            scores = (key.float() @ query[:, :, 0, :, None].float()).squeeze(3) * scaling  # (batch, heads, tokens)
            if self.config.head_mean == "before_sigmoid":
                return scores.mean(dim=1).sigmoid(), value
            return scores.sigmoid().mean(dim=1), value

    @can_return_tuple
    def forward(
        self,
        pixel_values: torch.Tensor,
        labels: torch.Tensor | None = None,
        output_class_maps: bool = False,
        interpolate_pos_encoding: bool | None = False,
        num_items_in_batch: torch.Tensor | int | None = None,
        batch_area: torch.Tensor | None = None,
        **kwargs,
    ) -> WSOLOutput:
        """
        Args:
            pixel_values: (batch, channels, height, width), normalized.
            labels: (batch,) int64 in [0, num_labels).
            output_class_maps: return the head's class maps as well.
            interpolate_pos_encoding: accept another size than `config.image_size`, in whole patches.
            num_items_in_batch, batch_area: as in SAT's forward.

        Returns:
            `localization_map` (batch, h, w) in [0, 1], one for each image, whatever its class.
        """
        tokens = self.encode(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs)
        maps = [tokens.on_grid(foreground.to(pixel_values.device)) for foreground in tokens.readings]
        layer_maps = torch.stack(maps, dim=1)
        localization_map = layer_maps.mean(dim=1)
        logits, losses = self.with_branch(self.patch_classifier(tokens.patches), tokens), {}
        if labels is not None:
            losses = self.spatial_losses(logits, labels, localization_map, num_items_in_batch, batch_area)
        return WSOLOutput(
            **losses,
            logits=logits,
            localization_map=localization_map,
            layer_localization_maps=layer_maps,
            class_maps=self.patch_classifier.class_maps(tokens.patches) if output_class_maps else None,
            hidden_states=tokens.hidden_states,
            attentions=tokens.attentions,
        )


__all__ = ["AttentionMapConfig", "AttentionMapForWeaklySupervisedLocalization"]
