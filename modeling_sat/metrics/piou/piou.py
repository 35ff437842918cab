"""pIoU: the best TP / (TP + FP + FN) over a sweep of thresholds, pooled over all pixels; 255 in a mask is left out."""

from modeling_sat.evaluation import LocalizationEvaluator
from modeling_sat.metrics.base import LocalizationMetric


class Piou(LocalizationMetric):
    summary = __doc__
    needs = ("mask",)

    def _reduce(self, evaluator: LocalizationEvaluator, threshold: float, k: int) -> dict[str, float]:
        return {"piou": evaluator.compute(None)["piou"]}
