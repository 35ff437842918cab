"""Pixel metrics against masks, from histograms of map values pooled over the pixels of all images."""

import numpy as np


IGNORE = 255
"""Mask value of pixels that count neither as object nor as background."""


def check_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """`mask` as uint8 (H, W) of 0 (background), 1 (object) and 255 (ignore).

    Raises:
        ValueError: another size than `size` (H, W), or other values.
    """
    mask = np.asarray(mask)
    if mask.shape != tuple(size):
        raise ValueError(f"the mask has shape {mask.shape}; expected {tuple(size)}, the (height, width) of its image.")
    unknown = np.setdiff1d(mask, (0, 1, IGNORE))
    if unknown.size:
        raise ValueError(
            f"the mask holds the values {unknown[:5].tolist()}; expected 0 background, 1 object, 255 ignore. "
            "If it is a 0/255 picture, pass `mask > 0`."
        )
    return mask.astype(np.uint8)


def pixel_bin_edges(thresholds: np.ndarray) -> np.ndarray:
    """Left edges of the histogram bins: 0 (so that no pixel is lost), the thresholds, and 1.

    wsolevaluation evaluation.py:309-313 has [thresholds..., 1, 2, 3]; scores end at 1, so its bin [2, 3) is empty.
    """
    return np.unique(np.concatenate([[0.0], thresholds, [1.0]]))


def score_histograms(view_map: np.ndarray, mask: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of object and background pixels whose score falls in [edges[k], edges[k + 1]).

    As wsolevaluation evaluation.py:315-339 (`np.histogram` of each kind of pixel).

    Args:
        view_map: float (H, W), values in [0, 1].
        mask: uint8 (H, W), 0 background, 1 object, 255 ignored.
        edges: (K,), ascending, see `pixel_bin_edges`.

    Returns:
        foreground, background: int64 (K,).
    """

    def histogram(scores: np.ndarray) -> np.ndarray:
        below = np.searchsorted(np.sort(scores), edges, side="left")
        return np.diff(below, append=scores.size)

    return histogram(view_map[mask == 1]), histogram(view_map[mask == 0])


def pixel_metrics(foreground: np.ndarray, background: np.ndarray) -> dict[str, float]:
    """PxAP and peak IoU from `score_histograms` summed over images; a pixel is predicted object if score >= edge.

    - `pxap`: sum over thresholds of P_n (R_n - R_{n-1}), wsolevaluation evaluation.py:341-374 (there in percent).
    - `piou`: the maximum over thresholds of TP / (TP + FP + FN), as DA-WSOL evaluation.py:486.

    Raises:
        ValueError: no object pixel in any mask.
    """
    positives = foreground.sum()
    if positives == 0:
        raise ValueError(
            "no mask has an object pixel, so precision and recall are undefined; check the masks (1 = object)."
        )
    true = foreground[::-1].cumsum().astype(np.float64)  # from the highest threshold to 0
    false = background[::-1].cumsum().astype(np.float64)
    predicted = true + false
    precision = np.divide(true, predicted, out=np.zeros_like(true), where=predicted > 0)
    recall = true / positives
    return {
        "pxap": float((precision * np.diff(recall, prepend=0.0)).sum()),
        "piou": float(iou_over_thresholds(foreground, background).max()),
    }


def iou_over_thresholds(foreground: np.ndarray, background: np.ndarray) -> np.ndarray:
    """TP / (TP + FP + FN) over pooled pixels: float64 (K,), for each edge as the threshold."""
    true, false = (histogram[::-1].cumsum()[::-1].astype(np.float64) for histogram in (foreground, background))
    return true / (false + foreground.sum())
