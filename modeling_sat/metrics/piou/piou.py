"""pIoU: the best TP / (TP + FP + FN) over a sweep of thresholds, pooled over all pixels; 255 in a mask is left out.

Example:

```python
>>> import evaluate
>>> import numpy as np

>>> metric = evaluate.load("modeling_sat/metrics/piou")
>>> left, right = np.zeros((2, 224, 224))
>>> left[:, :112], right[:, 112:] = 1, 1
>>> masks = [{"mask": left.astype(np.uint8)}, {"mask": right.astype(np.uint8)}]
>>> metric.compute(predictions=[left, right], references=masks)
{'piou': 1.0}

```
"""

from modeling_sat.evaluation import LocalizationEvaluator
from modeling_sat.metrics.base import LocalizationMetric


class Piou(LocalizationMetric):
    summary = __doc__
    needs = ("mask",)

    def _reduce(self, evaluator: LocalizationEvaluator, threshold: float, k: int) -> dict[str, float]:
        return {"piou": evaluator.compute(None)["piou"]}
