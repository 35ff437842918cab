"""What a run's files say of it, as a model card tells it."""

import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import ViTConfig
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME

from ..checkpoints.run_record import RUN_FILE, RunRecord, RunRecordError
from ..evaluation.report import CONSTANT_MAP_NAMES, CONSTANT_NAMES, METRIC_NAMES
from ..evaluation.result import EvaluationResult, EvaluationResultError
from ..methods import METHODS
from ..models.configuration_sat import SATConfig
from ..output.tables import markdown_table
from .checkpoint_files import read_if_there
from .errors import PublishingError


_ALWAYS = (
    "area_target", "area_loss_weight", "normalization_loss_weight", "num_spatial_layers", "classifier", "optim",
    "learning_rate", "lr_scheduler_type", "weight_decay", "batch_size", "seed",
)  # fmt: skip
"""Settings that a card names whatever they are; others where they differ from their default."""
_WORDS = {
    "batch_size": "images in a batch", "backbone_config": "backbone", "area_target": "target area λ", "area_loss_weight": "weight of the area loss",
    "normalization_loss_weight": "weight of the normalization loss", "num_spatial_layers": "spatial layers",
    "smoothing_kernel_size": "smoothing kernel of the map", "smoothing_sigma": "smoothing σ of the map",
    "area_reduction": "area loss taken over", "drop_path_rate": "drop path", "optim": "optimizer",
    "lr_scheduler_type": "schedule", "lr_scheduler_kwargs": "schedule's settings", "warmup_steps": "warm-up",
    "freeze": "frozen", "classification_epochs": "passes with the classification loss alone",
    "exact_area": "area loss over all parts of a batch", "ema_decay": "decay of the averaged weights",
    "max_grad_norm": "greatest gradient norm (0: not clipped)", "adam_beta1": "Adam's β1", "adam_beta2": "Adam's β2",
    "adam_epsilon": "Adam's ε", "bf16": "bfloat16", "fp16": "float16", "data_seed": "seed of the choice of images",
    "images_per_class": "images of each class", "resize_size": "images squashed to",
    "validation_fraction": "share of the training images held out", "on_bad_image": "images that cannot be read",
    "allow_partial": "some published images may be missing", "dataloader_drop_last": "an uneven last batch left out",
    "dataset_options": "options of the dataset",
}  # fmt: skip
"""Setting → what a card calls it; others by their names."""
_SAID = frozenset((
    "method", "model", "dataset", "image_size", "patch_size", "hidden_size", "num_hidden_layers",
))  # fmt: skip
"""Settings that sentences of the card tell."""
_MOST_NAMES = 20
_SOURCES = {
    "validation": "The threshold was chosen on validation images, not on the images measured here.",
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
        return read_if_there(self.folder / CONFIG_NAME) or {}

    @cached_property
    def processor(self) -> dict[str, Any]:
        return read_if_there(self.folder / IMAGE_PROCESSOR_NAME) or {}

    @cached_property
    def state(self) -> dict[str, Any]:
        return read_if_there(self.folder / TRAINER_STATE_NAME) or {}

    @cached_property
    def record(self) -> RunRecord:
        """An empty one where there is none.

        Raises:
            PublishingError: it cannot be read.
        """
        path = self.folder / RUN_FILE
        try:
            return RunRecord.load(path, partial=True) if path.is_file() else RunRecord()
        except RunRecordError as error:
            raise PublishingError(f"{error}.") from error

    @property
    def settings(self) -> dict[str, Any]:
        return self.record.settings

    @property
    def class_names(self) -> list[str]:
        return list(self.config.get("id2label", {}).values())

    def sentences(self) -> list[str]:
        """Data, length and machine of the training, as far as they are known."""
        said = []
        if "dataset" in self.settings:
            number = self.record.training_images
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
        seconds, session = self._seconds(), self.record.session
        if seconds and session is None:
            said.append(f"Its last session took {duration(seconds)}.")
        elif seconds:
            what = f"From step {session.from_step:,} on, training" if session.from_step else "Training"
            said.append(f"{what} took {duration(seconds)}{' on ' + session.hardware if session.hardware else ''}.")
        if session is not None and session.versions:
            said.append(f"Software: {', '.join(f'{name} {version}' for name, version in session.versions.items())}.")
        return said

    def recipe(self) -> list[tuple[str, str]]:
        """The settings of `_ALWAYS` and all that differ from their defaults, 0 and False among them, in words."""
        values, defaults = self._values(), _defaults(self.config.get("model_type"))
        names = [name for name in _ALWAYS if values.get(name) is not None]
        names += [
            name
            for name, value in values.items()
            if name not in (*_ALWAYS, *_SAID) and name in defaults and not _same(value, defaults[name])
        ]
        rows = [(_WORDS.get(name, name.replace("_", " ")), _say(name, values[name])) for name in names]
        if not self.settings and "train_batch_size" in self.state:
            rows.append(("images in a batch of each process", str(self.state["train_batch_size"])))
        return rows

    def _values(self) -> dict[str, Any]:
        """Every setting that the run's record and the model's configuration have; of both, the latter's."""
        own = _own_fields(self.config.get("model_type"))
        of_model = {name: self.config[name] for name in self.config if name in own}
        set_in_run = {
            name: value for name, value in self.settings.items() if name in self.config and value is not None
        }
        others = {name: value for name, value in self.settings.items() if name not in self.config and name not in own}
        return {
            **of_model,
            **{name: self.config[name] for name in set_in_run},
            "batch_size": self.record.batch_size,
        } | others

    def _seconds(self) -> float | None:
        if self.record.session is not None:
            return self.record.session.seconds
        times = [entry["train_runtime"] for entry in self.state.get("log_history", []) if "train_runtime" in entry]
        return times[-1] if times else None


def _own_fields(model_type: str | None) -> set[str]:
    """What a method adds to a ViT's configuration."""
    config = _config_class(model_type)
    return set() if config is None else _names(config) - _names(ViTConfig)


def _names(dataclass_type: type) -> set[str]:
    return {field.name for field in dataclasses.fields(dataclass_type)}


def _defaults(model_type: str | None) -> dict[str, Any]:
    """Setting → default, by the dataclasses of the training's arguments and of the model's configuration."""
    # Not above: the training itself publishes.
    from ..training.arguments import ARGUMENTS

    found = {}
    for dataclass_type in (*ARGUMENTS, _config_class(model_type)):
        for field in () if dataclass_type is None else dataclasses.fields(dataclass_type):
            if field.default is not dataclasses.MISSING:
                found[field.name] = field.default
            elif field.default_factory is not dataclasses.MISSING:
                found[field.name] = field.default_factory()
    return found


def _config_class(model_type: str | None) -> type | None:
    known = [method.config_class for method in METHODS.values()]
    return next((config for config in known if config.model_type == (model_type or SATConfig.model_type)), None)


def _same(value: Any, default: Any) -> bool:
    if _plain(value) == _plain(default):
        return True
    return value in (None, {}, "", "{}") and default in (None, {}, "", "{}")


def _plain(value: Any) -> Any:
    """The value itself, of an enumeration its value, of a mapping in JSON the mapping."""
    if isinstance(value, str) and value.startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return getattr(value, "value", value)


def _say(name: str, value: Any) -> str:
    """A value in a cell of a table, without what others need not read of a path."""
    value = _plain(value)
    if value is None:
        return "none"
    if name == "backbone_config":
        return value["model_type"]
    if isinstance(value, list):
        shown = ", ".join(_say(name, item) for item in value[:_MOST_NAMES])
        return f"{shown}, … ({len(value)})" if len(value) > _MOST_NAMES else shown
    if isinstance(value, dict):
        return ", ".join(f"{key} {_say(name, item)}" for key, item in value.items()) or "none"
    return (local_name(value) if isinstance(value, str) and value else str(value)).replace("|", "\\|")


def read_evaluation(folder: str | Path) -> EvaluationResult:
    """What `scripts/evaluate.py` wrote to a folder.

    Raises:
        PublishingError: there is none, or it is of something else.
    """
    try:
        return EvaluationResult.load(folder, "model", "dataset", "split", "protocol", "metrics", "num_images")
    except EvaluationResultError as error:
        raise PublishingError(str(error)) from error


def heading(result: EvaluationResult) -> str:
    """How a result was measured, in a line."""
    view = result.view or {}
    seen = "centre crop" if view.get("crop") else "whole image"
    size = view.get("crop") or view.get("resize")
    parts = [f"**{local_name(result.dataset)}, {result.split} split**", f"{result.num_images:,} images"]
    parts += [f"protocol `{result.protocol}`", f"{seen} at {size[0]}×{size[1]}" if size else seen]
    parts += ["class activation map"] if result.map == "class" else []
    parts += ["classes from ten crops"] if result.ten_crop else []
    parts += [f"quality `{result.quality}`"] if result.quality not in (None, "fast") else []
    return ", ".join(parts) + ":"


def table(result: EvaluationResult) -> str:
    """The metrics in percent, and in two more columns what constant boxes and maps score there."""
    boxes, maps = result.constant_box_baselines, result.constant_map_baselines
    columns = []
    for box, even_map in zip(CONSTANT_NAMES, CONSTANT_MAP_NAMES, strict=True):
        scores = ({"gt_known_loc": boxes[box]} if box in boxes else {}) | maps.get(even_map, {})
        names = [CONSTANT_NAMES[box]] * (box in boxes) + [CONSTANT_MAP_NAMES[even_map]] * (even_map in maps)
        columns += [(f"constant baseline: {', '.join(names)}", scores)] if names else []
    rows = [
        [name, *(percent(values.get(key)) for values in (result.metrics, *dict(columns).values()))]
        for key, name in METRIC_NAMES.items()
        if key in result.metrics
    ]
    return markdown_table(["", "this checkpoint", *(name for name, _ in columns)], rows)


def note(result: EvaluationResult) -> str:
    """Which threshold, and who chose it."""
    threshold = result.threshold
    if threshold is None:
        return "These images have no boxes or masks."
    source = _SOURCES.get(result.threshold_source, "")
    return f"Localization threshold {threshold:.3g}. {source} {_OVER_THRESHOLDS * ('max_box_acc' in result.metrics)}".strip()


def check_same_model(result: EvaluationResult, run: Run, repo_id: str, where: str | Path) -> None:
    """Numbers of one checkpoint do not belong on the card of another.

    Raises:
        PublishingError: the evaluation names another checkpoint.
    """
    measured = str(result.model)
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


def known_metrics(results: Sequence[EvaluationResult]) -> list[tuple[EvaluationResult, str, float]]:
    """(result, metric, value) of every metric with a name."""
    return [(result, key, result.metrics[key]) for result in results for key in METRIC_NAMES if key in result.metrics]
