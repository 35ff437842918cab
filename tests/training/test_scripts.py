"""train.py and evaluate.py launched as a user would."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file


ROOT = Path(__file__).parents[2]
ACCELERATE = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1"]
TINY = [
    "--dataset", "shapes", "--dataset_options", '{"num_train": 48, "num_validation": 16, "num_test": 16}',
    "--image_size", "64", "--patch_size", "16", "--hidden_size", "24", "--intermediate_size", "48",
    "--num_hidden_layers", "2", "--num_attention_heads", "2", "--num_spatial_layers", "1",
    "--per_device_train_batch_size", "8", "--report_to", "none", "--disable_tqdm", "true",
]  # fmt: skip


def run(script: str, *arguments, launcher=(sys.executable,)) -> subprocess.CompletedProcess:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [*launcher, ROOT / "scripts" / script, *arguments]
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment, cwd=ROOT, timeout=300
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")

    finished = run("train.py", *TINY, "--num_train_epochs", 2, "--output_dir", folder, launcher=ACCELERATE)
    assert finished.returncode == 0, finished.stderr[-3000:]
    return folder


def test_a_run_folder_has_what_a_checkpoint_needs(trained):
    names = {path.name for path in trained.iterdir()}
    assert {
        "config.json", "model.safetensors", "preprocessor_config.json", "trainer_state.json", "README.md",
        "modeling_sat.py", "pipeline_sat.py", "image_processing_sat.py", "checkpoint-12",
    } <= names  # fmt: skip
    config = json.loads((trained / "config.json").read_text())
    assert config["id2label"]["0"] == "horizontal_stripes"
    assert 0 < json.loads((trained / "preprocessor_config.json").read_text())["localization_threshold"] < 1


def test_resuming_ends_where_an_undisturbed_run_ends(trained, tmp_path):
    first = run("train.py", *TINY, "--num_train_epochs", 1, "--output_dir", tmp_path, launcher=ACCELERATE)
    assert first.returncode == 0, first.stderr[-3000:]
    (tmp_path / "model.safetensors").unlink()
    second = run("train.py", *TINY, "--num_train_epochs", 2, "--output_dir", tmp_path, launcher=ACCELERATE)
    assert second.returncode == 0, second.stderr[-3000:]
    resumed, undisturbed = load_file(tmp_path / "model.safetensors"), load_file(trained / "model.safetensors")
    assert all((resumed[name] == weight).all() for name, weight in undisturbed.items())


def test_evaluate_writes_the_contract(trained, tmp_path):
    options = ["--dataset", "shapes", "--dataset_options", TINY[3], "--output_dir", tmp_path]
    finished = run("evaluate.py", "--model", trained, *options)
    assert finished.returncode == 0, finished.stderr[-3000:]
    result = json.loads((tmp_path / "metrics.json").read_text())
    assert (result["protocol"], result["dataset"], result["split"], result["num_images"]) == (
        "sat",
        "shapes",
        "test",
        16,
    )
    assert result["threshold_source"] == "validation"
    assert {
        "top1_cls", "top5_cls", "gt_known_loc", "top1_loc", "top5_loc", "max_box_acc", "max_box_acc_v2",
        "box_acc_30", "box_acc_50", "box_acc_70", "pxap", "piou",
    } <= set(result["metrics"])  # fmt: skip
    assert set(result["constant_box_baselines"]) == {"whole_image", "center"}
    assert Image.open(tmp_path / "predictions.png").width > 300
    assert "constant: best centred box" in finished.stdout

    assert result["map"] == "localization" and not result["ten_crop"] and not result["saved_to_checkpoint"]
    assert set(result["constant_map_baselines"]) == {"uniform", "gaussian"}
    assert {"report.html", "report.md", "records.parquet", "worst.jpg"} <= {path.name for path in tmp_path.iterdir()}


def test_evaluate_fixed_threshold_and_ten_crops(trained, tmp_path):
    options = ["--dataset", "shapes", "--dataset_options", TINY[3], "--output_dir", tmp_path]
    finished = run("evaluate.py", "--model", trained, *options, "--threshold", "0.333", "--ten_crop")
    assert finished.returncode == 0, finished.stderr[-3000:]
    result = json.loads((tmp_path / "metrics.json").read_text())
    assert (result["threshold"], result["threshold_source"], result["ten_crop"]) == (0.333, "fixed", True)


def test_the_published_habit_has_to_be_asked_for(trained, tmp_path):
    options = ["--dataset", "shapes", "--dataset_options", TINY[3], "--output_dir", tmp_path, "--select_on_test"]
    kept = (trained / "preprocessor_config.json").read_text()
    finished = run("evaluate.py", "--model", trained, *options, "--protocol", "wsolevaluation", "--map", "class")
    assert finished.returncode == 0, finished.stderr[-3000:]
    result = json.loads((tmp_path / "metrics.json").read_text())
    assert (result["protocol"], result["threshold_source"], result["map"]) == ("wsolevaluation", "test", "class")
    assert result["metrics"]["gt_known_loc"] == result["metrics"]["max_box_acc"]
    assert "chosen on the very images" in (tmp_path / "report.md").read_text()
    assert (trained / "preprocessor_config.json").read_text() == kept


def test_a_threshold_of_the_processors_view_is_saved_into_the_checkpoint(trained, tmp_path):
    checkpoint = shutil.copytree(trained, tmp_path / "checkpoint")
    (checkpoint / "preprocessor_config.json").write_text(
        (trained / "preprocessor_config.json").read_text().replace('"localization_threshold": ', '"was": ')
    )
    options = ["--dataset", "shapes", "--dataset_options", TINY[3], "--output_dir", tmp_path / "out"]
    finished = run("evaluate.py", "--model", checkpoint, *options, "--view", "whole")
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert f"Threshold saved into {checkpoint}" in finished.stdout
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())
    saved = json.loads((checkpoint / "preprocessor_config.json").read_text())
    assert (result["threshold_source"], result["saved_to_checkpoint"]) == ("validation", True)
    assert saved["localization_threshold"] == result["threshold"]


def test_a_baseline_trains_and_stands_beside_sat(trained, tmp_path):
    drop = TINY.index("--num_spatial_layers")
    tiny = TINY[:drop] + TINY[drop + 2 :]
    finished = run("train.py", *tiny, "--method", "cam", "--num_train_epochs", 1, "--output_dir", tmp_path / "cam")
    assert finished.returncode == 0, finished.stderr[-3000:]
    for model in (trained, tmp_path / "cam"):
        options = ["--dataset", "shapes", "--dataset_options", TINY[3], "--output_dir", tmp_path / f"of-{model.name}"]
        finished = run("evaluate.py", "--model", model, *options)
        assert finished.returncode == 0, finished.stderr[-3000:]
    runs = [tmp_path / f"of-{model.name}" for model in (trained, tmp_path / "cam")]
    finished = run("report.py", *runs, "--names", "SAT", "CAM", "--output_dir", tmp_path / "report")
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert "| map | localization | class |" in (tmp_path / "report" / "report.md").read_text()


def test_two_processes_evaluate_as_one(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    options = ["--dataset", "shapes", "--dataset_options", '{"num_train": 48, "num_validation": 15, "num_test": 13}']
    # `accelerate launch --cpu --num_processes 2` would start one.
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    results = []
    for name, launcher in (("one", [sys.executable]), ("two", two)):
        finished = run("evaluate.py", "--model", trained, *options, "--output_dir", tmp_path / name, launcher=launcher)
        assert finished.returncode == 0, finished.stderr[-3000:]
        results.append(json.loads((tmp_path / name / "metrics.json").read_text()))
    assert results[0] == results[1]
    assert results[0]["num_images"] == 13


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--dataset", "shape"], "There is no dataset 'shape'. Did you mean 'shapes'?"),
        (["--dataset", "shapes", "--area_target", "1.5"], "area_target is 1.5"),
        (["--dataset", "shapes", "--num_spatial_layers", "13"], "num_spatial_layers is 13"),
        (["--dataset", "shapes", "--model", "nowhere"], "Training cannot start from nowhere: there is no such folder"),
        (["--dataset", "shapes", "--model", "outputs/nowhere"], "Training cannot start from outputs/nowhere"),
        (["--dataset", "shapes", "--image_size", "64", "--resize_size", "32"], "Training images are resized to 32×32"),
        (["--dataset", "shapes", "--protocol", "wsol"], "Argument --protocol: invalid choice: 'wsol'"),
        (["--dataset", "shapes", "--method", "cam", "--area_target", "0.3"], "The method cam has no area_target"),
        (["--dataset", "folder", "--data_dir", "/nowhere"], "data_dir /nowhere does not exist"),
        (["--dataset", "shapes", "--output_dir", "/proc/run"], "Nothing can be written to output_dir /proc/run"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, sentence, tmp_path):
    small = ["--dataset_options", '{"num_train": 16, "num_validation": 8}'] if "shapes" in arguments else []
    finished = run("train.py", "--output_dir", tmp_path, *small, *arguments)
    assert finished.returncode == 1
    assert f"error: {sentence}" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_evaluating_on_other_classes_is_refused(trained, tmp_path):
    options = ["--dataset", "shapes", "--dataset_options", '{"num_classes": 3, "num_test": 6, "num_validation": 6}']
    finished = run("evaluate.py", "--model", trained, *options, "--output_dir", tmp_path)
    assert finished.returncode == 1
    assert "error: The checkpoint has 8 classes" in finished.stderr


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    options = ["--dataset", "shapes", "--dataset_options", TINY[3], "--output_dir", folder]
    finished = run("prepare_dataset.py", *options)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert "train 48, validation 16, test 16" in finished.stdout
    return folder


@pytest.mark.parametrize("options", [[], ["--dataset_options", '{"streaming": true}']])
def test_training_on_parquet_files(prepared, tmp_path, options):
    arguments = [*TINY[4:], "--dataset", prepared, "--max_steps", "3", "--output_dir", tmp_path, *options]
    finished = run("train.py", *arguments)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert (tmp_path / "model.safetensors").is_file()
    assert ("Streamed validation images are not used" in finished.stderr) == bool(options)


def test_a_stream_needs_an_end(prepared, tmp_path):
    options = ["--dataset_options", '{"streaming": true}', "--output_dir", tmp_path]
    finished = run("train.py", *TINY[4:], "--dataset", prepared, *options)
    assert finished.returncode == 1
    assert "error: With streaming the number of training images is not known; set max_steps" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_few_images_of_a_few_classes(tmp_path):
    few = ["--classes", "checks", "dots", "--images_per_class", "2", "--num_train_epochs", "1"]
    finished = run("train.py", *TINY, *few, "--output_dir", tmp_path / "run")
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert json.loads((tmp_path / "run/config.json").read_text())["id2label"] == {"0": "checks", "1": "dots"}
    assert json.loads((tmp_path / "run/trainer_state.json").read_text())["max_steps"] == 1
    options = ["--dataset", "shapes", "--dataset_options", TINY[3], "--output_dir", tmp_path / "evaluation"]
    evaluated = run("evaluate.py", "--model", tmp_path / "run", *options, "--classes", "checks", "dots")
    assert evaluated.returncode == 0, evaluated.stderr[-3000:]
    assert json.loads((tmp_path / "evaluation/metrics.json").read_text())["num_images"] == 4
