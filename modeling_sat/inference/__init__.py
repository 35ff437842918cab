"""From a checkpoint and images to boxes, files and pictures."""

from .drawing import contact_sheet, draw_localization
from .predict import PredictionError, predict_images


__all__ = ["PredictionError", "contact_sheet", "draw_localization", "predict_images"]
