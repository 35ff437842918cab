"""A vision transformer seen as prefix, patches, grid and blocks: a plain ViT, or any family of `FAMILIES`.

The backbone is transformers' own model, unchanged, or our Conformer. Drop path, position embeddings for any grid and what a
method reads of the attention are hooked onto its modules, so that the names of its weights stay what they are on the Hub.
"""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import MethodType
from typing import Any

import torch
from torch import nn
from transformers import MODEL_MAPPING, PreTrainedConfig, PreTrainedModel

from .attention_wsol import read_attention
from .configuration_wsol import WSOLConfig, pair
from .modeling_conformer import VisionConformerModel


@dataclass(frozen=True)
class Family:
    """
    Args:
        prefix: tokens before the patches, besides `num_register_tokens` of its configuration.
        is_rotary: its position embedding takes the last tokens for the patches, so that none may stand after them.
        antialias: how its position embeddings are resized.
        final_norm: what it calls the norm after its last block.
        model_arguments: for the class of its model.
        model_class: of its model, where that is ours. Not found by the configuration's class, of which a checkpoint's code
            may be loaded twice.
    """

    prefix: int = 1
    is_rotary: bool = False
    antialias: bool = False
    final_norm: str = "layernorm"
    model_arguments: tuple[str, ...] = ()
    model_class: type[PreTrainedModel] | None = None


FAMILIES = {
    "vit": Family(model_arguments=("add_pooling_layer",)),
    "deit": Family(prefix=2, model_arguments=("add_pooling_layer",)),
    "dinov2": Family(),
    "dinov2_with_registers": Family(antialias=True),
    "dinov3_vit": Family(is_rotary=True, final_norm="norm"),
    "vision_conformer": Family(model_class=VisionConformerModel),
}
"""Model types on which every method can be built. Another needs the blocks that
`blocks_of` looks for."""


def family_of(config: PreTrainedConfig) -> Family:
    """
    Raises:
        ValueError: a backbone of no known family.
    """
    if config.model_type not in FAMILIES:
        raise ValueError(
            f"A {config.model_type!r} cannot be a backbone, since the position of its patches is unknown. Choose one of "
            f"{', '.join(map(repr, FAMILIES))}."
        )
    return FAMILIES[config.model_type]


