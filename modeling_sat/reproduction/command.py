"""`scripts/reproduce.py`: from a study's name to its table."""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from datasets import Dataset, IterableDataset

from ..data.arguments import DataArguments
from ..inference.evaluation_loop import has_boxes, has_masks
from ..output.files import path_written_aside, write_json, written_aside
from ..training.arguments import ConfigurationError, resolve_fields
from .identity import Identifier
from .names import METRIC_TITLES
from .options import ReproductionOptions, RunOptions
from .pictures import seed_looked_at, side_by_side
from .recipes import Recipe, Run, find_recipes, make_run, parse_fields
from .results import Key, Measure, StudyResults
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
        folder: where table.md, results.json and figure.png or pictures.jpg are.
        failed: folder of each failed run → why.
    """

    table: str
    folder: Path
    failed: dict[Path, str]


def reproduce(name: str, options: ReproductionOptions, fields: Sequence[str], scripts: Path) -> Reproduction | None:
    """Trains and evaluates a study's runs that are not there yet, and writes its table, numbers and figure.

    Args:
        name: of the study, a key of `STUDIES`.
        fields: `--field value …`, training fields of every run.
        scripts: the folder of train.py, evaluate.py and configs/.

    Returns:
        None of a dry run, whose commands are printed.

    Raises:
        ConfigurationError: no such recipe, field or row; no boxes or masks; or a run that was tampered with.
        Stopped: by Ctrl-C or SIGTERM.
    """
    study, added = STUDIES[name], parse_fields(fields)
    rows = choose_rows(study, options.dataset, options.rows)
    recipes = find_recipes(scripts / "configs", options.dataset, options.model, options.config, study.by_model, added)
    check_added(study, added)
    check_needs(name, options, recipes)
    evaluate_options = [f"--{option}" for option in ("select_on_test", "ten_crop") if getattr(options, option)]
    places = make_runs(study, rows, recipes, options, evaluate_options)
    runs = unique(places)
    if options.dry_run:
        print_commands(runs, scripts, evaluate_options)
        return None
    prepare(runs)
    failed = Runner(scripts, options.jobs, evaluate_options).run(runs)
    return write(name, options, recipes, read_outcomes(places, failed, study.measure), failed)


def print_commands(runs: Sequence[Run], scripts: Path, evaluate_options: Sequence[str]) -> None:
    """What is left of the runs, whose configurations are written."""
    for run in runs:
        run.write_config()
        for command in commands(run, scripts, evaluate_options):
            print(shlex.join(command))


def prepare(runs: Sequence[Run]) -> None:
    """Writes the runs' configurations; says where a run of an earlier call is another one."""
    for run in runs:
        anew = run.why_anew()
        if anew is not None:
            print(anew)
        run.write_config()


def read_outcomes(
    places: Mapping[Key, Mapping[int, Run]], failed: Mapping[Path, str], measure: Measure | None = None
) -> StudyResults:
    """What the runs measured that did not fail."""
    return StudyResults({
        key: {seed: read_outcome(run, measure) for seed, run in by_seed.items() if run.folder not in failed}
        for key, by_seed in places.items()
    })  # fmt: skip


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


def make_runs(
    study: Study,
    rows: Sequence[Row],
    recipes: Sequence[Recipe],
    options: RunOptions,
    evaluate_options: Sequence[str] = (),
    count: Callable[[Mapping[str, Any]], tuple[int, int]] = count_images,
) -> dict[Key, dict[int, Run]]:
    """Place in the table → seed → run. Different places may be the same run.

    Args:
        count: gives the number of all training images of a run, and of classes.
    """
    folder = options.output_dir / "runs"
    identifier = Identifier(options.output_dir)
    places: dict[Key, dict[int, Run]] = {}
    for recipe in recipes:
        shared = shared_fields(recipe, options)
        view = {**recipe.fields, **recipe.added}.get("view")
        names = [shared["protocol"] if shared["protocol"] != "sat" else None, view and f"view-{view}"]
        evaluation = "-".join(
            filter(None, ["evaluation", *names, *(option.lstrip("-") for option in evaluate_options)])
        )
        data = {**recipe.fields, **recipe.added, **shared, "dataset": options.dataset, "data_seed": options.seeds[0]}
        counts = count(data) if study.few_images else None
        for row in rows:
            for column in study.columns:
                fields, few = dict(shared), {**row.fields, **column.fields}.get("images_per_class")
                if few is not None:
                    whole = recipe.with_changes(recipe.changed_by(row)) | shared
                    fields |= as_many_steps(whole, counts[0], few * counts[1])
                places[Key(row.name, column.name, recipe.label if study.by_model else "")] = {
                    seed: make_run(
                        recipe, (row, column), seed, options.dataset, folder, evaluation, fields, identifier
                    )
                    for seed in options.seeds
                }
    return places


