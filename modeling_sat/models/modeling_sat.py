"""Spatial-Aware Token (SAT, ICCV 2023): what it adds to a ViT.

One token that asks where (`add_spatial_token`), one attention rule that acts on its answer (`SpatialQueryAttention`,
Eq. 4-6), and two spatial losses (`area_loss`, Eq. 7; `normalization_loss`, Eq. 8, both in `losses_wsol.py`). Line references
are to the authors' repository, wpy1999/SAT @702290d.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import initialization as init
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple, maybe_autocast

from .attention_wsol import read_attention
from .backbone_wsol import Tokens
from .configuration_sat import SATConfig
from .modeling_wsol import PatchClassifier, WSOLOutput, WSOLPreTrainedModel


@dataclass
class SATModelOutput(ModelOutput):
    """
    Args:
        last_hidden_state: (batch, tokens, hidden) after the final norm: class token (and registers), patches, spatial
            token; with rotary position embeddings the spatial token stands before the patches.
        localization_map: (batch, h, w) float32 in [0, 1], 1 = foreground; h × w patches.
        layer_localization_maps: (batch, num_spatial_layers, h, w), the maps whose mean it is.
        hidden_states: with `output_hidden_states`, the input of the first layer and the output of each.
        attentions: with `output_attentions`, each layer's (batch, heads, tokens, tokens) softmax, before the map.
    """

    last_hidden_state: torch.FloatTensor | None = None
    localization_map: torch.FloatTensor | None = None
    layer_localization_maps: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


def add_spatial_token(embeddings: nn.Module, hidden_size: int, position: int | None) -> None:
    """Gives a ViT one more token with a position embedding of its own (`Model/SAT.py:94-99`).

    Args:
        embeddings: the module whose output are the tokens (batch, tokens, hidden).
        position: where it stands among them; None: last.
    """
    embeddings.spatial_token = nn.Parameter(torch.zeros(1, 1, hidden_size))
    embeddings.spatial_position_embedding = nn.Parameter(torch.zeros(1, 1, hidden_size))
    embeddings.spatial_position = position
    embeddings.register_forward_hook(_with_spatial_token)


def _with_spatial_token(embeddings: nn.Module, _, tokens: torch.Tensor) -> torch.Tensor:
    spatial = embeddings.spatial_token + embeddings.spatial_position_embedding
    if hasattr(embeddings, "dropout"):
        spatial = embeddings.dropout(spatial)
    spatial = spatial.expand(tokens.shape[0], -1, -1)
    if embeddings.spatial_position is None:
        return torch.cat([tokens, spatial], dim=1)
    return torch.cat(
        [tokens[:, : embeddings.spatial_position], spatial, tokens[:, embeddings.spatial_position :]], dim=1
    )


@dataclass(frozen=True)
class SpatialQueryAttention:
    """Self-attention in which the spatial token decides how much each token may say (Eq. 4-6), on any kernel.

    Args:
        position: of the spatial token.
        scale: of its scores, which are summed over heads.
    """

    position: int
    scale: float

    def __call__(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, heads, tokens, head_dim) each -> the map (batch, tokens), and the values that it lets through."""
        foreground = self.query_foreground(query, key)
        # Eq. 6: softmax(QKᵀ/√d) ∗ M scales columns, the same for all heads and queries, so it scales the values.
        return foreground, value * foreground[:, None, :, None].to(value.dtype)

    def query_foreground(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """Eq. 4-5: M = σ(q_spa·K · scale), over the concatenated heads, in float32: (batch, tokens)."""
        with maybe_autocast(query.device.type, enabled=False):
            keys = key.transpose(1, 2).flatten(2)  # (batch, tokens, heads · head_dim)
            asking = query[:, :, self.position].flatten(1)  # (batch, heads · head_dim)
            scores = keys.float() @ asking[:, :, None].float()  # (batch, tokens, 1)
            return torch.sigmoid(scores.squeeze(2) * self.scale)


class SATPreTrainedModel(WSOLPreTrainedModel):
    config: SATConfig
    config_class = SATConfig

    def extend_backbone(self) -> None:
        config = self.config
        position = self.first_patch if self.family.is_rotary else None
        add_spatial_token(self.vit.embeddings, config.hidden_size, position)
        if position is not None:
            self.first_patch += 1
        # Eq. 4 divides q·k, summed over heads, by √D; the authors average q·k/√d over heads (`Model/SAT.py:160,171`).
        heads, by_head_mean = config.num_attention_heads, config.spatial_query_scaling == "head_mean"
        scale = (config.hidden_size // heads) ** -0.5 / heads if by_head_mean else config.hidden_size**-0.5
        if config.backbone_config is None and self.vit.device.type != "meta":
            for block in self.blocks:
                # Earlier versions made each attention twice. Passing over its random numbers keeps seeds, and with them
                # every number that was trained from random weights.
                type(block.attention)(self.vit.config)
        for block in self.blocks[-config.num_spatial_layers :]:
            read_attention(block.attention, SpatialQueryAttention(-1 if position is None else position, scale))

    @torch.no_grad()
    def initialize_weights(self):
        # The backbone knows nothing of these, which come after its own embeddings and before its blocks.
        embeddings = self.vit.embeddings
        if not getattr(embeddings, "_is_hf_initialized", False):
            embeddings.apply(self.vit._initialize_weights)
            for token in (embeddings.spatial_token, embeddings.spatial_position_embedding):
                init.trunc_normal_(token, std=self.config.initializer_range)  # unless it has been loaded
        super().initialize_weights()

    def encode_and_locate(self, pixel_values: torch.Tensor, **kwargs) -> tuple[Tokens, torch.Tensor]:
        """The tokens, and the maps of the spatial layers (batch, num_spatial_layers, h, w)."""
        tokens = self.encode(pixel_values, **kwargs)
        maps = [tokens.on_grid(foreground.to(pixel_values.device)) for foreground in tokens.readings]
        return tokens, torch.stack(maps, dim=1)


class SATModel(SATPreTrainedModel):
    """The backbone: hidden states of all tokens and the localization map, without a classifier.

    Example:

    ```python
    >>> import torch
    >>> from modeling_sat import SATConfig, SATModel

    >>> config = SATConfig(
    ...     hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64,
    ...     image_size=32, patch_size=8, num_labels=5,
    ... )
    >>> outputs = SATModel(config)(torch.zeros(2, 3, 32, 32))
    >>> outputs.last_hidden_state.shape, outputs.localization_map.shape
    (torch.Size([2, 18, 32]), torch.Size([2, 4, 4]))

    ```
    """

    _keys_to_ignore_on_load_unexpected = (r"^((patch|branch)_)?classifier\.",)

    def __init__(self, config: SATConfig):
        super().__init__(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self, pixel_values: torch.Tensor, interpolate_pos_encoding: bool | None = False, **kwargs
    ) -> SATModelOutput:
        """
        Args:
            pixel_values: (batch, channels, height, width), normalized.
            interpolate_pos_encoding: accept another size than `config.image_size`, in whole patches.
        """
        tokens, layer_maps = self.encode_and_locate(
            pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs
        )
        return SATModelOutput(
            last_hidden_state=tokens.last_hidden_state,
            localization_map=layer_maps.mean(dim=1),
            layer_localization_maps=layer_maps,
            hidden_states=tokens.hidden_states,
            attentions=tokens.attentions,
        )


class SATForWeaklySupervisedLocalization(SATPreTrainedModel):
    """A classifier that also says where: logits, a localization map in [0, 1], and the three losses of Eq. 9.

    Example:

    ```python
    >>> import torch
    >>> from modeling_sat import SATConfig, SATForWeaklySupervisedLocalization

    >>> config = SATConfig(
    ...     hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64,
    ...     image_size=32, patch_size=8, num_labels=5,
    ... )
    >>> model = SATForWeaklySupervisedLocalization(config)
    >>> outputs = model(torch.zeros(2, 3, 32, 32), labels=torch.tensor([0, 4]))
    >>> outputs.logits.shape, outputs.localization_map.shape
    (torch.Size([2, 5]), torch.Size([2, 4, 4]))
    >>> terms = outputs.classification_loss + outputs.area_loss + outputs.normalization_loss
    >>> torch.allclose(outputs.loss, terms)
    True

    ```
    """

    def __init__(self, config: SATConfig):
        super().__init__(config)
        # Two names, so that a ViT's classifier never meets the weights of another shape.
        if config.classifier == "class_token":
            self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        else:
            self.patch_classifier = PatchClassifier(config)
        self.add_branch_classifier()
        self.post_init()

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
            labels: (batch,) int64 in [0, num_labels); the losses are computed when they are given.
            output_class_maps: also run the head as a convolution and return `class_maps`.
            interpolate_pos_encoding: accept another size than `config.image_size`, in whole patches.
            num_items_in_batch: images of the whole batch, of which these are a part (gradient accumulation, several
                processes): `loss` is then this part's share, to be summed over the parts. `Trainer` passes it.
            batch_area: scalar, the mean area of the whole batch's maps, for an exact area loss of a part; see
                `area_loss`. Default: that of these images, or with `area_reduction="global"` of those that the
                processes see at once.
        """
        tokens, layer_maps = self.encode_and_locate(
            pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs
        )
        localization_map, class_maps = layer_maps.mean(dim=1), None
        if self.config.classifier == "class_token":
            if output_class_maps:
                raise ValueError('output_class_maps needs the head of classifier="patch_tokens"; this model reads the '
                                 "class token, which has no position. Use localization_map.")  # fmt: skip
            logits = self.with_branch(self.classifier(tokens.class_token), tokens)
        else:
            logits = self.with_branch(self.patch_classifier(tokens.patches), tokens)
            if output_class_maps:
                class_maps = self.patch_classifier.class_maps(tokens.patches)

        losses = {}
        if labels is not None:
            losses = self.spatial_losses(logits, labels, localization_map, num_items_in_batch, batch_area)
        return WSOLOutput(
            **losses,
            logits=logits,
            localization_map=localization_map,
            layer_localization_maps=layer_maps,
            class_maps=class_maps,
            hidden_states=tokens.hidden_states,
            attentions=tokens.attentions,
        )


__all__ = ["SATForWeaklySupervisedLocalization", "SATModel", "SATPreTrainedModel"]
