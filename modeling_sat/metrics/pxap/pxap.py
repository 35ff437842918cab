"""PxAP: the area under the precision-recall curve of pixels, pooled over all images; 255 in a mask is left out."""

from modeling_sat.evaluation import LocalizationEvaluator
from modeling_sat.metrics.base import LocalizationMetric


class Pxap(LocalizationMetric):
    summary = __doc__
    needs = ("mask",)

    def _reduce(self, evaluator: LocalizationEvaluator, threshold: float, k: int) -> dict[str, float]:
        return {"pxap": evaluator.compute(None)["pxap"]}
