"""Evaluation of weakly supervised object localization: exact protocols, honest thresholds. Numpy in, numbers out."""

from ..localization_sat import View
from .boxes import box_iou
from .constant_boxes import ConstantBoxes
from .evaluator import PIXEL_THRESHOLDS, LocalizationEvaluator
from .protocols import PROTOCOLS, get_protocol
from .records import IOU_THRESHOLDS, LocalizationRecord, sweep_iou


__all__ = [
    "IOU_THRESHOLDS",
    "PIXEL_THRESHOLDS",
    "PROTOCOLS",
    "ConstantBoxes",
    "LocalizationEvaluator",
    "LocalizationRecord",
    "View",
    "box_iou",
    "get_protocol",
    "sweep_iou",
]
