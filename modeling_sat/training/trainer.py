"""transformers' Trainer with the losses of any method, exact batches over processes, and localization as the evaluation."""

import time
from pathlib import Path

import torch
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import send_to_device
from torch.utils.data import DataLoader

from ..data.views import PixelScaling, TrainingImages, TrainingStream
from ..evaluation import LocalizationEvaluator
from ..inference.evaluation_loop import evaluate_localization, evaluation_view, has_boxes, with_boxes
from ..models.configuration_wsol import pair
from ..models.foreground_wsol import FOREGROUND_LOSSES
from ..models.losses_wsol import share_of_batch, sum_over_processes
from ..publishing import prepare_repository, publish_checkpoint
from .batches import TrainingBatches
from .callbacks import DrawMaps
from .errors import TrainingDiverged
from .resuming import ResumableTrainer
from .trackers import tolerate_failures


LOSSES = ("classification_loss", "area_loss", "normalization_loss", *FOREGROUND_LOSSES)


class SATTrainer(ResumableTrainer):
    """Trains any method of `METHODS` and evaluates localization between epochs.

    - Every image of a batch weighs the same, however the batch is divided: over processes, accumulation steps and the
      uneven rest at the end of a pass (`TrainingBatches`, `num_items_in_batch`).
    - The area loss is that of the whole batch: over processes by `area_reduction="global"` of the model, over
      accumulation steps by `args.exact_area`.
    - Pixels may come as uint8, as `TrainingView` gives them, and are scaled as `processing_class` does.
    - `args.classification_epochs` passes with the classification loss alone come first.
    - The log holds the means of the model's losses and of the map's area since the last log.
    - `evaluate` measures `eval_gt_known_loc` and the rest on images with boxes, the threshold chosen on those very
      images: a validation split is there to choose on.
    - A loss that is not finite ends the training before it reaches a checkpoint.
    - A tracker that fails is left out with a warning.
    - With `args.push_to_hub`, the token and the name are checked before the first step; `push_to_hub` publishes the saved
      folder in one commit, without what only training needs.
    - With `args.ema_decay`, what is evaluated, chosen as best and left at the end is the weights' moving average;
      checkpoints hold both.
    - Checkpoints are whole: `ResumableTrainer`.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.seconds_evaluating = 0.0
        self._running: dict[str, torch.Tensor] = {}
        self._scaling = PixelScaling(self.processing_class)
        self._batches: list[dict[str, torch.Tensor]] = []
        self._batch_area: torch.Tensor | None = None
        trackers = tolerate_failures(self.callback_handler, self.args.report_to)
        if not self.is_fsdp_enabled:  # the first process alone cannot run a divided model
            self.add_callback(DrawMaps(self.evaluated_model, trackers))

    def get_train_dataloader(self) -> DataLoader:
        """This process's share of the training images; nothing is left for accelerate to divide."""
        args, dataset = self.args, self.train_dataset
        if isinstance(dataset, TrainingImages):
            batches = TrainingBatches(
                len(dataset), self._train_batch_size, args.world_size, args.process_index, args.seed,
                args.dataloader_drop_last,
            )  # fmt: skip
            settings = {"batch_sampler": batches}
        elif isinstance(dataset, TrainingStream):
            dataset = dataset.share_of(args.process_index, args.world_size)
            settings = {"batch_size": self._train_batch_size, "drop_last": True}
        else:
            return super().get_train_dataloader()
        loader = DataLoader(
            dataset,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            persistent_workers=args.dataloader_persistent_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
            multiprocessing_context=args.dataloader_multiprocessing_context,
            generator=torch.Generator(),  # workers are seeded at each start, not by the random numbers of drop path
            **settings,
        )
        return prepare_data_loader(
            loader,
            self.accelerator.device,
            num_processes=1,
            process_index=0,
            put_on_device=True,
            dispatch_batches=False,
            non_blocking=args.dataloader_pin_memory,
        )

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        batches, num_items_in_batch = super().get_batch_samples(epoch_iterator, num_batches, device)
        self._batches, self._batch_area = batches, None
        return batches, num_items_in_batch

    def training_step(self, model, inputs, num_items_in_batch=None):
        # Not in get_batch_samples: resuming restores the random numbers of drop path after it.
        if self._batch_area is None and len(self._batches) > 1 and self.args.exact_area and self._has_area_loss():
            self._batch_area = self.measure_batch_area(model, self._batches)
        return super().training_step(model, inputs, num_items_in_batch)

    def _has_area_loss(self) -> bool:
        return not self._classifies_only() and self.model.has_area_loss

    def _classifies_only(self) -> bool:
        return (self.state.epoch or 0) < self.args.classification_epochs

    @torch.no_grad()
    def measure_batch_area(self, model: torch.nn.Module, batches: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        """The mean area of all maps of an accumulated batch, scalar: one more forward pass of each of its parts.

        Drop path and dropout draw what they will draw in the training step.
        """
        model.train()
        device = self.accelerator.device
        total, count = torch.zeros((), device=device), 0
        with torch.random.fork_rng([device] if device.type == "cuda" else []), self.compute_loss_context_manager():
            for batch in batches:
                maps = model(pixel_values=self._scaled(send_to_device(batch, device))["pixel_values"]).localization_map
                total, count = total + maps.float().sum(), count + maps.numel()
        if self.model.config.area_reduction == "global":
            total, count = sum_over_processes(total, count)
        return total / count

    def _scaled(self, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if inputs["pixel_values"].dtype != torch.uint8:
            return inputs
        return {**inputs, "pixel_values": self._scaling(inputs["pixel_values"])}

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        inputs = self._scaled(inputs)
        if self._batch_area is not None:
            inputs = {**inputs, "batch_area": self._batch_area}
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self._classifies_only():
            loss = outputs.classification_loss * share_of_batch(inputs["labels"], num_items_in_batch)
            if num_items_in_batch is not None and self.args.average_tokens_across_devices:
                loss = loss * self.accelerator.num_processes  # DistributedDataParallel averages; shares are summed
        self._remember(loss, outputs, inputs["labels"])
        return (loss, outputs) if return_outputs else loss

    def _remember(self, loss: torch.Tensor, outputs, labels: torch.Tensor) -> None:
        # Sums of tensors: reading a number here would make every step wait for the device.
        values = {name: outputs[name].detach() * len(labels) for name in LOSSES if name in outputs}
        values["area"] = outputs.localization_map.detach().mean((1, 2)).sum()
        values["accuracy"] = (outputs.logits.detach().argmax(dim=1) == labels).float().sum()
        values["images"] = torch.full_like(values["area"], len(labels))
        values["not_finite"] = (~torch.isfinite(loss.detach())).float()
        self._running = {name: self._running.get(name, 0) + value for name, value in values.items()}

    def log(self, logs: dict[str, float], *args, **kwargs) -> None:
        if "loss" in logs and self._running:
            self._check_finite()
            self._running.pop("not_finite")
            sums = {name: self.accelerator.reduce(total, "sum") for name, total in self._running.items()}
            images = sums.pop("images")
            logs |= {name: round((total / images).item(), 6) for name, total in sums.items()}
            self._running = {}
        super().log(logs, *args, **kwargs)

    def _check_finite(self) -> None:
        """Every process must call at once."""
        if "not_finite" in self._running and self.accelerator.reduce(self._running["not_finite"], "sum") > 0:
            raise TrainingDiverged(
                f"The loss is not a finite number at step {self.state.global_step}. Training stops here; the "
                f"checkpoints in {self.args.output_dir} were saved before it. Lower the learning rate "
                f"({self.args.learning_rate:g}), set max_grad_norm, or train in float32 or bf16."
            )

    def init_hf_repo(self, token: str | None = None, private: bool | None = None) -> None:
        args = self.args
        if not self.is_world_process_zero():
            return
        self.hub_model_id = prepare_repository(
            args.hub_model_id or Path(args.output_dir).absolute().name,
            private=args.hub_private_repo if private is None else private,
            revision=args.hub_revision,
            token=token or args.hub_token,
            model_type=self.model.config.model_type,
        )
        self.push_in_progress = None

    def push_to_hub(self, commit_message: str | None = "End of training", *args, **kwargs) -> str | None:
        """Publishes `args.output_dir` as it is saved, in one commit; every process may call. Gives the address.

        Raises:
            PublishingError: the Hub refuses, or the network fails for good.
        """
        if not self.is_world_process_zero():
            return None
        return publish_checkpoint(
            self.args.output_dir, self.hub_model_id, private=self.args.hub_private_repo, token=self.args.hub_token,
            revision=self.args.hub_revision, commit_message=commit_message,
        )  # fmt: skip

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        self._check_finite()
        super().save_model(output_dir, _internal_call=True)  # publishes nothing: the folder is not whole yet

    def evaluated_model(self) -> torch.nn.Module:
        """While it trains, the average where there is one; when training has ended, the model is that."""
        return self.averaging.model if self.averaging is not None and self.is_in_train else self.model

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix: str = "eval") -> dict[str, float]:
        start = time.perf_counter()
        dataset = with_boxes(self.eval_dataset if eval_dataset is None else eval_dataset)
        view = evaluation_view(self.args.protocol, pair(self.model.config.image_size), self.args.view)
        evaluator = LocalizationEvaluator(self.args.protocol, view)
        with torch.random.fork_rng(devices=[]):  # a loader draws a number; training continues as if it had not
            evaluate_localization(
                self.evaluated_model(), self.processing_class, dataset, evaluator, self.accelerator,
                batch_size=self.args.per_device_eval_batch_size, num_workers=self.args.dataloader_num_workers,
            )  # fmt: skip
        threshold = evaluator.select_threshold() if has_boxes(dataset) else None
        metrics = evaluator.compute(threshold) | ({} if threshold is None else {"threshold": threshold})
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        self.log(metrics)
        self.callback_handler.eval_dataloader = DataLoader(dataset)  # what `DrawMaps` draws from
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        self.seconds_evaluating += time.perf_counter() - start
        return metrics
