"""The paper's figures of localization quality, several checkpoints in one, by matplotlib."""

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from .analysis import (
    CORRECT,
    ERROR_CAUSES,
    accuracy_by_threshold,
    count_causes,
    error_causes,
    median_of_correct,
    sizes_and_overlaps,
)
from .evaluator import LocalizationEvaluator


Results = Mapping[str, tuple[LocalizationEvaluator, float]]
"""What a figure shows: name → evaluator with its records, and the localization threshold of that result."""


def iou_distribution(results: Results) -> Figure:
    """Fig. 5: how many images have which overlap, and the median of the correct ones."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(CORRECT, 1, color="0.94", zorder=0)
    for index, (name, (evaluator, threshold)) in enumerate(results.items()):
        iou, colour = evaluator.iou(threshold), f"C{index}"
        median = median_of_correct(iou)
        label = name if median is None else f"{name}: median of the correct {median:.3f}"
        weights = np.full(iou.shape, 100 / iou.size)
        axes.hist(iou, np.linspace(0, 1, 41), weights=weights, histtype="stepfilled", alpha=0.25, color=colour)
        axes.hist(iou, np.linspace(0, 1, 41), weights=weights, histtype="step", label=label, color=colour)
        if median is not None:
            axes.axvline(median, color=colour, linestyle="--", linewidth=1)
    axes.set(xlabel="IoU with the closest true box (grey: correct)", ylabel="images (%)", xlim=(0, 1))
    axes.legend(frameon=False)
    return figure


def iou_by_size(results: Results) -> Figure:
    """Fig. 6: where images lie by object size and overlap, and the median overlap of each tenth of the images."""
    figure = Figure(figsize=(4.2 * len(results) + 0.6, 3.9), layout="constrained")
    panels = figure.subplots(1, len(results), squeeze=False, sharey=True)[0]
    for axes, (name, (evaluator, threshold)) in zip(panels, results.items()):
        sizes, overlaps, kind = sizes_and_overlaps(evaluator, threshold)
        image = axes.hexbin(
            sizes, overlaps, gridsize=24, extent=(0, 1, 0, 1), mincnt=1, cmap="viridis", bins="log", linewidths=0.1
        )
        tenths = [tenth for tenth in np.array_split(np.argsort(sizes), min(10, len(sizes))) if tenth.size]
        axes.plot(
            [np.median(sizes[tenth]) for tenth in tenths],
            [np.median(overlaps[tenth]) for tenth in tenths],
            color="crimson", marker="o", markersize=3, label="median of each tenth",
        )  # fmt: skip
        axes.axhline(CORRECT, color="0.4", linestyle=":", linewidth=1)
        axes.set(title=name, xlabel=f"size of the object's {kind} (share of the view)", xlim=(0, 1), ylim=(0, 1))
        axes.legend(frameon=False, loc="lower right")
    panels[0].set_ylabel(f"IoU with the {kind}")
    figure.colorbar(image, ax=list(panels), label="images")
    return figure


def accuracy_over_thresholds(results: Results, constants: Mapping[str, float]) -> Figure:
    """Fig. 7: GT-known Loc at every threshold; a dot at the one in use, dotted lines for the constant boxes.

    Args:
        constants: name of a constant box → its GT-known Loc, a fraction.
    """
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for index, (name, (evaluator, threshold)) in enumerate(results.items()):
        accuracy = 100 * accuracy_by_threshold(evaluator)
        axes.plot(evaluator.thresholds, accuracy, label=name, color=f"C{index}")
        axes.plot(threshold, accuracy[evaluator.threshold_index(threshold)], "o", color=f"C{index}")
    for name, accuracy in constants.items():
        axes.axhline(100 * accuracy, color="0.5", linestyle=":", linewidth=1)
        axes.annotate(f"constant: {name}", (0.995, 100 * accuracy), ha="right", va="bottom", color="0.4", size=8)
    axes.set(xlabel="threshold (dot: the one in use)", ylabel="GT-known Loc (%)", xlim=(0, 1), ylim=(0, 100))
    axes.legend(frameon=False)
    return figure


def errors_by_cause(results: Results) -> Figure:
    """Fig. 9 and TS-CAM's table: how many images fail at Top-1 Loc for which reason."""
    figure = Figure(figsize=(7, 1.4 + 0.5 * len(results)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(results))
    shares = [count_causes(error_causes(evaluator, threshold)) for evaluator, threshold in results.values()]
    for index, cause in enumerate(ERROR_CAUSES):
        widths = np.array([100 * share[cause] for share in shares])
        bars = axes.barh(list(results), widths, left=left, label=cause, color=f"C{index}")
        axes.bar_label(bars, [f"{width:.1f}" if width >= 1 else "" for width in widths], label_type="center", size=8)
        left += widths
    axes.set(xlabel="images (%) wrong at Top-1 Loc, by cause", xlim=(0, max(left.max() * 1.02, 1)))
    axes.invert_yaxis()
    axes.legend(frameon=False, ncols=len(ERROR_CAUSES), loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=8)
    return figure


def draw_figures(results: Results, constants: Mapping[str, float]) -> dict[str, Figure]:
    """All of them, by name; `constants` as in `accuracy_over_thresholds`."""
    return {
        "iou_distribution": iou_distribution(results),
        "iou_by_size": iou_by_size(results),
        "accuracy_over_thresholds": accuracy_over_thresholds(results, constants),
        "errors_by_cause": errors_by_cause(results),
    }
