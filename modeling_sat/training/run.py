"""A training run from its arguments to a folder that `from_pretrained` loads."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import torch
from datasets import Dataset, DatasetDict, IterableDataset
from torch.utils.data import default_collate
from transformers import PreTrainedModel, set_seed
from transformers.trainer_utils import IntervalStrategy, SaveStrategy

from ..checkpoints.run_record import RunRecord, RunRecordError, SessionRecord
from ..data import MissingSplitError
from ..data.loading import print_what_was_found
from ..data.views import TrainingView
from ..evaluation import (
    BOX_METRICS,
    CLASSIFICATION_METRICS,
    PIXEL_METRICS,
    PREDICTED_CLASS_METRICS,
    LocalizationEvaluator,
)
from ..inference.evaluation_loop import evaluate_localization, has_boxes, has_masks, with_boxes
from ..inference.threads import use_idle_cores
from ..methods import METHODS
from ..models.configuration_wsol import pair
from ..models.image_processing_sat import SATImageProcessor
from ..models.modeling_wsol import WSOLPreTrainedModel
from ..output.ownership import folder_of_one_run
from ..processes import check_processes
from ..publishing import PublishingError, save_card
from ..publishing.cards import CARD_FILE
from ..publishing.machine import describe_hardware, software_versions
from ..sentences import did_you_mean, first_line
from .arguments import DataArguments, ModelArguments, SATTrainingArguments
from .checkpoints import (
    check_nothing_is_replaced,
    check_same_run,
    check_weights_fit,
    explain_failed_writing,
    images_record,
    last_checkpoint,
    run_record,
    whole_checkpoint,
    without_trained,
)
from .errors import ConfigurationError, TrainingStopped
from .freezing import freeze
from .start import build_model, build_processor
from .trainer import SATTrainer
from .whole import read_state


def train(
    model_arguments: ModelArguments, data_arguments: DataArguments, arguments: SATTrainingArguments
) -> SATTrainer:
    """Trains and saves model, processor with its calibrated threshold, and trainer state to `arguments.output_dir`.

    If the folder already holds a checkpoint of the run, training continues from there.

    Raises:
        ConfigurationError, DatasetError, FolderInUseError, ProcessError: before the first step, in a sentence.
        TrainingStopped: the loss is not finite, the disk is full, or a process died; earlier checkpoints stay.
    """
    check_processes(arguments.world_size, arguments.device)
    check_output_dir(Path(arguments.output_dir))
    with folder_of_one_run(arguments.output_dir):
        return _train(model_arguments, data_arguments, arguments)


def _train(
    model_arguments: ModelArguments, data_arguments: DataArguments, arguments: SATTrainingArguments
) -> SATTrainer:
    use_idle_cores()
    use_one_gpu(arguments)
    warn_of_slow_bf16(arguments)
    set_seed(arguments.seed)
    with arguments.main_process_first(desc="reading the dataset"):
        splits, is_held_out = load_splits(data_arguments, arguments)
        print_what_was_found(splits)
    is_stream = isinstance(splits["train"], IterableDataset)
    if is_stream:
        check_stream(splits, arguments)
    elif len(splits["train"]) < arguments.world_size:
        raise ConfigurationError(
            f"{arguments.world_size} processes cannot share {len(splits['train'])} training images; start at most as "
            "many (accelerate launch --num_processes)."
        )
    earlier = earlier_trainings(model_arguments.model, arguments)
    if "validation" in splits and (validation := without_trained(splits.pop("validation"), earlier)) is not None:
        splits["validation"] = validation
    check_best_metric(arguments, splits.get("validation"), METHODS[model_arguments.method].model_class)
    if "validation" not in splits:
        arguments.eval_strategy = IntervalStrategy.NO
    model = build_model(model_arguments, splits["train"].features["label"].names)
    rate = freeze(model, arguments.freeze)
    record = run_record(model_arguments, data_arguments, arguments, None if is_stream else len(splits["train"]))
    checkpoint = checkpoint_to_resume(arguments, model, record)
    # Now: when the training has ended, the checkpoint may be gone.
    from_step = 0 if checkpoint is None else read_state(checkpoint)["global_step"]
    if arguments.process_index == 0:
        if arguments.freeze != "none":
            print(f"Frozen rate: {rate:.0%} of the parameters (freeze: {arguments.freeze}).")
        images = images_record(splits, data_arguments, is_held_out, earlier)
        record = replace(record, images=images, frozen_rate=rate, parameters=model.num_parameters())
        record.save(arguments.output_dir)
    image_size = pair(model.config.image_size)
    processor = build_processor(model_arguments.model, image_size, model_arguments.pixel_statistics)
    resize = image_size if data_arguments.resize_size is None else (data_arguments.resize_size,) * 2
    trainer = SATTrainer(
        model=model,
        args=arguments,
        train_dataset=TrainingView(resize, image_size, seed=arguments.seed).of(splits["train"]),
        eval_dataset=splits.get("validation"),
        data_collator=collate,
        processing_class=processor,
    )
    with explain_failure(arguments):
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if "validation" in splits:
        calibrate(trainer, processor, splits["validation"])
    if trainer.is_fsdp_enabled:
        trainer.accelerator.state.fsdp_plugin.set_state_dict_type("FULL_STATE_DICT")
    with explain_failed_writing(arguments.output_dir):
        trainer.save_model()
        trainer.save_state()
        if trainer.is_world_process_zero():
            session = session_record(trainer, model_arguments, data_arguments, from_step)
            replace(record, session=session).save(arguments.output_dir)
            write_card(arguments.output_dir, trainer.hub_model_id)
    if arguments.push_to_hub:
        publish(trainer)
    return trainer


def session_record(
    trainer: SATTrainer, model_arguments: ModelArguments, data_arguments: DataArguments, from_step: int
) -> SessionRecord:
    seconds = next(
        (entry["train_runtime"] for entry in reversed(trainer.state.log_history) if "train_runtime" in entry), None
    )
    steps = trainer.state.global_step - from_step
    names = {"dataset": data_arguments.dataset, "base_model": model_arguments.model}
    return SessionRecord(
        from_step=from_step,
        seconds=seconds if steps > 0 else None,
        seconds_per_step=None if seconds is None or steps < 1 else (seconds - trainer.seconds_evaluating) / steps,
        hardware=describe_hardware(trainer.args.world_size, trainer.args.device),
        versions=software_versions(),
        hub={use: name for use, name in names.items() if name and "/" in name and not Path(name).exists()},
    )


def write_card(output_dir: str, hub_model_id: str | None) -> None:
    """The run's model card, unless there is one that someone wrote by hand."""
    try:
        save_card(Path(output_dir, CARD_FILE), output_dir, hub_model_id)
    except PublishingError as error:
        warnings.warn(str(error), stacklevel=2)


