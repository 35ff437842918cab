"""What the six `evaluate` modules share: how maps and references come in, and how they become per-image records.

`evaluate` copies a module's file to its cache, so each of them imports this one by its absolute name.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import Any

import datasets
import evaluate
import numpy as np

from modeling_sat.evaluation import LocalizationEvaluator, View
from modeling_sat.evaluation.boxes import check_boxes
from modeling_sat.evaluation.pixels import check_mask
from modeling_sat.evaluation.protocols import check_map
from modeling_sat.evaluation.records import make_record
from modeling_sat.models.image_arrays_sat import to_numpy


CITATION = """\
@inproceedings{wu2023spatial,
  title={Spatial-Aware Token for Weakly Supervised Object Localization},
  author={Wu, Pingyu and Zhai, Wei and Cao, Yang and Luo, Jiebo and Zha, Zheng-Jun},
  booktitle={ICCV},
  year={2023}
}
@inproceedings{choe2020evaluating,
  title={Evaluating Weakly Supervised Object Localization Methods Right},
  author={Choe, Junsuk and Oh, Seong Joon and Lee, Seungho and Chun, Sanghyuk and Akata, Zeynep and Shim, Hyunjung},
  booktitle={CVPR},
  year={2020}
}
"""

INPUTS = """
Args:
    predictions: list of 2-D float maps, high on the object; or of {"map": 2-D map, "top5": [class, ...] best first}.
        `sat`: a raw map of any size (min-max, then bilinear to the view);
        `wsolevaluation`: a map of view size in [0, 1].
    references: list of {"boxes": [[x_min, y_min, x_max, y_max], ...]}, in pixels of the evaluated view as the protocol
        writes them (`sat`: inclusive whole numbers), and/or {"mask": 2-D, 0 background, 1 object, 255 ignore},
        and/or {"label": class}.
    protocol: "sat" or "wsolevaluation".
    view_size: side of the square view in pixels, or (height, width). Default 224.
    threshold: where one threshold is needed, in [0, 1]. Default 0.4, the SAT authors' for CUB.
    thresholds: the sweep, ascending in [0, 1]. Default: the protocol's own.
    k: of `top_k_loc`, how many predicted classes count, 1 to 5. Default 1.
