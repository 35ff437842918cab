"""What a run leaves in its folder so that the same command continues from there, and from nowhere else."""

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import MISSING, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, IterableDataset
from safetensors import SafetensorError
from torch import nn
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import CONFIG_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from ..checkpoints.run_record import (
    HELD_OUT,
    NUMBERED_BY,
    OWN_SPLIT,
    RUN_FILE,
    ImagesRecord,
    RunRecord,
    RunRecordError,
    fingerprints,
    packed,
    step_of,
)
from ..output.files import read_json
from ..sentences import first_line
from .arguments import ARGUMENTS, DataArguments, ModelArguments, SATTrainingArguments, roles
from .errors import ConfigurationError, TrainingStopped
from .whole import damage, weights_of


_UNBOUNDED_SCHEDULES = ("constant", "constant_with_warmup")


def partial_folder(output_dir: str | Path) -> Path:
    """Where a checkpoint is written before it is renamed to its place."""
    return Path(output_dir) / ".checkpoint-being-written"


def last_checkpoint(output_dir: str | Path) -> Path | None:
    """The checkpoint of the most steps, if there is one that was written to its end."""
    return next((path for path in checkpoints_of(output_dir) if (path / TRAINER_STATE_NAME).is_file()), None)


def checkpoints_of(output_dir: str | Path) -> list[Path]:
    """Its folders `checkpoint-N`, the one of the most steps first."""
    folders = [path for path in Path(output_dir).glob("checkpoint-*") if step_of(path) is not None and path.is_dir()]
    return sorted(folders, key=step_of, reverse=True)


def whole_checkpoint(arguments: SATTrainingArguments) -> Path | None:
    """The checkpoint to continue from: the one that is asked for, or the last whole one of the run's folder.

    A warning says which are passed over.

    Raises:
        ConfigurationError: the one that is asked for is not whole; or there are some and none of them is; or there is
            a trained model without one, which a new start would replace.
    """
    needs = {"fp16": arguments.fp16, "averaged": arguments.ema_decay is not None, "processes": arguments.world_size}
    if arguments.resume_from_checkpoint is not None:
        named = Path(arguments.resume_from_checkpoint)
        if not (named / TRAINER_STATE_NAME).is_file():
            raise ConfigurationError(
                f"{named} is not a checkpoint of a training: it has no {TRAINER_STATE_NAME}. Give a checkpoint-N folder, "
                "or leave resume_from_checkpoint out to continue from the last one in output_dir."
            )
        reason = damage(named, **needs)
        if reason is not None:
            raise ConfigurationError(f"{named} is incomplete: {reason}. Give another checkpoint-N folder.")
        return named
    passed_over = []
    for checkpoint in checkpoints_of(arguments.output_dir):
        reason = damage(checkpoint, **needs)
        if reason is None:
            if passed_over and arguments.process_index == 0:
                warnings.warn(
                    f"Incomplete: {'; '.join(passed_over)}. Training continues from {checkpoint}, the previous one.",
                    stacklevel=2,
                )
            return checkpoint
        passed_over.append(f"{checkpoint} ({reason})")
    if passed_over:
        raise ConfigurationError(
            f"No checkpoint in {arguments.output_dir} is complete: {'; '.join(passed_over)}. Choose another output_dir to "
            f"train from scratch, or remove {'them' if len(passed_over) > 1 else 'it'} to train from scratch here."
        )
    return None


def check_nothing_is_replaced(output_dir: str | Path, record: RunRecord) -> None:
    """Called where there is no checkpoint to continue from.

    A trained model of the same settings is trained again, with a warning: `save_strategy="no"` leaves nothing else.

    Raises:
        ConfigurationError: output_dir holds a model of another run, or of none.
    """
    folder = Path(output_dir)
    weights = next(
        (folder / name for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME) if (folder / name).is_file()), None
    )
    if weights is None:
        return
    remedy = "Choose another output_dir, or remove the model to train from scratch here."
    if not (folder / RUN_FILE).is_file():
        raise ConfigurationError(f"{folder} holds a model ({weights.name}) that was not trained here. {remedy}")
    differences = differences_between(_read_run(folder / RUN_FILE, "train from scratch"), record)
    if differences:
        raise ConfigurationError(
            f"{folder} holds the model of another run but no checkpoint to continue from: {'; '.join(differences)}. {remedy}"
        )
    warnings.warn(
        f"{folder} holds a trained model but no checkpoint to continue from; it is trained again from step 0.",
        stacklevel=2,
    )


