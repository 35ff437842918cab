"""TS-CAM (Gao et al., ICCV 2021): class maps of patch tokens, coupled with what the class token attends to."""

import torch
from huggingface_hub.dataclasses import strict

from .attention_wsol import class_token_row, read_attention
from .backbone_wsol import Tokens
from .configuration_wsol import WSOLConfig
from .modeling_wsol import ClassMapModel


@strict
class TSCAMConfig(WSOLConfig):
    model_type = "ts_cam"


class TSCAMForWeaklySupervisedLocalization(ClassMapModel):
    """A ViT with the 3×3-convolution-and-pool head on patch tokens.

    A class's map is that of the convolution times the attention of the class token, averaged over heads and summed over
    layers (vasgaowei/TS-CAM, `lib/models/deit.py:54-64`).
    """

    config: TSCAMConfig
    config_class = TSCAMConfig

    def extend_backbone(self) -> None:
        for block in self.blocks:
            read_attention(block.attention, class_token_row)

    def maps_of_classes(self, semantic_maps: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        attention = torch.stack(tokens.readings).sum(dim=0)  # (batch, tokens)
        return semantic_maps * tokens.on_grid(attention).detach()[:, None]


__all__ = ["TSCAMConfig", "TSCAMForWeaklySupervisedLocalization"]
