"""The losses on localization maps, and what a part of a batch weighs. Line references: wpy1999/SAT @702290d."""

import torch
from torch import nn


def area_loss(
    localization_map: torch.Tensor,
    target: float,
    over_all_processes: bool = False,
    batch_area: torch.Tensor | None = None,
) -> torch.Tensor:
    """Eq. 7: the distance of the batch's mean foreground area from λ.

    Args:
        localization_map: (batch, h, w) in [0, 1].
        target: λ, in (0, 1).
        over_all_processes: take the mean over the batches of all processes. Every process must call at once. The
            value is the global one on each, and after DistributedDataParallel averages them the gradient is exact.
        batch_area: scalar, the mean area of the batch that these maps are a part of. Averaged over all parts by
            their number of images, value and gradient are then those of the whole batch.

    Returns:
        scalar in [0, 1].
    """
    area = localization_map.mean()
    if batch_area is None and over_all_processes:
        # Uneven batches weigh by their share of the images.
        totals = sum_over_processes(area.detach() * len(localization_map), len(localization_map))
        area = area * (len(localization_map) * world_size() / totals[1])
        batch_area = totals[0] / totals[1]
    if batch_area is not None:
        # ∇|A - λ| = sign(A - λ)·∇A: only the sign depends on the rest of the batch.
        area = area + (batch_area - area).detach()
    return (area - target).abs()


def world_size() -> int:
    """Number of processes that train together."""
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if distributed else 1


def sum_over_processes(total: torch.Tensor, count: int) -> torch.Tensor:
    """(2,) float32: `total` and `count`, each summed over all processes."""
    totals = torch.stack([total, torch.full_like(total, count)])
    if world_size() > 1:
        torch.distributed.all_reduce(totals)
    return totals


def normalization_loss(localization_map: torch.Tensor, kernel_size: int = 3, sigma: float = 0.418) -> torch.Tensor:
    """Eq. 8: the mean of M*(1 - M*), where M* is the map after a zero-padded Gaussian filter (`Model/SAT.py:25-31,128`).

    Args:
        localization_map: (batch, h, w) in [0, 1].
        kernel_size: odd, in patches.
        sigma: standard deviation in patches.

    Returns:
        scalar in [0, 0.25].
    """
    distance = torch.arange(kernel_size, device=localization_map.device, dtype=localization_map.dtype)
    profile = torch.exp(-((distance - kernel_size // 2) ** 2) / (2 * sigma**2))
    profile = profile / profile.sum()
    smoothed = nn.functional.conv2d(
        localization_map.unsqueeze(1), profile.outer(profile)[None, None], padding=kernel_size // 2
    )
    return (smoothed * (1 - smoothed)).mean()


def share_of_batch(labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None) -> torch.Tensor | float:
    """What a mean over these images weighs in the loss of the batch that they are a part of."""
    return 1.0 if num_items_in_batch is None else len(labels) / num_items_in_batch


__all__ = ["area_loss", "normalization_loss", "share_of_batch", "sum_over_processes", "world_size"]
