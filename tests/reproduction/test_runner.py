"""Runs by two stand-ins for train.py and evaluate.py that take no time; then the script itself."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from datasets import Dataset
from PIL import Image
from transformers import HfArgumentParser

import modeling_sat.reproduction as package
from modeling_sat.data import DatasetError
from modeling_sat.reproduction import ReproductionOptions
from modeling_sat.reproduction.recipes import Recipe, make_run
from modeling_sat.reproduction.runner import Runner, commands, read_outcome
from modeling_sat.reproduction.studies import STUDIES, Row
from modeling_sat.training.arguments import ConfigurationError


ROOT = Path(__file__).parents[2]
TRAIN = """
import json, os, pathlib, sys, time, yaml
fields = yaml.safe_load(open(sys.argv[2]))
time.sleep(fields.get("logging_steps", 0))
if fields.get("area_target") == 0.9:
    print("loading\\nerror: Nothing can be learnt from this.\\n")
    sys.exit(1)
out = pathlib.Path(fields["output_dir"])
(out / "checkpoint-3").mkdir(parents=True)
(out / "trainer_state.json").write_text("{}")
(out / "run.json").write_text(json.dumps({"frozen_rate": 0.25}))
print("trained with", os.environ.get("OMP_NUM_THREADS"))
"""
EVALUATE = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[sys.argv.index("--output_dir") + 1])
out.mkdir()
metrics = {"gt_known_loc": 0.5, "box_acc_30": 0.6, "box_acc_50": 0.5, "box_acc_70": 0.1}
constants = {"whole_image": 0.2, "center": 0.4}
(out / "metrics.json").write_text(json.dumps(
    {"metrics": metrics, "threshold": 0.4, "constant_box_baselines": constants, "median_iou_of_correct": 0.7}))
"""


@pytest.fixture
def scripts(tmp_path) -> Path:
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts/train.py").write_text(TRAIN)
    (tmp_path / "scripts/evaluate.py").write_text(EVALUATE)
    return tmp_path / "scripts"


def runs(folder: Path, **fields) -> list:
    recipe = Recipe("laptop", Path("laptop.yaml"), {"validation_fraction": 0.2, **fields}, {})
    made = [make_run(recipe, [Row("", {"area_target": area})], 0, "shapes", folder) for area in (0.3, 0.9, 0.5)]
    for run in made:
        run.write_config()
    return made


def test_runs_happen_once_and_one_that_fails_stops_no_other(scripts, tmp_path):
    made, said = runs(tmp_path / "runs"), []
    failed = Runner(scripts, jobs=2).run(made, said.append)
    assert failed == {made[1].folder: "Nothing can be learnt from this."}
    assert sum("starts" in line for line in said) == 3
    assert any(line.startswith("[3/3] ") for line in said)
    assert any(
        re.search(r"area_target-0\.9-\w{8}/seed-0 failed: Nothing can be learnt from this\.", line) for line in said
    )
    for run in (made[0], made[2]):
        assert not list((run.folder / "model").glob("checkpoint-*"))
        assert "trained with 1" in (run.folder / "log.txt").read_text()
        assert commands(run, scripts) == []
    again = []
    Runner(scripts, jobs=2).run(made, again.append)
    assert again[0] == "2 of 3 runs are there already."
    assert sum("starts" in line for line in again) == 1


def test_a_trained_run_is_only_evaluated(scripts, tmp_path):
    run = runs(tmp_path / "runs")[0]
    assert [Path(command[1]).name for command in commands(run, scripts)] == ["train.py", "evaluate.py"]
    (run.folder / "model").mkdir()
    (run.folder / "model/trainer_state.json").write_text("{}")
    assert [Path(command[1]).name for command in commands(run, scripts)] == ["evaluate.py"]


