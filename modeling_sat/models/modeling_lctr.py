"""LCTR (Chen et al., AAAI 2022): class maps whose kernels follow the image, coupled with what the class token's tokens see.

Line references are to the authors' repository, zhiweichen0012/LCTR @e38bfce.
"""

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import initialization as init
from transformers.utils.generic import can_return_tuple, maybe_autocast

from .attention_wsol import class_token_row, read_attention
from .configuration_wsol import WSOLConfig
from .modeling_wsol import WSOLOutput, WSOLPreTrainedModel, classification_losses
from .multiscale_sat import min_max


@strict
class LCTRConfig(WSOLConfig):
    r"""
    Every field of [`WSOLConfig`] keeps its meaning.

    Args:
        num_experts (`int`, defaults to 4):
            Kernels of the head, of which each image gets its own mixture.
    """

    model_type = "lctr"

    num_experts: int = 4

    def validate_num_experts(self):
        if self.num_experts < 1:
            raise ValueError(f"num_experts is {self.num_experts}; choose a whole number, 1 or more.")


def relational_row(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """A `Reader`: how the class token attends to each token, in one step and in two, (batch, tokens, 2) float32.

    With Ā the softmax averaged over heads, the first is Ā[cls, j], the second Σ_i Ā[cls, i] Ā[i, j] over all tokens i:
    class token and patches, and where there are some distillation token and registers. The authors have the mean over i
    (`models.py:68-77`): the number of tokens less, which the map's normalization takes away. The second carries no
    gradient, since no loss reads it (`models.py:428-447`).
    """
    row, value = class_token_row(query, key, value, scaling)
    query, key, weights = query.detach(), key.detach(), row.detach()[:, None]
    two_steps = torch.zeros_like(weights)  # (batch, 1, tokens)
    for q, k in zip(query.unbind(1), key.unbind(1)):  # head by head, so that one attention matrix is held at a time
        attention = (q @ k.transpose(1, 2) * scaling).float().softmax(dim=2)
        with maybe_autocast(q.device.type, enabled=False):
            two_steps = two_steps + weights @ attention
    return torch.stack([row, two_steps.squeeze(1) / query.shape[1]], dim=2), value


class CueRouting(nn.Module):
    """How much each expert kernel says of an image, by features of where the class token does not look.

    With `ExpertClassifier` the cue digging module (`modules/ops.py:16-114`, `models.py:433-436`).
    """

    def __init__(self, config: LCTRConfig):
        super().__init__()
        self.convolution = nn.Conv2d(config.hidden_size, config.hidden_size, kernel_size=3, padding=1)
        self.average = nn.Linear(config.hidden_size, config.num_experts)
        self.maximum = nn.Linear(config.hidden_size, config.num_experts)

    def forward(self, tokens: torch.Tensor, attention: torch.Tensor) -> torch.Tensor:
        """(batch, h, w, hidden), (batch, h, w) -> (batch, num_experts) float32 in [0, 1]."""
        unseen = tokens * (1 - attention)[..., None].to(tokens.dtype)
        cues = self.convolution(unseen.permute(0, 3, 1, 2))
        scores = self.average(cues.mean(dim=(2, 3))) + self.maximum(cues.amax(dim=(2, 3)))
        return scores.float().sigmoid()


class ExpertClassifier(nn.Module):
    """Class maps by a 3×3 convolution with a mixture of expert kernels, and logits as the mean of their 3×3 averages.

    All of it is linear in the kernels, so that no image needs kernels of its own: logits are window sums of the tokens
    and one matrix product, as in `PatchClassifier`.
    """

    def __init__(self, config: LCTRConfig):
        super().__init__()
        # Classes first, so that the head of other classes is made of its rows.
        self.weight = nn.Parameter(torch.empty(config.num_labels, config.num_experts, config.hidden_size, 3, 3))
        self.bias = nn.Parameter(torch.empty(config.num_labels))

    def forward(self, tokens: torch.Tensor, routing: torch.Tensor) -> torch.Tensor:
        """(batch, h, w, hidden), (batch, num_experts) -> logits (batch, num_labels)."""
        height, width = tokens.shape[1:3]
        # Zero-padded 3×3 averages (`models.py:438`) count a position once for each third of an axis that reaches it.
        rows, columns = (_neighbours(tokens.new_ones(size)).mean(dim=0) for size in (height, width))
        rows, columns = rows / height, columns / width
        with maybe_autocast(tokens.device.type, enabled=False):
            means = torch.einsum("ih,jw,nhwd->ndij", _neighbours(rows), _neighbours(columns), tokens)
        by_expert = nn.functional.linear(means.flatten(1), self.weight.flatten(2).flatten(0, 1))
        by_expert = by_expert.unflatten(1, self.weight.shape[:2])  # (batch, num_labels, num_experts)
        logits = (by_expert * routing[:, None].to(by_expert.dtype)).sum(dim=2)
        return logits + (self.bias * rows.sum() * columns.sum()).to(logits.dtype)

    def class_maps(self, tokens: torch.Tensor, routing: torch.Tensor) -> torch.Tensor:
        """(batch, h, w, hidden), (batch, num_experts) -> (batch, num_labels, h, w) float32."""
        image, maps = tokens.permute(0, 3, 1, 2), self.bias[:, None, None]
        for expert, share in enumerate(routing.unbind(1)):
            maps = maps + share[:, None, None, None] * nn.functional.conv2d(image, self.weight[:, expert], padding=1)
        return maps

    def map_of(self, tokens: torch.Tensor, routing: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        """The map of one class (batch,) of each image, without those of the others: (batch, h, w)."""
        kernels = torch.einsum("ne,nedij->nijd", routing.to(self.weight.dtype), self.weight[classes]).flatten(1, 2)
        parts = torch.einsum("nhwd,nkd->nkhw", tokens, kernels)  # what a patch says to each of its nine neighbours
        gather = torch.eye(9, dtype=parts.dtype, device=parts.device).reshape(1, 9, 3, 3)
        return nn.functional.conv2d(parts, gather, padding=1).squeeze(1) + self.bias[classes, None, None]


def _neighbours(values: torch.Tensor) -> torch.Tensor:
    """(size,) -> (3, size): each position's next value, its own and its last, zero outside."""
    padded = nn.functional.pad(values, (1, 1))
    return torch.stack([padded[2:], padded[1:-1], padded[:-2]])


class LCTRForWeaklySupervisedLocalization(WSOLPreTrainedModel):
    """A ViT with a relational patch-attention module and a cue digging module.

    A class's map is what the head finds of it, where positive, times the two-step attention of the class token, the mean
    over layers (`engine.py:143-150`, `vis_tools.py:46-54`). What the class token sees in one step, the mean over layers
    with its gradient, decides which kernels the head mixes. The loss is cross-entropy alone.
    """

    config: LCTRConfig
    config_class = LCTRConfig
    maps_are_of_a_class = True

    def __init__(self, config: LCTRConfig):
        super().__init__(config)
        self.cue_routing = CueRouting(config)
        self.patch_classifier = ExpertClassifier(config)
        self.add_branch_classifier()
        self.post_init()

    def extend_backbone(self) -> None:
        for block in self.blocks:
            read_attention(block.attention, relational_row)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        # Outside the backbone, which initialises itself, PyTorch's own initialization as the authors leave it: uniform
        # in ±1/√inputs. For the inputs of the kernels (experts, classes, hidden, 3, 3) it takes all dimensions after the
        # first (`modules/ops.py:72-76`).
        if isinstance(module, (nn.Conv2d, nn.Linear, ExpertClassifier)):
            inputs = module.weight[:, 0] if isinstance(module, ExpertClassifier) else module.weight[0]
            bound = inputs.numel() ** -0.5
            init.uniform_(module.weight, -bound, bound)
            init.uniform_(module.bias, -bound, bound)

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
        """As that of `ClassMapModel`: no map carries a gradient."""
        tokens = self.encode(pixel_values, interpolate_pos_encoding=interpolate_pos_encoding, **kwargs)
        patches = tokens.patches
        attention = torch.stack([reading.to(patches.device) for reading in tokens.readings]).mean(dim=0)
        seen, relational = tokens.on_grid(attention).unbind(-1)  # (batch, h, w) each
        routing = self.cue_routing(patches, seen)
        logits = self.with_branch(self.patch_classifier(patches, routing), tokens)
        head = patches.detach(), routing.detach()
        class_map = self.patch_classifier.map_of(*head, logits.argmax(dim=1)).detach().relu() * relational
        class_maps = None
        if output_class_maps:
            class_maps = self.patch_classifier.class_maps(*head).detach().relu() * relational[:, None]
        return WSOLOutput(
            **classification_losses(logits, labels, num_items_in_batch),
            logits=logits,
            localization_map=min_max(class_map.float()),
            class_maps=class_maps,
            hidden_states=tokens.hidden_states,
            attentions=tokens.attentions,
        )


__all__ = ["LCTRConfig", "LCTRForWeaklySupervisedLocalization"]
