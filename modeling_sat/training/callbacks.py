"""What happens beside a training's steps: a moving average of its weights, and pictures of its maps."""

from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import TrainerCallback

from ..inference.sheets import draw_predictions
from .trackers import TolerantTracker
from .whole import AVERAGE_FILE


MAP_PICTURES = 12
"""Images drawn at every evaluation."""


class AverageWeights(TrainerCallback):
    """An exponential moving average of the weights, which the model has when training ends.

    Args:
        decay: the share of the earlier average that a step leaves, in (0, 1).
    """

    def __init__(self, model: nn.Module, decay: float):
        self._average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))

    @property
    def model(self) -> nn.Module:
        """The model with the averaged weights."""
        return self._average.module

    def on_step_end(self, args, state, control, model, **kwargs) -> None:
        self._average.update_parameters(model)

    def on_train_end(self, args, state, control, model, **kwargs) -> None:
        model.load_state_dict(self.model.state_dict())

    def save(self, checkpoint: Path) -> None:
        save_file(self._average.state_dict(), checkpoint / AVERAGE_FILE)

    def load(self, checkpoint: Path) -> None:
        self._average.load_state_dict(load_file(checkpoint / AVERAGE_FILE))


class DrawMaps(TrainerCallback):
    """Draws a few images as the model sees them at each evaluation, into the run's folder and to the trackers.

    Args:
        evaluated_model: gives the model that was evaluated.
    """

    def __init__(self, evaluated_model: Callable[[], nn.Module], trackers: list[TolerantTracker]):
        self.evaluated_model = evaluated_model
        self.trackers = trackers

    def on_evaluate(self, args, state, control, metrics, processing_class, eval_dataloader, **kwargs) -> None:
        if not state.is_world_process_zero:
            return
        dataset = eval_dataloader.dataset
        threshold = next((value for name, value in metrics.items() if name.endswith("_threshold")), None)
        sheet = draw_predictions(self.evaluated_model().eval(), processing_class, dataset, MAP_PICTURES, threshold)
        folder = Path(args.output_dir) / "maps"
        folder.mkdir(exist_ok=True)
        sheet.save(folder / f"step-{state.global_step:06}.jpg")
        for tracker in self.trackers:
            tracker.show(sheet, state.global_step)
