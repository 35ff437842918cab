"""A model over a labelled dataset: localization maps and class predictions into an evaluator."""

import warnings
from dataclasses import replace

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ..data.views import ten_crops
from ..evaluation import LocalizationEvaluator, View
from ..models.configuration_wsol import pair
from ..models.image_processing_sat import prepare
from ..models.localization_sat import not_finite
from ..models.multiscale_sat import check_quality
from .forward_time import ForwardTime
from .localizer import Localizer


MAPS = ("localization", "class")
"""Which map of a model is measured, see `evaluate_localization`."""


def default_map(model: torch.nn.Module) -> str:
    """Which map is measured: that of the true class where a method's maps belong to a class (`maps_are_of_a_class`)."""
    return "class" if getattr(model, "maps_are_of_a_class", False) else "localization"


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
        return View(resize=uncropped(image_size), crop=tuple(image_size))
    if view == "whole":
        return View(resize=tuple(image_size), crop=None)
    raise ValueError(f"view is {view!r}; choose 'crop' or 'whole'.")


def uncropped(image_size: tuple[int, int]) -> tuple[int, int]:
    """The size whose crop `image_size` is in the paper: 256 for 224."""
    return tuple(round(side * 8 / 7) for side in image_size)


def has_boxes(dataset: Dataset) -> bool:
    return any(len(boxes) for boxes in dataset["boxes"])


def has_masks(dataset: Dataset) -> bool:
    return "mask" in dataset.features and any(mask is not None for mask in dataset["mask"])


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
    """Collates rows of a dataset into pixel values of a view, ten crops for the classifier if asked for, and the
    ground truth that an evaluator takes. The view is prepared for `quality`."""

    def __init__(self, processor, view: View, ten_crop_size: tuple[int, int] | None = None, quality: str = "fast"):
        self.processor, self.view, self.quality = processor, view, quality
        self.ten_crop_size = ten_crop_size

    def __call__(self, rows: list[dict]) -> tuple[torch.Tensor, torch.Tensor | None, dict]:
        images = [row["image"] for row in rows]
        pixel_values, crops = prepare(self.processor, images, self.quality, self.view), None
        if self.ten_crop_size is not None:
            whole = View(uncropped(self.ten_crop_size), None)
            crops = ten_crops(prepare(self.processor, images, view=whole), self.ten_crop_size)
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
        return pixel_values, crops, ground_truth


def evaluate_localization(
    model: torch.nn.Module,
    processor,
    dataset: Dataset,
    evaluator: LocalizationEvaluator,
    accelerator: Accelerator,
    batch_size: int = 64,
    num_workers: int = 0,
    description: str = "Evaluating",
    map: str | None = None,
    ten_crop: bool = False,
    quality: str = "fast",
    clock: ForwardTime | None = None,
) -> LocalizationEvaluator:
    """Runs a model over a dataset and gives the evaluator a record of every image.

    With several processes each takes every n-th image, and all end with the records of all images, each once.

    Args:
        model: `SATForWeaklySupervisedLocalization` or anything with its `logits` and `localization_map`.
        processor: its image processor; only size and crop are replaced, by those of `evaluator.view`.
        dataset: with the columns of `load_wsol_dataset`.
        evaluator: receives the records; its view is what the model sees.
        map: "localization", the one map of an image; "class", the class map of its true class, as CAM and its kin are
            measured. Where the predicted class is right both are the same map, so Top-k Loc follows from it too.
            Default: "class" for methods whose maps are of a class. Beside the true class's map the predicted one's is then
            measured too (`PREDICTED_CLASS_METRICS`), from the same pass.
        ten_crop: classify by the mean softmax over ten crops (`views.ten_crops`); maps stay those of the view.
        quality: `"fast"`, or `"high"` for the mean over flips and resolutions, see `multiscale_sat`.
        clock: measures the forward passes of the view, not those of ten crops.

    Returns:
        `evaluator`.

    Raises:
        ValueError: an unknown `map` or `quality`, class maps of a model that has none, or an image, which is named, with
            outputs that are not finite.
    """
    map = map or default_map(model)
    if map not in MAPS:
        raise ValueError(f"map is {map!r}; choose one of {', '.join(MAPS)}.")
    # As many images on each process, since those of a divided model wait for each other; the evaluator drops repeats.
    processes = accelerator.num_processes
    even = -(-len(dataset) // processes) * processes
    rounds = range(accelerator.process_index, even, processes)
    share = dataset.select([position % len(dataset) for position in rounds])
    ten_crop_size = pair(model.config.image_size) if ten_crop else None
    collate = EvaluationBatches(processor, evaluator.view, ten_crop_size, check_quality(quality))
    loader = DataLoader(share, batch_size, collate_fn=collate, num_workers=num_workers)
    localizer = Localizer(model, processor, quality, accelerator)
    class_maps = {"output_class_maps": True} if map == "class" else {}
    of_a_class = default_map(model) == "class"
    clock = ForwardTime() if clock is None else clock
    was_training = model.training
    model.eval()
    for pixel_values, crops, ground_truth in tqdm(
        loader, desc=description, disable=not accelerator.is_local_main_process, leave=False
    ):
        with clock.of(len(pixel_values), accelerator.device):
            outputs = localizer.localize(pixel_values, **class_maps)
        maps, scores = outputs.localization_map, outputs.logits
        if crops is not None:
            scores = replace(localizer, quality="fast").localize(crops.flatten(0, 1)).logits
            scores = scores.float().softmax(dim=1).unflatten(0, crops.shape[:2]).mean(dim=1)
        top5 = scores.topk(min(5, scores.shape[1])).indices.cpu().numpy()
        if map == "class":
            images = torch.arange(len(pixel_values))
            maps = outputs.class_maps[images, ground_truth["labels"]]
            if of_a_class:
                predicted = outputs.class_maps[images, top5[:, 0]]
                ground_truth["predicted_class_maps"] = predicted.float().cpu().numpy()
        scores, maps = scores.float().cpu().numpy(), maps.float().cpu().numpy()
        for image_id, image_scores, localization_map in zip(ground_truth["image_ids"], scores, maps):
            problem = not_finite(logits=image_scores, localization_map=localization_map)
            if problem is not None:
                raise ValueError(f"Image {image_id!r}: {problem}")
        evaluator.update(localization_maps=maps, top5=top5, **ground_truth)
    model.train(was_training)
    if accelerator.num_processes > 1:
        evaluator.extend(gather_object(evaluator.records))
    return evaluator
