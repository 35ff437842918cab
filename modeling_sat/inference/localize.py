"""A model over a labelled dataset: localization maps and class predictions into an evaluator."""

import warnings

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ..evaluation import LocalizationEvaluator, View


def evaluation_view(protocol: str, image_size: tuple[int, int], view: str | None = None) -> View:
    """What a model of (height, width) `image_size` pixels sees of an image when it is evaluated.

    Args:
        protocol: whose view it is if none is named: the cropped one for `sat`, the whole one for `wsolevaluation`.
        image_size: the model's input in pixels.
        view: `"crop"`: the image squashed to 8/7 of that size (256 for 224), its centre cropped
            (`DataLoader/ILSVRC.py:27-30`); `"whole"`: the image squashed to that size.

    Raises:
        ValueError: another view.
    """
    view = view or ("crop" if protocol == "sat" else "whole")
    if view == "crop":
        return View(resize=tuple(round(side * 8 / 7) for side in image_size), crop=tuple(image_size))
    if view == "whole":
        return View(resize=tuple(image_size), crop=None)
    raise ValueError(f"view is {view!r}; choose 'crop' or 'whole'.")


def with_boxes(dataset: Dataset) -> Dataset:
    """The images that have a ground-truth box if any has; a warning says how many have none."""
    annotated = [index for index, boxes in enumerate(dataset["boxes"]) if len(boxes)]
    if not annotated or len(annotated) == len(dataset):
        return dataset
    warnings.warn(
        f"{len(dataset) - len(annotated)} of {len(dataset)} images have no ground-truth box; localization and "
        "classification are measured on the others.",
        stacklevel=2,
    )
    return dataset.select(annotated)


class EvaluationBatches:
    """Collates rows of a dataset into pixel values of a view and the ground truth that an evaluator takes."""

    def __init__(self, processor, view: View):
        self.processor = processor
        self.settings = {"size": _size(view.resize), "do_resize": True, "do_center_crop": view.crop is not None}
        if view.crop is not None:
            self.settings["crop_size"] = _size(view.crop)

    def __call__(self, rows: list[dict]) -> tuple[torch.Tensor, dict]:
        images = [row["image"] for row in rows]
        pixel_values = self.processor(images, return_tensors="pt", **self.settings)["pixel_values"]
        ground_truth = {
            "image_ids": [row["image_id"] for row in rows],
            "labels": np.array([row["label"] for row in rows]),
            "sizes": [(image.height, image.width) for image in images],
        }
        boxes = [np.asarray(row["boxes"], np.float64).reshape(-1, 4) for row in rows]
        if any(len(image_boxes) for image_boxes in boxes):
            ground_truth["boxes"] = boxes
        if "mask" in rows[0]:
            ground_truth["masks"] = [None if row["mask"] is None else np.asarray(row["mask"]) for row in rows]
        return pixel_values, ground_truth


@torch.no_grad()
def evaluate_localization(
    model: torch.nn.Module,
    processor,
    dataset: Dataset,
    evaluator: LocalizationEvaluator,
    accelerator: Accelerator,
    batch_size: int = 64,
    num_workers: int = 0,
    description: str = "Evaluating",
) -> LocalizationEvaluator:
    """Runs a model over a dataset and gives the evaluator a record of every image.

    With several processes each takes every n-th image, and all end with the records of all images, each once.

    Args:
        model: `SATForWeaklySupervisedLocalization` or anything with its `logits` and `localization_map`.
        processor: its image processor; only size and crop are replaced, by those of `evaluator.view`.
        dataset: with the columns of `load_wsol_dataset`.
        evaluator: receives the records; its view is what the model sees.

    Returns:
        `evaluator`.
    """
    share = dataset.select(range(accelerator.process_index, len(dataset), accelerator.num_processes))
    loader = DataLoader(
        share, batch_size, collate_fn=EvaluationBatches(processor, evaluator.view), num_workers=num_workers
    )
    was_training = model.training
    model.eval()
    for pixel_values, ground_truth in tqdm(
        loader, desc=description, disable=not accelerator.is_local_main_process, leave=False
    ):
        with accelerator.autocast():
            outputs = model(pixel_values=pixel_values.to(accelerator.device), interpolate_pos_encoding=True)
        top5 = outputs.logits.topk(min(5, outputs.logits.shape[1])).indices
        evaluator.update(
            localization_maps=outputs.localization_map.float().cpu().numpy(), top5=top5.cpu().numpy(), **ground_truth
        )
    model.train(was_training)
    if accelerator.num_processes > 1:
        evaluator.extend(gather_object(evaluator.records))
    return evaluator


def _size(size: tuple[int, int]) -> dict[str, int]:
    return {"height": size[0], "width": size[1]}
