"""What two constant maps score on masks: the numbers a pixel metric has to be read beside."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..models.localization_sat import View
from .evaluator import PIXEL_THRESHOLDS
from .pixels import check_mask, pixel_bin_edges, pixel_metrics


SIGMAS = tuple(np.arange(2, 21) / 20)
"""Widths of the centred Gaussian that are tried, as fractions of the view's sides: 0.1 ... 1."""


@dataclass
class PixelCounts:
    """How often each pixel of the view is object and background over a set of masks: int64 (H, W) each.

    A map that is the same for every image needs no more to be scored than these two sums.
    """

    foreground: np.ndarray
    background: np.ndarray

    @classmethod
    def of(cls, masks: Iterable[np.ndarray | None], view: View) -> "PixelCounts":
        """Counts masks of original size, uint8: 0 background, 1 object, 255 ignored; None is passed over."""
        counts = np.zeros((2, *view.size), np.int64)
        for mask in masks:
            if mask is not None:
                mask = view.mask(check_mask(mask, np.shape(mask)))
                counts[0] += mask == 1
                counts[1] += mask == 0
        return cls(*counts)

    def score(self, constant_map: np.ndarray, thresholds: Sequence[float] = PIXEL_THRESHOLDS) -> dict[str, float]:
        """`pxap` and `piou`, fractions, of the one map (H, W) in [0, 1] for all images.

        Raises:
            ValueError: no mask has an object pixel.
        """
        edges = pixel_bin_edges(thresholds)
        bins = np.searchsorted(edges, constant_map.ravel(), side="right") - 1
        foreground, background = (
            np.bincount(bins, weights=counts.ravel(), minlength=len(edges))
            for counts in (self.foreground, self.background)
        )
        return pixel_metrics(foreground, background)


def centred_gaussian(view: View, sigma: float) -> np.ndarray:
    """A map (H, W), 1 at the view's centre, of standard deviation `sigma` times each side."""
    profiles = [np.exp(-((((np.arange(side) + 0.5) / side - 0.5) / sigma) ** 2) / 2) for side in view.size]
    return np.outer(*profiles)


def constant_map_baselines(
    view: View, chosen_on: PixelCounts, measured_on: PixelCounts
) -> dict[str, dict[str, float]]:
    """PxAP and pIoU of a uniform map and of the centred Gaussian with the best PxAP on `chosen_on`.

    Returns:
        `{"uniform": {"pxap", "piou"}, "gaussian": {"pxap", "piou", "sigma"}}`, fractions; sigma of the view's sides.
    """
    best = max(SIGMAS, key=lambda sigma: chosen_on.score(centred_gaussian(view, sigma))["pxap"])
    return {
        "uniform": measured_on.score(np.ones(view.size)),
        "gaussian": measured_on.score(centred_gaussian(view, best)) | {"sigma": float(best)},
    }
