"""Conformer (Peng et al., ICCV 2021): a residual network and a ViT side by side that tell each other what they see.

The transformer's blocks are transformers' `ViTLayer`. After the first, each gets what the convolutions have made of the
image added to its patches, and gives its patches back to them (`ConformerUnit`). Line references are to
pengzhiliang/Conformer @815aaad, `conformer.py`.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification, PreTrainedModel
from transformers import initialization as init
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.vit.modeling_vit import ViTAttention, ViTLayer
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_conformer import VisionConformerConfig


@dataclass
class VisionConformerModelOutput(ModelOutput):
    """
    Args:
        last_hidden_state: (batch, tokens, hidden), the transformer branch after its final norm: class token, patches.
        branch: (batch, branch_size), the convolution branch averaged over the image.
        hidden_states: with `output_hidden_states`, the input of the first transformer block and the output of each.
        attentions: with `output_attentions`, each block's (batch, heads, tokens, tokens) softmax.
    """

    last_hidden_state: torch.FloatTensor | None = None
    branch: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


@dataclass
class VisionConformerClassifierOutput(ModelOutput):
    """
    Args:
        loss: scalar, when `labels` are given: the mean of the two branches' cross-entropies (`engine.py:40-41`).
        logits: (batch, num_labels), the sum of both branches', by which it is evaluated (`engine.py:102`).
        branch_logits: (batch, num_labels) of the convolutions.
        class_token_logits: (batch, num_labels) of the transformer.
        hidden_states, attentions: as of the model without classifiers.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    branch_logits: torch.FloatTensor | None = None
    class_token_logits: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None


class ConformerStem(nn.Module):
    """(batch, channels, H, W) -> (batch, base_channels, H/4, W/4), as a ResNet's (`:328-331`)."""

    def __init__(self, config: VisionConformerConfig):
        super().__init__()
        self.conv = nn.Conv2d(config.num_channels, config.base_channels, 7, stride=2, padding=3, bias=False)
        self.norm = nn.BatchNorm2d(config.base_channels)  # with PyTorch's epsilon, unlike all others
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.pool(self.norm(self.conv(pixel_values)).relu())


