"""What an evaluation writes is what reports, cards and tables read."""

import json

import pytest

from modeling_sat.evaluation.result import EvaluationResult, EvaluationResultError


RESULT = EvaluationResult(
    model="run", protocol="sat", dataset="shapes", split="test", num_images=3,
    view={"resize": [32, 32], "crop": None}, map="localization", ten_crop=False, quality="fast", threshold=0.4,
    threshold_source="validation", constant_box_baselines={"whole_image": 0.2, "center": 0.5},
    errors={"part": 0.5}, metrics={"gt_known_loc": 0.5}, saved_to_checkpoint=True,
)  # fmt: skip


def test_it_comes_back_as_it_was(tmp_path):
    RESULT.save(tmp_path)
    assert EvaluationResult.load(tmp_path, "model", "view") == RESULT
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["median_iou_of_correct"] is None and "constant_map_baselines" not in content


def test_images_without_boxes_and_masks(tmp_path):
    EvaluationResult(model="run", metrics={"top1_cls": 0.5}, saved_to_checkpoint=False).save(tmp_path)
    content = json.loads((tmp_path / "metrics.json").read_text())
    assert content["threshold"] is None and content["threshold_source"] is None
    assert not {"constant_box_baselines", "errors", "median_iou_of_correct", "constant_map_baselines"} & set(content)


def test_an_earlier_version_recorded_less(tmp_path):
    content = {"metrics": {"top1_cls": 0.5}, "constant_box_baselines": None, "added_later": 1}
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    assert EvaluationResult.load(tmp_path) == EvaluationResult(metrics={"top1_cls": 0.5})


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "has no metrics.json; give the output_dir"), ("", "cannot be read"), ('{"a', "cannot be read"),
        ("[]", "a mapping was expected"), ("{}", "has no 'metrics'"), ('{"metrics": {}}', "has no 'model'"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_said(tmp_path, text, sentence):
    if text is not None:
        (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(EvaluationResultError, match=sentence):
        EvaluationResult.load(tmp_path, *(["model"] if text == '{"metrics": {}}' else []))
