"""Published here; loaded and run in fresh processes, first from the Hub on loopback, then without it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hub_server import HubServer
from model_mixin import tiny_model
from PIL import Image

from modeling_sat import SATImageProcessor
from modeling_sat.data.preparation import PreparationSettings, prepare_dataset
from modeling_sat.publishing import publish_checkpoint
from modeling_sat.publishing.dataset import publish_dataset


HERE = Path(__file__).parent
PUBLIC, PRIVATE, BRANCH, DATA = (
    "someone/sat-tiny",
    "someone/sat-private",
    "someone/sat-branch@v2",
    "someone/shapes-tiny",
)


def run(folder: Path, hub: HubServer, *command, token: str | None = "hf_write", offline: bool = False):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {
        "HF_HOME": str(folder / "cache"), "HF_ENDPOINT": hub.endpoint, "HF_HUB_OFFLINE": str(int(offline)),
        "HF_HUB_DISABLE_XET": "1", "OMP_NUM_THREADS": "1", **({"HF_TOKEN": token} if token else {}),
    }  # fmt: skip
    command = [sys.executable, *map(str, command)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("user")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "image.png")
    return folder / "image.png"


def test_whoever_loads_it_gets_what_was_published(hub, shared_checkpoint, image):
    """Bit for bit: without this package, by id, private, from a branch, and once more from the cache alone."""
    publish_checkpoint(shared_checkpoint, PUBLIC)
    publish_checkpoint(shared_checkpoint, PRIVATE, private=True)
    publish_checkpoint(shared_checkpoint, "someone/sat-branch", revision="v2")
    command = ["-I", HERE / "hub_user.py", image, shared_checkpoint, PUBLIC, PRIVATE, BRANCH]
    online = run(image.parent, hub, *command)
    assert online.returncode == 0, online.stderr[-3000:]
    seen = json.loads(online.stdout.splitlines()[-1])
    local = seen[str(shared_checkpoint)]
    assert local["threshold"] == 0.55 and local["things"][0]["label"].startswith("class ")
    for name in (PUBLIC, PRIVATE, BRANCH):
        assert seen[name] == local, name

    sent = len(hub.requests)
    offline = run(image.parent, hub, *command, offline=True)
    assert offline.returncode == 0, offline.stderr[-3000:]
    assert json.loads(offline.stdout.splitlines()[-1]) == seen
    assert len(hub.requests) == sent


def test_a_private_one_needs_the_token(hub, shared_checkpoint, image, tmp_path):
    publish_checkpoint(shared_checkpoint, PRIVATE, private=True)
    (tmp_path / "empty").mkdir()
    for token in (None, "hf_other"):
        finished = run(tmp_path / "empty", hub, "-c", DOWNLOAD, PRIVATE, token=token)
        assert finished.stdout.strip() == "RepositoryNotFoundError", finished.stderr[-2000:]
    assert run(tmp_path / "empty", hub, "-c", DOWNLOAD, PRIVATE).stdout.strip() == "downloaded"


DOWNLOAD = """
import sys
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError
try:
    hf_hub_download(sys.argv[1], "model.safetensors")
    print("downloaded")
except HfHubHTTPError as error:
    print(type(error).__name__)
"""

SCRIPTS = """
import runpy, sys
from modeling_sat.data import load_wsol_dataset

scripts, model, data, image = sys.argv[1:]
for split in ("train", "test"):
    rows = load_wsol_dataset(data, split=split)
    print("rows", split, len(rows), rows[0]["boxes"], sum(rows[0]["image"].resize((1, 1)).getpixel((0, 0))))
for script, options in {
    "predict": ["--images", image, "--output_dir", "boxes"],
    "evaluate": ["--dataset", data, "--output_dir", "evaluation", "--threshold", "0.5"],
}.items():
    sys.argv = [script, "--model", model, *options]
    runpy.run_path(f"{scripts}/{script}.py", run_name="__main__")
"""


def test_scripts_and_readers_take_ids(hub, tmp_path, image):
    options = {"num_train": 16, "num_validation": 8, "num_test": 8}
    tables = prepare_dataset(PreparationSettings("shapes", str(tmp_path / "shapes"), dataset_options=options))
    assert publish_dataset(tmp_path / "shapes", DATA, private=True) == f"{hub.endpoint}/datasets/{DATA}"
    assert hub.repositories["dataset", DATA].private
    assert len([name for name in hub.files(DATA, kind="dataset") if name.endswith(".parquet")]) == len(tables)
    assert "preparation.json" not in hub.files(DATA, kind="dataset")

    names = tables["train"].features["label"].names
    tiny_model(num_labels=len(names), id2label=dict(enumerate(names))).save_pretrained(tmp_path / "model")
    SATImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "model")
    publish_checkpoint(tmp_path / "model", PUBLIC)

    (tmp_path / "user").mkdir()
    scripts = HERE.parents[1] / "scripts"
    finished = run(tmp_path / "user", hub, "-c", SCRIPTS, scripts, PUBLIC, DATA, image)
    assert finished.returncode == 0, (finished.stdout + finished.stderr)[-3000:]
    for split in ("train", "test"):
        row = tables[split][0]
        grey = sum(row["image"].resize((1, 1)).getpixel((0, 0)))
        assert f"rows {split} {len(tables[split])} {row['boxes']} {grey}" in finished.stdout
    lines = (tmp_path / "user" / "boxes" / "predictions.jsonl").read_text().splitlines()
    assert len(lines) == 1 and json.loads(lines[0])
    result = json.loads((tmp_path / "user" / "evaluation" / "metrics.json").read_text())
    assert result["model"] == PUBLIC and result["num_images"] == 8
