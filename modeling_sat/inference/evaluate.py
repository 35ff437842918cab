"""A checkpoint on a benchmark: an honest threshold, metrics beside constant boxes, a sheet of pictures."""

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from datasets import Dataset

from ..data import MissingSplitError, load_wsol_dataset
from ..evaluation import PIXEL_THRESHOLDS, ConstantBoxes, LocalizationEvaluator, get_protocol
from .checkpoint import load_checkpoint
from .drawing import contact_sheet, draw_localization
from .localize import evaluate_localization, evaluation_view, with_boxes
from .threads import use_idle_cores


@dataclass
class EvaluationSettings:
    """What to evaluate and how; the fields are the options of `scripts/evaluate.py`.

    Args:
        model: a SAT checkpoint, folder or Hub id.
        dataset: a name of `modeling_sat.data.READERS`.
        output_dir: folder for `metrics.json` and `predictions.png`.
        data_dir: the dataset's folder; `None` for generated ones.
        split: the split to evaluate.
        protocol: `"sat"` or `"wsolevaluation"`.
        view: `"crop"` or `"whole"` instead of the protocol's own, which is the crop for `sat` alone.
        threshold: a fixed localization threshold in [0, 1] instead of one chosen on the validation split.
        select_on_test: choose the threshold on the evaluated split itself, the published habit.
        validation_fraction: share of train to choose the threshold on where the dataset has no validation split.
        batch_size: images per process and step.
        num_workers: processes that read images, per process.
        dataset_options: options of the dataset's reader.
    """

    model: str
    dataset: str
    output_dir: str
    data_dir: str | None = None
    split: str = "test"
    protocol: str = "sat"
    view: str | None = None
    threshold: float | None = None
    select_on_test: bool = False
    validation_fraction: float = 0.1
    batch_size: int = 64
    num_workers: int = 0
    dataset_options: dict[str, Any] = field(default_factory=dict)


def evaluate_checkpoint(settings: EvaluationSettings) -> dict[str, Any]:
    """Evaluates and, on the main process, writes `metrics.json` and `predictions.png`.

    The threshold is, in this order: the fixed one; the best on the evaluated split if `select_on_test`; the best on
    the validation split, where it has boxes; the one saved in the checkpoint.

    Returns:
        the content of `metrics.json`; metrics are fractions in [0, 1].

    Raises:
        ValueError: the data or the checkpoint cannot be used, or do not go together, in a sentence.
    """
    use_idle_cores()
    accelerator = Accelerator()
    with accelerator.main_process_first():
        model, processor = load_checkpoint(settings.model)
        dataset = with_boxes(read_split(settings, settings.split))
        validation = None if settings.split == "validation" else read_validation(settings)
    model = model.to(accelerator.device).eval()
    check_labels(model, dataset)

    fixed = settings.threshold
    if fixed is None and not settings.select_on_test and validation is None:
        fixed = float(processor.localization_threshold)
    view = evaluation_view(settings.protocol, model.vit.embeddings.image_size, settings.view)
    thresholds = sweep_including(settings.protocol, fixed)

    def run(images: Dataset, description: str) -> LocalizationEvaluator:
        evaluator = LocalizationEvaluator(settings.protocol, view, thresholds, PIXEL_THRESHOLDS)
        return evaluate_localization(
            model, processor, images, evaluator, accelerator, settings.batch_size, settings.num_workers, description
        )

    evaluated = run(dataset, f"Evaluating {settings.split}")
    result = {
        "model": settings.model,
        "protocol": settings.protocol,
        "dataset": settings.dataset,
        "split": settings.split,
        "num_images": len(evaluated.records),
        "view": {"resize": view.resize, "crop": view.crop},
        "threshold": None,
        "threshold_source": None,
    }
    if has_boxes(dataset):
        # The validation split also chooses the centred box, so the two constants are as honest as the threshold.
        chosen_on = evaluated if validation is None else run(validation, "Choosing the threshold")
        if fixed is not None:
            result |= {"threshold": fixed, "threshold_source": "fixed"}
        elif settings.select_on_test:
            result |= {"threshold": evaluated.select_threshold(), "threshold_source": "test"}
        else:
            result |= {"threshold": chosen_on.select_threshold(), "threshold_source": "validation"}
        constants = ConstantBoxes(view, settings.protocol).fit(chosen_on.records)
        result["constant_box_baselines"] = constants.score(evaluated.records)
    result["metrics"] = evaluated.compute(result["threshold"])
    if accelerator.is_main_process:
        folder = Path(settings.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps(result, indent=2) + "\n")
        sheet = draw_predictions(model, processor, dataset, result["threshold"])
        sheet.save(folder / "predictions.png")
    return result


def sweep_including(protocol: str, threshold: float | None) -> list[float]:
    """The protocol's own sweep, and `threshold` if the sweep does not have it."""
    sweep = get_protocol(protocol).default_thresholds.tolist()
    if threshold is None or min(abs(threshold - known) for known in sweep) < 1e-9:
        return sweep
    return sorted([*sweep, threshold])


def read_split(settings: EvaluationSettings, split: str, validation_fraction: float = 0.0) -> Dataset:
    return load_wsol_dataset(
        settings.dataset,
        settings.data_dir,
        split,
        validation_fraction=validation_fraction,
        **settings.dataset_options,
    )


def read_validation(settings: EvaluationSettings) -> Dataset | None:
    """The dataset's validation split or one held out of train, if it has boxes to choose a threshold by."""
    try:
        validation = read_split(settings, "validation", settings.validation_fraction)
    except MissingSplitError as error:
        warnings.warn(f"No images to choose a threshold on: {error} The checkpoint's own is used.", stacklevel=2)
        return None
    if not has_boxes(validation):
        warnings.warn("The validation images have no boxes; the checkpoint's own threshold is used.", stacklevel=2)
        return None
    return with_boxes(validation)


def has_boxes(dataset: Dataset) -> bool:
    return any(len(boxes) for boxes in dataset["boxes"])


def check_labels(model: torch.nn.Module, dataset: Dataset) -> None:
    """A checkpoint and a dataset with other classes would score near zero without a word."""
    names = dataset.features["label"].names
    own = [model.config.id2label[index] for index in range(model.config.num_labels)]
    if len(names) != len(own):
        raise ValueError(
            f"The checkpoint has {len(own)} classes ({', '.join(own[:3])} …), the dataset {len(names)} "
            f"({', '.join(names[:3])} …). Evaluate it on the data it was trained for."
        )
    if sorted(names) == sorted(own) and names != own:
        raise ValueError(
            "The checkpoint and the dataset have the same classes in another order; train with this dataset."
        )


def draw_predictions(model, processor, dataset: Dataset, threshold: float | None, count: int = 24):
    """`count` images, spread over the dataset, with map, predicted (green) and ground-truth boxes (red)."""
    pictures = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, count).round().astype(int)):
        row = dataset[int(index)]
        inputs = processor(row["image"], return_tensors="pt").to(model.device)
        with torch.no_grad():
            outputs = model(**inputs, interpolate_pos_encoding=True)
        size = [(row["image"].height, row["image"].width)]
        (result,) = processor.post_process_localization(outputs, threshold, size, return_localization_maps=True)
        texts = [
            f"{model.config.id2label[label]} {score:.2f}"
            for label, score in zip(result["labels"].tolist(), result["scores"].tolist())
        ]
        pictures.append(
            draw_localization(
                row["image"],
                result["localization_map"].numpy(),
                result["boxes"].tolist(),
                texts,
                ground_truth_boxes=row["boxes"],
            )
        )
    return contact_sheet(pictures, columns=6)


def as_table(result: dict[str, Any]) -> str:
    """The content of `metrics.json` for people: percent, and the constant boxes beside the result."""
    names = {
        "gt_known_loc": "GT-known Loc",
        "top1_loc": "Top-1 Loc",
        "top5_loc": "Top-5 Loc",
        "top1_cls": "Top-1 Cls",
        "top5_cls": "Top-5 Cls",
        "box_acc_30": "IoU 30",
        "box_acc_50": "IoU 50",
        "box_acc_70": "IoU 70",
        "max_box_acc": "MaxBoxAcc",
        "max_box_acc_v2": "MaxBoxAccV2",
        "pxap": "PxAP",
        "piou": "pIoU",
    }
    view = "centre crop" if result["view"]["crop"] else "whole image"
    lines = [
        f"{result['dataset']} {result['split']}, {result['num_images']} images, protocol {result['protocol']}, {view}"
    ]
    if result["threshold"] is not None:
        lines.append(f"threshold {result['threshold']:.3g}, source: {result['threshold_source']}")
    lines += [
        f"  {name:<26}{100 * result['metrics'][key]:6.2f}" for key, name in names.items() if key in result["metrics"]
    ]
    for key, name in (("whole_image", "whole image"), ("center", "best centred box")):
        if key in result.get("constant_box_baselines", {}):
            name = f"constant: {name}"
            lines.append(f"  {name:<26}{100 * result['constant_box_baselines'][key]:6.2f}")
    return "\n".join(lines)
