"""What a run's files say of it, as a model card tells it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME

from ..evaluation.report import CONSTANT_MAP_NAMES, CONSTANT_NAMES, METRIC_NAMES, METRICS_FILE
from .checkpoint_files import read_json
from .errors import PublishingError


RUN_FILE = "run.json"
_RECIPE = {
    "optim": "optimizer", "learning_rate": "learning rate", "lr_scheduler_type": "schedule", "warmup_steps": "warm-up",
    "weight_decay": "weight decay", "images in a batch": "images in a batch", "seed": "seed", "freeze": "frozen",
    "classification_epochs": "passes with the classification loss alone", "drop_path_rate": "drop path",
    "ema_decay": "decay of the averaged weights", "bf16": "bfloat16", "fp16": "float16",
    "images_per_class": "images of each class", "resize_size": "images squashed to",
}  # fmt: skip
_MODEL = {
    "area_target": "target area λ", "area_loss_weight": "weight of the area loss",
    "normalization_loss_weight": "weight of the normalization loss", "num_spatial_layers": "spatial layers",
    "classifier": "classifier",
}  # fmt: skip
_SOURCES = {
    "validation": "The threshold was chosen on validation images, the numbers are of others.",
    "test": "**The threshold was chosen on the very images it is measured on**, which flatters the boxes.",
    "fixed": "The threshold was fixed beforehand.",
    "train": "**The threshold was chosen on images that the checkpoint may have been trained on.**",
}
_OVER_THRESHOLDS = "MaxBoxAcc and MaxBoxAccV2 take the best threshold of the measured images by definition."


@dataclass
class Run:
    """A checkpoint folder's own files; what a run did not leave is an empty mapping."""

    folder: Path

    @cached_property
    def config(self) -> dict[str, Any]:
        return read_json(self.folder / CONFIG_NAME) or {}

    @cached_property
    def processor(self) -> dict[str, Any]:
        return read_json(self.folder / IMAGE_PROCESSOR_NAME) or {}

    @cached_property
    def state(self) -> dict[str, Any]:
        return read_json(self.folder / TRAINER_STATE_NAME) or {}

    @cached_property
    def record(self) -> dict[str, Any]:
        """With `settings` and, when training has ended, `session`: see `modeling_sat.training`."""
        return read_json(self.folder / RUN_FILE) or {}

    @property
    def settings(self) -> dict[str, Any]:
        return self.record.get("settings", {})

    @property
    def session(self) -> dict[str, Any]:
        return self.record.get("session", {})

    @property
    def class_names(self) -> list[str]:
        return list(self.config.get("id2label", {}).values())

    def sentences(self) -> list[str]:
        """Data, length and machine of the training, as far as they are known."""
        said = []
        if "dataset" in self.settings:
            number = self.settings.get("training images")
            images = f"{number:,} labelled images of " if number else "Labelled images of "
            said.append(f"Data: {images}`{local_name(self.settings['dataset'])}`.")
            start = self.settings.get("model")
            said.append(f"It started from {'`' + local_name(start) + '`' if start else 'random weights'}.")
        if "global_step" in self.state:
            passes = self.state.get("epoch")
            said.append(
                f"It took {self.state['global_step']:,} steps" + (f", {passes:.4g} passes over the data." if passes else ".")
            )  # fmt: skip
        if not said:
            return ["This folder has no record of a training."]
        if not self.settings:
            said.append(f"The run left no {RUN_FILE}, so its data and settings are not known here.")
        seconds, machine = self._seconds(), self.session.get("hardware")
        if seconds:
            since = self.session.get("from_step")
            what = f"From step {since:,} on, training" if since else "Training" if self.session else "Its last session"
            said.append(f"{what} took {duration(seconds)}{' on ' + machine if machine else ''}.")
        versions = self.session.get("versions", {})
        if versions:
            said.append(f"Software: {', '.join(f'{name} {version}' for name, version in versions.items())}.")
        return said

    def recipe(self) -> list[tuple[str, str]]:
        """Settings that are set, by their names in words."""
        values = [(name, self.config.get(key)) for key, name in _MODEL.items()]
        values += [(name, self.settings.get(key)) for key, name in _RECIPE.items()]
        if not self.settings and "train_batch_size" in self.state:
            values.append(("images in a batch of each process", self.state["train_batch_size"]))
        return [(name, str(value)) for name, value in values if value not in (None, False, "none", 0)]

    def _seconds(self) -> float | None:
        if self.session:
            return self.session.get("seconds")
        times = [entry["train_runtime"] for entry in self.state.get("log_history", []) if "train_runtime" in entry]
        return times[-1] if times else None


