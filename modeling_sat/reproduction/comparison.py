"""`scripts/compare.py`: which method wins on someone's own images, as one table and one page of pictures."""

import base64
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import markdown
from datasets import Dataset
from matplotlib.figure import Figure
from PIL import Image

from ..data import MissingSplitError
from ..data.arguments import DataArguments
from ..inference.evaluation_loop import has_boxes, has_masks, with_boxes
from ..output.files import write_json, written_aside
from ..output.html import render
from ..training.arguments import ConfigurationError
from . import plots
from .claims import Best, best_row
from .command import data_of, load_test, make_runs, prepare, print_commands, read_outcomes, unique
from .costs import OF_EVERY_TABLE
from .names import CONSTANT_TITLES, METRIC_TITLES
from .options import ComparisonOptions
from .pictures import Line, Looked, draw_lines, look, most_different, seed_looked_at, spread_out
from .recipes import find_recipes, parse_fields
from .results import StudyResults
from .runner import Runner
from .setting import describe
from .studies import LAPTOP_DATASETS, METHOD_ROWS, Study
from .tables import as_json, as_markdown


PICTURE_SIDE = 224
"""Of a picture on the page, in pixels."""


class Images(NamedTuple):
    """What methods are measured on.

    Args:
        split: "test", or "validation" where there is no other.
        dataset: of the seed of the pictures, or of the first one.
        boxes, masks: whether it has them.
    """

    split: str
    dataset: Dataset
    boxes: bool
    masks: bool


@dataclass(frozen=True)
class Comparison:
    """What `compare` gave.

    Args:
        table: Markdown.
        folder: where table.md, results.json and compare.html are.
        failed: folder of each failed run → why.
        winner: a sentence.
    """

    table: str
    folder: Path
    failed: dict[Path, str]
    winner: str


def compare(options: ComparisonOptions, fields: Sequence[str], scripts: Path) -> Comparison | None:
    """Trains and evaluates each method that is not there yet, and writes table, numbers and page.

    Args:
        fields: `--field value …`, training fields of every run.
        scripts: the folder of train.py, evaluate.py and configs/.

    Returns:
        None of a dry run, whose commands are printed.

    Raises:
        ConfigurationError: no such recipe or field, images to measure on are missing, or a run that was tampered with.
        Stopped: by Ctrl-C or SIGTERM.
    """
    added = parse_fields(fields)
    if "method" in added:
        raise ConfigurationError("compare.py trains several methods; give them by --methods.")
    chosen = options.model is None and options.config is None and options.dataset not in LAPTOP_DATASETS
    model = "deit-tiny" if chosen else options.model
    (recipe,) = find_recipes(scripts / "configs", options.dataset, model, options.config, False, added)
    data = data_of(recipe, options)
    images = images_to_measure_on(data, options.seeds[0])
    study = study_of(images, options.methods)
    evaluate_options = [] if images.split == "test" else ["--split", images.split]
    places = make_runs(study, study.rows, [recipe], options, evaluate_options)
    if options.dry_run:
        print_commands(unique(places), scripts, evaluate_options)
        return None
    prepare(unique(places))
    failed = Runner(scripts, options.jobs, evaluate_options).run(unique(places))
    results = best_first(read_outcomes(places, failed), study.metrics[0])
    settings = ", ".join([os.path.relpath(recipe.path), *(f"{name} {value}" for name, value in added.items())])
    setting = (
        f"Trained by {settings}; seeds {', '.join(map(str, options.seeds))}. {describe(results, study.metrics)} "
        f"{what_is_measured(images)}"
    )
    table = as_markdown(None, study, options.dataset, setting, results, failed)
    winner = which_wins(results, study.metrics[0])
    options.output_dir.mkdir(parents=True, exist_ok=True)
    with written_aside(options.output_dir / "table.md") as file:
        file.write(table)
    content = {"dataset": options.dataset, "setting": setting, "winner": winner, "seeds": options.seeds}
    content["failed"] = {str(path): reason for path, reason in failed.items()}
    write_json(options.output_dir / "results.json", content | as_json(study, results, {}), ensure_ascii=False)
    if (seed := seed_looked_at(results)) not in (None, options.seeds[0]):
        images = images_to_measure_on(data, seed)
    with written_aside(options.output_dir / "compare.html") as file:
        file.write(as_page(table, winner, study, results, images.dataset, options.images))
    return Comparison(table, options.output_dir, failed, winner)


