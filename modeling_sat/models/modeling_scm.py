"""SCM (Bai et al., Spatial Calibration Module, ECCV 2022): class maps that learn beside a diffusion over the patch grid.

Line references are to the authors' repository, 164140757/SCM @be5bdfa.
"""

import torch
from huggingface_hub.dataclasses import strict
from torch import nn
from transformers import initialization as init
from transformers.utils.generic import maybe_autocast

from .attention_wsol import class_token_row, read_attention
from .backbone_wsol import Tokens
from .configuration_wsol import WSOLConfig
from .modeling_wsol import ClassMapModel


FIRST_STEPS, LATER_STEPS = 16, 4
"""Newton-Schulz steps of the first diffusion block and of the others (`lib/models/deit.py:42-50, 113`)."""
STEP_SIZE = 0.002
"""Of the iteration's first guess (`lib/models/graphFusion.py:14`)."""


@strict
class SCMConfig(WSOLConfig):
    r"""
    Args:
        num_diffusion_blocks (`int`, defaults to 4):
            Activation diffusion blocks through which the class maps pass in training, 1 or more.
    """

    model_type = "scm"

    num_diffusion_blocks: int = 4

    def validate_diffusion(self):
        if self.num_diffusion_blocks < 1:
            raise ValueError(
                f"num_diffusion_blocks is {self.num_diffusion_blocks}; choose 1 or more (without one, SCM is TS-CAM)."
            )


class ActivationDiffusion(nn.Module):
    """One activation diffusion block: spreads an activation over neighbouring patches, less where they differ.

    With E the cosine similarity of patches, L the Laplacian of their grid and F the activation, it gives
    F' = norm(tanhshrink(Vᵀ F / (β max F))), V ≈ X⁻¹, X = L ⊙ (λE − 1) (`lib/models/deit.py:121-151`,
    `lib/models/graphFusion.py:275-314`). λ starts at 1, β at 0.5; both learn.

    Args:
        num_steps: of the Newton-Schulz iteration for V.
    """

    def __init__(self, num_steps: int):
        super().__init__()
        self.num_steps = num_steps
        self.similarity_weight = nn.Parameter(torch.empty(1))  # λ
        self.threshold = nn.Parameter(torch.empty(1))  # β
        self.reset_parameters()

    @torch.no_grad()
    def reset_parameters(self) -> None:
        init.constant_(self.similarity_weight, 1.0)
        init.constant_(self.threshold, 0.5)

    def forward(self, activation: torch.Tensor, similarity: torch.Tensor, laplacian: torch.Tensor) -> torch.Tensor:
        """
        Args:
            activation: (batch, patches) float32, not negative.
            similarity: (batch, patches, patches) float32 in [-1, 1].
            laplacian: (patches, patches) float32.

        Returns:
            (batch, patches) float32 in [0, 1].
        """
        weight = self.similarity_weight.float()
        inverse = newton_schulz(laplacian * (weight * similarity - 1), self.num_steps, step_size(weight.detach()))
        spread = (inverse.mT @ activation.unsqueeze(2)).squeeze(2)
        limit = self.threshold.float() * activation.amax(dim=1, keepdim=True)
        return to_unit_range(tanhshrink(spread / limit.where(limit != 0, 1)))


