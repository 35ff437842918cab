"""What `export_model` writes is the model, or is not written."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from model_mixin import images, model_of

from modeling_sat import SATConfig, SATForWeaklySupervisedLocalization, SATImageProcessor
from modeling_sat.onnx import ExportError, ONNXModel, export_model, export_program, folder
from modeling_sat.onnx.file import write_onnx


def contents(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


def test_the_command_writes_a_folder_and_says_how_close_it_is(exported):
    path, printed = exported
    assert "batches of 1 and 7 at 32×48 and 80×80 pixels" in printed and "16 of 16 boxes are equal" in printed
    assert printed.endswith(f"Written to {path}.\n")
    assert {"config.json", "configuration_sat.py", "image_processing_sat.py", "model.onnx"} < set(contents(path))
    assert "modeling_sat.py" not in contents(path)


def test_the_file_names_its_axes_and_no_folder_of_this_machine(exported):
    path, _ = exported
    graph = onnx.load(path / "model.onnx").graph
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }
    assert shapes == {
        "pixel_values": ["batch", 3, "height", "width"],
        "logits": ["batch", 5],
        "localization_map": ["batch", "rows", "columns"],
    }
    assert str(Path(__file__).parents[2]).encode() not in (path / "model.onnx").read_bytes()


def test_a_stranger_runs_it_without_this_package(exported, photographs, model, processor, tmp_path):
    path, _ = exported
    code = (
        "import sys, json, onnxruntime, transformers, types, torch\n"
        "path, image = sys.argv[1:]\n"
        "processor = transformers.AutoImageProcessor.from_pretrained(path, trust_remote_code=True)\n"
        "inputs = processor(image, return_tensors='np')\n"
        "outputs = onnxruntime.InferenceSession(path + '/model.onnx').run(None, dict(inputs))\n"
        "logits, maps = map(torch.from_numpy, outputs)\n"
        "outputs = types.SimpleNamespace(logits=logits, localization_map=maps)\n"
        "assert 'modeling_sat' not in sys.modules\n"
        "print(processor.post_process_localization(outputs)[0]['boxes'].tolist())\n"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(tmp_path / "modules")}
    command = [sys.executable, "-P", "-c", code, str(path), photographs[0]]
    finished = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=200)
    assert finished.returncode == 0, finished.stderr[-2000:]
    with torch.no_grad():
        outputs = model(**processor(photographs[0], return_tensors="pt"), interpolate_pos_encoding=True)
    (expected,) = processor.post_process_localization(outputs)
    assert json.loads(finished.stdout.splitlines()[-1]) == expected["boxes"].tolist()


def test_deit_tiny(tmp_path):
    torch.manual_seed(0)
    config = SATConfig(
        hidden_size=192, num_attention_heads=3, intermediate_size=768, classifier="class_token",
        spatial_query_scaling="hidden_size",
    )  # fmt: skip
    model = SATForWeaklySupervisedLocalization(config).eval()
    with torch.no_grad():
        for layer in model.vit.layers:  # else random maps are flat
            layer.attention.q_proj.weight.mul_(10)
            layer.attention.k_proj.weight.mul_(10)
    parity = export_model(model, SATImageProcessor(), tmp_path)
    assert parity.sizes == ((224, 224), (320, 256)) and parity.images == 16
    assert parity.localization_map <= 1e-4 and parity.equal_boxes == 16
    with torch.no_grad():
        maps = model(torch.randn(2, 3, 224, 224)).localization_map
    assert (maps.amax(dim=(1, 2)) - maps.amin(dim=(1, 2)) > 0.1).all()


def test_float16_is_smaller_and_near(model, processor, exported, tmp_path):
    parity = export_model(model, processor, tmp_path, precision="float16")
    assert 1e-5 < parity.localization_map < 0.02 and parity.logits < 0.02
    assert (tmp_path / "model.onnx").stat().st_size < (exported[0] / "model.onnx").stat().st_size


def test_int8_is_smaller_and_near(model, processor, exported, tmp_path, monkeypatch):
    exact = exported[0] / "model.onnx"  # seconds less than writing it again
    monkeypatch.setattr(folder, "write_onnx", lambda program, file, opset: shutil.copy(exact, file))
    parity = export_model(model, processor, tmp_path, precision="int8")
    assert 1e-3 < parity.localization_map < 0.25
    assert (tmp_path / "model.onnx").stat().st_size < exact.stat().st_size
    weights = {weight.data_type for weight in onnx.load(tmp_path / "model.onnx").graph.initializer}
    assert onnx.TensorProto.INT8 in weights


def test_torch_program_of_any_batch_and_any_resolution(model, processor, tmp_path):
    training = copy.deepcopy(model).double().train()
    parity = export_model(training, processor, tmp_path, format="torch")
    assert training.training and training.dtype == torch.float64
    assert parity.is_exact and "model.pt2" in contents(tmp_path)
    program = torch.export.load(tmp_path / "model.pt2").module()
    for size in [(32, 48), (16, 32), (40, 48), (32, 64)]:
        for batch_size in (1, 3):
            inputs = images(batch_size, *size)
            with torch.no_grad():
                outputs, expected = program(inputs), model(inputs, interpolate_pos_encoding=True)
            assert list(outputs) == ["logits", "localization_map"]
            for name, output in outputs.items():
                torch.testing.assert_close(output, expected[name], rtol=1e-5, atol=1e-6)


def test_half_precision_gives_float32_and_training_goes_on(model):
    half = copy.deepcopy(model).half().train()
    outputs = export_program(half).module()(images(2, 24, 32))
    assert half.training
    assert {output.dtype for output in outputs.values()} == {torch.float32}
    assert outputs["localization_map"].shape == (2, 3, 2)


def test_an_opset_that_cannot_be_written(tmp_path):
    class LogitsAndMap(torch.nn.Module):
        def forward(self, pixel_values):
            return pixel_values.mean(dim=(1, 2, 3)), pixel_values.mean(dim=1)

    program = torch.export.export(LogitsAndMap(), (images(),))
    with pytest.raises(
        ValueError, match="opset 99 is not one that PyTorch writes; leave it out, or choose 18 or a later"
    ):
        write_onnx(program, tmp_path / "model.onnx", opset=99)
    write_onnx(program, tmp_path / "model.onnx", opset=18)
    assert onnx.load(tmp_path / "model.onnx").opset_import[0].version == 18


def test_what_is_not_the_model_is_not_kept(model, processor, exported, tmp_path, monkeypatch):
    other = ONNXModel.from_pretrained(exported[0])
    run = other.forward

    def shifted(pixel_values):
        outputs = run(pixel_values)
        outputs["localization_map"] = outputs["localization_map"] + 2e-4
        return outputs

    other.forward = shifted
    monkeypatch.setattr(folder, "export_program", lambda model: None)
    monkeypatch.setattr(folder, "write_onnx", lambda program, file, opset: file.touch())
    monkeypatch.setattr(ONNXModel, "from_pretrained", lambda path: other)
    with pytest.raises(ExportError, match=r"not the model, so nothing was kept.*maps by up to 2.0e-04, and 16 of 16"):
        export_model(model, processor, tmp_path)
    assert contents(tmp_path) == []

    other.forward = lambda pixel_values: run(pixel_values * float("nan"))
    with pytest.raises(ExportError, match="In float16 the model gives numbers that are not finite"):
        export_model(model, processor, tmp_path, precision="float16")
    assert contents(tmp_path) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "int4"}, "The precision is 'int4'; choose one of float32, float16, int8"),
        ({"format": "tflite"}, "The format is 'tflite'; choose one of onnx, torch"),
        ({"format": "torch", "precision": "int8"}, "int8 exists only for the format onnx"),
        ({"format": "torch", "opset": 18}, "The format torch has no opset"),
        ({"output_dir": "{checkpoint}"}, "holds a checkpoint, whose config.json would be lost"),
        ({"output_dir": "{checkpoint}/config.json"}, "config.json cannot be written .File exists"),
        ({"output_dir": "{checkpoint}/config.json/onnx"}, "config.json/onnx cannot be written .Not a directory"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(settings, message, model, processor, checkpoint, tmp_path):
    settings = {"output_dir": str(tmp_path), **settings}
    settings["output_dir"] = settings["output_dir"].format(checkpoint=checkpoint)
    with pytest.raises(ExportError, match=message):
        export_model(model, processor, **settings)
    assert contents(tmp_path) == []


def test_the_command_says_so_too(run_script, exported, tmp_path):
    for model, message in (
        (tmp_path, "error: .* is not a checkpoint: it has no config.json"),
        (exported[0], "error: .* is exported already. Give the checkpoint"),
    ):
        with pytest.raises(SystemExit, match=message):
            run_script("export_onnx.py", "--model", model, "--output_dir", tmp_path / "onnx")


def test_packages_that_are_not_installed_are_named(model, processor, tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "ONNX_PACKAGES", ("onnx", "onnx_of_nowhere"))
    with pytest.raises(ExportError, match=r'onnx_of_nowhere is not installed: pip install "modeling_sat\[export\]"'):
        export_model(model, processor, tmp_path)


@pytest.mark.parametrize(
    ("method", "backbone"),
    [("sat", "dinov2_with_registers"), ("sat", "dinov3_vit"), ("ts_cam", "vit"), ("lctr", "vit")],
)
def test_other_methods_and_backbones(method, backbone, tmp_path):
    processor = SATImageProcessor(size={"height": 32, "width": 32})
    parity = export_model(model_of(method, backbone), processor, tmp_path / "exported")
    assert parity.is_exact and parity.logits < 1e-4
