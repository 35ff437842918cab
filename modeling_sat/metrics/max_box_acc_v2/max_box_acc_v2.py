"""MaxBoxAccV2: the mean over the overlaps 0.3, 0.5, 0.7 of the best box accuracy, each at its own threshold.

Under `wsolevaluation` the best of all contours counts; under `sat` the box of the largest component, the only one that
protocol predicts. What the SAT authors print under this name uses one threshold for the three overlaps.

Example:

```python
>>> import evaluate
>>> import numpy as np

>>> metric = evaluate.load("modeling_sat/metrics/max_box_acc_v2")
>>> left, right = np.zeros((2, 224, 224))
>>> left[:, :112], right[:, 112:] = 1, 1
>>> references = [{"boxes": [[0, 0, 111, 223]]}, {"boxes": [[0, 0, 111, 223]]}]
>>> metric.compute(predictions=[left, right], references=references)
{'max_box_acc_v2': 0.5}

```
"""

from modeling_sat.evaluation import LocalizationEvaluator
from modeling_sat.metrics.base import LocalizationMetric


class MaxBoxAccV2(LocalizationMetric):
    summary = __doc__
    needs = ("boxes",)

    def _reduce(self, evaluator: LocalizationEvaluator, threshold: float, k: int) -> dict[str, float]:
        return {"max_box_acc_v2": evaluator.compute(None)["max_box_acc_v2"]}
