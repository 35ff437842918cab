"""transformers' Trainer with SAT's three losses in the log and localization as the evaluation."""

import torch
from transformers import Trainer

from ..configuration_sat import pair
from ..data.views import PixelScaling
from ..evaluation import LocalizationEvaluator
from ..inference.localize import evaluate_localization, evaluation_view, has_boxes, with_boxes
from .arguments import SATTrainingArguments


LOSSES = ("classification_loss", "area_loss", "normalization_loss")


class TrainingDiverged(RuntimeError):
    """The loss is no number any more."""


class SATTrainer(Trainer):
    """Trains SAT and evaluates localization between epochs.

    - Pixels may come as uint8, as `TrainingView` gives them, and are scaled as `processing_class` does.
    - `args.classification_epochs` passes with the classification loss alone come first.
    - The log holds the means of the model's losses and of the map's area since the last log.
    - `evaluate` measures `eval_gt_known_loc` and the rest on images with boxes, the threshold chosen on those very
      images: a validation split is there to choose on.
    - A loss that is not finite ends the training before it reaches a checkpoint.
    """

    args: SATTrainingArguments

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._running = {}
        self._running_steps = 0
        self._scaling = PixelScaling(self.processing_class)

    def compute_loss(self, model, inputs, return_outputs=False, **kwargs):
        if inputs["pixel_values"].dtype == torch.uint8:
            inputs = {**inputs, "pixel_values": self._scaling(inputs["pixel_values"])}
        outputs = model(**inputs)
        classification_only = (self.state.epoch or 0) < self.args.classification_epochs
        loss = outputs.classification_loss if classification_only else outputs.loss
        self._remember(loss, outputs)
        return (loss, outputs) if return_outputs else loss

    def _remember(self, loss, outputs) -> None:
        # Sums of tensors: reading a number here would make every step wait for the device.
        values = {name: outputs[name].detach() for name in LOSSES if name in outputs}
        values["area"] = outputs.localization_map.detach().mean()
        values["not_finite"] = (~torch.isfinite(loss.detach())).float()
        self._running = {name: self._running.get(name, 0) + value for name, value in values.items()}
        self._running_steps += 1

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        if "loss" in logs and self._running_steps:
            self._check_finite()
            self._running.pop("not_finite")
            means = {name: self.accelerator.reduce(total, "mean") for name, total in self._running.items()}
            logs |= {name: round((mean / self._running_steps).item(), 6) for name, mean in means.items()}
            self._running, self._running_steps = {}, 0
        super().log(logs, *args, **kwargs)

    def save_model(self, *args, **kwargs):
        self._check_finite()
        super().save_model(*args, **kwargs)

    def _check_finite(self) -> None:
        if self._running.get("not_finite", 0) > 0:
            raise TrainingDiverged(
                f"The loss is not a finite number at step {self.state.global_step}. Training stops here; the "
                f"checkpoints in {self.args.output_dir} were saved before it. Lower the learning rate "
                f"({self.args.learning_rate:g}), set max_grad_norm, or train in float32 or bf16."
            )

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        dataset = with_boxes(self.eval_dataset if eval_dataset is None else eval_dataset)
        view = evaluation_view(self.args.protocol, pair(self.model.config.image_size), self.args.view)
        evaluator = LocalizationEvaluator(self.args.protocol, view)
        evaluate_localization(
            self.model, self.processing_class, dataset, evaluator, self.accelerator,
            batch_size=self.args.per_device_eval_batch_size, num_workers=self.args.dataloader_num_workers,
        )  # fmt: skip
        threshold = evaluator.select_threshold() if has_boxes(dataset) else None
        metrics = evaluator.compute(threshold) | ({} if threshold is None else {"threshold": threshold})
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics
