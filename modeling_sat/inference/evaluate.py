"""A checkpoint on a benchmark: an honest threshold, metrics beside constants, saved records, a report."""

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from datasets import Dataset

from ..checkpoints.evaluated_data import DATA_OPTIONS, EvaluatedData
from ..checkpoints.load import load_checkpoint
from ..data import MissingSplitError
from ..data.arguments import as_mapping
from ..data.checks import OnBadImage
from ..data.loading import print_what_was_found
from ..evaluation import (
    PIXEL_THRESHOLDS,
    ConstantBoxes,
    LocalizationEvaluator,
    PixelCounts,
    View,
    constant_map_baselines,
    get_protocol,
    save_records,
)
from ..evaluation.analysis import count_causes, error_causes, median_of_correct
from ..evaluation.report import PREDICTIONS_FILE, RECORDS_FILE, WORST_FILE, EvaluatedRun, write_report
from ..evaluation.result import METRICS_FILE, EvaluationResult
from ..models.configuration_wsol import pair
from ..models.multiscale_sat import SCALES
from ..output.files import path_written_aside
from ..output.ownership import folder_of_one_run
from ..processes import start_accelerator
from .evaluation_loop import default_map, evaluate_localization, evaluation_view, has_boxes, has_masks, with_boxes
from .forward_time import ForwardTime
from .sheets import draw_predictions, draw_worst
from .threads import use_idle_cores


@dataclass
class EvaluationSettings:
    """What to evaluate and how; the fields are the options of `scripts/evaluate.py`.

    Options of the data that are None are those of the checkpoint's run, whose `run.json` says which images it held out;
    for a checkpoint without one, and for another dataset, they are the defaults of `DataArguments`.

    Raises:
        ValueError: the threshold is out of its range, or both given and to be chosen; or `dataset_options` are not a
            mapping.
    """

    model: str = field(metadata={"help": "a checkpoint, folder or Hub id"})
    dataset: str | None = field(
        default=None,
        metadata={
            "help": "cub, folder, shapes, …, org/name, or a folder of Parquet files; default: that of the checkpoint's "
            "run, as for all options of the data"
        },
    )
    output_dir: str = field(
        default=None, metadata={"required": True, "help": "for metrics.json, records, pictures and report.html"}
    )
    data_dir: str | None = field(
        default=None, metadata={"help": "the dataset's folder; default: where the run had it"}
    )
    split: Literal["train", "validation", "test"] = "test"
    protocol: Literal["sat", "wsolevaluation"] = "sat"
    view: Literal["crop", "whole"] | None = field(
        default=None, metadata={"help": "default: the protocol's own, the crop for sat"}
    )
    threshold: float | None = field(
        default=None, metadata={"help": "fixed, in [0, 1); default: chosen on the validation split"}
    )
    classes: list[str] | None = field(default=None, metadata={"help": "names of those to keep"})
    allow_partial: bool | None = field(
        default=None,
        metadata={"nargs": "?", "const": True, "help": "although some of the published images are missing"},
    )
    on_bad_image: OnBadImage | None = field(default=None, metadata={"help": "images that cannot be read"})
    select_on_test: bool = field(
        default=False, metadata={"help": "choose the threshold on the evaluated split, the published habit"}
    )
    validation_fraction: float | None = field(
        default=None,
        metadata={"help": "share of train to choose the threshold on, where there is no validation split"},
    )
    data_seed: int | None = field(default=None, metadata={"help": "of that choice"})
    map: Literal["localization", "class"] | None = field(
        default=None, metadata={"help": "default: the method's own, one map per image"}
    )
    ten_crop: bool = field(
        default=False, metadata={"help": "classify by ten crops, as the paper does; ten more passes"}
    )
    quality: Literal[tuple(SCALES)] = field(
        default="fast", metadata={"help": "high: flips and larger sizes averaged, some 15 times the work"}
    )
    batch_size: int = field(default=64, metadata={"help": "images per process and step"})
    num_workers: int = field(default=0, metadata={"help": "processes that read images, per process"})
    mixed_precision: Literal["no", "fp16", "bf16"] | None = field(
        default=None, metadata={"help": "default: what accelerate launch says"}
    )
    dataset_options: str | None = field(
        default=None, metadata={"help": "options of the dataset's reader: in JSON, from Python also a mapping"}
    )
    trust_remote_code: bool = field(default=False, metadata={"help": "run code that comes with someone else's model"})

    def __post_init__(self):
        if self.threshold is not None and not 0 <= self.threshold < 1:
            raise ValueError(f"The threshold is {self.threshold}; choose one in [0, 1).")
        if self.threshold is not None and self.select_on_test:
            raise ValueError(f"The threshold is {self.threshold}, and select_on_test chooses one; leave either out.")
        as_mapping(self.dataset_options)


