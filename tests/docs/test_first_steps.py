"""What a stranger does first: the README's snippet and its commands to boxes, copied character by character."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_cache import keep_in_cache
from model_mixin import tiny_model
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification

from modeling_sat import SATImageProcessor


ROOT = Path(__file__).parents[2]
BASE = "facebook/deit-tiny-patch16-224"
"""What the commands fetch; here it has been fetched before, and is small."""


README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands() -> list[str]:
    section = README.split("## Your folder to boxes")[1].split("\n## ")[0]
    return re.search(r"```bash\n(.*?)```", section, re.DOTALL)[1].replace("\\\n", " ").splitlines()


@pytest.fixture
def clone(tmp_path) -> Path:
    folder = tmp_path / "modeling_sat"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    random = np.random.default_rng(0)
    for name, colour in {"apple": (200, 40, 30), "banana": (220, 200, 40)}.items():
        (folder / "photographs" / name).mkdir(parents=True)
        for number in range(6):
            pixels = random.integers(0, 60, (90, 120, 3), dtype=np.uint8)
            pixels[20:70, 30:90] = colour
            Image.fromarray(pixels).save(folder / "photographs" / name / f"{number}.jpg")
    return folder


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """Variables for a user who has nothing but an earlier download."""
    config = ViTConfig(hidden_size=24, intermediate_size=48, num_hidden_layers=3, num_attention_heads=2, num_labels=5)
    keep_in_cache(tmp_path / "home", BASE, ViTForImageClassification(config))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "VIRTUAL_ENV", "PYTHON"))}
    return {**kept, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}


def follow(lines: list[str], clone: Path, environment: dict[str, str]) -> None:
    finished = subprocess.run(
        ["bash", "-e", "-c", "\n".join(lines)], cwd=clone, env=environment, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr[-3000:]
    boxes = clone / "outputs" / "boxes"
    coco = json.loads((boxes / "annotations.json").read_text())
    assert {category["name"] for category in coco["categories"]} == {"apple", "banana"}
    assert len(coco["images"]) == len(coco["annotations"]) == 12
    assert len(list((boxes / "overlays").rglob("*.jpg"))) == 12
    assert (boxes / "review.html").is_file()


def test_snippet(tmp_path, environment):
    """On a checkpoint where `make quickstart` leaves it."""
    before = README.split("```python")[0]
    model = "outputs/quickstart/model"
    assert "\nmake quickstart" in before and model in before
    tiny_model(num_labels=8).save_pretrained(tmp_path / model)
    SATImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / model)
    snippet = re.search(r"```python\n(.*?)```", README, re.DOTALL)[1]
    assert len(snippet.splitlines()) <= 10
    finished = subprocess.run(
        [sys.executable, "-c", snippet],
        cwd=tmp_path, env={**environment, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert "'xmin'" in finished.stdout
    assert Image.open(tmp_path / "mask.png").size == (64, 64)


def test_they_are_few_and_the_first_installs():
    assert len(commands()) <= 5
    assert commands()[0].startswith("make install && source .venv/bin/activate")


def test_photographs_to_boxes(clone, environment):
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    follow(commands()[1:], clone, {**environment, "PYTHONPATH": str(clone)})
    processor = json.loads((clone / "outputs" / "folder-deit_tiny" / "preprocessor_config.json").read_text())
    assert processor["image_mean"] == [0.485, 0.456, 0.406]  # although the repository on the Hub says 0.5


@pytest.mark.slow
def test_photographs_to_boxes_from_nothing(clone, environment):
    follow(commands(), clone, environment)