def test_evaluation_gets_the_same_images_as_training(tmp_path, scripts):
    fields = {"bf16": True, "dataset_options": {"num_train": 8}, "classes": ["a", "b"], "data_dir": "x"}
    recipe = Recipe("laptop", Path("laptop.yaml"), {"validation_fraction": 0.2, **fields}, {})
    run = make_run(recipe, [], 7, "shapes", tmp_path, shared={"protocol": "wsolevaluation"})
    evaluate = " ".join(commands(run, scripts, ["--ten_crop"])[1])
    for option in (
        "--dataset shapes", "--data_dir x", '--dataset_options {"num_train": 8}', "--classes a b", "--data_seed 7",
        "--validation_fraction 0.2", "--mixed_precision bf16", "--protocol wsolevaluation", "--ten_crop",
    ):  # fmt: skip
        assert option in evaluate


def test_what_a_run_measured(scripts, tmp_path):
    run = runs(tmp_path / "runs")[0]
    Runner(scripts, jobs=1).run([run], lambda line: None)
    outcome = read_outcome(run)
    assert outcome.metrics["box_acc_mean"] == pytest.approx(0.4)
    assert outcome.metrics["median_iou_of_correct"] == 0.7
    assert outcome.metrics["frozen_rate"] == 0.25
    assert outcome.constants["center"] == {"gt_known_loc": 0.4}


def test_lines_of_runs_at_once_stay_whole(scripts, tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr("sys.stdout", SimpleNamespace(write=written.append, flush=lambda: None))
    Runner(scripts, jobs=2).run(runs(tmp_path / "runs"))
    pieces = [piece for piece in written if piece]
    assert len(pieces) >= 4 and all(piece.endswith("\n") and piece.strip() for piece in pieces)


STOP = """
import sys
from pathlib import Path
from types import SimpleNamespace
sys.path.insert(0, sys.argv[1])
from test_runner import runs
from modeling_sat.reproduction.runner import Runner, Stopped
folder = Path(sys.argv[2])
try:
    Runner(folder / "scripts", jobs=2).run(runs(folder / "runs", logging_steps=30))
except Stopped:
    sys.exit(7)
"""


def test_a_signal_ends_the_children(scripts, tmp_path):
    command = [sys.executable, "-u", "-c", STOP, str(Path(__file__).parent), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as parent:
        for _ in range(2):
            assert "starts" in parent.stdout.readline()
        time.sleep(0.5)
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(timeout=60) == 7
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    assert str(tmp_path / "runs") not in listed


TINY = {
    "dataset_options": {"num_train": 48, "num_validation": 16, "num_test": 16},
    "image_size": 64, "patch_size": 16, "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_spatial_layers": 1, "per_device_train_batch_size": 8, "report_to": "none",
    "num_train_epochs": 1, "eval_strategy": "no", "validation_fraction": 0.0,
}  # fmt: skip


def reproduce(*arguments) -> subprocess.CompletedProcess:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, ROOT / "scripts/reproduce.py", *arguments]
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment, cwd=ROOT)


def test_table2_from_one_command(tmp_path):
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY))
    options = ["--dataset", "shapes", "--config", tmp_path / "tiny.yaml", "--seeds", 0, "--output_dir", tmp_path]
    finished = reproduce("table2", *options, "--rows", "a", "d", "--learning_rate", "1.0e-3")
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert "| (a) L_cls | 1 |" in finished.stdout and "*constant: best centred box*" in finished.stdout
    assert "one seed, not judged: (d) + F above (a) L_cls" in finished.stdout
    written = tmp_path / "table2-shapes"
    assert {path.name for path in written.iterdir()} == {"table.md", "results.json", "figure.png"}
    content = json.loads((written / "results.json").read_text())
    assert [(cell["row"], cell["seed"]) for cell in content["cells"]] == [("(a) L_cls", 0), ("(d) + F", 0)]
    (run,) = tmp_path.glob("runs/shapes-tiny/learning_rate-0.001-????????/seed-0")
    assert (run / "model/model.safetensors").is_file() and not list((run / "model").glob("checkpoint-*"))
    before = (run / "log.txt").stat().st_mtime_ns

    again = reproduce("table2", *options, "--rows", "a", "d", "--learning_rate", "1.0e-3")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "starts" not in again.stdout and "2 of 2 runs are there already." in again.stdout
    for study in ("fig5", "fig6", "fig7", "table4"):  # of the same run
        result = call(study, *options, "--rows", "SAT", "--learning_rate", "1.0e-3")
        assert "| SAT, tiny | 1 |" in result.table and not result.failed
        assert (result.folder / "figure.png").stat().st_size > 5000
    assert (run / "log.txt").stat().st_mtime_ns == before