def publish(trainer: SATTrainer) -> None:
    """
    Raises:
        PublishingError: with the command that publishes what was trained.
    """
    try:
        address = trainer.push_to_hub()
    except PublishingError as error:
        folder = trainer.args.output_dir
        raise PublishingError(
            f"{error} The trained model is complete in {folder}: python scripts/push_to_hub.py --model {folder} --repo_id "
            f"{trainer.hub_model_id}"
        ) from error
    if trainer.is_world_process_zero():
        print(f"Published: {address}")


def use_one_gpu(arguments: SATTrainingArguments) -> None:
    """One process takes one GPU: torch's DataParallel, which Trainer would use, has no batch over all of them."""
    if arguments.n_gpu > 1:
        warnings.warn(
            f"{arguments.n_gpu} GPUs are visible, and one process was started, which uses one of them; "
            "`accelerate launch` starts one for each.",
            stacklevel=2,
        )
        arguments._n_gpu = 1


def warn_of_slow_bf16(arguments: SATTrainingArguments) -> None:
    """Without AVX-512 a CPU imitates bfloat16: DeiT-Tiny then trains eleven times slower than in float32."""
    if arguments.bf16 and arguments.device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        warnings.warn(
            "bf16 is true, but this CPU has no bfloat16 arithmetic, and imitates it many times slower than it computes in "
            "float32. Pass --bf16 false.",
            stacklevel=2,
        )


def check_best_metric(
    arguments: SATTrainingArguments, validation: Dataset | None, model_class: type[WSOLPreTrainedModel]
) -> None:
    """
    Raises:
        ConfigurationError: `metric_for_best_model` is none that evaluation gives of this model on these validation images.
    """
    if arguments.metric_for_best_model is None:
        return
    name = arguments.metric_for_best_model.removeprefix("eval_")
    if validation is None:
        raise ConfigurationError(
            f"metric_for_best_model is {name}, but there are no validation images to measure it on; set "
            "validation_fraction, or leave it out."
        )
    names = [*CLASSIFICATION_METRICS]
    names += BOX_METRICS if has_boxes(validation) else []
    names += PREDICTED_CLASS_METRICS if has_boxes(validation) and model_class.maps_are_of_a_class else []
    names += PIXEL_METRICS if has_masks(validation) else []
    if name not in names:
        hint = did_you_mean(name, names, f"They have {', '.join(names)}.")
        raise ConfigurationError(f"The validation images have no metric {name!r} (metric_for_best_model). {hint}")