class ConformerBottleneck(nn.Module):
    """A residual block of 1×1, 3×3 and 1×1 convolutions, the inner ones on a quarter of the channels (`:75-140`).

    Args:
        projects: whether what is skipped goes through a 1×1 convolution too.
    """

    def __init__(
        self, config: VisionConformerConfig, in_channels: int, channels: int, stride: int = 1, projects: bool = False
    ):
        super().__init__()
        inner, eps = channels // 4, config.batch_norm_eps
        self.conv1 = nn.Conv2d(in_channels, inner, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner, eps=eps)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner, eps=eps)
        self.conv3 = nn.Conv2d(inner, channels, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(channels, eps=eps)
        if projects:
            self.residual_conv = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
            self.residual_norm = nn.BatchNorm2d(channels, eps=eps)
        self.projects = projects

    def forward(
        self, features: torch.Tensor, from_tokens: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            features: (batch, in_channels, h, w).
            from_tokens: (batch, channels / 4, h, w), added to the input of the 3×3 convolution.

        Returns:
            (batch, channels, h', w') and what the 3×3 convolution made, (batch, channels / 4, h', w').
        """
        inner = self.norm1(self.conv1(features)).relu()
        inner = self.norm2(self.conv2(inner if from_tokens is None else inner + from_tokens)).relu()
        residual = self.residual_norm(self.residual_conv(features)) if self.projects else features
        return (self.norm3(self.conv3(inner)) + residual).relu(), inner


class ConformerDown(nn.Module):
    """Adds to the patches what the convolutions see there (FCUDown, `:143-167`)."""

    def __init__(self, config: VisionConformerConfig, channels: int, stride: int):
        super().__init__()
        self.projection = nn.Conv2d(channels, config.hidden_size, 1)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, features: torch.Tensor, hidden_states: torch.Tensor) -> torch.Tensor:
        """(batch, channels, h · stride, w · stride), (batch, tokens, hidden) -> (batch, tokens, hidden)."""
        seen = self.pool(self.projection(features)).flatten(2).transpose(1, 2)  # (batch, h · w, hidden)
        seen = nn.functional.gelu(self.norm(seen))
        # They double the class token, adding it to itself. A spatial token, after the patches, is carried on likewise.
        after = hidden_states[:, 1 + seen.shape[1] :]
        return hidden_states + torch.cat([hidden_states[:, :1], seen, after], dim=1)


class ConformerUp(nn.Module):
    """Patches -> features for the convolutions (FCUUp, `:170-189`)."""

    def __init__(self, config: VisionConformerConfig, channels: int):
        super().__init__()
        self.projection = nn.Conv2d(config.hidden_size, channels, 1)
        self.norm = nn.BatchNorm2d(channels, eps=config.batch_norm_eps)

    def forward(self, hidden_states: torch.Tensor, grid: tuple[int, int], size: tuple[int, int]) -> torch.Tensor:
        """(batch, tokens, hidden), of which h × w are patches -> (batch, channels, *size)."""
        patches = hidden_states[:, 1 : 1 + grid[0] * grid[1]].transpose(1, 2).unflatten(2, grid)
        return nn.functional.interpolate(self.norm(self.projection(patches)).relu(), size=size)


class ConformerUnit(nn.Module):
    """What stands beside a transformer block: two residual blocks, and the ways to it and back (ConvTransBlock, `:250-303`).

    Its parts are called one by one, so that each may be on a device of its own.
    """

    def __init__(self, config: VisionConformerConfig, layer: int):
        """
        Args:
            layer: index of the transformer block, from 1.
        """
        super().__init__()
        per_stage = config.num_hidden_layers // 3
        stage, is_first, is_last = layer // per_stage, layer % per_stage == 0, layer == config.num_hidden_layers - 1
        channels = config.stage_channels[stage]
        before = config.stage_channels[stage - 1] if is_first else channels
        self.convolution = ConformerBottleneck(config, before, channels, 2 if is_first else 1, projects=is_first)
        self.down = ConformerDown(config, channels // 4, config.patch_size // (4 * 2**stage))
        self.up = ConformerUp(config, channels // 4)
        self.fusion = ConformerBottleneck(config, channels, channels, 2 if is_last else 1, projects=is_last)


class VisionConformerPatchEmbeddings(nn.Module):
    def __init__(self, config: VisionConformerConfig):
        super().__init__()
        side = config.patch_size // 4  # of the stem's output
        self.projection = nn.Conv2d(config.base_channels, config.hidden_size, side, stride=side)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.projection(features).flatten(2).transpose(1, 2)


class VisionConformerEmbeddings(nn.Module):
    """The stem's output -> class token and patches (batch, 1 + patches, hidden), without position embeddings."""

    def __init__(self, config: VisionConformerConfig):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.hidden_size))
        self.patch_embeddings = VisionConformerPatchEmbeddings(config)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        patches = self.patch_embeddings(features)
        return torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], dim=1)


class VisionConformerPreTrainedModel(PreTrainedModel):
    config: VisionConformerConfig
    config_class = VisionConformerConfig
    base_model_prefix = "vit"
    main_input_name = "pixel_values"
    input_modalities = ("image",)
    supports_gradient_checkpointing = True
    _no_split_modules = [
        "VisionConformerEmbeddings", "ViTLayer", "ConformerStem", "ConformerBottleneck", "ConformerDown", "ConformerUp"
    ]  # fmt: skip
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {"hidden_states": ViTLayer, "attentions": ViTAttention}

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        """As the authors do (`:396-412`); biases of convolutions are left at PyTorch's own."""
        if isinstance(module, nn.Conv2d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                bound = module.weight[0].numel() ** -0.5
                init.uniform_(module.bias, -bound, bound)
        elif isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=self.config.initializer_range)
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)
        if isinstance(module, VisionConformerEmbeddings):
            init.trunc_normal_(module.cls_token, std=self.config.initializer_range)