Modules can be combined (`evaluate.combine`): each one takes all arguments and ignores those it has no use for.
"""


class LocalizationMetric(evaluate.Metric, ABC):
    """An `evaluate` module over localization maps.

    Subclasses say which columns they need and reduce the evaluator's records to a dict of fractions. Maps wait in
    `evaluate`'s file cache as .npy bytes: any size, in their own precision, and not in memory.
    """

    summary: str
    needs: tuple[str, ...]
    """Fields that every image has to have: "boxes", "mask", "label" (references) and "top5" (predictions)."""
    one_threshold = False
    """Whether the metric is taken at `threshold` instead of over a sweep."""

    @abstractmethod
    def _reduce(self, evaluator: LocalizationEvaluator, threshold: float, k: int) -> dict[str, float]:
        """Metrics of the evaluator's records."""

    def _info(self) -> evaluate.EvaluationModuleInfo:
        array, classes = datasets.Value("binary"), datasets.Sequence(datasets.Value("int64"))
        boxes = datasets.Sequence(datasets.Sequence(datasets.Value("float64")))
        return evaluate.MetricInfo(
            description=self.summary,
            citation=CITATION,
            inputs_description=INPUTS,
            features=datasets.Features(
                {
                    "predictions": {"map": array, "top5": classes},
                    "references": {"boxes": boxes, "mask": array, "label": datasets.Value("int64")},
                }
            ),
        )

    def add(self, *, prediction=None, reference=None, **kwargs):
        """Add one map and its reference."""
        (prediction,), (reference,) = (
            _encoded(_encode_prediction, [prediction]),
            _encoded(_encode_reference, [reference]),
        )
        super().add(prediction=prediction, reference=reference, **kwargs)

    def add_batch(self, *, predictions=None, references=None, **kwargs):
        """Add maps and their references."""
        if predictions is None or references is None:
            raise ValueError("predictions and references were expected, one of each for an image.")
        if len(predictions) != len(references):
            raise ValueError(
                f"{len(predictions)} predictions came with {len(references)} references; expected one each."
            )
        if len(predictions) == 0:
            raise ValueError("There is no image to evaluate: predictions and references are empty.")
        super().add_batch(
            predictions=_encoded(_encode_prediction, predictions),
            references=_encoded(_encode_reference, references),
            **kwargs,
        )

    def _compute(
        self,
        predictions: Sequence[Mapping],
        references: Sequence[Mapping],
        protocol: str = "sat",
        view_size: int | tuple[int, int] = 224,
        threshold: float = 0.4,
        thresholds: Sequence[float] | None = None,
        k: int = 1,
    ) -> dict[str, float]:
        size = (view_size, view_size) if np.isscalar(view_size) else tuple(view_size)
        evaluator = LocalizationEvaluator(
            protocol, View(size, crop=None), [threshold] if self.one_threshold else thresholds
        )
        for index, (prediction, reference) in enumerate(zip(predictions, references)):
            try:
                evaluator.extend([self._record(evaluator, str(index), prediction, reference)])
            except ValueError as error:
                raise ValueError(f"Image {index}: {error}") from error
        return self._reduce(evaluator, threshold, k)

    def _record(self, evaluator: LocalizationEvaluator, image_id: str, prediction: Mapping, reference: Mapping):
        given = {**prediction, **reference}
        for name in self.needs:
            if given[name] is None or (name == "boxes" and not given[name]):
                owner = "prediction" if name == "top5" else "reference"
                raise ValueError(f"its {owner} has no {name!r}, which {self.name!r} needs.")
        size = evaluator.view.size
        mask = check_mask(_from_bytes(given["mask"]), size) if "mask" in self.needs else None
        return make_record(
            evaluator.protocol,
            evaluator.thresholds,
            evaluator.protocol.given_map(check_map(_from_bytes(given["map"])), size),
            image_id=image_id,
            ground_truth=check_boxes(given["boxes"]) if "boxes" in self.needs else None,
            mask=mask,
            pixel_thresholds=evaluator.pixel_thresholds,
            label=given["label"] if "label" in self.needs else None,
            top5=given["top5"] if "top5" in self.needs else None,
        )


def _encoded(encode: Callable[[Any], dict], given: Sequence) -> list[dict]:
    encoded = []
    for index, item in enumerate(given):
        try:
            encoded.append(encode(item))
        except (OverflowError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"Image {index} of those given: {error}") from error
    return encoded


def _rows(boxes) -> list[list[float]]:
    """Boxes as a list of lists; one box alone is a list of one, and none is a list of none."""
    array = to_numpy(boxes).astype(np.float64)
    return (array[None] if array.ndim == 1 and array.size else array).tolist()


def _encode_prediction(prediction) -> dict:
    fields = prediction if isinstance(prediction, Mapping) else {"map": prediction}
    unknown = set(fields) - {"map", "top5"}
    if unknown or "map" not in fields:
        raise ValueError(f"A prediction has the fields {sorted(fields)}; expected a 2-D map or {{'map', 'top5'?}}.")
    top5 = fields.get("top5")
    return {"map": _to_bytes(fields["map"]), "top5": None if top5 is None else [_class(index) for index in top5]}


def _encode_reference(reference) -> dict:
    if not isinstance(reference, Mapping) or set(reference) - {"boxes", "mask", "label"}:
        raise ValueError(
            f"A reference is {type(reference).__name__}; expected a dict with 'boxes', 'mask' or 'label'."
        )
    boxes, mask, label = (reference.get(name) for name in ("boxes", "mask", "label"))
    return {
        "boxes": None if boxes is None else _rows(boxes),
        "mask": None if mask is None else _to_bytes(mask),
        "label": None if label is None else _class(label),
    }


def _class(value) -> int:
    if int(value) != value:
        raise ValueError(f"a class is {value!r}; a whole number was expected.")
    return int(value)


def _to_bytes(array) -> bytes:
    buffer = BytesIO()
    np.save(buffer, to_numpy(array), allow_pickle=False)
    return buffer.getvalue()


def _from_bytes(data: bytes) -> np.ndarray:
    return np.load(BytesIO(data), allow_pickle=False)
