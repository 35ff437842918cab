"""`scripts/reproduce.py`: from a study's name to its table."""

import argparse
import json
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import IterableDataset

from ..data import load_wsol_dataset
from ..inference.localize import has_boxes, has_masks
from ..training.arguments import ConfigurationError, resolve_fields
from .identity import Identifier, reader_options
from .names import METRIC_TITLES
from .recipes import Cell, Recipe, find_recipes, make_cell, parse_fields
from .results import Findings, Key
from .runner import Runner, commands, read_outcome
from .setting import describe
from .steps import as_many_steps, count_images
from .studies import LAPTOP_DATASETS, STUDIES, Row, Study
from .tables import as_json, as_markdown, published_for


NEEDS_HINT = {
    "boxes": "Of masks alone, table4 and fig6 can be made.",
    "masks": "cub (with segmentations), openimages30k, caltech101 and shapes have masks.",
}


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
    parser.add_argument("--protocol", choices=["sat", "wsolevaluation"], help="default: the recipe's, or else sat")
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
        ConfigurationError: no such recipe, field or row; no boxes or masks; or a cell that was tampered with.
        Stopped: by Ctrl-C or SIGTERM.
    """
    study, added = STUDIES[options.study], parse_fields(fields)
    if options.jobs is not None and options.jobs < 1:
        raise ConfigurationError(f"jobs is {options.jobs}; a whole number of at least 1 was expected.")
    seeds = list(dict.fromkeys(options.seeds))
    rows = choose_rows(study, options.dataset, options.rows)
    recipes = find_recipes(scripts / "configs", options.dataset, options.model, options.config, study.by_model, added)
    check_added(study, added)
    check_needs(options, study, recipes)
    evaluate_options = [f"--{name}" for name in ("select_on_test", "ten_crop") if getattr(options, name)]
    cells = make_cells(study, rows, recipes, seeds, options, evaluate_options)
    for cell in unique(cells):
        anew = cell.why_anew()
        if anew is not None and not options.dry_run:
            print(anew)
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
    count: Callable[[Mapping[str, Any]], tuple[int, int]] = count_images,
) -> dict[Key, dict[int, Cell]]:
    """Place in the table → seed → cell. Different places may be the same cell.

    Args:
        count: gives the number of all training images of a run, and of classes.
    """
    runs = options.output_dir / "runs"
    identifier = Identifier(options.output_dir)
    cells: dict[Key, dict[int, Cell]] = {}
    for recipe in recipes:
        shared = shared_fields(recipe, options)
        view = {**recipe.fields, **recipe.added}.get("view")
        names = [shared["protocol"] if shared["protocol"] != "sat" else None, view and f"view-{view}"]
        evaluation = "-".join(
            filter(None, ["evaluation", *names, *(option.lstrip("-") for option in evaluate_options)])
        )
        data = {**recipe.fields, **recipe.added, **shared, "dataset": options.dataset, "data_seed": seeds[0]}
        counts = count(data) if study.few_images else None
        for row in rows:
            for column in study.columns:
                fields, few = dict(shared), column.fields.get("images_per_class")
                if few is not None:
                    whole = recipe.with_changes(recipe.changed_by(row)) | shared
                    fields |= as_many_steps(whole, counts[0], few * counts[1])
                name = f"{row.name}, {recipe.label}" if study.by_model else row.name
                cells[Key(name, column.name)] = {
                    seed: make_cell(
                        recipe, (row, column), seed, options.dataset, runs, evaluation, fields, identifier
                    )
                    for seed in seeds
                }  # fmt: skip
    return cells


def shared_fields(recipe: Recipe, options: argparse.Namespace) -> dict[str, Any]:
    """Training fields that the command's own options give to every run of a recipe."""
    shared = {"protocol": options.protocol or {**recipe.fields, **recipe.added}.get("protocol") or "sat"}
    return shared if options.data_dir is None else {**shared, "data_dir": options.data_dir}


def unique(cells: dict[Key, dict[int, Cell]]) -> list[Cell]:
    """Each once, all cells of a seed before the next seed's, so that a table fills evenly."""
    seeds = list(dict.fromkeys(seed for by_seed in cells.values() for seed in by_seed))
    ordered = [by_seed[seed] for seed in seeds for by_seed in cells.values()]
    return list({cell.folder: cell for cell in ordered}.values())


def check_added(study: Study, added: Mapping[str, Any]) -> None:
    """
    Raises:
        ConfigurationError: the command line gives a field that every row or every column sets itself.
    """
    for places in (study.rows, study.columns):
        for name in set.intersection(*(set(place.fields) for place in places)) & added.keys():
            raise ConfigurationError(
                f"The study compares values of {name}, so it takes none from outside; leave it out."
            )


def check_needs(options: argparse.Namespace, study: Study, recipes: Sequence[Recipe]) -> None:
    """
    Raises:
        ConfigurationError: the test images have no boxes or masks, and the study shows metrics of them.
    """
    asked = set()
    for recipe in recipes:
        fields = resolve_fields({**recipe.fields, **recipe.added, **shared_fields(recipe, options)})
        settings = {name: fields[name] for name in ("classes", "allow_partial", "on_bad_image")}
        settings |= {"seed": options.seeds[0]} | reader_options(fields)
        if (request := repr((fields["data_dir"], settings))) in asked:
            continue
        asked.add(request)
        test = load_wsol_dataset(options.dataset, fields["data_dir"], "test", **settings)
        if isinstance(test, IterableDataset):
            raise ConfigurationError("Images are evaluated from disk; leave streaming out of dataset_options.")
        there = {"boxes": has_boxes(test), "masks": has_masks(test)}
        for what, metrics in study.needs.items():
            if not there[what]:
                titles = ", ".join(METRIC_TITLES[metric] for metric in metrics)
                others = [kind for kind, known in there.items() if known]
                raise ConfigurationError(
                    f"{options.study} is about {what}, and the test images of {options.dataset} have none"
                    f"{f', {others[0]} alone' if others else ''}; it shows {titles}. {NEEDS_HINT[what]}"
                )


def write(
    options: argparse.Namespace, study: Study, recipes: Sequence[Recipe], findings: Findings, failed: dict[Path, str]
) -> Reproduction:
    dataset, published = published_for(options.study, options.dataset)
    folder = options.output_dir / f"{options.study}-{options.dataset.replace('/', '-')}"
    folder.mkdir(parents=True, exist_ok=True)
    seeds = list(dict.fromkeys(options.seeds))
    added = "".join(f", {name} {value}" for name, value in recipes[0].added.items())
    setting = (
        f"Trained by {', '.join(os.path.relpath(recipe.path) for recipe in recipes)}{added}; "
        f"seeds {', '.join(map(str, seeds))}. {describe(findings, study.metrics, study.few_images)}"
    )
    table = as_markdown(options.study, study, options.dataset, setting, findings, failed)
    (folder / "table.md").write_text(table)
    content = {
        "study": options.study, "dataset": options.dataset, "recipes": [str(recipe.path) for recipe in recipes],
        "fields": dict(recipes[0].added), "setting": setting, "select_on_test": options.select_on_test,
        "ten_crop": options.ten_crop, "seeds": seeds, "published_dataset": dataset,
        "failed": {str(path): reason for path, reason in failed.items()}, **as_json(study, findings, published),
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    if study.figure is not None and any(findings.outcomes.values()):
        study.figure(findings).savefig(folder / "figure.png", dpi=120)
    return Reproduction(table, folder, failed)
