"""Evaluation's guards; whole runs are in tests/training/test_scripts.py."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from model_mixin import model_of, tiny_model

from modeling_sat import SATImageProcessorPil
from modeling_sat.data import load_wsol_dataset
from modeling_sat.evaluation import LocalizationEvaluator, View
from modeling_sat.inference.evaluate import EvaluationSettings, check_labels, evaluate_checkpoint, shows
from modeling_sat.inference.evaluation_loop import evaluate_localization
from modeling_sat.models.image_processing_sat import prepare
from modeling_sat.models.multiscale_sat import localize


SHAPES = ["horizontal_stripes", "vertical_stripes", "diagonal_stripes", "checks", "dots"]


@pytest.fixture(scope="module")
def dataset():
    return load_wsol_dataset("shapes", split="test", num_classes=5, num_test=5)


@pytest.mark.parametrize("names", [SHAPES, [f"LABEL_{index}" for index in range(5)]])
def test_the_datasets_own_classes_and_nameless_ones_pass(dataset, names):
    check_labels(tiny_model(id2label=dict(enumerate(names))), dataset)


@pytest.mark.parametrize("names", [[*SHAPES[:4], "stars"], [SHAPES[1], SHAPES[0], *SHAPES[2:]]])
def test_other_classes_and_another_order_are_refused(dataset, names):
    with pytest.raises(ValueError, match="The checkpoint's classes are not the dataset's"):
        check_labels(tiny_model(id2label=dict(enumerate(names))), dataset)


@pytest.mark.parametrize("threshold", [-0.1, 1.0])
def test_a_threshold_out_of_range_is_refused_before_anything_runs(threshold, tmp_path):
    with pytest.raises(ValueError, match=r"choose one in \[0, 1\)"):
        evaluate_checkpoint(EvaluationSettings("nowhere", "shapes", str(tmp_path), threshold=threshold))


def test_whether_a_processor_shows_a_view():
    square = {"height": 32, "width": 32}
    whole = SATImageProcessorPil(size=square)
    cropped = SATImageProcessorPil(size={"height": 40, "width": 40}, crop_size=square, do_center_crop=True)
    kept_aspect = SATImageProcessorPil(size={"shortest_edge": 40}, crop_size=square, do_center_crop=True)
    views = View((32, 32), None), View((40, 40), (32, 32))
    assert [shows(processor, view) for processor in (whole, cropped) for view in views] == [True, False, False, True]
    assert not any(shows(kept_aspect, view) for view in views)


class Keeping(LocalizationEvaluator):
    """Keeps what it is given."""

    def update(self, localization_maps, top5, predicted_class_maps=None, **ground_truth):
        self.maps = [*getattr(self, "maps", ()), *localization_maps]
        self.predicted = (
            None if predicted_class_maps is None else [*getattr(self, "predicted", ()), *predicted_class_maps]
        )
        self.top5 = [*getattr(self, "top5", ()), *top5]


def test_high_quality_maps_are_those_of_every_other_user(dataset):
    model = tiny_model().eval()
    processor = SATImageProcessorPil(
        size={"height": 40, "width": 40}, crop_size={"height": 32, "width": 32}, do_center_crop=True
    )
    evaluator = Keeping("sat", View((40, 40), (32, 32)))
    evaluate_localization(model, processor, dataset, evaluator, Accelerator(cpu=True), quality="high")
    assert evaluator.predicted is None  # the maps are of no class
    for found, image in zip(evaluator.maps, dataset["image"], strict=True):
        with torch.no_grad():
            expected = localize(model, prepare(processor, image, "high"), "high").localization_map[0]
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("quality", ["fast", "high"])
@pytest.mark.parametrize("method", ["cam", "ts_cam", "scm"])
def test_of_a_method_whose_maps_belong_to_a_class_the_true_ones_is_measured(dataset, method, quality):
    model = model_of(method).eval()
    processor = SATImageProcessorPil(size={"height": 32, "width": 32})
    evaluator = Keeping("sat", View((32, 32), None))
    evaluate_localization(model, processor, dataset, evaluator, Accelerator(cpu=True), quality=quality)
    assert any(top5[0] != label for top5, label in zip(evaluator.top5, dataset["label"]))
    for found, predicted, top5, row in zip(evaluator.maps, evaluator.predicted, evaluator.top5, dataset, strict=True):
        with torch.no_grad():
            pixel_values = prepare(processor, row["image"], quality)
            outputs = localize(model, pixel_values, quality, output_class_maps=True)
        np.testing.assert_allclose(found, outputs.class_maps[0, row["label"]], atol=1e-5)
        np.testing.assert_allclose(predicted, outputs.class_maps[0, top5[0]], atol=1e-5)
        if top5[0] == row["label"]:  # then it is the map that a user sees
            seen = (found - found.min()) / (found.max() - found.min())
            np.testing.assert_allclose(seen, outputs.localization_map[0], atol=1e-4)


def test_the_predicted_classs_measure_needs_no_second_pass(dataset):
    model = model_of("scm").eval()
    processor, calls = SATImageProcessorPil(size={"height": 32, "width": 32}), []
    model.register_forward_pre_hook(lambda *_: calls.append(1))
    evaluator = LocalizationEvaluator("sat", View((32, 32), None))
    evaluate_localization(model, processor, dataset, evaluator, Accelerator(cpu=True), batch_size=2)
    assert len(calls) == 3
    found = evaluator.compute(0.5)
    assert 0 <= found["gt_known_loc_predicted_class"] <= found["max_box_acc_predicted_class"] <= 1
    alone = LocalizationEvaluator("sat", View((32, 32), None))
    evaluate_localization(model, processor, dataset, alone, Accelerator(cpu=True), map="localization")
    of_the_map = alone.compute(0.5)
    assert "gt_known_loc_predicted_class" not in of_the_map  # which is of the predicted class already
    assert found["gt_known_loc_predicted_class"] == of_the_map["gt_known_loc"]
    assert found["max_box_acc_predicted_class"] == of_the_map["max_box_acc"]
