"""Figures of a study's findings: means, and every seed as a dot."""

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..evaluation.figures import Results, accuracy_over_thresholds, iou_by_size, iou_distribution
from .names import CONSTANT_TITLES, METRIC_TITLES
from .results import Findings, Key


Draw = Callable[[Findings], Figure]


def bars(*metrics: str) -> Draw:
    """A panel for each metric, a bar for each row."""

    def draw(findings: Findings) -> Figure:
        rows = [row for row in findings.rows if findings.summary(Key(row), metrics[0])]
        figure = Figure(figsize=(4.6 * len(metrics) + 1, 1.5 + 0.5 * len(rows)), layout="constrained")
        for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0], metrics):
            for index, row in enumerate(rows):
                values = _percent(findings, Key(row), metric)
                axes.barh(index, np.mean(values), color=f"C{index}", alpha=0.35)
                axes.plot(values, _jitter(index, values), "o", color=f"C{index}", markersize=4)
            axes.set_yticks(range(len(rows)), rows)
            axes.set(xlabel=f"{METRIC_TITLES[metric]} (%)", xlim=(0, 100))
            _constants(axes, findings, metric, axes.axvline)
            _legend(axes, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
            axes.margins(y=0.02)
        axes.invert_yaxis()
        return figure

    return draw


def lines(metric: str, xlabel: str) -> Draw:
    """A line for each row over the columns."""

    def draw(findings: Findings) -> Figure:
        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        axes = figure.subplots()
        for index, row in enumerate(findings.rows):
            shift = 0.06 * (index - (len(findings.rows) - 1) / 2)
            _line(axes, findings, [Key(row, column) for column in findings.columns], metric, f"C{index}", row, shift)
        axes.set_xticks(range(len(findings.columns)), findings.columns)
        axes.set(xlabel=xlabel, ylabel=f"{METRIC_TITLES[metric]} (%)")
        _constants(axes, findings, metric, axes.axhline)
        _legend(axes)
        return figure

    return draw


def sweeps(metric: str) -> Draw:
    """A panel for each quantity, told by the first word of a row's name, over its values, the second word (Fig. 4)."""

    def draw(findings: Findings) -> Figure:
        named = [row.split(" ", 1) for row in findings.rows if findings.summary(Key(row), metric)]
        quantities = list(dict.fromkeys(quantity for quantity, _ in named))
        figure = Figure(figsize=(4.6 * max(1, len(quantities)) + 0.6, 3.9), layout="constrained")
        panels = figure.subplots(1, max(1, len(quantities)), squeeze=False, sharey=True)[0]
        for axes, quantity in zip(panels, quantities):
            values = [value for known, value in named if known == quantity]
            _line(axes, findings, [Key(f"{quantity} {value}") for value in values], metric, "C0")
            axes.set_xticks(range(len(values)), values)
            axes.set(xlabel=quantity)
            _constants(axes, findings, metric, axes.axhline)
            _legend(axes)
        panels[0].set_ylabel(f"{METRIC_TITLES[metric]} (%)")
        return figure

    return draw


def boxes(metric: str) -> Draw:
    """A box over seeds for each row and column, its mean as a number (Fig. 8)."""

    def draw(findings: Findings) -> Figure:
        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        axes = figure.subplots()
        width = 0.7 / len(findings.rows)
        for index, row in enumerate(findings.rows):
            samples = [_percent(findings, Key(row, column), metric) for column in findings.columns]
            places = np.arange(len(samples)) + width * (index - (len(findings.rows) - 1) / 2)
            drawn = axes.boxplot(
                samples, positions=places, widths=0.8 * width, showfliers=False, patch_artist=True,
                boxprops={"facecolor": f"C{index}", "alpha": 0.25}, medianprops={"color": f"C{index}"},
                manage_ticks=False,
            )  # fmt: skip
            drawn["boxes"][0].set_label(row)
            for place, sample in zip(places, samples):
                if sample:
                    axes.plot(_jitter(place, sample, 0.1 * width), sample, "o", color=f"C{index}", markersize=4)
                    axes.annotate(
                        f"{np.mean(sample):.1f}", (place, max(sample)), (0, 6), textcoords="offset points", ha="center"
                    )
        axes.set_xticks(range(len(findings.columns)), findings.columns)
        axes.set(xlabel="training images per class", ylabel=f"{METRIC_TITLES[metric]} (%)")
        axes.margins(y=0.1)
        _constants(axes, findings, metric, axes.axhline)
        _legend(axes)
        return figure

    return draw


def overlap_distribution(findings: Findings) -> Figure:
    """Fig. 5."""
    return iou_distribution(_results(findings))


def overlap_by_size(findings: Findings) -> Figure:
    """Fig. 6."""
    return iou_by_size(_results(findings))


def accuracy_by_threshold(findings: Findings) -> Figure:
    """Fig. 7."""
    constants = {
        CONSTANT_TITLES[name]: float(np.mean(metrics["gt_known_loc"])) / 100
        for name, metrics in findings.constants().items()
        if "gt_known_loc" in metrics
    }
    return accuracy_over_thresholds(_results(findings), constants)


def _results(findings: Findings) -> Results:
    return {
        f"{key.row}, seed {seed}": (outcome.records(), outcome.threshold)
        for key, outcomes in findings.outcomes.items()
        for seed, outcome in outcomes.items()
    }


def _percent(findings: Findings, key: Key, metric: str) -> list[float]:
    return [100 * value for value in findings.values(key, metric).values()]


def _jitter(place: float, values: list[float], width: float = 0.08) -> np.ndarray:
    return place + (np.linspace(-width, width, len(values)) if len(values) > 1 else np.zeros(len(values)))


def _line(
    axes: Axes, findings: Findings, keys: list[Key], metric: str, colour: str, label: str = "", shift: float = 0
) -> None:
    samples = {place: _percent(findings, key, metric) for place, key in enumerate(keys)}
    samples = {place: sample for place, sample in samples.items() if sample}
    places = [place + shift for place in samples]
    axes.plot(places, [np.mean(sample) for sample in samples.values()], color=colour, label=label or None)
    for place, sample in zip(places, samples.values()):
        axes.plot(_jitter(place, sample, 0.02), sample, "o", color=colour, markersize=4, alpha=0.6)


def _constants(axes: Axes, findings: Findings, metric: str, line: Callable) -> None:
    """Grey lines of what looks at nothing, named in the legend."""
    known = {name: metrics[metric] for name, metrics in findings.constants().items() if metric in metrics}
    for (name, values), style in zip(known.items(), cycle((":", "--"))):
        line(float(np.mean(values)), color="0.4", linestyle=style, linewidth=1, label=CONSTANT_TITLES[name])


def _legend(axes: Axes, **place: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, **place)
