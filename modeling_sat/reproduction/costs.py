"""What a row costs: its parameters, its training images, its time."""

import math
from typing import NamedTuple

from .results import Key, StudyResults, Summary, summarize


class Cost(NamedTuple):
    """
    Args:
        title: of the column, with the unit.
        scale: from what `Outcome.costs` holds to that unit.
    """

    title: str
    scale: float = 1.0


COSTS = {
    "parameters": Cost("parameters (million)", 1e-6),
    "trained_parameters": Cost("trained parameters (million)", 1e-6),
    "training_images": Cost("training images"),
    "seconds_per_step": Cost("training step (ms)", 1e3),
    "seconds_per_image": Cost("inference (ms per image)", 1e3),
}
"""Keys of `Outcome.costs`."""
OF_EVERY_TABLE = ("parameters", "seconds_per_step", "seconds_per_image")
TIMES = (
    "Times are of the machine that ran it: a training step with the reading of its images, inference the forward passes "
    "alone; runs side by side on one machine slow each other."
)


def cost(results: StudyResults, row: Key, name: str) -> Summary | None:
    """Over all runs of a row, in the column's unit."""
    outcomes = [outcome for key, of in results.outcomes.items() if key.at("") == row for outcome in of.values()]
    return summarize([outcome.costs[name] * COSTS[name].scale for outcome in outcomes if name in outcome.costs])


def known_costs(results: StudyResults, names: tuple[str, ...]) -> list[str]:
    """Those that any run recorded."""
    recorded = {name for of in results.outcomes.values() for outcome in of.values() for name in outcome.costs}
    return [name for name in names if name in recorded]


def three_digits(value: float) -> str:
    """0.0123, 1.23, 12.3, 123 and 12,345."""
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{max(0, digits)}f}"
