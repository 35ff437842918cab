import json
import time
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import pytest
from hub_server import HubServer
from huggingface_hub.utils import close_session
from model_mixin import tiny_model
from PIL import Image

from modeling_sat import SATImageProcessor
from modeling_sat.evaluation.report import METRICS_FILE, PREDICTIONS_FILE
from modeling_sat.publishing import push


TOKEN = "hf_ours"


@pytest.fixture(scope="session")
def server():
    with HubServer({TOKEN: "someone", "hf_theirs": "stranger"}).running() as server:
        yield server


@pytest.fixture
def hub(server, monkeypatch, tmp_path):
    """An empty Hub on loopback, which huggingface_hub in this process and its children talks to as `someone`."""
    server.reset()
    for name, value in variables(server, tmp_path / "home").items():
        monkeypatch.setenv(name, value)
    for module, name, value in (
        (huggingface_hub.constants, "ENDPOINT", server.url),
        (huggingface_hub.constants, "HF_HUB_OFFLINE", False),
        (huggingface_hub.constants, "HF_HUB_DISABLE_XET", True),
        (huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "home" / "hub")),
        (huggingface_hub.constants, "HF_TOKEN_PATH", str(tmp_path / "home" / "token")),
        (push, "FIRST_WAIT", 0.01),
    ):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", server.url)
    waits = SimpleNamespace(sleep=lambda seconds: None, time=time.time)  # between the client's own attempts
    monkeypatch.setattr("huggingface_hub.utils._http.time", waits)
    close_session()
    yield server
    close_session()


def variables(server: HubServer, home: Path) -> dict[str, str]:
    """The environment of a user of the loopback Hub."""
    return {
        "HF_ENDPOINT": server.url, "HF_HOME": str(home), "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
    }  # fmt: skip


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    """As a training leaves it, what is nobody else's business included."""
    folder = tmp_path_factory.mktemp("runs") / "sat-tiny"
    tiny_model(id2label={index: f"class {index}" for index in range(5)}).save_pretrained(folder)
    SATImageProcessor(size={"height": 32, "width": 32}, localization_threshold=0.55).save_pretrained(folder)
    (folder / "checkpoint-4").mkdir()
    for name in ("checkpoint-4/optimizer.pt", "training_args.bin", "optimizer.pt", "notes.txt"):
        (folder / name).write_bytes(b"private")
    settings = {"model": None, "dataset": "shapes", "training images": 1234, "learning_rate": 5e-4, "seed": 6}
    session = {"hardware": "2 CPU cores", "seconds": 600.0, "from_step": 0, "versions": {"torch": "2.13.0"}, "hub": {}}
    (folder / "run.json").write_text(json.dumps({"settings": settings, "session": session}))
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 40, "epoch": 2.0, "log_history": []}))
    (folder / "maps").mkdir()
    Image.new("RGB", (40, 20), "red").save(folder / "maps" / "step-000040.jpg")
    return folder


@pytest.fixture(scope="session")
def evaluation(checkpoint, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    result = {
        "model": str(checkpoint), "protocol": "sat", "dataset": "shapes", "split": "test", "num_images": 500,
        "view": {"resize": [40, 40], "crop": [32, 32]}, "map": "localization", "ten_crop": False, "threshold": 0.3,
        "threshold_source": "validation", "metrics": {"gt_known_loc": 0.9123, "top1_cls": 0.25, "pxap": 0.5},
        "constant_box_baselines": {"whole_image": 0.2, "center": 0.548},
        "constant_map_baselines": {"uniform": {"pxap": 0.304}, "gaussian": {"pxap": 0.627, "sigma": 0.25}},
    }  # fmt: skip
    (folder / METRICS_FILE).write_text(json.dumps(result))
    Image.new("RGB", (3000, 1500), "green").save(folder / PREDICTIONS_FILE)
    return folder