def shared_fields(recipe: Recipe, options: RunOptions) -> dict[str, Any]:
    """Training fields that the command's own options give to every run of a recipe."""
    shared = {"protocol": options.protocol or {**recipe.fields, **recipe.added}.get("protocol") or "sat"}
    return shared if options.data_dir is None else {**shared, "data_dir": options.data_dir}


def unique(places: Mapping[Key, Mapping[int, Run]]) -> list[Run]:
    """Each once, all runs of a seed before the next seed's, so that a table fills evenly."""
    seeds = list(dict.fromkeys(seed for by_seed in places.values() for seed in by_seed))
    ordered = [by_seed[seed] for seed in seeds for by_seed in places.values()]
    return list({run.folder: run for run in ordered}.values())


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


def check_needs(name: str, options: ReproductionOptions, recipes: Sequence[Recipe]) -> None:
    """
    Raises:
        ConfigurationError: the test images have no boxes or masks, and the study shows metrics of them.
    """
    for data in {repr(data): data for recipe in recipes for data in [data_of(recipe, options)]}.values():
        test = load_test(data, options.seeds[0])
        there = {"boxes": has_boxes(test), "masks": has_masks(test)}
        for what, metrics in STUDIES[name].needs.items():
            if not there[what]:
                titles = ", ".join(METRIC_TITLES[metric] for metric in metrics)
                others = [kind for kind, known in there.items() if known]
                raise ConfigurationError(
                    f"{name} is about {what}, and the test images of {options.dataset} have none"
                    f"{f', {others[0]} alone' if others else ''}; it shows {titles}. {NEEDS_HINT[what]}"
                )


def data_of(recipe: Recipe, options: RunOptions) -> DataArguments:
    """The data that a recipe's runs see."""
    fields = resolve_fields({**recipe.fields, **recipe.added, **shared_fields(recipe, options)})
    return replace(DataArguments.of(fields), dataset=options.dataset)


def load_test(data: DataArguments, seed: int) -> Dataset:
    """
    Raises:
        ConfigurationError: it is a stream.
    """
    test = data.load("test", seed=seed)
    if isinstance(test, IterableDataset):
        raise ConfigurationError("Images are evaluated from disk; leave streaming out of dataset_options.")
    return test


def write(
    name: str, options: ReproductionOptions, recipes: Sequence[Recipe], results: StudyResults, failed: dict[Path, str]
) -> Reproduction:
    study = STUDIES[name]
    dataset, published = published_for(name, options.dataset)
    folder = options.output_dir / f"{name}-{options.dataset.replace('/', '-')}"
    folder.mkdir(parents=True, exist_ok=True)
    added = "".join(f", {option} {value}" for option, value in recipes[0].added.items())
    setting = (
        f"Trained by {', '.join(os.path.relpath(recipe.path) for recipe in recipes)}{added}; "
        f"seeds {', '.join(map(str, options.seeds))}. {describe(results, study.metrics, study.few_images)}"
    )
    table = as_markdown(name, study, options.dataset, setting, results, failed)
    with written_aside(folder / "table.md") as file:
        file.write(table)
    content = {
        "study": name, "dataset": options.dataset, "recipes": [str(recipe.path) for recipe in recipes],
        "fields": dict(recipes[0].added), "setting": setting, "select_on_test": options.select_on_test,
        "ten_crop": options.ten_crop, "seeds": options.seeds, "published_dataset": dataset,
        "failed": {str(path): reason for path, reason in failed.items()}, **as_json(study, results, published),
    }  # fmt: skip
    write_json(folder / "results.json", content, ensure_ascii=False)
    if study.figure is not None and any(results.outcomes.values()):
        with path_written_aside(folder / "figure.png") as aside:
            study.figure(results).savefig(aside, dpi=120)
    seed = seed_looked_at(results)
    if study.pictures and seed is not None:
        with path_written_aside(folder / "pictures.jpg") as aside:
            side_by_side(results, load_test(data_of(recipes[0], options), seed)).save(aside, quality=90)
    return Reproduction(table, folder, failed)
