"""What the runs of a study measured: seeds, means, spreads."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..evaluation import LocalizationEvaluator, load_records
from ..evaluation.analysis import accuracy_by_threshold, count_causes, error_causes, sizes_and_overlaps
from ..evaluation.report import RECORDS_FILE
from .names import error_metric


@dataclass(frozen=True)
class Outcome:
    """One evaluated run.

    Args:
        metrics: name → fraction in [0, 1].
        constants: constant box or map → metric → fraction.
        evaluation: the folder that scripts/evaluate.py wrote.
        threshold: of the localization, in use.
        threshold_source: "validation", "train", "test" or "fixed"; None: not recorded, as with the following.
        protocol: of the evaluation.
        cropped: whether the centre crop was seen, or the whole image.
        ten_crop: whether classes are from ten crops.
        steps: of the training.
        images: that it was on.
        costs: name of `costs.COSTS` → number, in seconds where it is a time.
    """

    metrics: Mapping[str, float]
    constants: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    evaluation: Path | None = None
    threshold: float | None = None
    threshold_source: str | None = None
    protocol: str | None = None
    cropped: bool | None = None
    ten_crop: bool | None = None
    steps: int | None = None
    images: int | None = None
    costs: Mapping[str, float] = field(default_factory=dict)

    def records(self) -> LocalizationEvaluator:
        return load_records(self.evaluation / RECORDS_FILE)


class Key(NamedTuple):
    """A place in a study's table.

    Args:
        row: its name, of a method its title.
        column: none where a table's columns are metrics.
        model: where all rows are trained on several.
    """

    row: str
    column: str = ""
    model: str = ""

    def at(self, column: str) -> "Key":
        """The place in another column of the same row."""
        return self._replace(column=column)

    def __str__(self) -> str:
        return ", ".join(filter(None, (self.row, self.model, self.column)))


class Summary(NamedTuple):
    """Over seeds, in the unit of the values; `deviation` of a sample (n - 1), None of one seed."""

    mean: float
    deviation: float | None
    count: int


def summarize(values: Sequence[float]) -> Summary | None:
    """None of no values."""
    if not values:
        return None
    return Summary(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


@dataclass
class StudyResults:
    """All outcomes of a study.

    Args:
        outcomes: place → seed → outcome, in the table's order; failed runs are not there.
    """

    outcomes: Mapping[Key, Mapping[int, Outcome]]

    @property
    def rows(self) -> list[Key]:
        """Each with no column: `row.at(column)` is a place."""
        return list(dict.fromkeys(key.at("") for key in self.outcomes))

    @property
    def columns(self) -> list[str]:
        return list(dict.fromkeys(key.column for key in self.outcomes))

    def values(self, key: Key, metric: str) -> dict[int, float]:
        """Seed → value, a fraction, of the seeds that have one."""
        outcomes = self.outcomes.get(key, {})
        return {seed: outcome.metrics[metric] for seed, outcome in outcomes.items() if metric in outcome.metrics}

    def summary(self, key: Key, metric: str) -> Summary | None:
        """In percent."""
        return summarize([100 * value for value in self.values(key, metric).values()])

    def differences(self, better: Key, worse: Key, metric: str) -> list[float]:
        """`better` minus `worse` in points, of each seed that both have."""
        high, low = self.values(better, metric), self.values(worse, metric)
        return [100 * (high[seed] - low[seed]) for seed in high if seed in low]

    def constants(self) -> dict[str, dict[str, list[float]]]:
        """Constant → metric → percent of each seed, whichever run it is from: none depends on the model."""
        found: dict[str, dict[str, dict[int, float]]] = {}
        for outcomes in self.outcomes.values():
            for seed, outcome in outcomes.items():
                for name, metrics in outcome.constants.items():
                    for metric, value in metrics.items():
                        found.setdefault(name, {}).setdefault(metric, {})[seed] = 100 * value
        return {
            name: {metric: list(values.values()) for metric, values in metrics.items()}
            for name, metrics in found.items()
        }


def standard_error(values: Sequence[float]) -> float:
    """Of the mean of two values or more."""
    return statistics.stdev(values) / math.sqrt(len(values))


def threshold_interval(outcome: Outcome) -> dict[str, float]:
    """How long the stretch of thresholds is whose GT-known Loc is within 2 points of the best: a share of [0, 1].

    The sweep's step times the thresholds of the longest unbroken stretch that holds the best one (Fig. 7).
    """
    evaluator = outcome.records()
    thresholds = np.asarray(evaluator.thresholds)
    step = float(np.diff(thresholds).max())
    # A threshold that was fixed beforehand may stand between those of the sweep, and would count as one more step.
    places = (thresholds - thresholds[np.isclose(np.diff(thresholds), step).argmax()]) / step
    accuracy = accuracy_by_threshold(evaluator)[np.isclose(places, places.round(), atol=1e-3)]
    near = accuracy >= accuracy.max() - 0.02 - 1e-9
    stretches = np.split(np.arange(near.size), np.flatnonzero(np.diff(near)) + 1)
    longest = max(len(stretch) for stretch in stretches if accuracy[stretch].max() == accuracy.max())
    return {"threshold_interval": longest * step}


def errors_by_cause(outcome: Outcome) -> dict[str, float]:
    """Share of all images that fail at Top-1 Loc for each cause (Fig. 9)."""
    shares = count_causes(error_causes(outcome.records(), outcome.threshold))
    return {error_metric(cause): share for cause, share in shares.items()}


def iou_by_size(outcome: Outcome) -> dict[str, float]:
    """Mean IoU with the masks of the third of the images with the smallest objects, and with the largest (Fig. 6)."""
    sizes, overlaps, _ = sizes_and_overlaps(outcome.records(), outcome.threshold)
    ordered, third = overlaps[sizes.argsort()], max(1, len(sizes) // 3)
    return {
        "iou_all": float(ordered.mean()),
        "iou_small": float(ordered[:third].mean()),
        "iou_large": float(ordered[-third:].mean()),
    }


Measure = Callable[[Outcome], dict[str, float]]
"""Further metrics of a run from its saved records."""