def evaluate_checkpoint(settings: EvaluationSettings) -> EvaluationResult:
    """Evaluates and, on the main process, writes `metrics.json`, `records.parquet`, `speed.json`, pictures and a report.

    The threshold is, in this order: the fixed one; the best on the evaluated split if `select_on_test`; the best on
    the validation split, where it has boxes or masks; the one saved in the checkpoint. Images held out of train that
    the checkpoint may have been trained on are not a validation split: a warning counts them, and only where
    `validation_fraction` asks for them is a threshold chosen on them, whose source is then "train". One chosen on
    validation images is saved into the processor of a checkpoint folder if it is that of `post_process_localization`:
    protocol `sat`, and the view that the processor shows, looked at once. Of another view it would be the wrong one:
    maps of a crop have another range.

    Raises:
        ValueError: the data or the checkpoint cannot be used, or do not go together, in a sentence.
    """
    use_idle_cores()
    accelerator = start_accelerator(settings.mixed_precision)
    with folder_of_one_run(settings.output_dir):
        return _evaluate(settings, accelerator)


def _evaluate(settings: EvaluationSettings, accelerator: Accelerator) -> EvaluationResult:
    with accelerator.main_process_first():
        model, processor = load_checkpoint(settings.model, settings.trust_remote_code)
        data = EvaluatedData(
            settings.model,
            settings.dataset,
            settings.data_dir,
            {name: getattr(settings, name) for name in DATA_OPTIONS},
        )
        if (taken := data.taken(settings.split)) is not None:
            accelerator.print(taken)
        dataset = with_boxes(data.split(settings.split))
        validation, chosen_from = (None, None) if settings.split == "validation" else read_validation(data)
        print_what_was_found({settings.split: dataset} | ({} if validation is None else {"validation": validation}))
    model = model.to(accelerator.device).eval()
    check_labels(model, dataset)

    fixed = settings.threshold
    if fixed is None and not settings.select_on_test and validation is None:
        fixed = float(processor.localization_threshold)
    view = evaluation_view(settings.protocol, pair(model.config.image_size), settings.view)
    thresholds = sweep_including(settings.protocol, fixed)

    clock = ForwardTime()

    def run(images: Dataset, description: str, **options: Any) -> LocalizationEvaluator:
        evaluator = LocalizationEvaluator(settings.protocol, view, thresholds, PIXEL_THRESHOLDS)
        return evaluate_localization(
            model, processor, images, evaluator, accelerator, settings.batch_size, settings.num_workers, description,
            map=settings.map, quality=settings.quality, **options,
        )  # fmt: skip

    evaluated = run(dataset, f"Evaluating {settings.split}", ten_crop=settings.ten_crop, clock=clock)
    result = EvaluationResult(
        model=settings.model,
        protocol=settings.protocol,
        dataset=data.dataset,
        split=settings.split,
        num_images=len(evaluated.records),
        view={"resize": view.resize, "crop": view.crop},
        map=settings.map or default_map(model),
        ten_crop=settings.ten_crop,
        quality=settings.quality,
    )
    if has_boxes(dataset) or has_masks(dataset):
        # The validation split also chooses the centred box, so the two constants are as honest as the threshold.
        chosen_on = evaluated if validation is None else run(validation, "Choosing the threshold")
        if fixed is not None:
            result.threshold, result.threshold_source = fixed, "fixed"
        elif settings.select_on_test:
            result.threshold, result.threshold_source = evaluated.select_threshold(), "test"
        else:
            result.threshold, result.threshold_source = chosen_on.select_threshold(), chosen_from
    if has_boxes(dataset):
        constants = ConstantBoxes(view, settings.protocol).fit(chosen_on.records)
        result.constant_box_baselines = constants.score(evaluated.records)
        result.errors = count_causes(error_causes(evaluated, result.threshold))
        result.median_iou_of_correct = median_of_correct(evaluated.iou(result.threshold))
    result.metrics = evaluated.compute(result.threshold if has_boxes(dataset) else None)
    if accelerator.is_main_process:
        if "pxap" in result.metrics:
            result.constant_map_baselines = score_constant_maps(dataset, validation, view)
        applies = (
            (settings.protocol, result.map, settings.quality) == ("sat", "localization", "fast")
            and shows(processor, view)
        )  # fmt: skip
        if applies and result.threshold is not None:
            processor.localization_threshold = result.threshold
        honest = applies and result.threshold_source == "validation"
        result.saved_to_checkpoint = honest and save_processor(processor, Path(settings.model))
        clock.save(settings.output_dir)
        write_results(result, evaluated, model, processor, dataset, Path(settings.output_dir))
    return result


