"""An exponential moving average of the weights, which a constant learning rate leaves noisy."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn


AVERAGE_FILE = "ema.safetensors"


class AveragedWeights:
    """The average of the weights that learn, in memory beside them.

    Args:
        decay: how much of the average stays at each step, in (0, 1); at first less, (1 + step) / (10 + step), so that
            the beginning is soon forgotten.
    """

    def __init__(self, decay: float):
        self.decay = decay
        self.weights: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """After the optimizer's step number `step`, from 1."""
        current = _learning(model)
        if not self.weights:
            self.weights = {name: weight.detach().clone() for name, weight in current.items()}
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_([self.weights[name] for name in current], list(current.values()), 1 - decay)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchanges the model's weights and the average."""
        for name, weight in _learning(model).items() if self.weights else ():
            kept = weight.detach().clone()
            weight.copy_(self.weights[name])
            self.weights[name].copy_(kept)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """The model with the average as its weights, for a while."""
        self.swap(model)
        try:
            yield
        finally:
            self.swap(model)

    def save(self, checkpoint: Path) -> None:
        save_file(self.weights, checkpoint / AVERAGE_FILE)

    def load(self, checkpoint: Path, device: torch.device) -> None:
        self.weights = load_file(checkpoint / AVERAGE_FILE, device=str(device))


def _learning(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
