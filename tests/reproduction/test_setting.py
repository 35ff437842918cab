"""What stands under a table is what its runs recorded."""

import dataclasses
import json

import pytest

from modeling_sat.reproduction.recipes import Run
from modeling_sat.reproduction.results import Key, Outcome, StudyResults
from modeling_sat.reproduction.runner import read_outcome
from modeling_sat.reproduction.setting import describe
from modeling_sat.reproduction.studies import STUDIES
from modeling_sat.reproduction.tables import as_json, as_markdown


CHOSEN = Outcome(
    {"gt_known_loc": 0.5}, threshold=0.4, threshold_source="validation", protocol="sat", cropped=True, ten_crop=False, steps=720
)  # fmt: skip


def change(**fields) -> Outcome:
    return dataclasses.replace(CHOSEN, **fields)


def results(*outcomes: Outcome) -> StudyResults:
    return StudyResults({Key("a"): dict(enumerate(outcomes)), Key("b"): {}})


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        ([CHOSEN, CHOSEN], "Protocol sat, centre crop; threshold chosen on validation images."),
        ([change(threshold_source="fixed")], "threshold fixed at 0.4, without images to choose it on."),
        ([change(threshold_source="test")], "threshold chosen on the test images themselves, the published habit."),
        ([change(threshold_source="train")], "threshold chosen on images that may have been trained on."),
        ([change(threshold_source=None)], "threshold 0.4, and no record says how it was chosen."),
        ([change(threshold=None, threshold_source=None)], "no threshold."),
        ([CHOSEN, CHOSEN, change(threshold_source="fixed")],
         "threshold chosen on validation images (2 runs: a), threshold fixed at 0.4, without images to choose it on (1 run: a)."),
        ([CHOSEN, change(threshold_source="fixed", threshold=0.35), change(threshold_source="fixed")],
         "threshold chosen on validation images (1 run: a), threshold fixed at 0.35, without images to choose it on (1 run: a), "),
        ([CHOSEN, change(protocol="wsolevaluation", cropped=False)],
         "Protocol sat, centre crop (1 run: a), protocol wsolevaluation, whole image (1 run: a);"),
        ([], "No run has ended well."),
    ],
)  # fmt: skip
def test_what_each_run_did(outcomes, sentence):
    assert sentence in describe(results(*outcomes), ["gt_known_loc"])


def test_crops_of_the_classifier_are_named_where_classes_count():
    assert "crops" not in describe(results(CHOSEN), ["gt_known_loc", "box_acc_50"])
    assert "classes from a single view." in describe(results(CHOSEN), ["top1_loc"])
    assert "classes from ten crops." in describe(results(change(ten_crop=True)), ["top1_cls"])
    assert "no record of how many crops" in describe(results(change(ten_crop=None)), ["top5_loc"])
    mixed = describe(results(CHOSEN, change(ten_crop=True)), ["top5_cls"])
    assert "classes from a single view (1 run: a), classes from ten crops (1 run: a)." in mixed


def test_published_numbers_are_of_the_kind_that_they_are():
    found = StudyResults({Key("SAT", model="DeiT-S"): {0: change(metrics={"top1_loc": 0.6})}})
    table = as_markdown("table1", STUDIES["table1"], "cub", describe(found, ["top1_loc"]), found)
    assert "the paper on CUB-200, pass and threshold the best on the test images, classes from ten crops." in table
    assert "threshold chosen on validation images; classes from a single view." in table
    boxes = as_markdown("table3", STUDIES["table3"], "imagenet", "", found)
    assert "pass and threshold the best on the test images." in boxes


def test_steps_are_said_beside_few_images():
    text = describe(results(CHOSEN, CHOSEN), ["gt_known_loc"], few_images=True)
    assert "The paper does not say how long it trains on a few images" in text and text.endswith(
        "Trained for 720 steps."
    )
    text = describe(results(CHOSEN, change(steps=30)), ["gt_known_loc"], few_images=True)
    assert text.endswith("Trained for 720 steps (1 run: a), 30 steps (1 run: a).")


def test_what_evaluate_wrote_is_what_is_said(tmp_path):
    for folder in ("model", "evaluation"):
        (tmp_path / folder).mkdir()
    result = {
        "metrics": {"gt_known_loc": 0.5}, "threshold": 0.4, "threshold_source": "fixed", "protocol": "sat",
        "ten_crop": True, "view": {"resize": [224, 224], "crop": None},
    }  # fmt: skip
    (tmp_path / "evaluation/metrics.json").write_text(json.dumps(result))
    (tmp_path / "model/trainer_state.json").write_text('{"global_step": 2502}')
    (tmp_path / "model/run.json").write_text('{"settings": {"training images": 1000}}')
    outcome = read_outcome(Run(tmp_path, {}, tmp_path / "evaluation", {}))
    assert (outcome.threshold_source, outcome.ten_crop, outcome.cropped) == ("fixed", True, False)
    assert (outcome.steps, outcome.images) == (2502, 1000)
    (run,) = as_json(STUDIES["fig8"], StudyResults({Key("SAT", "1"): {0: outcome}}), {})["cells"]
    assert (run["threshold_source"], run["ten_crop"], run["steps"]) == ("fixed", True, 2502)
