"""Attention that a method reads, on any ViT of transformers and with whichever kernel the model is set to.

Every ViT of transformers asks its configuration which attention function to call. Here that is `reading_attention`, which
lets the method look at queries and keys, and change the values, before the kernel (eager, sdpa, flash, flex) gets them.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface
from transformers.models.vit.modeling_vit import eager_attention_forward


READING_ATTENTION = f"reading_attention of {__name__}"
"""By its module, since a checkpoint may bring another version of this file."""

Reader = Callable[..., tuple[torch.Tensor, torch.Tensor]]
"""(query, key, value, scaling) -> (what is read, value); query, key and value are (batch, heads, tokens, head_dim)."""


class Readings:
    """What the attention of one forward pass has read, in the order of the layers.

    Goes down to the attention functions as a keyword argument, so that nothing is kept on a module. Not a list, which
    accelerate would copy on its way.

    Args:
        grid: (h, w), patches.
    """

    def __init__(self, grid: tuple[int, int]):
        self.grid = grid
        self.values: list[Any] = []


def read_attention(attention: nn.Module, reader: Reader | None) -> None:
    """Lets `reader` see what an attention module of a ViT computes; None: only the kernel is chosen for each call."""
    attention.reader = reader
    if not isinstance(attention.config, _AttentionConfig):
        attention.config = _AttentionConfig(attention.config)


def reading_attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    readings: Readings | None = None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The attention function of every layer: the kernel's output, and its softmax weights where it gives them."""
    if module.reader is not None and readings is not None:
        reading, value = module.reader(query, key, value, scaling)
        readings.values.append(reading)
    config = module.config.of_model
    # Fused kernels never form the softmax, so asking for it means the eager function, for this call alone.
    name = "eager" if kwargs.get("output_attentions") else config._attn_implementation
    kernel = ALL_ATTENTION_FUNCTIONS.get_interface(name, eager_attention_forward)
    if name not in ("eager", "sdpa"):
        module = _Kernel(module, config)
    return kernel(module, query, key, value, attention_mask, scaling=scaling, **kwargs)


class _AttentionConfig:
    """What an attention module asks of its configuration; `of_model` says which kernel the model is set to."""

    _attn_implementation = READING_ATTENTION

    def __init__(self, config: PreTrainedConfig):
        self.of_model = config

    def __getattr__(self, name: str) -> Any:
        if name == "of_model":  # not there yet, while it is copied
            raise AttributeError(name)
        return getattr(self.of_model, name)


class _Kernel:
    """An attention module with the model's own configuration, in which flash attention looks up which one it is."""

    def __init__(self, module: nn.Module, config: PreTrainedConfig):
        self.module, self.config = module, config

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


AttentionInterface.register(READING_ATTENTION, reading_attention)


def class_token_row(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """A `Reader`: how the class token attends to each token, (batch, tokens) float32, the mean over heads."""
    scores = (key @ query[:, :, 0, :, None]).squeeze(3) * scaling  # (batch, heads, tokens)
    return scores.float().softmax(dim=2).mean(dim=1), value


__all__ = ["READING_ATTENTION", "Reader", "Readings", "class_token_row", "read_attention"]