class SCMForWeaklySupervisedLocalization(ClassMapModel):
    """TS-CAM whose class maps, in training alone, are calibrated by what the class token attends to.

    With S the class maps of the 3×3 convolution and F the attention of the class token (mean over heads, sum over
    layers, min-max normalized), a class's map is F ⊙ S. In `eval` mode the logits are the means of S and the diffusion
    blocks do nothing: their λ and β are in a checkpoint for training to continue, and have no part in inference. In
    `train` mode each block gives F' (`ActivationDiffusion`), S += S ⊙ F' and F += F', and the logits are the means of
    the last S (`lib/models/deit.py:75-104, 139-151`). The loss is their cross-entropy; it reaches S, the attention, λ
    and β. A loss in `eval` mode is thus of other logits than one in `train` mode.

    Training takes, for N patches, some 56 N³ multiply-adds and 220 N² bytes an image beside the ViT.
    """

    config: SCMConfig
    config_class = SCMConfig

    def __init__(self, config: SCMConfig):
        super().__init__(config)
        steps = [FIRST_STEPS] + [LATER_STEPS] * (config.num_diffusion_blocks - 1)
        self.diffusion = nn.ModuleList(ActivationDiffusion(num_steps) for num_steps in steps)
        self.post_init()

    def extend_backbone(self) -> None:
        for block in self.blocks:
            read_attention(block.attention, class_token_row)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        if isinstance(module, ActivationDiffusion):
            module.reset_parameters()
        else:
            super()._init_weights(module)

    def activation(self, tokens: Tokens) -> torch.Tensor:
        """F: (batch, patches) float32 in [0, 1]."""
        attention = torch.stack(tokens.readings).sum(dim=0)  # (batch, tokens)
        return to_unit_range(tokens.on_grid(attention).flatten(1))

    def classified_maps(self, semantic_maps: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        if not self.training:
            return semantic_maps
        with maybe_autocast(semantic_maps.device.type, enabled=False):
            gain = self.calibration(semantic_maps.float(), self.activation(tokens))
        return semantic_maps * gain.to(semantic_maps.dtype)[:, None]

    def calibration(self, semantic_maps: torch.Tensor, activation: torch.Tensor) -> torch.Tensor:
        """What S grows by in all blocks together, ∏(1 + F'), the same for all classes.

        A block multiplies all class scores of a patch by one positive number, which leaves cosines as they were. So S
        is compared once for all blocks.

        Args:
            semantic_maps: S, (batch, num_labels, h, w) float32.
            activation: F, (batch, patches) float32.

        Returns:
            (batch, h, w) float32, 1 or more.
        """
        grid = semantic_maps.shape[2:]
        scores = nn.functional.normalize(semantic_maps.flatten(2), dim=1)  # (batch, num_labels, patches)
        similarity, laplacian = scores.mT @ scores, grid_laplacian(*grid, device=scores.device)
        gain = torch.ones_like(activation)
        for block in self.diffusion:
            spread = block(activation, similarity, laplacian)
            gain, activation = gain * (1 + spread), activation + spread
        return gain.unflatten(1, grid)

    def maps_of_classes(self, semantic_maps: torch.Tensor, tokens: Tokens) -> torch.Tensor:
        return semantic_maps * self.activation(tokens).detach().unflatten(1, tokens.grid)[:, None]


def grid_laplacian(height: int, width: int, device: torch.device | None = None) -> torch.Tensor:
    """Degrees minus adjacency of a grid in which each patch is joined to the 4 beside it: (patches, patches) float32."""
    lines = []
    for count in (height, width):
        place = torch.arange(count, device=device)
        adjacency = ((place[:, None] - place).abs() == 1).float()
        lines.append(adjacency.sum(dim=0).diag() - adjacency)
    rows, columns = lines  # whose Kronecker sum it is
    return torch.kron(rows, torch.eye(width, device=device)) + torch.kron(torch.eye(height, device=device), columns)


def step_size(similarity_weight: torch.Tensor) -> torch.Tensor:
    """Of `newton_schulz`, for X = L ⊙ (λE − 1) of a grid of any size: the authors' 0.002, or what converges.

    The iteration converges where the step is below 2/‖X‖². A row of L has at most 4 and four times −1, and E is 1 on the
    diagonal and in [-1, 1] beside it, so ‖X‖ ≤ 4 (|λ − 1| + |λ| + 1): 8 at the start. 0.002 thus serves λ from -2.8 to 3.8,
    on every grid; where training takes λ further, the authors' iteration may diverge and ours takes smaller steps.
    """
    norm = 4 * ((similarity_weight - 1).abs() + similarity_weight.abs() + 1)
    return (1.9 / norm**2).clamp(max=STEP_SIZE)


def newton_schulz(matrices: torch.Tensor, num_steps: int, step: torch.Tensor | float = STEP_SIZE) -> torch.Tensor:
    """An approximate inverse of (batch, n, n): V ← V (2 − X V) from V = step · Xᵀ, which carries no gradient.

    A singular value σ is inverted up to the factor 1 − (1 − step · σ²)^(2^num_steps), so singular matrices do no harm:
    of 16 steps of 0.002, σ below some 0.1 hardly counts, of 4 steps V is not far from 16 · step · Xᵀ.
    """
    inverse = (step * matrices.mT).detach()
    for _ in range(num_steps):
        inverse = torch.baddbmm(inverse, inverse, matrices @ inverse, beta=2, alpha=-1)
    return inverse


def tanhshrink(values: torch.Tensor) -> torch.Tensor:
    """x − tanh x, by its series where the difference would lose all digits: similar patches have x below 0.01."""
    square = values**2
    series = values * square * (1 / 3 - square * (2 / 15 - square * 17 / 315))
    return torch.where(values.abs() < 0.1, series, values - values.tanh())


def to_unit_range(values: torch.Tensor) -> torch.Tensor:
    """(batch, patches), each image min-max normalized to [0, 1]; 0 where all are equal, which the authors divide by 0."""
    values = values - values.amin(dim=1, keepdim=True)
    highest = values.amax(dim=1, keepdim=True)
    return values / highest.where(highest > 0, 1)


__all__ = ["ActivationDiffusion", "SCMConfig", "SCMForWeaklySupervisedLocalization"]
