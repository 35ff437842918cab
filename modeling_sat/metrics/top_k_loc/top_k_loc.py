"""Top-k Loc: GT-known Loc where the ground-truth class is also among the `k` best predicted classes."""

import numpy as np

from modeling_sat.evaluation import LocalizationEvaluator
from modeling_sat.evaluation.records import class_is_in_top
from modeling_sat.metrics.base import LocalizationMetric


class TopKLoc(LocalizationMetric):
    summary = __doc__
    needs = ("boxes", "label", "top5")
    one_threshold = True

    def _reduce(self, evaluator: LocalizationEvaluator, threshold: float, k: int) -> dict[str, float]:
        if not 1 <= k <= 5:
            raise ValueError(f"k is {k}; expected 1 to 5, the number of predicted classes that count.")
        right_class = [class_is_in_top(record, k) for record in evaluator.records]
        return {"top_k_loc": float(np.mean((evaluator.iou(threshold) >= 0.5) & right_class))}
