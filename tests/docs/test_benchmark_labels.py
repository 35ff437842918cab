"""The comparison of labelling speeds that the README prints; pytorch-grad-cam itself is not installed for tests."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from model_mixin import tiny_model
from PIL import Image

from modeling_sat import SATImageProcessor


SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark_labels.py"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the script on three small images with a tiny model."""
    tiny_model(classifier="class_token").save_pretrained(tmp_path / "model")
    SATImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "model")
    (tmp_path / "images").mkdir()
    for number in range(3):
        Image.new("RGB", (50, 40), (80 * number, 0, 0)).save(tmp_path / "images" / f"{number}.jpg")

    def run(*options: str, images: str = "images") -> None:
        paths = ["--model", str(tmp_path / "model"), "--images", str(tmp_path / images), "--rounds", "2"]
        monkeypatch.setattr(sys, "argv", ["benchmark_labels.py", *paths, *options])
        runpy.run_path(str(SCRIPT), run_name="__main__")

    return run


def test_prints_images_per_second(run, capsys):
    run("--num_images", "2")
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("2 images, ")
    assert [line.split("images/s")[1].split("/")[-1] for line in printed[1:]] == ["model", "model, bf16"]


def test_says_what_is_wrong(run, monkeypatch):
    with pytest.raises(SystemExit, match=r"error: .*elsewhere does not exist"):
        run(images="elsewhere")
    monkeypatch.setitem(sys.modules, "pytorch_grad_cam", None)
    with pytest.raises(SystemExit, match=r"error: --grad_cam needs pytorch-grad-cam.*pip install grad-cam"):
        run("--grad_cam")


def test_box_of_the_peer():
    largest_box = runpy.run_path(str(SCRIPT))["largest_box"]
    class_map = np.zeros((10, 10), np.float32)
    class_map[1, 1] = 1
    class_map[2:5, 4:8] = 0.7
    assert largest_box(class_map, (100, 50)) == [40, 10, 80, 25]
    assert largest_box(np.zeros((10, 10), np.float32), (100, 50)) == [0, 0, 100, 50]
