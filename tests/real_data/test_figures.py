"""The results of docs/evaluation.md, each row by the commands that stand there: minutes each, by `make test-slow`."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hub_cache import keep_in_cache
from transformers import ViTConfig, ViTForImageClassification

from modeling_sat.checkpoints import convert_checkpoint


pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
DOCUMENT = "docs/evaluation.md"
RESULTS = (ROOT / DOCUMENT).read_text(encoding="utf-8").split("## Results\n")[1].split("\n## ")[0]


def commands(row: int) -> str:
    blocks = "\n".join(re.findall(r"```bash\n(.*?)```", RESULTS, re.DOTALL))
    return re.split(r"^# \d+.*\n", blocks, flags=re.MULTILINE)[row]


def printed(row: int) -> list[float]:
    """The numbers of a row of the tables, in percent."""
    line = re.search(rf"^\| {row} \|.*$", RESULTS, re.MULTILINE)[0]
    return [float(number) for number in re.findall(r"\| \**(\d+\.\d)\** (?=\|)", line)]


@pytest.fixture(scope="module")
def place(real_data, tmp_path_factory) -> Path:
    """A fresh clone with the data beside its scripts, and Meta's DeiT-Tiny as an earlier download left it."""
    folder = tmp_path_factory.mktemp("clone") / "modeling_sat"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    for data in real_data.iterdir():
        (folder / data.name).symlink_to(data)
    weights = real_data / "deit_tiny_patch16_224_imagenet1k.safetensors"
    converted = convert_checkpoint(str(weights), "timm", classifier="class_token").model
    words = (real_data / "imagenet-one-per-class" / "synset_words.txt").read_text().splitlines()
    names = dict(enumerate(line.split(" ", 1)[1] for line in words))
    model = ViTForImageClassification(
        ViTConfig(hidden_size=192, intermediate_size=768, num_attention_heads=3, id2label=names, layer_norm_eps=1e-12)
    )
    model.load_state_dict({name: value for name, value in converted.state_dict().items() if "spatial" not in name})
    keep_in_cache(folder / "home", "facebook/deit-tiny-patch16-224", model)
    return folder


def results(place: Path, row: int) -> list[dict]:
    environment = {
        **os.environ, "HF_HOME": str(place / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(place),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    subprocess.run(["bash", "-e", "-c", commands(row)], cwd=place, env=environment, check=True)
    found = [json.loads(file.read_text()) for file in sorted(place.glob(f"outputs/results/{row}*/metrics.json"))]
    print(f"\n{DOCUMENT}, row {row}: {printed(row)}")
    for result in found:
        print({name: round(100 * value, 1) for name, value in result["metrics"].items()})
    return found


@pytest.mark.parametrize("row", [1, 2, 3, 4, 5])
def test_boxes(place, row):
    found = results(place, row)
    measured = [
        100 * sum(result[part][name] for result in found) / len(found)
        for part, name in (
            ("metrics", "gt_known_loc"), ("metrics", "top1_cls"),
            ("constant_box_baselines", "whole_image"), ("constant_box_baselines", "center"),
        )
    ]  # fmt: skip
    assert measured == pytest.approx(printed(row), abs=3)  # another machine rounds otherwise
    assert measured[0] > measured[3]


@pytest.mark.parametrize("row", [6, 7])
def test_masks(place, row):
    (found,) = results(place, row)
    measured = [100 * found["metrics"][name] for name in ("pxap", "piou", "gt_known_loc", "top1_cls")]
    assert measured == pytest.approx(printed(row), abs=3)
