"""As many steps for a few training images as for all of them, which the paper leaves open (Table 8, Fig. 8)."""

import math
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from datasets import IterableDataset

from ..training.arguments import ConfigurationError, DataArguments, resolve_fields
from ..training.batches import TrainingBatches
from ..training.run import load_splits


def count_images(fields: Mapping[str, Any]) -> tuple[int, int]:
    """Training images of a run with all of each class, as training itself reads them, and classes.

    Raises:
        ConfigurationError, DatasetError: the data cannot be read, or are a stream, which has no number.
    """
    resolved = resolve_fields({**fields, "images_per_class": None})
    splits, _ = load_splits(DataArguments.of(resolved), Namespace(data_seed=resolved["data_seed"]))
    train = splits["train"]
    if isinstance(train, IterableDataset):
        raise ConfigurationError("A stream has no number of images for each class; leave streaming out.")
    return len(train), len(train.features["label"].names)


def as_many_steps(fields: Mapping[str, Any], all_images: int, images: int) -> dict[str, Any]:
    """The fields that a run on `images` of `all_images` changes to take as many steps as one on all.

    What a recipe counts in passes is counted in steps of the run on all images: its length, the passes with the
    classification loss alone, and when it is evaluated, saved and logged.
    """
    run = resolve_fields(dict(fields))
    full, few = steps_of_a_pass(run, all_images), steps_of_a_pass(run, images)
    steps = run["max_steps"] if run["max_steps"] > 0 else math.ceil(run["num_train_epochs"] * full)
    changed: dict[str, Any] = {"max_steps": steps}
    for what in ("eval", "save", "logging"):
        if run[f"{what}_strategy"] == "epoch":
            changed |= {f"{what}_strategy": "steps", f"{what}_steps": min(full, steps)}
    if "eval_steps" in changed and run["eval_delay"]:
        changed["eval_delay"] = run["eval_delay"] * full
    if run["classification_epochs"]:
        changed["classification_epochs"] = run["classification_epochs"] * full / few
    return changed


def steps_of_a_pass(run: Mapping[str, Any], images: int) -> int:
    """Of a run of one process, as the Trainer counts them.

    Args:
        run: resolved training fields.
    """
    batches = len(TrainingBatches(images, run["per_device_train_batch_size"], drop_last=run["dataloader_drop_last"]))
    return max(1, math.ceil(batches / run["gradient_accumulation_steps"]))
