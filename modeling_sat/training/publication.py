"""What a training leaves for others: a record of it for the card, and the way to the Hub."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from transformers.trainer_utils import HubStrategy

from ..publishing import PublishingError, prepare_repository, push_checkpoint
from .arguments import ConfigurationError, DataArguments, ModelArguments, SATTrainingArguments
from .checkpoints import RUN_FILE, TrainingStopped
from .trainer import SATTrainer


def announce(arguments: SATTrainingArguments) -> str:
    """Makes sure, before the first step, that what is trained can be published; returns the repository's id.

    Trainer itself publishes nothing then: it would send its own arguments and, with some strategies, the optimizer.

    Raises:
        ConfigurationError: the Hub does not let it, or checkpoints on the way are to be published too.
    """
    arguments.push_to_hub = False
    if arguments.hub_strategy in (HubStrategy.CHECKPOINT, HubStrategy.ALL_CHECKPOINTS):
        raise ConfigurationError(
            f"hub_strategy is {arguments.hub_strategy.value}, which would publish the optimizer with every checkpoint; "
            "leave it out: what the training ends with is published, in one commit."
        )
    repo_id = arguments.hub_model_id or Path(arguments.output_dir).resolve().name
    if arguments.process_index != 0:
        return repo_id
    try:
        return prepare_repository(
            repo_id, private=arguments.hub_private_repo, revision=arguments.hub_revision, token=arguments.hub_token
        )
    except PublishingError as error:
        raise ConfigurationError(f"{error} Or leave push_to_hub out.") from error


def publish(arguments: SATTrainingArguments, repo_id: str) -> None:
    """
    Raises:
        TrainingStopped: the Hub cannot be reached any more; what was trained is saved.
    """
    try:
        address = push_checkpoint(
            arguments.output_dir,
            repo_id,
            arguments.hub_private_repo,
            arguments.hub_revision,
            token=arguments.hub_token,
        )
    except PublishingError as error:
        raise TrainingStopped(
            f"{error} The training is done and saved in {arguments.output_dir}; publish it later by "
            f"scripts/push_to_hub.py --model {arguments.output_dir} --repo_id {repo_id}."
        ) from error
    print(f"Published: {address}")


def read_session(checkpoint: Path | None) -> dict[str, Any]:
    """What was noted of the session before, if this one goes on from its checkpoint."""
    file = None if checkpoint is None else checkpoint.parent / RUN_FILE
    return json.loads(file.read_text()).get("session", {}) if file is not None and file.is_file() else {}


def describe_session(
    trainer: SATTrainer, model_arguments: ModelArguments, data_arguments: DataArguments, checkpoint: Path | None
) -> dict[str, Any]:
    """Machine, time and software, for the card; nothing if no step was taken."""
    arguments = trainer.args
    from_step = 0 if checkpoint is None else int(checkpoint.name.rpartition("-")[2])
    if trainer.state.global_step <= from_step:
        return {}
    if arguments.device.type == "cuda":
        hardware = f"{arguments.world_size} × {torch.cuda.get_device_name()}"
    else:
        hardware = f"{torch.get_num_threads() * arguments.world_size} CPU cores"
    times = [entry["train_runtime"] for entry in trainer.state.log_history if "train_runtime" in entry]
    names = {"base_model": model_arguments.model, "dataset": data_arguments.dataset}
    return {
        "hardware": hardware,
        "seconds": times[-1] if times else None,
        "from_step": from_step,
        "versions": {package: version(package) for package in ("torch", "transformers", "datasets", "accelerate")},
        "hub": {key: name for key, name in names.items() if name and name.count("/") == 1 and not Path(name).exists()},
    }
