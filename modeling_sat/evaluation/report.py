"""One report a person can open, `report.md` and `report.html`, of one evaluated checkpoint or several side by side."""

import base64
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import markdown

from ..output.html import render
from ..output.tables import markdown_table
from .analysis import ERROR_CAUSES, count_causes, error_causes, median_of_correct
from .evaluator import LocalizationEvaluator
from .figures import draw_figures
from .result import METRICS_FILE, EvaluationResult
from .storage import load_records


RECORDS_FILE = "records.parquet"
WORST_FILE, PREDICTIONS_FILE = "worst.jpg", "predictions.png"
"""What scripts/evaluate.py writes and a report reads."""

_SETTING = ("dataset", "split", "protocol", "view", "num_images")
METRIC_NAMES = {
    "gt_known_loc": "GT-known Loc",
    "gt_known_loc_predicted_class": "GT-known Loc, predicted class",
    "top1_loc": "Top-1 Loc",
    "top5_loc": "Top-5 Loc",
    "top1_cls": "Top-1 Cls",
    "top5_cls": "Top-5 Cls",
    "box_acc_30": "IoU 30",
    "box_acc_50": "IoU 50",
    "box_acc_70": "IoU 70",
    "max_box_acc": "MaxBoxAcc",
    "max_box_acc_predicted_class": "MaxBoxAcc, predicted class",
    "max_box_acc_v2": "MaxBoxAccV2",
    "pxap": "PxAP",
    "piou": "pIoU",
}
CONSTANT_NAMES = {"whole_image": "whole image", "center": "best centred box"}
CONSTANT_MAP_NAMES = {"uniform": "uniform map", "gaussian": "centred Gaussian"}

CAPTIONS = {
    "iou_distribution": "How well boxes fit (Fig. 5 of the SAT paper). Right of 0.5 a box counts as correct; the "
    "dashed line is the median of the correct ones.",
    "iou_by_size": "Overlap against object size (Fig. 6). A line that falls at the left says that small objects are "
    "boxed too generously.",
    "accuracy_over_thresholds": "GT-known Loc against the threshold (Fig. 7). A wide plateau forgives a threshold "
    "chosen on other images.",
    "errors_by_cause": "Why images fail at Top-1 Loc (Fig. 9, by TS-CAM's rules). *classification*: the class is "
    "wrong; *multiple instances*: the box covers several true boxes; *part*: it lies inside the object; *more*: it "
    "holds the object and much else.",
}


@dataclass
class EvaluatedRun:
    """A folder that scripts/evaluate.py wrote.

    Args:
        name: what the report calls it.
        folder: where it is.
        result: what it found.
        evaluator: with its records.
    """

    name: str
    folder: Path
    result: EvaluationResult
    evaluator: LocalizationEvaluator

    @classmethod
    def load(cls, folder: str | Path, name: str | None = None) -> "EvaluatedRun":
        """Reads a folder; `name` is the folder's own by default.

        Raises:
            ValueError: it is not a folder of an evaluation, or one without boxes and masks, which a report is about.
        """
        folder = Path(folder)
        if not (folder / METRICS_FILE).is_file() or not (folder / RECORDS_FILE).is_file():
            raise ValueError(
                f"{folder} has no {METRICS_FILE} and {RECORDS_FILE}; give folders that scripts/evaluate.py wrote as "
                "its output_dir."
            )
        result = EvaluationResult.load(folder, "model", *_SETTING)
        if result.threshold is None:
            raise ValueError(f"{folder} was evaluated on images without boxes and masks; a report needs either.")
        return cls(name or folder.name, folder, result, load_records(folder / RECORDS_FILE))

    @property
    def has_boxes(self) -> bool:
        return bool(self.result.constant_box_baselines)

    @property
    def setting(self) -> dict[str, Any]:
        """What has to be equal for two results to be compared."""
        return {name: getattr(self.result, name) for name in _SETTING}


