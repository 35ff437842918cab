"""MaxBoxAcc: the fraction of images whose box overlaps the object by at least 0.5, at the best threshold."""

from modeling_sat.evaluation import LocalizationEvaluator
from modeling_sat.metrics.base import LocalizationMetric


class MaxBoxAcc(LocalizationMetric):
    summary = __doc__
    needs = ("boxes",)

    def _reduce(self, evaluator: LocalizationEvaluator, threshold: float, k: int) -> dict[str, float]:
        return {"max_box_acc": evaluator.compute(None)["max_box_acc"]}