@contextmanager
def explain_failed_writing(output_dir: str | Path) -> Iterator[None]:
    """Turns a full disk and its kin into a sentence.

    Raises:
        TrainingStopped: something could not be written; it says what is left.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        written_by_torch = "PytorchStreamWriter" in str(error) or "inline_container" in str(error)
        reason = first_line(error)
        if written_by_torch:  # which says where in its file, not why
            reason = "a file cannot be written to its end"
        if isinstance(error, TrainingStopped) or (type(error) is RuntimeError and not written_by_torch):
            raise
        checkpoint = last_checkpoint(output_dir)
        left = f"{checkpoint} is whole" if checkpoint else "no checkpoint was saved before"
        raise TrainingStopped(
            f"The model cannot be saved in {output_dir} ({reason}); {left}. Make room on the disk, or lower "
            "save_total_limit, and run the same command again to continue."
        ) from error


@contextmanager
def explain_failed_reading(checkpoint: str | Path | None) -> Iterator[None]:
    """
    Raises:
        TrainingStopped: a file of the checkpoint is whole and yet not one that this training can continue from.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
        EOFError,
        SafetensorError,
    ) as error:
        reason = first_line(error)
        raise TrainingStopped(
            f"Training cannot continue from {checkpoint} ({reason}); it may be of another training. Remove it to continue from "
            "the one before it, or choose another output_dir."
        ) from error


def run_record(
    model_arguments: ModelArguments, data_arguments: DataArguments, arguments: SATTrainingArguments, images: int | None
) -> RunRecord:
    """What a run's steps depend on, as JSON has it; how long to train may change between two calls, see `check_same_run`."""
    start = model_arguments.model
    values = {
        name: value for part in (model_arguments, data_arguments, arguments) for name, value in vars(part).items()
    }
    values["model"] = str(Path(start).resolve()) if start and Path(start).exists() else start
    known = roles(*map(type, (model_arguments, data_arguments, arguments)))
    settings = {name: values[name] for name, role in known.items() if role.steps}
    return RunRecord(
        settings=json.loads(json.dumps(settings, default=str)),
        batch_size=arguments.per_device_train_batch_size
        * arguments.gradient_accumulation_steps
        * arguments.world_size,
        training_images=images,
        length={"num_train_epochs": arguments.num_train_epochs, "max_steps": arguments.max_steps},
    )


def images_record(
    splits: Mapping[str, Dataset], data_arguments: DataArguments, is_held_out: bool, earlier: Iterable[RunRecord]
) -> ImagesRecord:
    """Which images the run trains on and which it does not.

    Args:
        is_held_out: the validation images were taken from train.
        earlier: of the trainings that this one continues from, whose images it has been trained on too.
    """
    folder = data_arguments.data_dir
    record = ImagesRecord(data_dir=folder and str(Path(folder).resolve()), numbered_by=NUMBERED_BY)
    if isinstance(splits["train"], IterableDataset):
        return record  # not known
    trained = [run.trained for run in earlier if run.trained is not None]
    trained = np.concatenate([fingerprints(splits["train"]), *trained])
    held_out, origin = np.empty(0, np.uint64), None
    if "validation" in splits:
        held_out, origin = fingerprints(splits["validation"]), HELD_OUT if is_held_out else OWN_SPLIT
    held_out = np.setdiff1d(held_out, trained)  # a picture may be there twice
    return replace(record, validation=origin, trained=packed(trained), held_out=packed(held_out))