class VisionConformerModel(VisionConformerPreTrainedModel):
    """Both branches without classifiers, for images of any size in whole patches.

    Gradient checkpointing is of the transformer blocks alone: batch norms that run twice would count an image twice.
    """

    def __init__(self, config: VisionConformerConfig):
        super().__init__(config)
        self.stem = ConformerStem(config)
        self.embeddings = VisionConformerEmbeddings(config)
        self.first_convolution = ConformerBottleneck(
            config, config.base_channels, config.stage_channels[0], projects=True
        )
        self.layers = nn.ModuleList([ViTLayer(config) for _ in range(config.num_hidden_layers)])
        self.units = nn.ModuleList([ConformerUnit(config, layer) for layer in range(1, config.num_hidden_layers)])
        self.layernorm = nn.LayerNorm(config.hidden_size)  # with PyTorch's epsilon, 1e-5 (`:322`)
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs(tie_last_hidden_states=False)
    def forward(self, pixel_values: torch.Tensor, **kwargs) -> VisionConformerModelOutput:
        """
        Args:
            pixel_values: (batch, channels, height, width), normalized.

        Raises:
            ValueError: an image that is not in whole patches.
        """
        patch, size = self.config.patch_size, pixel_values.shape[2:]
        if not torch.compiler.is_exporting() and (size[0] % patch or size[1] % patch):
            raise ValueError(
                f"The input is {size[0]}×{size[1]} pixels, which is not in whole patches of {patch}×{patch}; resize it."
            )
        grid = (size[0] // patch, size[1] // patch)
        features = self.stem(pixel_values.to(self.stem.conv.weight.dtype))
        hidden_states = self.layers[0](self.embeddings(features), **kwargs)
        features, _ = self.first_convolution(features)
        for unit, layer in zip(self.units, self.layers[1:]):
            features, inner = unit.convolution(features)
            hidden_states = layer(unit.down(inner, hidden_states), **kwargs)
            features, _ = unit.fusion(features, unit.up(hidden_states, grid, inner.shape[2:]))
        return VisionConformerModelOutput(
            last_hidden_state=self.layernorm(hidden_states), branch=features.mean(dim=(2, 3))
        )


class VisionConformerForImageClassification(VisionConformerPreTrainedModel):
    """Conformer as its authors trained it, with a classifier for each branch."""

    def __init__(self, config: VisionConformerConfig):
        super().__init__(config)
        self.vit = VisionConformerModel(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.branch_classifier = nn.Linear(config.branch_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    def forward(
        self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None, **kwargs
    ) -> VisionConformerClassifierOutput:
        """
        Args:
            pixel_values: (batch, channels, height, width), normalized.
            labels: (batch,) int64 in [0, num_labels).
        """
        outputs = self.vit(pixel_values, **kwargs)
        branch_logits = self.branch_classifier(outputs.branch)
        class_token_logits = self.classifier(outputs.last_hidden_state[:, 0])
        loss = None
        if labels is not None:
            both = (branch_logits, class_token_logits)
            loss = sum(nn.functional.cross_entropy(logits.float(), labels) for logits in both) / 2
        return VisionConformerClassifierOutput(
            loss=loss,
            logits=branch_logits + class_token_logits,
            branch_logits=branch_logits,
            class_token_logits=class_token_logits,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


# transformers has no such model, so whoever has this file tells it. A checkpoint's own copy leaves an installed one in place.
if __name__.startswith("modeling_sat.") or VisionConformerConfig.model_type not in CONFIG_MAPPING:
    AutoConfig.register(VisionConformerConfig.model_type, VisionConformerConfig, exist_ok=True)
AutoModel.register(VisionConformerConfig, VisionConformerModel, exist_ok=True)
AutoModelForImageClassification.register(VisionConformerConfig, VisionConformerForImageClassification, exist_ok=True)


__all__ = [
    "VisionConformerForImageClassification",
    "VisionConformerModel",
    "VisionConformerPreTrainedModel",
]
