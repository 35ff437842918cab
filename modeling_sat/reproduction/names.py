"""What tables call metrics, constants, models and datasets."""

from ..evaluation.analysis import ERROR_CAUSES
from ..evaluation.report import CONSTANT_MAP_NAMES, CONSTANT_NAMES, METRIC_NAMES


def error_metric(cause: str) -> str:
    """The name of the share of images that are wrong for a cause of `ERROR_CAUSES`."""
    return f"error_{cause.replace(' ', '_')}"


METRIC_TITLES = {
    **METRIC_NAMES,
    "box_acc_30": "δ = 0.3",
    "box_acc_50": "δ = 0.5",
    "box_acc_70": "δ = 0.7",
    "box_acc_mean": "mean over δ",
    "median_iou_of_correct": "median IoU of correct boxes",
    "threshold_interval": "thresholds within 2 points of the best (% of [0, 1])",
    "iou_all": "IoU with masks",
    "iou_small": "smallest third",
    "iou_large": "largest third",
    "frozen_rate": "frozen",
    **{error_metric(cause): f"wrong: {cause}" for cause in ERROR_CAUSES},
}
CONSTANT_TITLES = {**CONSTANT_NAMES, **CONSTANT_MAP_NAMES}
MODEL_TITLES = {"deit-tiny": "DeiT-T", "deit-small": "DeiT-S", "deit-base": "DeiT-B", "conformer-small": "Conformer-S"}
CONVERTED = ("conformer-small",)
"""Models that the Hub does not have; a study of all models takes those that have been converted."""
DATASET_TITLES = {"cub": "CUB-200", "imagenet": "ImageNet", "openimages30k": "OpenImages"}
