"""What a run leaves in its folder so that the same command goes on from there, and from nowhere else."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import SAFE_WEIGHTS_NAME

from ..output.files import written_aside
from .arguments import ConfigurationError, DataArguments, ModelArguments, SATTrainingArguments


RUN_FILE = "run.json"
STEPS_DEPEND_ON = (
    "seed", "data_seed", "freeze", "classification_epochs", "exact_area", "ema_decay", "optim", "learning_rate", "weight_decay",
    "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm", "lr_scheduler_type", "lr_scheduler_kwargs",
    "warmup_steps", "bf16", "fp16", "dataloader_drop_last",
)  # fmt: skip
"""The training fields that a step depends on. How long to train may change between two calls, see `check_same_run`."""
_UNBOUNDED_SCHEDULES = ("constant", "constant_with_warmup")


class TrainingStopped(RuntimeError):
    """Training cannot go on; the checkpoints saved so far stay."""


def partial_folder(output_dir: str | Path) -> Path:
    """Where a checkpoint is written before it is renamed to its place."""
    return Path(output_dir) / ".checkpoint-being-written"


def last_checkpoint(output_dir: str | Path) -> Path | None:
    """The checkpoint of the most steps that is whole, if there is one."""
    folders = [path for path in Path(output_dir).glob("checkpoint-*") if path.name.partition("-")[2].isdigit()]
    whole = [path for path in folders if (path / TRAINER_STATE_NAME).is_file()]
    return max(whole, key=lambda path: int(path.name.partition("-")[2]), default=None)


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
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if written_by_torch:  # which says where in its file, not why
            reason = "a file cannot be written to its end"
        if isinstance(error, TrainingStopped) or (type(error) is RuntimeError and not written_by_torch):
            raise
        checkpoint = last_checkpoint(output_dir)
        left = f"{checkpoint} is whole" if checkpoint else "no checkpoint was saved before"
        raise TrainingStopped(
            f"The model cannot be saved in {output_dir} ({reason}); {left}. Make room on the disk, or lower "
            "save_total_limit, and run the same command again to go on."
        ) from error


def run_record(
    model_arguments: ModelArguments, data_arguments: DataArguments, arguments: SATTrainingArguments, images: int | None
) -> dict[str, Any]:
    """What a run's steps depend on, as JSON has it."""
    start = model_arguments.model
    model = vars(model_arguments) | {"model": str(Path(start).resolve()) if start and Path(start).exists() else start}
    data = {name: value for name, value in vars(data_arguments).items() if name != "data_dir"}
    training = {name: getattr(arguments, name) for name in STEPS_DEPEND_ON}
    together = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps * arguments.world_size
    length = {"num_train_epochs": arguments.num_train_epochs, "max_steps": arguments.max_steps}
    settings = {**model, **data, **training, "images in a batch": together, "training images": images}
    return json.loads(json.dumps({"settings": settings, "length": length}, default=str))


def write_run(output_dir: str | Path, content: dict[str, Any]) -> None:
    """Writes `run.json`, at once: another process may be reading it."""
    with written_aside(Path(output_dir, RUN_FILE)) as file:
        json.dump(content, file, indent=2)


def check_same_run(checkpoint: Path, record: dict[str, Any]) -> None:
    """Refuses to go on from a checkpoint of a run that was told otherwise.

    Raises:
        ConfigurationError: with what differs. A longer or shorter run is the same run only while its learning rate
            does not depend on its length.
    """
    path = checkpoint.parent / RUN_FILE
    if not path.is_file():
        warnings.warn(f"{checkpoint} does not say by which settings it was trained; going on from it.", stacklevel=2)
        return
    try:
        earlier = json.loads(path.read_text())
    except ValueError as error:
        raise ConfigurationError(
            f"{path} cannot be read ({error}); remove it to go on from {checkpoint} by the settings of now."
        ) from error
    names = [name for name in record["settings"] if earlier["settings"].get(name) != record["settings"][name]]
    differences = [f"{name} {earlier['settings'].get(name)}, now {record['settings'][name]}" for name in names]
    if not differences and record["settings"]["lr_scheduler_type"] not in _UNBOUNDED_SCHEDULES:
        differences = [
            f"{name} {earlier['length'][name]}, now {value}, on which its falling learning rate depends"
            for name, value in record["length"].items()
            if earlier["length"][name] != value
        ]
    if differences:
        raise ConfigurationError(
            f"{checkpoint} is of another run: {'; '.join(differences)}. Give the settings of that run to go on with "
            "it, or another output_dir to begin a new one."
        )


def check_weights_fit(checkpoint: Path, model: nn.Module) -> None:
    """Refuses a checkpoint of another model before its weights are half loaded.

    Raises:
        ConfigurationError: a weight is missing, too many, or of another shape.
    """
    weights = checkpoint / SAFE_WEIGHTS_NAME
    if not (checkpoint / TRAINER_STATE_NAME).is_file():
        raise ConfigurationError(
            f"{checkpoint} is no checkpoint of a training: it has no {TRAINER_STATE_NAME}. Give a checkpoint-N folder, "
            "or leave resume_from_checkpoint out to go on from the last one in output_dir."
        )
    if not weights.is_file():
        return  # sharded
    try:
        with safe_open(weights, framework="pt") as file:
            there = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ConfigurationError(
            f"{weights} cannot be read ({error}); remove {checkpoint} to go on from the one before it."
        ) from error
    expected = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    wrong = sorted(name for name in there.keys() | expected.keys() if there.get(name) != expected.get(name))
    if wrong:
        raise ConfigurationError(
            f"{checkpoint} is of another model: {wrong[0]} is {there.get(wrong[0], 'missing')} there and "
            f"{expected.get(wrong[0], 'missing')} in this one. Choose another output_dir, or the configuration that "
            "it was trained by."
        )