def write_report(runs: Sequence[EvaluatedRun], output_dir: str | Path) -> None:
    """Writes `report.md`, `report.html` (one file, pictures inside) and the figures as PNG to `output_dir`.

    Raises:
        ValueError: no runs, two of one name, or runs that were not measured in the same way on the same images.
    """
    _check_comparable(runs)
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    if runs[0].has_boxes:
        results = {run.name: [(run.evaluator, run.result.threshold)] for run in runs}
        for name, figure in draw_figures(results, _constant_boxes(runs)).items():
            figure.savefig(folder / f"{name}.png", dpi=150)
    sheets = {run.name: _copy_sheet(run, folder, only=len(runs) == 1) for run in runs}
    text = _markdown(runs, {name: sheet for name, sheet in sheets.items() if sheet})
    (folder / "report.md").write_text(text)
    (folder / "report.html").write_text(_html(text, folder))


def as_table(result: EvaluationResult) -> str:
    """A result for the terminal: percent, and the constants beside the result."""
    lines = [_setting(result)]
    if result.threshold is not None:
        lines.append(f"threshold {result.threshold:.3g}, source: {result.threshold_source}")
    metrics = result.metrics
    lines += [f"  {name:<34}{100 * metrics[key]:6.2f}" for key, name in METRIC_NAMES.items() if key in metrics]
    for key, name in CONSTANT_NAMES.items():
        if key in result.constant_box_baselines:
            name = f"constant: {name}, GT-known Loc"
            lines.append(f"  {name:<34}{100 * result.constant_box_baselines[key]:6.2f}")
    for key, name in CONSTANT_MAP_NAMES.items():
        for metric, value in result.constant_map_baselines.get(key, {}).items():
            if metric in METRIC_NAMES:
                label = f"constant: {name}, {METRIC_NAMES[metric]}"
                lines.append(f"  {label:<34}{100 * value:6.2f}")
    return "\n".join(lines)


def _check_comparable(runs: Sequence[EvaluatedRun]) -> None:
    if not runs:
        raise ValueError("There is nothing to report; give at least one folder that scripts/evaluate.py wrote.")
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise ValueError(f"Two results have the same name: {', '.join(names)}. Give each its own name.")
    first = runs[0]
    images = {record["image_id"] for record in first.evaluator.records}
    for run in runs[1:]:
        other = [key for key, value in run.setting.items() if value != first.setting[key]]
        if other:
            differences = ", ".join(f"{key} {first.setting[key]} and {run.setting[key]}" for key in other)
            raise ValueError(
                f"{first.folder} and {run.folder} were not measured in the same way: {differences}. Evaluate both "
                "in the same way; results of different protocols or views cannot be compared."
            )
        if {record["image_id"] for record in run.evaluator.records} != images:
            raise ValueError(f"{first.folder} and {run.folder} were measured on different images of the same split.")


def _setting(result: EvaluationResult) -> str:
    crop, resize = result.view["crop"], result.view["resize"]
    view = f"whole image at {resize[0]}×{resize[1]}" if crop is None else f"centre crop {crop[0]}×{crop[1]}"
    crops = ", classes from ten crops" if result.ten_crop else ""
    return f"{result.dataset} {result.split}, {result.num_images} images, protocol {result.protocol}, {view}{crops}"


def _constant_boxes(runs: Sequence[EvaluatedRun]) -> dict[str, float]:
    """GT-known Loc of the constant boxes; the centred one of the first run, where validation images differ."""
    scores = runs[0].result.constant_box_baselines
    return {name: scores[key] for key, name in CONSTANT_NAMES.items()}


def _copy_sheet(run: EvaluatedRun, folder: Path, only: bool) -> str | None:
    source = run.folder / (WORST_FILE if run.has_boxes else PREDICTIONS_FILE)
    if not source.is_file():
        return None
    name = re.sub("[^A-Za-z0-9_.-]", "_", run.name)
    target = folder / (source.name if only else f"{source.stem}-{name}{source.suffix}")
    if target.resolve() != source.resolve():
        shutil.copyfile(source, target)
    return target.name