def build_backbone(config: WSOLConfig) -> PreTrainedModel:
    """The backbone of a method: the model of the family, with `config.drop_path_rate`.

    Raises:
        ValueError: another family, or a model without blocks of attention and MLP.
    """
    own = copy.deepcopy(config.of_backbone())
    family = family_of(own)
    if getattr(own, "drop_path_rate", 0):
        own.drop_path_rate = 0.0  # the method's own takes its place
    model_class = family.model_class or MODEL_MAPPING[type(own)]
    backbone = model_class._from_config(
        own, attn_implementation=config._attn_implementation, **dict.fromkeys(family.model_arguments, False)
    )
    embeddings = backbone.embeddings
    if getattr(embeddings, "mask_token", None) is not None:
        embeddings.mask_token.requires_grad_(False)  # of pretraining; nothing here would give it a gradient
    if hasattr(embeddings, "position_embeddings"):
        patches, image = pair(own.patch_size), pair(own.image_size)
        embeddings.table_grid = tuple(side // patch for side, patch in zip(image, patches))
        embeddings.table_patch, embeddings.table_antialias = patches, family.antialias
        embeddings.interpolate_pos_encoding = MethodType(resized_positions, embeddings)
    for index, block in enumerate(blocks_of(backbone)):
        read_attention(block.attention, None)
        rate = config.drop_path_rate * index / max(config.num_hidden_layers - 1, 1)
        if rate > 0:
            for branch in (block.attention, block.mlp):
                branch.register_forward_hook(DropPath(rate))
    return backbone


@contextmanager
def initialised_later() -> Iterator[None]:
    """Models of transformers initialise themselves when they are made; those made here are left to whoever holds them."""
    original = PreTrainedModel.init_weights
    PreTrainedModel.init_weights = lambda model: None
    try:
        yield
    finally:
        PreTrainedModel.init_weights = original


def blocks_of(backbone: PreTrainedModel) -> nn.ModuleList:
    """The transformer blocks in order, each with `attention` and `mlp`.

    Raises:
        ValueError: it has none.
    """
    lists = [module for module in backbone.modules() if isinstance(module, nn.ModuleList)]
    for blocks in lists:
        if len(blocks) == backbone.config.num_hidden_layers and all(
            hasattr(block, name) for block in blocks for name in ("attention", "mlp")
        ):
            return blocks
    raise ValueError(f"A {type(backbone).__name__} has no list of blocks with attention and mlp, so none can be read.")


def resized_positions(embeddings: nn.Module, _: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Position embeddings (1, prefix + patches, hidden) for an input of `height` × `width` pixels, by bicubic resize."""
    table, grid = embeddings.position_embeddings, embeddings.table_grid
    new_grid = tuple(side // patch for side, patch in zip((height, width), embeddings.table_patch))
    exporting = torch.jit.is_tracing() or torch.compiler.is_exporting()  # any size may come
    if not exporting and new_grid == grid:
        return table
    return resize_positions(table, grid, new_grid, embeddings.table_antialias)


def resize_positions(
    table: torch.Tensor, grid: tuple[int, int], new_grid: tuple[int, int], antialias: bool = False
) -> torch.Tensor:
    """(1, prefix + patches, hidden) for a grid of patches, by bicubic resize to another; the prefix stays as it is."""
    prefix, patches = table.split([table.shape[1] - grid[0] * grid[1], grid[0] * grid[1]], dim=1)
    resized = nn.functional.interpolate(
        patches.to(torch.promote_types(patches.dtype, torch.float32)).transpose(1, 2).unflatten(2, grid),
        size=new_grid, mode="bicubic", align_corners=False, antialias=antialias,
    )  # fmt: skip
    return torch.cat([prefix, resized.to(patches.dtype).flatten(2).transpose(1, 2)], dim=1)


class DropPath:
    """A forward hook: stochastic depth (Huang et al., ECCV 2016) of the branch that a module computes."""

    def __init__(self, rate: float):
        self.rate = rate

    def __call__(self, module: nn.Module, _: Any, output: torch.Tensor | tuple) -> torch.Tensor | tuple | None:
        if not module.training:
            return None
        branch = output[0] if isinstance(output, tuple) else output
        keep = 1 - self.rate
        branch = branch * (branch.new_empty(branch.shape[0], 1, 1).bernoulli_(keep) / keep)
        return (branch, *output[1:]) if isinstance(output, tuple) else branch


@dataclass
class Tokens:
    """What a backbone makes of images.

    Args:
        last_hidden_state: (batch, tokens, hidden) after the final norm.
        grid: (h, w), patches.
        first_patch: where they start among the tokens.
        readings: what the method has read in each layer's attention.
        hidden_states, attentions: as in transformers, where they are asked for.
        branch: (batch, channels), what a second branch (Conformer's convolutions) has made of the whole image; None of
            a backbone without one.
    """

    last_hidden_state: torch.Tensor
    grid: tuple[int, int]
    first_patch: int
    readings: list[Any]
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None
    branch: torch.Tensor | None = None

    @property
    def class_token(self) -> torch.Tensor:
        """(batch, hidden)."""
        return self.last_hidden_state[:, 0]

    @property
    def patches(self) -> torch.Tensor:
        """(batch, h, w, hidden)."""
        return self.on_grid(self.last_hidden_state)

    def on_grid(self, tokens: torch.Tensor) -> torch.Tensor:
        """The patches among (batch, tokens, …) as (batch, h, w, …)."""
        count = self.grid[0] * self.grid[1]
        return tokens[:, self.first_patch : self.first_patch + count].unflatten(1, self.grid)


def check_size(
    height: int, width: int, patch_size: int | Iterable[int], image_size: int | Iterable[int] | None
) -> None:
    """
    Args:
        image_size: what the model is made for; None: any size in whole patches.

    Raises:
        ValueError: an input that is not in whole patches, or of another size.
    """
    for axis, pixels, patch in zip(("height", "width"), (height, width), pair(patch_size)):
        if pixels < patch or pixels % patch:
            below = pixels // patch * patch
            nearest = f"{below} or {below + patch}" if below else f"{patch}"
            raise ValueError(
                f"The input is {height}×{width} pixels, but its {axis} {pixels} is not a multiple of the patch "
                f"size {patch}. Resize it to {nearest}; SATImageProcessor does so by its `size`."
            )
    if image_size is not None and (height, width) != pair(image_size):
        raise ValueError(
            f"The input is {height}×{width} pixels, but the model is made for {pair(image_size)[0]}×"
            f"{pair(image_size)[1]}. Resize it, or pass interpolate_pos_encoding=True."
        )


__all__ = [
    "FAMILIES",
    "Family",
    "Tokens",
    "blocks_of",
    "build_backbone",
    "check_size",
    "family_of",
    "initialised_later",
    "resize_positions",
]
