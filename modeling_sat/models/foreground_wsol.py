"""A foreground prediction map, generated from what one layer's attention receives: what BAS and ORNet have in common."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.utils.generic import maybe_autocast

from .attention_wsol import Readings
from .configuration_wsol import WSOLConfig
from .modeling_wsol import WSOLOutput, WSOLPreTrainedModel


FOREGROUND_LOSSES = ["foreground_loss", "background_loss", "entropy_loss", "foreground_area"]


@dataclass
class ForegroundOutput(WSOLOutput):
    """
    Args:
        foreground_loss: scalar, cross-entropy of what the map leaves of the image.
        background_loss: scalar in [0, 1), how much of the class's activation the background alone has (BAS).
        entropy_loss: scalar, how undecided the map is (ORNet).
        foreground_area: scalar, the area that is to be small.
    """

    foreground_loss: torch.FloatTensor | None = None
    background_loss: torch.FloatTensor | None = None
    entropy_loss: torch.FloatTensor | None = None
    foreground_area: torch.FloatTensor | None = None


def check_generator_layer(config: WSOLConfig) -> None:
    """
    Raises:
        ValueError: `generator_layer` is not one of the layers.
    """
    if config.generator_layer is not None and not 1 <= config.generator_layer <= config.num_hidden_layers:
        raise ValueError(
            f"generator_layer is {config.generator_layer}; choose a layer from 1 to num_hidden_layers "
            f"({config.num_hidden_layers}), or None for the third from last."
        )


def check_not_negative(config: WSOLConfig, *fields: str) -> None:
    """
    Raises:
        ValueError: one of the fields is below 0, or not a number.
    """
    for field in fields:
        if not getattr(config, field) >= 0:
            raise ValueError(f"{field} is {getattr(config, field)}; choose 0 or more.")


class MaskedPass(Readings):
    """A second pass from the generator's layer on, whose attention there receives its patches times a mask.

    Args:
        mask: (batch, h, w) in [0, 1].
    """

    def __init__(self, grid: tuple[int, int], mask: torch.Tensor):
        super().__init__(grid)
        self.mask = mask


class ForegroundMapModel(WSOLPreTrainedModel):
    """The base of methods with a generator in one layer's attention.

    `encode(…).readings` are that layer's arguments and what `generate` makes of the patches that its attention receives.
    The layer's own skip connection goes round the generator.
    """

    masks_itself = False
    """Whether the attention receives its patches times the map, rather than as they are."""

    def extend_backbone(self) -> None:
        block = self.blocks[self.generator_index]
        block.register_forward_pre_hook(_remember_arguments, with_kwargs=True)
        block.attention.register_forward_pre_hook(self.enter_attention, with_kwargs=True)

    @property
    def generator_index(self) -> int:
        """Of the generator's layer, from 0."""
        config = self.config
        return config.generator_layer - 1 if config.generator_layer else max(config.num_hidden_layers - 3, 0)

    def generate(self, patches: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """What the generator makes of patches (batch, hidden, h, w)."""
        raise NotImplementedError

    def enter_attention(self, attention: nn.Module, arguments: tuple, named: dict[str, Any]) -> tuple | None:
        """A forward pre-hook of the generator's attention."""
        tokens, readings = arguments[0], named["readings"]
        if isinstance(readings, MaskedPass):
            mask = readings.mask
        else:
            height, width = readings.grid
            patches = tokens[:, self.first_patch : self.first_patch + height * width]
            generated = self.generate(patches.transpose(1, 2).unflatten(2, readings.grid))
            readings.values.append(generated)
            if not self.masks_itself:
                return None
            mask = generated
        mask = nn.functional.pad(mask.flatten(1), (self.first_patch, 0), value=1.0)  # class token and registers stay
        return (tokens * mask[:, :, None].to(tokens), *arguments[1:]), named

    def encode_masked(self, entry: tuple[tuple, dict[str, Any]], mask: torch.Tensor) -> torch.Tensor:
        """The patches (batch, h, w, hidden) of a pass that goes on from the generator's layer.

        Args:
            entry: that layer's arguments in the first pass.
            mask: (batch, h, w), what its attention's patches are multiplied by.
        """
        (hidden_states, *others), named = entry
        grid = named["readings"].grid
        named = {**named, "readings": MaskedPass(grid, mask)}
        hidden_states = hidden_states.detach()
        for block in self.blocks[self.generator_index :]:
            hidden_states = block(hidden_states, *others, **named)
        tokens = getattr(self.vit, self.family.final_norm)(hidden_states)
        return tokens[:, self.first_patch : self.first_patch + grid[0] * grid[1]].unflatten(1, grid)


def _remember_arguments(block: nn.Module, arguments: tuple, named: dict[str, Any]) -> None:
    named["readings"].values.append((arguments, named))


def through_the_map(
    run: Callable[[torch.Tensor], tuple[torch.Tensor, Any]], foreground: torch.Tensor
) -> tuple[torch.Tensor, Any]:
    """What a network that does not learn from it says of a map: its weights get no gradient, the map does.

    The gradient is taken here and handed to the map, which spares a frozen copy of the network, as authors make it.

    Args:
        run: (batch, h, w) -> (batch,), each image's own, and anything beside it.
        foreground: (batch, h, w).

    Returns:
        what `run` returns; the first carries the gradient of `foreground`, the second none.
    """
    if not (torch.is_grad_enabled() and foreground.requires_grad):
        return run(foreground)
    leaf = foreground.detach().requires_grad_()
    values, others = run(leaf)
    with maybe_autocast(foreground.device.type, enabled=False):
        (slope,) = torch.autograd.grad(values.sum(), leaf)
        nothing = (slope * (foreground - leaf.detach())).sum(dim=(1, 2))
    return values.detach() + nothing, others


__all__ = [
    "FOREGROUND_LOSSES",
    "ForegroundMapModel",
    "ForegroundOutput",
    "check_generator_layer",
    "check_not_negative",
    "through_the_map",
]