def checkpoint_to_resume(arguments: SATTrainingArguments, model: PreTrainedModel, record: RunRecord) -> Path | None:
    """The checkpoint that is asked for, or the last whole one of the run's folder.

    Raises:
        ConfigurationError: it is of another run or another model, or not whole.
    """
    checkpoint = whole_checkpoint(arguments)
    if checkpoint is not None:
        check_weights_fit(checkpoint, model)
        check_same_run(checkpoint, record)
    else:
        check_nothing_is_replaced(arguments.output_dir, record)
    return checkpoint


def earlier_trainings(model: str | None, arguments: SATTrainingArguments) -> list[RunRecord]:
    """The records of what this training continues from: a run's model, its own checkpoint, or both.

    Raises:
        ConfigurationError: one cannot be read.
    """
    try:
        own = arguments.resume_from_checkpoint or last_checkpoint(arguments.output_dir)
        records = [RunRecord.of(model), RunRecord.of(own)]
    except RunRecordError as error:
        raise ConfigurationError(f"{error}; remove it to train without it.") from error
    return [record for record in records if record is not None]


@contextmanager
def explain_failure(arguments: SATTrainingArguments) -> Iterator[None]:
    """Turns what ends a training from outside into a sentence.

    Raises:
        TrainingStopped: a process that reads images died, or the GPU has no memory left.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise TrainingStopped(
            f"The GPU's memory does not hold a batch of {arguments.per_device_train_batch_size} images. Halve "
            "per_device_train_batch_size and double gradient_accumulation_steps, which gives the same training, or "
            "set bf16 or activation_checkpointing."
        ) from error
    except (RuntimeError, ConnectionError, EOFError) as error:
        reading = arguments.dataloader_num_workers > 0 and not isinstance(error, RuntimeError)  # a batch half received
        if not reading and "DataLoader worker" not in str(error):
            raise
        reason = first_line(error)
        raise TrainingStopped(
            f"A process that reads images died ({reason}), most often for lack of memory. Run the same command again "
            f"to continue from the last checkpoint in {arguments.output_dir}, with fewer than "
            f"{arguments.dataloader_num_workers} dataloader_num_workers if it happens again."
        ) from error


def load_splits(data_arguments: DataArguments, arguments: SATTrainingArguments) -> tuple[DatasetDict, bool]:
    """The train split and, if there is one or it can be held out of train, the validation split; and whether it was."""
    splits, seed = ["train", "validation"], arguments.data_seed
    own = {"validation_fraction": 0.0}
    with suppress(MissingSplitError):
        return data_arguments.load(splits, seed=seed, **own), False
    try:
        return data_arguments.load(splits, seed=seed), True
    except MissingSplitError as error:
        warnings.warn(f"{error} Nothing is evaluated between epochs, and no threshold is chosen.", stacklevel=2)
        return data_arguments.load(["train"], seed=seed, **own), False


def check_stream(splits: DatasetDict, arguments: SATTrainingArguments) -> None:
    """Leaves a stream's validation images out: they would have to be read over and over; and since a stream has no
    passes, checkpoints come every `save_steps`.

    Raises:
        ConfigurationError: nothing says when to stop, since the length of a stream is not known.
    """
    if arguments.max_steps <= 0:
        raise ConfigurationError(
            "With streaming the number of training images is not known; set max_steps, for example to their number "
            "divided by the batch size of all processes."
        )
    if arguments.save_strategy == SaveStrategy.EPOCH:
        arguments.save_strategy = SaveStrategy.STEPS
    if splits.pop("validation", None) is not None:
        warnings.warn(
            "Streamed validation images are not used; evaluate the checkpoint when it is done.", stacklevel=2
        )


def collate(rows: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    return default_collate([{name: row[name] for name in ("pixel_values", "labels")} for row in rows])


def calibrate(trainer: SATTrainer, processor: SATImageProcessor, validation: Dataset) -> None:
    """Chooses the processor's localization threshold on validation images, seen whole as users will show them."""
    validation = with_boxes(validation)
    if not has_boxes(validation) and not has_masks(validation):
        return
    evaluator = LocalizationEvaluator("sat", processor.view())
    evaluate_localization(
        trainer.model, processor, validation, evaluator, trainer.accelerator,
        batch_size=trainer.args.per_device_eval_batch_size, num_workers=trainer.args.dataloader_num_workers,
        description="Calibrating the threshold",
    )  # fmt: skip
    processor.localization_threshold = evaluator.select_threshold()


def check_output_dir(path: Path) -> None:
    """Makes the folder now rather than failing to after hours of training."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / ".writable"
        probe.touch()
        probe.unlink(missing_ok=True)  # another process may have been as quick
    except OSError as error:
        raise ConfigurationError(
            f"Nothing can be written to output_dir {path}: {error.strerror}. Choose another."
        ) from error