def images_to_measure_on(data: DataArguments, seed: int) -> Images:
    """The test images or, where there are none, those of validation.

    Raises:
        ConfigurationError, DatasetError: neither are there, or the data cannot be read.
    """
    try:
        split, dataset = "test", load_test(data, seed)
    except MissingSplitError as missing:
        try:
            split, dataset = "validation", data.load("validation", seed=seed)
        except MissingSplitError as error:
            raise ConfigurationError(
                f"{missing} Nor are there validation images: {error} Methods are compared on images that they have not "
                "seen; give a test or a validation folder, or a validation_fraction."
            ) from error
    return Images(split, with_boxes(dataset), has_boxes(dataset), has_masks(dataset))


def study_of(images: Images, methods: Sequence[str]) -> Study:
    """The rows of the methods, and the metrics that the images allow; the first one says which wins."""
    metrics = ("gt_known_loc", "top1_loc", "max_box_acc_v2", "top1_cls") if images.boxes else ()
    metrics += ("piou", "pxap") if images.masks else ()
    if "top1_cls" not in metrics:
        metrics += ("top1_cls",)
    return Study(
        title="Methods compared",
        rows=tuple(row for row in METHOD_ROWS if row.fields["method"] in methods),
        metrics=metrics,
        claims=(Best(metrics[0]),),
        figure=plots.bars(*metrics[:2]),
        costs=OF_EVERY_TABLE,
    )


def what_is_measured(images: Images) -> str:
    """On which images, and what they cannot tell."""
    said = [f"Measured on {len(images.dataset)} {images.split} images."]
    if images.split == "validation":
        said.append(
            "There are no test images, and thresholds were chosen on these same ones, which flatters all rows."
        )
    if not images.boxes and not images.masks:
        said.append(
            "They have neither boxes nor masks, so no number says how well an object is found: the table has the "
            "classification alone, and the pictures show maps and boxes at each checkpoint's own threshold."
        )
    elif not images.boxes:
        said.append("They have masks and no boxes, so the numbers are of pixels.")
    return " ".join(said)


def best_first(results: StudyResults, metric: str) -> StudyResults:
    """Rows by their mean; those without one last."""
    means = {key: summary.mean if (summary := results.summary(key, metric)) else -1.0 for key in results.outcomes}
    return StudyResults({key: results.outcomes[key] for key in sorted(means, key=means.get, reverse=True)})


def which_wins(results: StudyResults, metric: str) -> str:
    """In a sentence; whether a constant would have won too."""
    best, title = best_row(results, metric), METRIC_TITLES[metric]
    if best is None:
        return "No run has ended well."
    means = {str(row): summary.mean for row in results.rows if (summary := results.summary(row, metric))}
    own = means.pop(str(best))
    next_best = max(means, key=means.get, default=None)
    follows = "" if next_best is None else f"; {next_best} follows with {means[next_best]:.1f}"
    said = [f"{best} has the best {title}, {own:.1f} %{follows}."]
    constants = {name: fmean(values[metric]) for name, values in results.constants().items() if metric in values}
    strongest = max(constants, key=constants.get, default=None)
    if strongest is not None:
        than = (
            "which all have to beat"
            if own > constants[strongest]
            else "which no method beats: none has learnt to find"
        )
        said.append(f"A constant, the {CONSTANT_TITLES[strongest]}, has {constants[strongest]:.1f} %, {than}.")
    if metric == "top1_cls":
        said.append("That is who names the images best, not who finds the objects.")
    if results.summary(best, metric).count == 1:
        said.append("One seed does not tell a small lead from chance.")
    return " ".join(said)


def as_page(table: str, winner: str, study: Study, results: StudyResults, dataset: Dataset, count: int) -> str:
    """One HTML file: the winner, the table, a figure and the same images by each method, pictures inside."""
    looked = look(results)
    groups = (
        [_group("Images spread evenly over the data", spread_out(looked, count), looked, dataset)] if looked else []
    )
    if len(looked) > 1:
        chosen = most_different(looked, count, spread_out(looked, count))
        groups.append(_group("Images on which the methods differ most", chosen, looked, dataset))
    title, _, body = table.partition("\n")
    return render(
        "comparison.html",
        title=title.lstrip("# "),
        winner=winner,
        body=markdown.markdown(body, extensions=["tables"]),
        figure=_figure_source(study.figure(results)) if looked else None,
        methods=list(looked),
        groups=[group for group in groups if group[1]],
    )


def _group(heading: str, image_ids: Sequence[str], looked: dict[str, Looked], dataset: Dataset) -> tuple[str, list]:
    lines = draw_lines(looked, dataset, image_ids)
    return heading, [_as_sources(line) for line in lines]


def _as_sources(line: Line) -> list[tuple[str, str]]:
    return [(_picture_source(panel.picture), panel.caption) for panel in (line.image, *line.panels)]


def _picture_source(picture: Image.Image) -> str:
    small = picture.convert("RGB")
    small.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def _figure_source(figure: Figure) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"