def call(*arguments):
    """The script without its process."""
    name, *rest = map(str, arguments)
    options, fields = HfArgumentParser(ReproductionOptions, allow_abbrev=False).parse_args_into_dataclasses(
        rest, return_remaining_strings=True, look_for_args_file=False
    )
    return package.reproduce(name, options, fields, ROOT / "scripts")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["table2", "--dataset", "org/name"], "There is no recipe on org/name; .* has none"),
        (["table2", "--dataset", "shapes", "--aera_target", "0.3"], r"Did you mean 'area_target'\?"),
        (["table2", "--dataset", "shapes", "--rows", "f"], r"no row 'f'; there are \(a\) L_cls"),
        (["table2", "--dataset", "shapes", "--jobs", "0"], "jobs is 0"),
        (["table8", "--dataset", "shapes", "--images_per_class", "5"], "compares values of images_per_class"),
        (["table2", "--dataset", "shapes", "--data_seed", "5"], "give them by --seeds"),
        (["table2", "--dataset", "shapes", "--dataset_options", "[1]"], "is not a mapping|has a list"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, sentence, tmp_path):
    with pytest.raises((ConfigurationError, DatasetError), match=sentence):
        call(*arguments, "--output_dir", tmp_path)


def test_masks_are_asked_for_before_anything_runs(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    for split in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / "photographs" / split / name).mkdir(parents=True)
            Image.fromarray(pixels).save(tmp_path / "photographs" / split / name / "1.png")
            pixels = pixels[::-1] // 2
    (tmp_path / "tiny.yaml").write_text("model: null\n")
    folder = ["--dataset", "folder", "--data_dir", tmp_path / "photographs", "--config", tmp_path / "tiny.yaml"]
    for study, what in {"table4": "masks", "fig6": "masks", "fig5": "boxes", "fig7": "boxes", "fig8": "boxes"}.items():
        with pytest.raises(
            ConfigurationError, match=f"{study} is about {what}, and the test images of folder have none"
        ):
            call(study, *folder, "--output_dir", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("study", [name for name in STUDIES if name not in ("table4", "fig6")])
def test_boxes_are_asked_for_before_anything_runs(study, tmp_path, monkeypatch):
    masks_alone = Dataset.from_dict({"boxes": [[], []], "mask": [1, 1]})
    monkeypatch.setattr("modeling_sat.data.loading.load_wsol_dataset", lambda *args, **options: masks_alone)
    with pytest.raises(
        ConfigurationError, match=f"{study} is about boxes, .* have none, masks alone; it shows .*table4"
    ):
        call(study, "--dataset", "shapes", "--output_dir", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_dry_run_prints_commands_that_work(tmp_path, capsys):
    assert call("table2", "--dataset", "shapes", "--seeds", 0, "--output_dir", tmp_path, "--dry_run") is None
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 8
    (config,) = tmp_path.glob("runs/shapes-laptop/normalization_loss_weight-0.0-????????/seed-0/config.yaml")
    assert f"train.py --config {config}" in printed[2]
    assert yaml.safe_load(config.read_text())["normalization_loss_weight"] == 0.0


def test_the_script_says_errors_in_a_sentence(tmp_path):
    finished = reproduce("table2", "--dataset", "shapes", "--config", "nowhere.yaml", "--output_dir", tmp_path)
    assert finished.returncode == 1
    assert "error: There is no configuration file" in finished.stderr
    assert "Traceback" not in finished.stderr