def score_constant_maps(dataset: Dataset, validation: Dataset | None, view: View) -> dict[str, dict[str, float]]:
    """The Gaussian's width is chosen on validation masks where there are some."""
    measured_on = PixelCounts.of(dataset.select_columns("mask")["mask"], view)
    if validation is None or not has_masks(validation):
        return constant_map_baselines(view, measured_on, measured_on)
    chosen_on = PixelCounts.of(validation.select_columns("mask")["mask"], view)
    return constant_map_baselines(view, chosen_on, measured_on)


def shows(processor, view: View) -> bool:
    """Whether the processor's view of any image is `view`."""
    try:
        return processor.view() == view
    except ValueError:  # its view depends on the image
        return False


def save_processor(processor, folder: Path) -> bool:
    """Saves the processor if the checkpoint is a folder; says whether it was saved."""
    if not folder.is_dir():
        return False
    try:
        processor.save_pretrained(folder)
    except OSError as error:
        warnings.warn(f"The threshold could not be saved into {folder}: {error.strerror}.", stacklevel=3)
        return False
    return True


def write_results(
    result: EvaluationResult, evaluated: LocalizationEvaluator, model, processor, dataset: Dataset, folder: Path
) -> None:
    """The numbers last: where they stand, all is there."""
    (folder / METRICS_FILE).unlink(missing_ok=True)
    with path_written_aside(folder / RECORDS_FILE) as records:
        save_records(evaluated, records)
    draw_predictions(model, processor, dataset).save(folder / PREDICTIONS_FILE)
    if has_boxes(dataset):
        draw_worst(evaluated, result.threshold, dataset).save(folder / WORST_FILE, quality=90)
    if result.threshold is not None:
        write_report([EvaluatedRun(Path(result.model).name, folder, result, evaluated)], folder)
    result.save(folder)


def sweep_including(protocol: str, threshold: float | None) -> list[float]:
    """The protocol's own sweep, and `threshold` if the sweep does not have it."""
    sweep = get_protocol(protocol).default_thresholds.tolist()
    if threshold is None or min(abs(threshold - known) for known in sweep) < 1e-9:
        return sweep
    return sorted([*sweep, threshold])


def read_validation(data: EvaluatedData) -> tuple[Dataset | None, str | None]:
    """Images to choose a threshold on, if they have boxes or masks, and by which name the result calls them."""
    try:
        validation, why_not = data.validation()
    except MissingSplitError as error:
        warnings.warn(f"No images to choose a threshold on: {error} The checkpoint's own is used.", stacklevel=2)
        return None, None
    if why_not is not None and data.given.get("validation_fraction") is None:
        warnings.warn(f"No images to choose a threshold on: {why_not} The checkpoint's own is used.", stacklevel=2)
        return None, None
    if not has_boxes(validation) and not has_masks(validation):
        warnings.warn(
            "The validation images have neither boxes nor masks; the checkpoint's own threshold is used.", stacklevel=2
        )
        return None, None
    if why_not is not None:
        warnings.warn(
            f"{why_not} The threshold is chosen on them as you ask, is recorded as chosen on train, and is not saved.",
            stacklevel=2,
        )
    return with_boxes(validation), "validation" if why_not is None else "train"


def check_labels(model: torch.nn.Module, dataset: Dataset) -> None:
    """A checkpoint and a dataset with other classes would score near zero without a word."""
    names = dataset.features["label"].names
    own = [model.config.id2label[index] for index in range(model.config.num_labels)]
    if len(names) != len(own):
        raise ValueError(
            f"The checkpoint has {len(own)} classes ({', '.join(own[:3])} …), the dataset {len(names)} "
            f"({', '.join(names[:3])} …). Evaluate it on the data it was trained for."
        )
    # A reader adds the id to names that two classes share, as in "crane (n02012849)".
    different = [
        (mine, other) for mine, other in zip(own, names) if mine != other and not other.startswith(f"{mine} (")
    ]
    nameless = all(name.startswith("LABEL_") for name in own)
    if nameless:
        warnings.warn(
            "The checkpoint's classes have no names; they are assumed to be in the dataset's order.", stacklevel=2
        )
    if different and not nameless:
        raise ValueError(
            f"The checkpoint's classes are not the dataset's, or stand in another order: {different[0][0]!r} where "
            f"the dataset has {different[0][1]!r}. Evaluate it on the data it was trained for."
        )
