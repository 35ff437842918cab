"""transformers' Trainer whose checkpoints are whole, and which continues from them as if it had not stopped.

Whatever leans on a private method of `transformers.Trainer` stands here, each with what it needs it for;
`pyproject.toml` allows the versions of transformers that have them as they are meant here.
"""

import os
import shutil
import warnings
from pathlib import Path

from transformers import Trainer
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, rotate_checkpoints

from ..checkpoints.run_record import RUN_FILE
from ..output.files import to_disk
from .arguments import SATTrainingArguments
from .callbacks import AverageWeights
from .checkpoints import explain_failed_reading, explain_failed_writing, partial_folder
from .errors import ConfigurationError, TrainingStopped
from .whole import damage, seal


class ResumableTrainer(Trainer):
    """
    - A checkpoint is written beside its place and then renamed, so that one that is there is whole.
    - With `args.ema_decay`, a checkpoint holds the weights' moving average besides.
    - The best checkpoint is found although the run's folder has been moved.
    - A run that is resumed at its end takes no further step.
    """

    args: SATTrainingArguments

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._saves = False
        self.averaging = None
        if self.args.ema_decay is not None:
            if self.is_fsdp_enabled or self.is_deepspeed_enabled:
                raise ConfigurationError(
                    "ema_decay averages whole weights, which FSDP and DeepSpeed divide; leave it out."
                )
            self.averaging = AverageWeights(self.model, self.args.ema_decay)
            self.add_callback(self.averaging)

    def _run_epoch(self, *args, **kwargs):
        """Overridden because Trainer asks whether it is to stop after a step, not before: no callback keeps it from one."""
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def _get_output_dir(self, trial) -> str:
        """Overridden because Trainer asks it, and nothing else, where a checkpoint goes."""
        return str(partial_folder(self.args.output_dir)) if self._saves else super()._get_output_dir(trial)

    def _save_checkpoint(self, model, trial) -> None:
        """Overridden to rename what has been written; `on_save` comes after the older checkpoints have been deleted."""
        args, name = self.args, f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        place, partial = Path(args.output_dir) / name, partial_folder(args.output_dir)
        with explain_failed_writing(args.output_dir):
            if args.should_save:
                shutil.rmtree(partial, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            self._saves = True
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._saves = False
            if self.state.best_global_step == self.state.global_step:
                self.state.best_model_checkpoint = str(place)
            self.accelerator.wait_for_everyone()
            if args.should_save:
                if self.averaging is not None:
                    self.averaging.save(partial / name)
                self.state.save_to_json(str(partial / name / TRAINER_STATE_NAME))
                if Path(args.output_dir, RUN_FILE).is_file():
                    shutil.copy(Path(args.output_dir, RUN_FILE), partial / name)
                seal(partial / name)
                shutil.rmtree(place, ignore_errors=True)
                os.replace(partial / name, place)
                to_disk(place.parent)
                partial.rmdir()
                rotate_checkpoints(args.output_dir, args.save_total_limit, self.state.best_model_checkpoint, True)
            self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None) -> None:
        """Overridden to say what fails: weights that FSDP divided have not been compared before."""
        with explain_failed_reading(resume_from_checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_optimizer_and_scheduler(self, checkpoint) -> None:
        """Overridden because it is told which checkpoint a training continues from, and callbacks are not."""
        if checkpoint is None:
            return
        self._find_best(Path(checkpoint))
        with explain_failed_reading(checkpoint):
            super()._load_optimizer_and_scheduler(checkpoint)
            if self.averaging is not None:
                self.averaging.load(Path(checkpoint))

    def _load_best_model(self) -> None:
        """Overridden because a best checkpoint that is gone is a warning to Trainer, which then ends with the last."""
        best = Path(self.state.best_model_checkpoint)
        if not best.is_dir() or not self._has_weights(best):
            raise TrainingStopped(
                f"The training has ended, but its best checkpoint, {best}, is missing or incomplete. Run the same "
                "command again, without metric_for_best_model and load_best_model_at_end, to end with the last one."
            )
        with explain_failed_reading(best):
            super()._load_best_model()
            if self.averaging is not None:
                self.averaging.load(best)

    def _find_best(self, checkpoint: Path) -> None:
        """The best so far by where it is now, since a run's folder may have been moved; else it is forgotten."""
        state = self.state
        if not state.best_global_step or not self.args.load_best_model_at_end:
            return
        name = f"{PREFIX_CHECKPOINT_DIR}-{state.best_global_step}"
        best = Path(state.best_model_checkpoint or Path(self.args.output_dir, name))  # Trainer forgets one that moved
        places = (Path(self.args.output_dir, best.name), checkpoint.parent / best.name, best)
        there = next((place for place in places if place.is_dir() and self._has_weights(place)), None)
        if there is not None:
            state.best_model_checkpoint = str(there)
            return
        if self.is_world_process_zero():
            warnings.warn(
                f"The best checkpoint so far, {best} ({self.args.metric_for_best_model} {state.best_metric}), is not there "
                "or not whole; the best is chosen among the evaluations from here on.",
                stacklevel=2,
            )
        state.best_model_checkpoint = state.best_metric = state.best_global_step = None

    def _has_weights(self, checkpoint: Path) -> bool:
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            return True
        return damage(checkpoint, averaged=self.averaging is not None, only_weights=True) is None
