"""What a study says, and whether the numbers measured here say so too."""

from dataclasses import dataclass

from .names import METRIC_TITLES
from .results import Key, StudyResults, standard_error, summarize


RULE = (
    "A claim that one result is above another *holds* if, paired by seed, the mean difference is positive and larger "
    "than its standard error over seeds (the number after ±); it *does not hold* if it is negative by more than that; "
    "otherwise it is *within the spread*. One seed has no standard error and decides nothing."
)


class Claim:
    """A sentence about results. `judge` says one or more lines, none if the results are not part of this run."""

    def judge(self, results: StudyResults) -> list[str]:
        raise NotImplementedError


@dataclass(frozen=True)
class Above(Claim):
    """`better` is above `worse` (rows, or a row and a column)."""

    better: Key
    worse: Key
    metric: str = "gt_known_loc"
    note: str = ""

    def judge(self, results: StudyResults) -> list[str]:
        if self.better not in results.outcomes or self.worse not in results.outcomes:
            return []
        differences = results.differences(self.better, self.worse, self.metric)
        compared = f"{self.better} above {self.worse} in {METRIC_TITLES[self.metric]}"
        return [_verdict(differences, compared, self.note)]


@dataclass(frozen=True)
class AboveOthers(Claim):
    """The method is above every other method of the same model; where there are several, also which place it has."""

    method: str
    metric: str

    def judge(self, results: StudyResults) -> list[str]:
        own = [key for key in results.outcomes if key.row == self.method]
        lines = [line for key in own for line in self._place(results, key)]
        for key in results.outcomes:
            if key.row != self.method:
                lines += Above(key._replace(row=self.method), key, self.metric).judge(results)
        return lines

    def _place(self, results: StudyResults, own: Key) -> list[str]:
        keys = [key for key in results.outcomes if (key.column, key.model) == (own.column, own.model)]
        means = {key: summary.mean for key in keys if (summary := results.summary(key, self.metric))}
        if own not in means or len(means) < 3:
            return []
        above = sorted((key for key in means if means[key] > means[own]), key=means.get, reverse=True)
        below = max((key for key in means if key != own and key not in above), key=means.get, default=None)
        said = f"measured: {own} has place {len(above) + 1} of {len(means)} by its mean {METRIC_TITLES[self.metric]}"
        if above:
            return [f"{said}, {means[own]:.1f}; above it: {', '.join(f'{key} {means[key]:.1f}' for key in above)}."]
        return [f"{said}, {means[own]:.1f}; next is {below} with {means[below]:.1f}."]


@dataclass(frozen=True)
class AboveConstants(Claim):
    """Every row of a method is above every constant box or map. Ours: without it no other number means anything."""

    method: str
    metric: str

    def judge(self, results: StudyResults) -> list[str]:
        lines = []
        for key, outcomes in results.outcomes.items():
            if key.row != self.method:
                continue
            differences = [
                100 * (outcome.metrics[self.metric] - max(known))
                for outcome in outcomes.values()
                if self.metric in outcome.metrics
                and (known := [of[self.metric] for of in outcome.constants.values() if self.metric in of])
            ]
            title = METRIC_TITLES[self.metric]
            lines.append(_verdict(differences, f"{key} above the best constant in {title}"))
        return lines


@dataclass(frozen=True)
class Best(Claim):
    """Whichever row has the best mean is above the constants, and above each other row."""

    metric: str

    def judge(self, results: StudyResults) -> list[str]:
        best = best_row(results, self.metric)
        if best is None:
            return []
        constants = any(self.metric in metrics for metrics in results.constants().values())
        lines = AboveConstants(best.row, self.metric).judge(results) if constants else []
        return lines + AboveOthers(best.row, self.metric).judge(results)


def best_row(results: StudyResults, metric: str) -> Key | None:
    """That with the best mean; None where no run measured the metric."""
    means = {row: summary.mean for row in results.rows if (summary := results.summary(row, metric))}
    return max(means, key=means.get, default=None)


@dataclass(frozen=True)
class ChangesLittle(Claim):
    """Greatest less smallest mean over some rows, in points; `limit` is the paper's, None where it is words."""

    rows: tuple[str, ...]
    what: str
    limit: float | None = None
    metric: str = "gt_known_loc"

    def judge(self, results: StudyResults) -> list[str]:
        known = {row: summary.mean for row in self.rows if (summary := results.summary(Key(row), self.metric))}
        if len(known) < 2:
            return []
        low, high = min(known, key=known.get), max(known, key=known.get)
        change = known[high] - known[low]
        said = f"{METRIC_TITLES[self.metric]} changes by {change:.1f} points over {self.what} ({low} to {high})"
        if self.limit is None:
            return [f"measured: {said}; the paper calls it stable and gives no number."]
        return [f"{'holds' if change < self.limit else 'does not hold'}: {said}; the paper: less than {self.limit:g}."]


@dataclass(frozen=True)
class Reaches(Claim):
    """Which share of another result a cheaper one reaches."""

    cheaper: Key
    full: Key
    paper: str
    metric: str = "gt_known_loc"

    def judge(self, results: StudyResults) -> list[str]:
        high, low = results.values(self.full, self.metric), results.values(self.cheaper, self.metric)
        shares = summarize([100 * low[seed] / high[seed] for seed in low if high.get(seed)])
        if shares is None:
            return []
        spread = "" if shares.deviation is None else f" ± {shares.deviation:.1f}"
        return [
            f"measured: {self.cheaper} reaches {shares.mean:.1f}{spread} % of {self.full} in "
            f"{METRIC_TITLES[self.metric]} ({_seeds(shares.count)}); {self.paper}."
        ]


@dataclass(frozen=True)
class Measured(Claim):
    """A number of every row that the paper describes in words alone."""

    metric: str
    sentence: str

    def judge(self, results: StudyResults) -> list[str]:
        lines = []
        for key in results.outcomes:
            summary = results.summary(key, self.metric)
            if summary is not None:
                spread = "" if summary.deviation is None else f" ± {summary.deviation:.1f}"
                value = f"{summary.mean:.1f}{spread}"
                lines.append(f"measured: {key} ({_seeds(summary.count)}): {self.sentence.format(value)}.")
        return lines


def _verdict(differences: list[float], compared: str, note: str = "") -> str:
    note = f"; {note}" if note else ""
    if not differences:
        return f"not judged: {compared}: there is no seed with both results{note}."
    mean, above = sum(differences) / len(differences), sum(difference > 0 for difference in differences)
    if len(differences) == 1:
        return f"one seed, not judged: {compared} by {mean:.1f} points{note}."
    error = standard_error(differences)
    word = "within the spread" if abs(mean) <= error else "holds" if mean > 0 else "does not hold"
    return f"{word}: {compared} by {mean:.1f} ± {error:.1f} points ({above} of {_seeds(len(differences))}){note}."


def _seeds(count: int) -> str:
    return "1 seed" if count == 1 else f"{count} seeds"
