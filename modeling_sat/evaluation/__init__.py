"""Evaluation of weakly supervised object localization: exact protocols, honest thresholds. Numpy in, numbers out."""

from ..models.localization_sat import View
from .boxes import box_iou
from .constant_boxes import ConstantBoxes
from .constant_maps import PixelCounts, constant_map_baselines
from .evaluator import (
    BOX_METRICS,
    CLASSIFICATION_METRICS,
    PIXEL_METRICS,
    PIXEL_THRESHOLDS,
    PREDICTED_CLASS_METRICS,
    LocalizationEvaluator,
)
from .protocols import PROTOCOLS, get_protocol
from .records import IOU_THRESHOLDS, LocalizationRecord, sweep_iou
from .storage import load_records, save_records


__all__ = [
    "BOX_METRICS",
    "CLASSIFICATION_METRICS",
    "PIXEL_METRICS",
    "PREDICTED_CLASS_METRICS",
    "IOU_THRESHOLDS",
    "PIXEL_THRESHOLDS",
    "PROTOCOLS",
    "ConstantBoxes",
    "LocalizationEvaluator",
    "LocalizationRecord",
    "PixelCounts",
    "View",
    "box_iou",
    "constant_map_baselines",
    "get_protocol",
    "load_records",
    "save_records",
    "sweep_iou",
]
