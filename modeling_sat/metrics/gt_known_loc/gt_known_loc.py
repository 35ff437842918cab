"""GT-known Loc: the fraction of images whose box at `threshold` overlaps a ground-truth box by at least 0.5."""

from modeling_sat.evaluation import LocalizationEvaluator
from modeling_sat.metrics.base import LocalizationMetric


class GtKnownLoc(LocalizationMetric):
    summary = __doc__
    needs = ("boxes",)
    one_threshold = True

    def _reduce(self, evaluator: LocalizationEvaluator, threshold: float, k: int) -> dict[str, float]:
        return {"gt_known_loc": evaluator.compute(threshold)["gt_known_loc"]}
