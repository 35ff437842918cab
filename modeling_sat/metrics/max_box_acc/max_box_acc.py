"""MaxBoxAcc: the fraction of images whose box overlaps the object by at least 0.5, at the best threshold.

Example:

```python
>>> import evaluate
>>> import numpy as np

>>> metric = evaluate.load("modeling_sat/metrics/max_box_acc")
>>> left, right = np.zeros((2, 224, 224))
>>> left[:, :112], right[:, 112:] = 1, 1
>>> references = [{"boxes": [[0, 0, 111, 223]]}, {"boxes": [[0, 0, 111, 223]]}]
>>> metric.compute(predictions=[left, right], references=references)
{'max_box_acc': 0.5}

```
"""

from modeling_sat.evaluation import LocalizationEvaluator
from modeling_sat.metrics.base import LocalizationMetric


class MaxBoxAcc(LocalizationMetric):
    summary = __doc__
    needs = ("boxes",)

    def _reduce(self, evaluator: LocalizationEvaluator, threshold: float, k: int) -> dict[str, float]:
        return {"max_box_acc": evaluator.compute(None)["max_box_acc"]}
