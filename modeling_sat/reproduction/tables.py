"""A study's results as a Markdown table and as JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..output.tables import markdown_table
from .claims import RULE
from .costs import COSTS, TIMES, cost, known_costs, three_digits
from .names import CONSTANT_TITLES, DATASET_TITLES, METRIC_TITLES
from .published import PUBLISHED, Numbers
from .results import Key, StudyResults, Summary, summarize
from .setting import CLASS_METRICS, PAPERS_CLASSES, PAPERS_THRESHOLD
from .studies import Study


MISSING = "–"


def published_for(name: str | None, dataset: str) -> tuple[str | None, Numbers]:
    """The paper's numbers on the dataset or, if it has none, on the first that it has; and which that is."""
    tables = PUBLISHED.get(name, {})
    known = dataset if dataset in tables else next(iter(tables), None)
    return known, tables.get(known, {})


def as_markdown(
    name: str | None,
    study: Study,
    dataset: str,
    setting: str,
    results: StudyResults,
    failed: Mapping[Path, str] | None = None,
) -> str:
    """Measured mean ± standard deviation over seeds, the paper's number in brackets, constants, and the claims judged.

    Args:
        name: of the study; None of one that is not of the paper.
        setting: how it was measured, a sentence.
        failed: folder of each failed run → why.
    """
    known, numbers = published_for(name, dataset)
    is_grid = len(study.columns) > 1
    shown = [*study.row_metrics, *(column.name for column in study.columns)] if is_grid else list(study.metrics)
    costs = known_costs(results, study.costs)
    header = [
        "",
        "seeds",
        *(METRIC_TITLES.get(column, column) for column in shown),
        *(COSTS[name].title for name in costs),
    ]
    rows, measured = [], [str(row) for row in results.rows]
    for row in results.rows:
        cells = [_summary(study, results, row, column, is_grid) for column in shown]
        counts = sorted({cell.count for cell, column in zip(cells, shown) if cell and column not in study.row_metrics})
        printed = numbers.get(str(row), {})
        seeds = "–".join(str(count) for count in (counts if len(counts) < 3 else (counts[0], counts[-1]))) or "0"
        measured_cells = [_cell(cell, printed.get(column)) for cell, column in zip(cells, shown)]
        rows.append([str(row), seeds, *measured_cells, *(_cost(cost(results, row, name)) for name in costs)])
    if known == dataset:
        rows += [
            [row, "", *(_cell(None, printed.get(column), "") for column in shown), *[""] * len(costs)]
            for row, printed in numbers.items()
            if row not in measured
        ]
    for constant, metrics in results.constants().items():
        values = [metrics.get(study.metrics[0] if is_grid else column) for column in shown]
        if is_grid:
            values = [None if column in study.row_metrics else value for value, column in zip(values, shown)]
        if any(values):
            title = f"*constant: {CONSTANT_TITLES[constant]}*"
            cells = [_cell(summarize(value) if value else None, None, "") for value in values]
            rows.append([title, "", *cells, *[""] * len(costs)])
    has_printed = known == dataset or any(row in numbers for row in measured)
    kinds = [PAPERS_THRESHOLD, *([PAPERS_CLASSES] if CLASS_METRICS & set(study.metrics) else [])]
    paper = f" In brackets: the paper on {DATASET_TITLES[known]}, {', '.join(kinds)}." if has_printed and known else ""
    what = f"{METRIC_TITLES[study.metrics[0]]} by training images per class, in" if is_grid else "In"
    parts = [
        f"# {study.title}{'' if name is None else f' ({_place(name)} of the paper)'} on {dataset}",
        f"{what} percent: mean ± standard deviation over seeds.{paper} {setting}{f' {TIMES}' if costs else ''}",
        markdown_table(header, rows),
    ]
    judged = judge(study, results)
    if judged:
        parts += [
            "## Claims" if name is None else "## What the paper says, and these numbers",
            RULE,
            "\n".join(f"- {line}" for line in judged),
        ]
    if failed:
        parts += ["## Failed", "\n".join(f"- {folder / 'log.txt'}: {reason}" for folder, reason in failed.items())]
    return "\n\n".join(parts) + "\n"


def judge(study: Study, results: StudyResults) -> list[str]:
    return [line for claim in study.claims for line in claim.judge(results)]


def as_json(study: Study, results: StudyResults, numbers: Numbers) -> dict[str, Any]:
    """Every seed's numbers as fractions, none left out; summaries and the paper's numbers in percent."""
    cells = [
        {
            "row": str(key.at("")), "column": key.column, "seed": seed, "evaluation": str(outcome.evaluation),
            "threshold": outcome.threshold, "threshold_source": outcome.threshold_source,
            "protocol": outcome.protocol, "ten_crop": outcome.ten_crop, "steps": outcome.steps,
            "training_images": outcome.images, "metrics": dict(outcome.metrics), "constants": dict(outcome.constants),
            "costs": dict(outcome.costs),
        }
        for key, outcomes in results.outcomes.items()
        for seed, outcome in outcomes.items()
    ]  # fmt: skip
    metrics = (*study.metrics, *study.row_metrics)
    summaries = [
        {"row": str(key.at("")), "column": key.column, "metric": metric, **summary._asdict()}
        for key in results.outcomes
        for metric in metrics
        if (summary := results.summary(key, metric))
    ]
    return {
        "cells": cells, "summaries_percent": summaries, "published_percent": numbers, "rule": RULE,
        "claims": judge(study, results),
    }  # fmt: skip


def _summary(study: Study, results: StudyResults, row: Key, column: str, is_grid: bool) -> Summary | None:
    if not is_grid:
        return results.summary(row, column)
    if column not in study.row_metrics:
        return results.summary(row.at(column), study.metrics[0])
    known = [summary for name in results.columns if (summary := results.summary(row.at(name), column))]
    return known[0]._replace(deviation=None) if known else None


def _cell(summary: Summary | None, published: float | None, missing: str = MISSING) -> str:
    measured = missing if summary is None else f"{summary.mean:.1f}"
    if summary is not None and summary.deviation is not None:
        measured += f" ± {summary.deviation:.1f}"
    return measured if published is None else f"{measured} [{published:g}]".strip()


def _cost(summary: Summary | None) -> str:
    return MISSING if summary is None else three_digits(summary.mean)


def _place(name: str) -> str:
    return name.replace("table", "Table ").replace("fig", "Fig. ")
