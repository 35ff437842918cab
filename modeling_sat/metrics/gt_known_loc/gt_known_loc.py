"""GT-known Loc: the fraction of images whose box at `threshold` overlaps a ground-truth box by at least 0.5.

Example:

```python
>>> import evaluate
>>> import numpy as np

>>> metric = evaluate.load("modeling_sat/metrics/gt_known_loc")
>>> left, right = np.zeros((2, 224, 224))
>>> left[:, :112], right[:, 112:] = 1, 1
>>> references = [{"boxes": [[0, 0, 111, 223]]}, {"boxes": [[0, 0, 111, 223]]}]
>>> metric.compute(predictions=[left, right], references=references)
{'gt_known_loc': 0.5}

```
"""

from modeling_sat.evaluation import LocalizationEvaluator
from modeling_sat.metrics.base import LocalizationMetric


class GtKnownLoc(LocalizationMetric):
    summary = __doc__
    needs = ("boxes",)
    one_threshold = True

    def _reduce(self, evaluator: LocalizationEvaluator, threshold: float, k: int) -> dict[str, float]:
        return {"gt_known_loc": evaluator.compute(threshold)["gt_known_loc"]}
