"""`scripts/reproduce.py`: from a study's name to its table."""

import argparse
import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..data import load_wsol_dataset
from ..inference.localize import has_masks
from ..training.arguments import ConfigurationError
from .findings import Findings, Key
from .recipes import Cell, Recipe, find_recipes, make_cell, parse_fields
from .runner import Runner, commands, read_outcome
from .studies import LAPTOP_DATASETS, STUDIES, Row, Study
from .tables import as_json, as_markdown, published_for


@dataclass(frozen=True)
class Reproduction:
    """What `reproduce` gave.

    Args:
        table: Markdown.
        folder: where table.md, results.json and figure.png are.
        failed: folder of each failed cell → why.
    """

    table: str
    folder: Path
    failed: dict[Path, str]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", choices=list(STUDIES))
    parser.add_argument("--dataset", required=True, help="shapes, tiny_imagenet, cub, imagenet, …")
    parser.add_argument("--data_dir", help="the dataset's folder")
    parser.add_argument("--model", choices=["deit-tiny", "deit-small", "deit-base"], help="default: the paper's")
    parser.add_argument(
        "--config", type=Path, help="recipe; default: scripts/configs/DATASET/MODEL.yaml, laptop.yaml of "
        + " and ".join(LAPTOP_DATASETS),
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of training, and choice of images")
    parser.add_argument("--rows", nargs="+", help="some of the study's rows, by name or letter")
    parser.add_argument("--protocol", default="sat", choices=["sat", "wsolevaluation"])
    parser.add_argument("--select_on_test", action="store_true", help="the published habit for the threshold")
    parser.add_argument("--ten_crop", action="store_true", help="classify by ten crops, as the paper does")
    parser.add_argument("--jobs", type=int, help="runs at once; default: one for each GPU, or for each CPU core")
    parser.add_argument("--output_dir", type=Path, default=Path("outputs/reproduction"))
    parser.add_argument("--dry_run", action="store_true", help="write the runs' configurations, print the commands")


def reproduce(options: argparse.Namespace, fields: Sequence[str], scripts: Path) -> Reproduction | None:
    """Runs a study's cells that are not there yet, and writes its table, numbers and figure.

    Args:
        options: those of `add_options`.
        fields: `--field value …`, training fields of every run.
        scripts: the folder of train.py, evaluate.py and configs/.

    Returns:
        None of a dry run, whose commands are printed.

    Raises:
        ConfigurationError: no such recipe, field or row; no masks; or runs by other settings in the same folder.
        Stopped: by Ctrl-C or SIGTERM.
    """
    study, added = STUDIES[options.study], parse_fields(fields)
    if options.jobs is not None and options.jobs < 1:
        raise ConfigurationError(f"jobs is {options.jobs}; a whole number of at least 1 was expected.")
    seeds = list(dict.fromkeys(options.seeds))
    rows = choose_rows(study, options.dataset, options.rows)
    recipes = find_recipes(scripts / "configs", options.dataset, options.model, options.config, study.by_model, added)
    if study.needs_masks:
        check_masks(options, recipes[0])
    evaluate_options = [f"--{name}" for name in ("select_on_test", "ten_crop") if getattr(options, name)]
    cells = make_cells(study, rows, recipes, seeds, options, evaluate_options)
    for cell in unique(cells):
        cell.write_config()
    if options.dry_run:
        for cell in unique(cells):
            for command in commands(cell, scripts, evaluate_options):
                print(shlex.join(command))
        return None
    failed = Runner(scripts, options.jobs, evaluate_options).run(unique(cells))
    findings = Findings(
        rows=list(dict.fromkeys(key.row for key in cells)),
        columns=[column.name for column in study.columns],
        outcomes={
            key: {
                seed: read_outcome(cell, study.measure)
                for seed, cell in by_seed.items()
                if cell.folder not in failed
            }
            for key, by_seed in cells.items()
        },
    )  # fmt: skip
    return write(options, study, recipes, findings, failed)


def choose_rows(study: Study, dataset: str, wanted: Sequence[str] | None) -> list[Row]:
    """A study's rows on a dataset; `wanted` are names, or letters of names such as "(a) …".

    Raises:
        ConfigurationError: there is no such row.
    """
    rows = [row for row in study.rows if row.laptop is None or row.laptop == (dataset in LAPTOP_DATASETS)]
    if wanted is None:
        return rows
    chosen = [row for row in rows if row.names & set(wanted)]
    unknown = [name for name in wanted if not any(name in row.names for row in chosen)]
    if unknown:
        raise ConfigurationError(f"There is no row {unknown[0]!r}; there are {', '.join(row.name for row in rows)}.")
    return chosen


def make_cells(
    study: Study,
    rows: Sequence[Row],
    recipes: Sequence[Recipe],
    seeds: Sequence[int],
    options: argparse.Namespace,
    evaluate_options: Sequence[str] = (),
) -> dict[Key, dict[int, Cell]]:
    """Place in the table → seed → cell. Different places may be the same cell."""
    other = [options.protocol] if options.protocol != "sat" else []
    evaluation = "-".join(["evaluation", *other, *(option.lstrip("-") for option in evaluate_options)])
    shared: dict[str, Any] = {"protocol": options.protocol}
    if options.data_dir is not None:
        shared["data_dir"] = options.data_dir
    runs = options.output_dir / "runs"
    return {
        Key(f"{row.name}, {recipe.label}" if study.by_model else row.name, column.name): {
            seed: make_cell(recipe, (row, column), seed, options.dataset, runs, evaluation, shared) for seed in seeds
        }
        for recipe in recipes
        for row in rows
        for column in study.columns
    }


def unique(cells: dict[Key, dict[int, Cell]]) -> list[Cell]:
    """Each once, all cells of a seed before the next seed's, so that a table fills evenly."""
    seeds = list(dict.fromkeys(seed for by_seed in cells.values() for seed in by_seed))
    ordered = [by_seed[seed] for seed in seeds for by_seed in cells.values()]
    return list({cell.folder: cell for cell in ordered}.values())


def check_masks(options: argparse.Namespace, recipe: Recipe) -> None:
    """
    Raises:
        ConfigurationError: the dataset's test images have no masks.
    """
    fields = {**recipe.fields, **recipe.added}
    reader = fields.get("dataset_options", {})
    checks = {name: fields[name] for name in ("allow_partial", "on_bad_image") if name in fields}
    test = load_wsol_dataset(options.dataset, options.data_dir, "test", **checks, **reader)
    if not has_masks(test):
        raise ConfigurationError(
            f"{options.study} is about masks, and the test images of {options.dataset} have none. cub (with "
            "segmentations), openimages30k, caltech101 and shapes have masks."
        )


def write(
    options: argparse.Namespace, study: Study, recipes: Sequence[Recipe], findings: Findings, failed: dict[Path, str]
) -> Reproduction:
    dataset, published = published_for(options.study, options.dataset)
    folder = options.output_dir / f"{options.study}-{options.dataset.replace('/', '-')}"
    folder.mkdir(parents=True, exist_ok=True)
    seeds = list(dict.fromkeys(options.seeds))
    added = "".join(f", {name} {value}" for name, value in recipes[0].added.items())
    source = "the test images themselves, the published habit" if options.select_on_test else "validation images"
    setting = (
        f"Trained by {', '.join(os.path.relpath(recipe.path) for recipe in recipes)}{added}; seeds {', '.join(map(str, seeds))}; "
        f"protocol {options.protocol}, threshold chosen on {source}"
        + (", classes from ten crops." if options.ten_crop else ".")
    )
    table = as_markdown(options.study, study, options.dataset, setting, findings, failed)
    (folder / "table.md").write_text(table)
    content = {
        "study": options.study, "dataset": options.dataset, "recipes": [str(recipe.path) for recipe in recipes],
        "fields": dict(recipes[0].added), "protocol": options.protocol, "select_on_test": options.select_on_test,
        "ten_crop": options.ten_crop, "seeds": seeds, "published_dataset": dataset,
        "failed": {str(path): reason for path, reason in failed.items()}, **as_json(study, findings, published),
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    if study.figure is not None and any(findings.outcomes.values()):
        study.figure(findings).savefig(folder / "figure.png", dpi=120)
    return Reproduction(table, folder, failed)