def _markdown(runs: Sequence[EvaluatedRun], sheets: dict[str, str]) -> str:
    parts = [
        f"# Localization on {runs[0].result.dataset}",
        f"{_setting(runs[0].result)}. All numbers are percent.",
        markdown_table(["", *(run.name for run in runs)], [
            ["checkpoint", *(f"`{run.result.model}`" for run in runs)],
            ["map", *(run.result.map or "" for run in runs)],
            ["threshold", *(f"{run.result.threshold:.3g}" for run in runs)],
            ["chosen on", *(run.result.threshold_source or "" for run in runs)],
        ]),
    ]  # fmt: skip
    if any(run.result.threshold_source == "test" for run in runs):
        parts.append(
            "**A threshold was chosen on the very images it is measured on**, as published results often are; it "
            "flatters that result."
        )
    if any(run.result.threshold_source == "train" for run in runs):
        parts.append("**A threshold was chosen on images that the checkpoint may have been trained on.**")
    parts += ["## Metrics", _metrics_table(runs)]
    if not runs[0].has_boxes:
        for name, sheet in sheets.items():
            parts += [f"## Predictions of {name}", f"![predictions of {name}]({sheet})"]
        return "\n\n".join(parts) + "\n"
    parts.append("## Where boxes lie")
    for name in ("iou_distribution", "iou_by_size", "accuracy_over_thresholds"):
        parts += [CAPTIONS[name], f"![{name.replace('_', ' ')}]({name}.png)"]
    parts += ["## Why images fail", CAPTIONS["errors_by_cause"], "![errors by cause](errors_by_cause.png)"]
    parts.append(_error_table(runs))
    for name, sheet in sheets.items():
        parts += [
            f"## The worst images of {name}",
            "Lowest overlap first: map, predicted box (green), true boxes (red), cause and overlap.",
            f"![worst images of {name}]({sheet})",
        ]
    return "\n\n".join(parts) + "\n"


def _metrics_table(runs: Sequence[EvaluatedRun]) -> str:
    """Metrics of each run, and in two more columns the constant baselines: boxes, and maps for the pixels."""
    result = runs[0].result
    boxes, maps = result.constant_box_baselines, result.constant_map_baselines
    constants, header = [], []
    for box, map_name in zip(CONSTANT_NAMES, CONSTANT_MAP_NAMES, strict=True):
        constants.append(({"gt_known_loc": boxes[box]} if boxes else {}) | maps.get(map_name, {}))
        names = [CONSTANT_NAMES[box]] * bool(boxes) + [CONSTANT_MAP_NAMES[map_name]] * bool(maps)
        header.append(" and ".join(names))
    columns = [run.result.metrics for run in runs] + constants
    rows = [
        [name, *(_percent(column.get(key)) for column in columns)]
        for key, name in METRIC_NAMES.items()
        if any(key in run.result.metrics for run in runs)
    ]
    if not boxes:
        return markdown_table(["", *(run.name for run in runs), *(f"constant: {name}" for name in header)], rows)
    medians = [median_of_correct(run.evaluator.iou(run.result.threshold)) for run in runs]
    rows.append(["median IoU of the correct", *map(_percent, medians), "", ""])
    return markdown_table(["", *(run.name for run in runs), *(f"constant: {name}" for name in header)], rows)


def _error_table(runs: Sequence[EvaluatedRun]) -> str:
    shares = {
        (run.name, of): count_causes(error_causes(run.evaluator, run.result.threshold, of))
        for run in runs
        for of in ("top1_loc", "gt_known_loc")
    }
    header = ["", *(f"{name}, {METRIC_NAMES[of]}" for name, of in shares)]
    rows = [[cause, *(_percent(share[cause]) for share in shares.values())] for cause in ERROR_CAUSES]
    return markdown_table(header, [*rows, ["all", *(_percent(sum(share.values())) for share in shares.values())]])


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _html(text: str, folder: Path) -> str:
    def embed(match: re.Match) -> str:
        data = base64.b64encode((folder / match[1]).read_bytes()).decode()
        return f'src="data:image/{match[2]};base64,{data}"'

    body = re.sub(r'src="([^"]+\.(png|jpg))"', embed, markdown.markdown(text, extensions=["tables"]))
    title = text.split("\n", 1)[0].lstrip("# ")
    return render("report.html", title=title, body=body)