def without_trained(validation: Dataset, earlier: Iterable[RunRecord]) -> Dataset | None:
    """The validation images that no training which this one continues from was trained on; None where there are none."""
    for record in earlier:
        if record.trained is None:
            continue
        seen = np.isin(fingerprints(validation), record.trained)
        if not seen.any():
            continue
        warnings.warn(
            f"{seen.sum()} of {len(validation)} validation images were trained on before, says {record.path}; they "
            "are left out. The validation_fraction and data_seed of that training hold out the images that it did.",
            stacklevel=2,
        )
        if seen.all():
            return None
        validation = validation.select(np.flatnonzero(~seen).tolist())
    return validation


def check_same_run(checkpoint: Path, record: RunRecord) -> None:
    """Refuses to continue from a checkpoint of a run that was told otherwise.

    Raises:
        ConfigurationError: with what differs. A longer or shorter run is the same run only while its learning rate
            does not depend on its length.
    """
    places = (checkpoint.parent / RUN_FILE, checkpoint / RUN_FILE)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        warnings.warn(
            f"{checkpoint} does not say with which settings it was trained; training continues from it.", stacklevel=2
        )
        return
    differences = differences_between(_read_run(path, f"continue from {checkpoint}"), record)
    if differences:
        raise ConfigurationError(
            f"{checkpoint} is of another run: {'; '.join(differences)}. Give the settings of that run to go on with "
            "it, or another output_dir to start a new one."
        )


def differences_between(earlier: RunRecord, record: RunRecord) -> list[str]:
    """What two runs were told otherwise, in words."""
    then = earlier.told
    differences = [
        f"{name} {then.get(name)}, now {value}"
        for name, value in record.told.items()
        if _comparable(name, then.get(name, _default(name))) != _comparable(name, value)
    ]
    if not differences and record.settings["lr_scheduler_type"] not in _UNBOUNDED_SCHEDULES:
        differences = [
            f"{name} {earlier.length[name]}, now {value}, on which its falling learning rate depends"
            for name, value in record.length.items()
            if earlier.length.get(name, value) != value
        ]
    return differences


def _default(name: str) -> Any:
    """What a setting was before a run recorded it: what it is where nobody sets it."""
    for kind in ARGUMENTS:
        field = kind.__dataclass_fields__.get(name)
        if field is not None and field.default is not MISSING:
            return field.default
    return None


def _comparable(name: str, value: Any) -> Any:
    """The same options may be written with other spaces."""
    if name == "dataset_options" and isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _read_run(path: Path, purpose: str) -> RunRecord:
    try:
        return RunRecord.load(path)
    except RunRecordError as error:
        raise ConfigurationError(f"{error}; remove it to {purpose} with the present settings.") from error


def check_weights_fit(checkpoint: Path, model: nn.Module) -> None:
    """Refuses a checkpoint of another model before its weights are half loaded.

    Raises:
        ConfigurationError: a weight is missing, too many, or of another shape; or a class has another name.
    """
    if not any((checkpoint / name).is_file() for name in (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME)):
        return  # divided by FSDP or DeepSpeed
    there = weights_of(checkpoint)
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    wrong = sorted(name for name in there.keys() | expected.keys() if there.get(name) != expected.get(name))
    if wrong:
        raise ConfigurationError(
            f"{checkpoint} is of another model: {wrong[0]} is {there.get(wrong[0], 'missing')} there and "
            f"{expected.get(wrong[0], 'missing')} in this one. Choose another output_dir, or the configuration that "
            "it was trained with."
        )
    config = checkpoint / CONFIG_NAME
    try:
        names = read_json(config).get("id2label", {}) if config.is_file() else {}
    except ValueError as error:
        raise ConfigurationError(
            f"{config} cannot be read ({error}); remove {checkpoint} to continue from the one before it."
        ) from error
    for index, name in names.items():
        now = model.config.id2label.get(int(index))
        if now != name:
            raise ConfigurationError(
                f"{checkpoint} was trained on other classes, or in another order: class {index} is {name!r} there and "
                f"{now!r} in the data. Choose another output_dir, or the data that it was trained on."
            )