def read_evaluation(folder: str | Path) -> dict[str, Any]:
    """The `metrics.json` of a folder that `scripts/evaluate.py` wrote.

    Raises:
        PublishingError: there is none, or it is of something else.
    """
    result = read_json(Path(folder) / METRICS_FILE)
    if result is None:
        raise PublishingError(f"{folder} has no {METRICS_FILE}; give the output_dir of scripts/evaluate.py.")
    missing = [key for key in ("model", "dataset", "split", "protocol", "metrics", "num_images") if key not in result]
    if missing:
        raise PublishingError(f"{folder}/{METRICS_FILE} has no {missing[0]!r}; scripts/evaluate.py writes one.")
    return result


def heading(result: dict[str, Any]) -> str:
    """How a result was measured, in a line."""
    view = result.get("view") or {}
    seen = "centre crop" if view.get("crop") else "whole image"
    size = view.get("crop") or view.get("resize")
    parts = [f"**{local_name(result['dataset'])}, {result['split']} split**", f"{result['num_images']:,} images"]
    parts += [f"protocol `{result['protocol']}`", f"{seen} at {size[0]}×{size[1]}" if size else seen]
    parts += ["class activation map"] if result.get("map") == "class" else []
    parts += ["classes from ten crops"] if result.get("ten_crop") else []
    parts += [f"quality `{result['quality']}`"] if result.get("quality", "fast") != "fast" else []
    return ", ".join(parts) + ":"


def table(result: dict[str, Any]) -> str:
    """The metrics in percent, and in two more columns what constant boxes and maps score there."""
    boxes, maps = result.get("constant_box_baselines") or {}, result.get("constant_map_baselines") or {}
    columns = []
    for box, even_map in zip(CONSTANT_NAMES, CONSTANT_MAP_NAMES, strict=True):
        scores = ({"gt_known_loc": boxes[box]} if box in boxes else {}) | maps.get(even_map, {})
        names = [CONSTANT_NAMES[box]] * (box in boxes) + [CONSTANT_MAP_NAMES[even_map]] * (even_map in maps)
        columns += [(f"looking at nothing: {', '.join(names)}", scores)] if names else []
    lines = [["", "this checkpoint", *(name for name, _ in columns)], ["---", *["---:"] * (len(columns) + 1)]]
    for key, name in METRIC_NAMES.items():
        if key in result["metrics"]:
            lines.append(
                [name, *(percent(values.get(key)) for values in (result["metrics"], *dict(columns).values()))]
            )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def note(result: dict[str, Any]) -> str:
    """Which threshold, and who chose it."""
    threshold = result.get("threshold")
    if threshold is None:
        return "These images have no boxes or masks."
    source = _SOURCES.get(result.get("threshold_source"), "")
    return f"Localization threshold {threshold:.3g}. {source} {_OVER_THRESHOLDS * ('max_box_acc' in result['metrics'])}".strip()


def check_same_model(result: dict[str, Any], run: Run, repo_id: str, where: str | Path) -> None:
    """Numbers of one checkpoint do not belong on the card of another.

    Raises:
        PublishingError: the evaluation names another checkpoint.
    """
    measured = str(result["model"])
    path = Path(measured)
    same = measured == repo_id or path.resolve() == run.folder.resolve()
    moved = not path.exists() and path.name == run.folder.resolve().name
    if not same and not moved:
        raise PublishingError(f"{where} measured {measured}, not {run.folder}; evaluate this checkpoint.")


def percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def duration(seconds: float) -> str:
    """`40 seconds`, `12 minutes`, `3.5 hours`."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"


def local_name(name: str) -> str:
    """What others may read of a dataset or model: a Hub id as it is, of a path its last part."""
    return Path(name).name if os.path.isabs(name) or Path(name).exists() else name


def known_metrics(results: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], str, float]]:
    """(result, metric, value) of every metric with a name."""
    return [
        (result, key, result["metrics"][key]) for result in results for key in METRIC_NAMES if key in result["metrics"]
    ]
