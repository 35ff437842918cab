"""Figures of a study's results: means, and every seed as a dot."""

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ..evaluation.analysis import ERROR_CAUSES
from ..evaluation.figures import (
    Results,
    accuracy_over_thresholds,
    iou_by_size,
    iou_distribution,
    stacked_causes,
)
from .costs import COSTS, cost
from .names import CONSTANT_TITLES, METRIC_TITLES
from .results import Key, StudyResults


Draw = Callable[[StudyResults], Figure]


def bars(*metrics: str) -> Draw:
    """A panel for each metric, a bar for each row."""

    def draw(results: StudyResults) -> Figure:
        rows = [row for row in results.rows if results.summary(row, metrics[0])]
        figure = Figure(figsize=(4.6 * len(metrics) + 1, 1.5 + 0.5 * len(rows)), layout="constrained")
        for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False, sharey=True)[0], metrics):
            for index, row in enumerate(rows):
                values = _percent(results, row, metric)
                axes.barh(index, np.mean(values), color=f"C{index}", alpha=0.35)
                axes.plot(values, _jitter(index, values), "o", color=f"C{index}", markersize=4)
            axes.set_yticks(range(len(rows)), map(str, rows))
            axes.set(xlabel=f"{METRIC_TITLES[metric]} (%)", xlim=(0, 100))
            _constants(axes, results, metric, axes.axvline)
            _legend(axes, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
            axes.margins(y=0.02)
        axes.invert_yaxis()
        return figure

    return draw


def lines(metric: str, xlabel: str) -> Draw:
    """A line for each row over the columns."""

    def draw(results: StudyResults) -> Figure:
        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        axes = figure.subplots()
        for index, row in enumerate(results.rows):
            shift = 0.06 * (index - (len(results.rows) - 1) / 2)
            keys = [row.at(column) for column in results.columns]
            _line(axes, results, keys, metric, f"C{index}", str(row), shift)
        axes.set_xticks(range(len(results.columns)), results.columns)
        axes.set(xlabel=xlabel, ylabel=f"{METRIC_TITLES[metric]} (%)")
        _constants(axes, results, metric, axes.axhline)
        _legend(axes)
        return figure

    return draw


def sweeps(metric: str) -> Draw:
    """A panel for each quantity, told by the first word of a row's name, over its values, the second word (Fig. 4)."""

    def draw(results: StudyResults) -> Figure:
        named = [row.row.split(" ", 1) for row in results.rows if results.summary(row, metric)]
        quantities = list(dict.fromkeys(quantity for quantity, _ in named))
        figure = Figure(figsize=(4.6 * max(1, len(quantities)) + 0.6, 3.9), layout="constrained")
        panels = figure.subplots(1, max(1, len(quantities)), squeeze=False, sharey=True)[0]
        for axes, quantity in zip(panels, quantities):
            values = [value for known, value in named if known == quantity]
            _line(axes, results, [Key(f"{quantity} {value}") for value in values], metric, "C0")
            axes.set_xticks(range(len(values)), values)
            axes.set(xlabel=quantity)
            _constants(axes, results, metric, axes.axhline)
            _legend(axes)
        panels[0].set_ylabel(f"{METRIC_TITLES[metric]} (%)")
        return figure

    return draw


def boxes(metric: str) -> Draw:
    """A box over seeds for each row and column, its mean as a number (Fig. 8)."""

    def draw(results: StudyResults) -> Figure:
        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        axes = figure.subplots()
        width = 0.7 / len(results.rows)
        for index, row in enumerate(results.rows):
            samples = [_percent(results, row.at(column), metric) for column in results.columns]
            places = np.arange(len(samples)) + width * (index - (len(results.rows) - 1) / 2)
            drawn = axes.boxplot(
                samples, positions=places, widths=0.8 * width, showfliers=False, patch_artist=True,
                boxprops={"facecolor": f"C{index}", "alpha": 0.25}, medianprops={"color": f"C{index}"},
                manage_ticks=False,
            )  # fmt: skip
            drawn["boxes"][0].set_label(str(row))
            for place, sample in zip(places, samples):
                if sample:
                    axes.plot(_jitter(place, sample, 0.1 * width), sample, "o", color=f"C{index}", markersize=4)
                    axes.annotate(
                        f"{np.mean(sample):.1f}", (place, max(sample)), (0, 6), textcoords="offset points", ha="center"
                    )
        axes.set_xticks(range(len(results.columns)), results.columns)
        axes.set(xlabel="training images per class", ylabel=f"{METRIC_TITLES[metric]} (%)")
        axes.margins(y=0.1)
        _constants(axes, results, metric, axes.axhline)
        _legend(axes)
        return figure

    return draw


def stacked(*metrics: str) -> Draw:
    """A bar for each row, of the mean shares of causes of errors (Fig. 9).

    Args:
        metrics: in the order of `ERROR_CAUSES`.
    """

    def draw(results: StudyResults) -> Figure:
        known = [row for row in results.rows if results.summary(row, metrics[0])]
        return stacked_causes({
            str(row): {cause: results.summary(row, metric).mean / 100 for cause, metric in zip(ERROR_CAUSES, metrics)}
            for row in known
        })  # fmt: skip

    return draw


def accuracy_by_cost(metric: str, *costs: str) -> Draw:
    """A panel for each cost, a point for each row: the mean over seeds, with every seed as a small dot (Fig. 1)."""

    def draw(results: StudyResults) -> Figure:
        figure = Figure(figsize=(5 * len(costs) + 2.4, 4.4), layout="constrained")
        panels = figure.subplots(1, len(costs), squeeze=False, sharey=True)[0]
        for axes, name in zip(panels, costs):
            for index, row in enumerate(results.rows):
                values, paid = _percent(results, row, metric), cost(results, row, name)
                if values and paid is not None:
                    colour, marker = f"C{index % 10}", ("o", "s", "^")[index // 10 % 3]
                    axes.plot([paid.mean] * len(values), values, ".", color=colour, markersize=4, alpha=0.6)
                    axes.plot(
                        paid.mean, np.mean(values), marker, color=colour, markersize=9, alpha=0.75, label=str(row)
                    )
            axes.set(xlabel=f"{COSTS[name].title}, logarithmic")
            axes.margins(y=0.1)
            _logarithmic(axes, [paid.mean for row in results.rows if (paid := cost(results, row, name))])
            _constants(axes, results, metric, axes.axhline)
        panels[0].set_ylabel(f"{METRIC_TITLES[metric]} (%)")
        handles, labels = panels[-1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside right center", frameon=False, fontsize=8)
        return figure

    return draw


def _logarithmic(axes: Axes, values: list[float]) -> None:
    """The x axis, twice as far at both ends as the values go, with ticks at 1, 2 and 5."""
    axes.set_xscale("log")
    if values:
        axes.set_xlim(min(values) / 2, max(values) * 2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def overlap_distribution(results: StudyResults) -> Figure:
    """Fig. 5."""
    return iou_distribution(_results(results))


def overlap_by_size(results: StudyResults) -> Figure:
    """Fig. 6."""
    return iou_by_size(_results(results))


def accuracy_by_threshold(results: StudyResults) -> Figure:
    """Fig. 7."""
    constants = {
        CONSTANT_TITLES[name]: float(np.mean(metrics["gt_known_loc"])) / 100
        for name, metrics in results.constants().items()
        if "gt_known_loc" in metrics
    }
    return accuracy_over_thresholds(_results(results), constants)


def _results(results: StudyResults) -> Results:
    """Rows with a run that ended well."""
    return {
        str(key): [(outcome.records(), outcome.threshold) for outcome in outcomes.values()]
        for key, outcomes in results.outcomes.items()
        if outcomes
    }


def _percent(results: StudyResults, key: Key, metric: str) -> list[float]:
    return [100 * value for value in results.values(key, metric).values()]


def _jitter(place: float, values: list[float], width: float = 0.08) -> np.ndarray:
    return place + (np.linspace(-width, width, len(values)) if len(values) > 1 else np.zeros(len(values)))


def _line(
    axes: Axes, results: StudyResults, keys: list[Key], metric: str, colour: str, label: str = "", shift: float = 0
) -> None:
    samples = {place: _percent(results, key, metric) for place, key in enumerate(keys)}
    samples = {place: sample for place, sample in samples.items() if sample}
    places = [place + shift for place in samples]
    axes.plot(places, [np.mean(sample) for sample in samples.values()], color=colour, label=label or None)
    for place, sample in zip(places, samples.values()):
        axes.plot(_jitter(place, sample, 0.02), sample, "o", color=colour, markersize=4, alpha=0.6)


def _constants(axes: Axes, results: StudyResults, metric: str, line: Callable) -> None:
    """Grey lines of the constant baselines, named in the legend."""
    known = {name: metrics[metric] for name, metrics in results.constants().items() if metric in metrics}
    for (name, values), style in zip(known.items(), cycle((":", "--"))):
        line(float(np.mean(values)), color="0.4", linestyle=style, linewidth=1, label=CONSTANT_TITLES[name])


def _legend(axes: Axes, **place: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, **place)
