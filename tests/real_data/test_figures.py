"""The figures of the README on real data: minutes of training each, run by `make test-slow`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


def run(script: str, *arguments) -> str:
    command = [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)]
    print("\n$", " ".join([script, *map(str, arguments)]))
    finished = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert finished.returncode == 0, finished.stderr[-3000:]
    print(finished.stdout)
    return finished.stdout


def train_and_evaluate(folder: Path, config: str, dataset: str, data_dir: Path, *overrides) -> dict:
    run("train.py", "--config", ROOT / "scripts/configs" / config, "--data_dir", data_dir, "--output_dir", folder / "run",
        "--report_to", "none", "--disable_tqdm", "true", *overrides)  # fmt: skip
    return evaluate(folder / "run", dataset, data_dir, folder)


def evaluate(model: Path, dataset: str, data_dir: Path, folder: Path, *options) -> dict:
    run(
        "evaluate.py", "--model", model, "--dataset", dataset, "--data_dir", data_dir, "--output_dir", folder, *options
    )
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def deit_tiny(real_data, tmp_path_factory):
    def convert(classifier: str) -> Path:
        folder = tmp_path_factory.mktemp(classifier)
        checkpoint = real_data / "deit_tiny_patch16_224_imagenet1k.safetensors"
        run("convert_checkpoint.py", "--checkpoint", checkpoint, "--source", "timm", "--output_dir", folder,
            "--classifier", classifier)  # fmt: skip
        return folder

    return convert


def test_tiny_imagenet(real_data, deit_tiny, tmp_path):
    result = train_and_evaluate(
        tmp_path, "tiny_imagenet/deit_tiny.yaml", "tiny_imagenet", real_data / "tiny-imagenet-200",
        "--model", deit_tiny("patch_tokens"),
    )  # fmt: skip
    assert result["threshold_source"] == "validation"
    assert result["metrics"]["gt_known_loc"] >= 0.66 > result["constant_box_baselines"]["center"]
    whole = evaluate(
        tmp_path / "run", "tiny_imagenet", real_data / "tiny-imagenet-200", tmp_path / "whole", "--view", "whole"
    )
    assert whole["metrics"]["gt_known_loc"] > whole["constant_box_baselines"]["center"]


def test_caltech101_beside_cam(real_data, deit_tiny, tmp_path):
    start = deit_tiny("patch_tokens")
    results = {
        method: train_and_evaluate(
            tmp_path / method, "caltech101/deit_tiny.yaml", "caltech101", real_data / "caltech-101",
            "--model", start, "--method", method,
        )
        for method in ("sat", "cam")
    }  # fmt: skip
    run("report.py", tmp_path / "sat", tmp_path / "cam", "--output_dir", tmp_path / "report")
    print((tmp_path / "report" / "report.md").read_text())
    for metric in ("pxap", "piou"):
        constants = [scores[metric] for scores in results["sat"]["constant_map_baselines"].values()]
        assert results["sat"]["metrics"][metric] > max(*constants, results["cam"]["metrics"][metric])


def test_imagenet_one_per_class_with_its_own_classifier(imagenet_one_per_class, deit_tiny, tmp_path):
    result = train_and_evaluate(
        tmp_path, "imagenet/deit_tiny_class_token.yaml", "folder", imagenet_one_per_class,
        "--model", deit_tiny("class_token"),
    )  # fmt: skip
    assert result["num_images"] == 200
    assert result["metrics"]["gt_known_loc"] >= 0.72
    assert result["metrics"]["top1_cls"] >= 0.75


def test_imagenet_one_per_class_with_the_papers_head(imagenet_one_per_class, deit_tiny, tmp_path):
    result = train_and_evaluate(
        tmp_path, "imagenet/deit_tiny_one_per_class.yaml", "folder", imagenet_one_per_class,
        "--model", deit_tiny("patch_tokens"),
    )  # fmt: skip
    assert result["metrics"]["gt_known_loc"] > result["constant_box_baselines"]["center"]


def test_fruit(real_data, deit_tiny, tmp_path):
    result = train_and_evaluate(
        tmp_path, "folder/deit_tiny.yaml", "folder", real_data / "fruit", "--model", deit_tiny("patch_tokens")
    )
    assert result["metrics"]["gt_known_loc"] > result["constant_box_baselines"]["center"]
