"""Evaluations as scripts/evaluate.py leaves them, made without a model."""

import json

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Image, List, Value
from PIL import Image as Picture

from modeling_sat.evaluation import LocalizationEvaluator, View, save_records
from modeling_sat.evaluation.analysis import count_causes, error_causes
from modeling_sat.reproduction.results import Outcome


SIDE, COUNT = 32, 6


@pytest.fixture
def photographs() -> Dataset:
    """Six images of two classes, a bright square in the box of each."""
    rows = {"image": [], "image_id": [], "label": [], "boxes": []}
    for index in range(COUNT):
        pixels = np.full((SIDE, SIDE, 3), 30, np.uint8)
        pixels[8:24, 8:24] = 40 * index
        rows["image"].append(Picture.fromarray(pixels))
        rows["image_id"].append(f"image {index}")
        rows["label"].append(index % 2)
        rows["boxes"].append([[8.0, 8.0, 24.0, 24.0]])
    names = ClassLabel(names=["apple", "pear"])
    kinds = {"image": Image(), "image_id": Value("string"), "label": names, "boxes": List(List(Value("float64")))}
    return Dataset.from_dict(rows, Features(kinds))


@pytest.fixture
def evaluated():
    """Writes an evaluation folder of `photographs` and gives its outcome.

    `found`: the share of the images whose map is on the object; the others' lies in a corner, and their class is wrong.
    """

    def make(folder, found=1.0, boxes=True, **costs) -> Outcome:
        folder.mkdir(parents=True)
        evaluator = LocalizationEvaluator("sat", View((SIDE, SIDE), None))
        for index in range(COUNT):
            hit = index < found * COUNT
            localization_map = np.zeros((8, 8), np.float32)
            localization_map[(slice(2, 6),) * 2 if hit else (slice(0, 2),) * 2] = 1
            evaluator.update(
                [f"image {index}"], [localization_map], np.array([[(index + (not hit)) % 2]]), np.array([index % 2]),
                [np.array([[8.0, 8, 24, 24]])] if boxes else None, [(SIDE, SIDE)] if boxes else None,
            )  # fmt: skip
        save_records(evaluator, folder / "records.parquet")
        threshold = 0.5 if boxes else None
        metrics = evaluator.compute(threshold)
        if boxes:
            metrics |= {f"error_{cause}": share for cause, share in count_causes(error_causes(evaluator, 0.5)).items()}
        model = folder.parent / "model"
        model.mkdir(exist_ok=True)
        (model / "preprocessor_config.json").write_text(json.dumps({"localization_threshold": 0.5}))
        constants = {"center": {"gt_known_loc": 0.4}} if boxes else {}
        return Outcome(metrics, constants, folder, threshold, costs=costs)

    return make
