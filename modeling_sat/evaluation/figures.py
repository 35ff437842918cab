"""The paper's figures of localization quality, several checkpoints in one, by matplotlib."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
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


Results = Mapping[str, Sequence[tuple[LocalizationEvaluator, float]]]
"""What a figure shows: name → evaluators with their records, one of each seed, and the localization thresholds in use."""
FILLED, PANELS = 3, 4
"""Up to how many distributions are filled, and how many panels stand side by side."""


def iou_distribution(results: Results) -> Figure:
    """Fig. 5: how many images have which overlap, and the median of the correct ones."""
    figure = Figure(figsize=(7, 4 + 0.2 * max(0, len(results) - 4)), layout="constrained")
    axes = figure.subplots()
    axes.axvspan(CORRECT, 1, color="0.94", zorder=0)
    for index, (name, of_seeds) in enumerate(results.items()):
        iou = np.concatenate([evaluator.iou(threshold) for evaluator, threshold in of_seeds])
        colour, style = colour_and_style(index)
        median = median_of_correct(iou)
        label = name if median is None else f"{name}: median of the correct {median:.3f}"
        weights = np.full(iou.shape, 100 / iou.size)
        bins = np.linspace(0, 1, 41 if len(results) <= FILLED else 21)
        if len(results) <= FILLED:
            axes.hist(iou, bins, weights=weights, histtype="stepfilled", alpha=0.25, color=colour)
        axes.hist(iou, bins, weights=weights, histtype="step", label=label, color=colour, linestyle=style)
        if median is not None:
            axes.axvline(median, color=colour, linestyle="--", linewidth=1)
    axes.set(xlabel="IoU with the closest true box (grey: correct)", ylabel="images (%)", xlim=(0, 1))
    _legend(axes, len(results))
    return figure


def iou_by_size(results: Results) -> Figure:
    """Fig. 6: where images lie by object size and overlap, and the median overlap of each tenth of the images."""
    columns = min(PANELS, len(results))
    lines = -(-len(results) // columns)
    figure = Figure(figsize=(4.2 * columns + 0.6, 3.9 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
    panels = grid.ravel()
    for axes in panels[len(results) :]:
        axes.remove()
    for axes, (name, of_seeds) in zip(panels, results.items()):
        found = [sizes_and_overlaps(evaluator, threshold) for evaluator, threshold in of_seeds]
        sizes, overlaps = (np.concatenate([part[index] for part in found]) for index in (0, 1))
        kind = found[0][2]
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
    for axes in grid[:, 0]:
        axes.set_ylabel(f"IoU with the {kind}")
    figure.colorbar(image, ax=list(panels[: len(results)]), label="images")
    return figure


def accuracy_over_thresholds(results: Results, constants: Mapping[str, float]) -> Figure:
    """Fig. 7: GT-known Loc at every threshold; a dot at the one in use, dotted lines for the constant boxes.

    Args:
        constants: name of a constant box → its GT-known Loc, a fraction.
    """
    figure = Figure(figsize=(7, 4 + 0.2 * max(0, len(results) - 4)), layout="constrained")
    axes = figure.subplots()
    for index, (name, of_seeds) in enumerate(results.items()):
        colour, style = colour_and_style(index)
        for evaluator, threshold in of_seeds:
            accuracy, label = 100 * accuracy_by_threshold(evaluator), name if evaluator is of_seeds[0][0] else None
            axes.plot(
                evaluator.thresholds,
                accuracy,
                label=label,
                color=colour,
                linestyle=style,
                linewidth=1.5 / len(of_seeds) ** 0.5,
            )
            axes.plot(threshold, accuracy[evaluator.threshold_index(threshold)], "o", color=colour, markersize=4)
    for name, accuracy in constants.items():
        axes.axhline(100 * accuracy, color="0.5", linestyle=":", linewidth=1)
        axes.annotate(f"constant: {name}", (0.995, 100 * accuracy), ha="right", va="bottom", color="0.4", size=8)
    axes.set(xlabel="threshold (dot: the one in use)", ylabel="GT-known Loc (%)", xlim=(0, 1), ylim=(0, 100))
    _legend(axes, len(results))
    return figure


def errors_by_cause(results: Results) -> Figure:
    """Fig. 9 and TS-CAM's table: how many images fail at Top-1 Loc for which reason, in the mean over seeds."""
    counted = {
        name: [count_causes(error_causes(evaluator, threshold)) for evaluator, threshold in of_seeds]
        for name, of_seeds in results.items()
    }
    return stacked_causes({
        name: {cause: float(np.mean([share[cause] for share in shares])) for cause in ERROR_CAUSES}
        for name, shares in counted.items()
    })  # fmt: skip


def stacked_causes(shares: Mapping[str, Mapping[str, float]]) -> Figure:
    """A bar for each name, of the shares of `ERROR_CAUSES`."""
    figure = Figure(figsize=(7, 1.4 + 0.5 * len(shares)), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(shares))
    for index, cause in enumerate(ERROR_CAUSES):
        widths = np.array([100 * of[cause] for of in shares.values()])
        bars = axes.barh(list(shares), widths, left=left, label=cause, color=f"C{index}")
        axes.bar_label(bars, [f"{width:.1f}" if width >= 1 else "" for width in widths], label_type="center", size=8)
        left += widths
    axes.set(xlabel="images (%) wrong at Top-1 Loc, by cause", xlim=(0, max(left.max() * 1.02, 1)))
    axes.invert_yaxis()
    axes.legend(frameon=False, ncols=len(ERROR_CAUSES), loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=8)
    return figure


def colour_and_style(index: int) -> tuple[str, str]:
    """Of the index-th line: ten colours, each drawn in three ways."""
    return f"C{index % 10}", ("-", "--", ":")[index // 10 % 3]


def _legend(axes: Axes, count: int) -> None:
    """Within the axes, or above them where it is long."""
    above = {"loc": "lower center", "bbox_to_anchor": (0.5, 1), "ncols": 2, "fontsize": 8}
    axes.legend(frameon=False, **(above if count > FILLED else {}))


def draw_figures(results: Results, constants: Mapping[str, float]) -> dict[str, Figure]:
    """All of them, by name; `constants` as in `accuracy_over_thresholds`."""
    return {
        "iou_distribution": iou_distribution(results),
        "iou_by_size": iou_by_size(results),
        "accuracy_over_thresholds": accuracy_over_thresholds(results, constants),
        "errors_by_cause": errors_by_cause(results),
    }
