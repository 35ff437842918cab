import json
import shutil
from pathlib import Path

import pytest
from hub_server import NOT_PUBLISHED, HubServer
from huggingface_hub import constants
from model_mixin import tiny_model
from PIL import Image

from modeling_sat import SATImageProcessor


@pytest.fixture(scope="session")
def shared_checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("published") / "sat-tiny"
    tiny_model(id2label={index: f"class {index}" for index in range(5)}).save_pretrained(folder)
    SATImageProcessor(size={"height": 32, "width": 32}, localization_threshold=0.55).save_pretrained(folder)
    for name in NOT_PUBLISHED:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("{}" if path.suffix == ".json" else "not for others")
    return folder


@pytest.fixture
def checkpoint(shared_checkpoint, tmp_path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(shared_checkpoint, tmp_path / "sat-tiny"))


@pytest.fixture
def hub(monkeypatch):
    """A Hub on loopback that this process speaks to, as the user `someone` with a token that may write."""
    with HubServer() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        template = f"{server.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr("transformers.utils.hub._hf_api", None)  # which keeps its first endpoint
        monkeypatch.setenv("HF_TOKEN", "hf_write")
        yield server


@pytest.fixture
def evaluation(shared_checkpoint, tmp_path) -> Path:
    """What scripts/evaluate.py leaves of the shared checkpoint."""
    folder = tmp_path / "evaluation"
    folder.mkdir()
    result = {
        "model": str(shared_checkpoint), "protocol": "sat", "dataset": "shapes", "split": "test", "num_images": 500,
        "view": {"resize": [73, 73], "crop": [64, 64]}, "map": "localization", "ten_crop": False, "quality": "fast",
        "threshold": 0.3, "threshold_source": "validation",
        "constant_box_baselines": {"whole_image": 0.232, "center": 0.548},
        "constant_map_baselines": {"uniform": {"pxap": 0.304, "piou": 0.305}, "gaussian": {"pxap": 0.627}},
        "metrics": {"gt_known_loc": 0.9612, "top1_cls": 0.98, "max_box_acc": 0.97, "pxap": 0.9172},
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(result))
    Image.new("RGB", (2400, 1000), "green").save(folder / "predictions.png")
    return folder
