"""Top-k Loc: GT-known Loc where the ground-truth class is also among the `k` best predicted classes.

Example:

```python
>>> import evaluate
>>> import numpy as np

>>> metric = evaluate.load("modeling_sat/metrics/top_k_loc")
>>> left, right = np.zeros((2, 224, 224))
>>> left[:, :112], right[:, 112:] = 1, 1
>>> predictions = [{"map": left, "top5": [3, 1, 0, 2, 4]}, {"map": right, "top5": [1, 3, 0, 2, 4]}]
>>> references = [{"boxes": [[0, 0, 111, 223]], "label": 3}, {"boxes": [[112, 0, 223, 223]], "label": 3}]
>>> metric.compute(predictions=predictions, references=references, k=1)
{'top_k_loc': 0.5}

```
"""

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
