"""An ONNX file in the place of a PyTorch model: pipeline, predictions, evaluation."""

import json
import shutil
import sys

import pytest
import torch
from model_mixin import config_of, images
from transformers import pipeline

from modeling_sat.checkpoints import CheckpointError
from modeling_sat.checkpoints.load import load_checkpoint
from modeling_sat.labelling.predict import predict_images
from modeling_sat.models.multiscale_sat import localize
from modeling_sat.onnx import ONNXModel


TASK = "weakly-supervised-object-localization"


@pytest.fixture(scope="module")
def onnx_model(exported) -> ONNXModel:
    return ONNXModel.from_pretrained(exported[0])


def found(results) -> list:
    return [[(item["label"], item["box"], item["mask"].tobytes()) for item in objects] for objects in results]


@pytest.mark.parametrize("settings", [{}, {"batch_size": 3}, {"multiple_objects": True, "threshold": 0.7}])
def test_the_pipeline_finds_the_same(onnx_model, checkpoint, exported, photographs, settings):
    from_onnx = pipeline(TASK, model=onnx_model, image_processor=str(exported[0]), device="cpu")
    from_torch = pipeline(TASK, model=str(checkpoint), device="cpu")
    results, expected = from_onnx(photographs, **settings), from_torch(photographs, **settings)
    assert found(results) == found(expected)
    assert len({str(objects[0]["box"]) for objects in results}) > 2
    scores, expected = ([item["score"] for objects in each for item in objects] for each in (results, expected))
    assert scores == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("quality", ["fast", "high"])
def test_predictions_are_the_same(exported, checkpoint, photographs, quality, tmp_path):
    lines = {}
    for name, model in (("onnx", exported[0]), ("torch", checkpoint)):
        predict_images(model, photographs, tmp_path / name, quality=quality, batch_size=2, draw_overlays=False)
        written = (tmp_path / name / "predictions.jsonl").read_text()
        lines[name] = [json.loads(line) for line in written.splitlines()]
    for onnx_line, torch_line in zip(lines["onnx"], lines["torch"], strict=True):
        (onnx_object,), (torch_object,) = onnx_line.pop("objects"), torch_line.pop("objects")
        assert onnx_line == torch_line
        assert onnx_object.pop("score") == pytest.approx(torch_object.pop("score"), abs=1e-5)
        assert onnx_object == torch_object


def test_the_commands_take_the_folder(exported, checkpoint, photographs, run_script, tmp_path):
    printed = run_script(
        "predict.py", "--model", exported[0], "--images", *photographs, "--output_dir", tmp_path / "boxes",
        "--no_overlays",
    )  # fmt: skip
    assert "Boxes of 5 images" in printed
    results = {}
    for name, folder in (("onnx", exported[0]), ("torch", checkpoint)):
        copied = shutil.copytree(folder, tmp_path / name)  # the threshold is saved into it
        run_script(
            "evaluate.py", "--model", copied, "--dataset", "shapes", "--output_dir", tmp_path / f"{name}-evaluation",
            "--dataset_options", '{"num_classes": 5, "num_train": 0, "num_validation": 10, "num_test": 10}',
        )  # fmt: skip
        results[name] = json.loads((tmp_path / f"{name}-evaluation" / "metrics.json").read_text())
    for key in ("threshold", "threshold_source", "errors"):
        assert results["onnx"][key] == results["torch"][key], key
    assert results["onnx"]["metrics"] == pytest.approx(results["torch"]["metrics"], abs=1e-5)


def test_outputs_come_as_a_models(onnx_model, model):
    inputs = images(2, 48, 32)
    outputs = onnx_model(pixel_values=inputs.half(), interpolate_pos_encoding=True)
    with torch.no_grad():
        expected = model(inputs.half().float(), interpolate_pos_encoding=True)
    for name in ("logits", "localization_map"):
        assert outputs[name].dtype == torch.float32
        torch.testing.assert_close(outputs[name], expected[name], rtol=1e-5, atol=1e-5)
    assert onnx_model.to("cpu").eval().config.num_labels == 5


def test_wrong_inputs_are_said_in_a_sentence(onnx_model):
    with pytest.raises(ValueError, match=r"30×32 pixels, which is not in whole patches of 8×16\. Resize it to 32×32"):
        onnx_model(images(1, 30, 32))
    with pytest.raises(ValueError, match="An exported model has no class maps"):
        onnx_model(images(), output_class_maps=True)


def test_views_that_may_differ_in_class_are_not_averaged():
    model = ONNXModel(session=None, config=config_of("cam"))
    with pytest.raises(ValueError, match="that of the predicted class: quality fast, map localization"):
        localize(model, images(1, 64, 64), "high")


def test_folders_that_cannot_be_used(exported, tmp_path, monkeypatch):
    damaged = shutil.copytree(exported[0], tmp_path / "damaged")
    (damaged / "model.onnx").write_bytes(b"not a graph")
    empty = shutil.copytree(exported[0], tmp_path / "empty", ignore=shutil.ignore_patterns("*.onnx"))
    for folder in (damaged, empty, tmp_path / "absent"):
        with pytest.raises(CheckpointError, match=f"{folder.name} cannot be used as an exported model: .*export_onnx"):
            ONNXModel.from_pretrained(folder)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for load in (ONNXModel.from_pretrained, load_checkpoint):
        with pytest.raises(CheckpointError, match=r'is not installed: pip install "modeling_sat\[export\]"'):
            load(exported[0])
