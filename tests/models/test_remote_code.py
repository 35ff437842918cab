"""A saved folder in a fresh process, outside the repository, where this package is not importable."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from model_mixin import images, model_of, tiny_model
from PIL import Image

from modeling_sat import SATImageProcessor
from modeling_sat.methods import METHODS


AUTO_CLASSES = ("AutoModel", "AutoModelForImageClassification", "AutoModelForObjectDetection")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("remote")
    model = tiny_model(id2label={index: f"class {index}" for index in range(5)})
    model.save_pretrained(folder / "checkpoint")
    processor = SATImageProcessor(size={"height": 32, "width": 32}, localization_threshold=0.55)
    processor.save_pretrained(folder / "checkpoint")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "image.png")
    return folder


@pytest.fixture(scope="module")
def seen(folder):
    script = Path(__file__).parents[1] / "remote_user.py"
    # -I: neither the working directory nor PYTHONPATH is searched. Its own cache, so that nothing is left from before.
    command = [sys.executable, "-I", str(script), "checkpoint", "image.png", "again"]
    environment = {**os.environ, "HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr[-4000:]
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def here(folder):
    """The same, computed with the package."""
    image = Image.open(folder / "image.png")
    inputs = SATImageProcessor.from_pretrained(folder / "checkpoint")(image, return_tensors="pt")
    with torch.no_grad():
        return tiny_model()(**inputs)


def test_the_package_stayed_out_of_sight(seen):
    assert seen["package"] is False


@pytest.mark.parametrize("look", ["first", "saved again"])
class TestLook:
    def test_config_and_processor(self, seen, look):
        assert seen[look]["config"] == "SATConfig"
        assert seen[look]["processor"] in ("SATImageProcessor", "SATImageProcessorPil")
        assert seen[look]["threshold"] == 0.55

    @pytest.mark.parametrize("auto_class", AUTO_CLASSES)
    def test_models(self, seen, look, auto_class, here):
        model = seen[look][auto_class]
        assert model["class"] == "SATForWeaklySupervisedLocalization"
        np.testing.assert_allclose(model["logits"], here.logits[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(model["map"], here.localization_map[0], rtol=1e-5, atol=1e-5)

    def test_pipelines_agree(self, seen, look, here):
        (found,) = seen[look]["weakly-supervised-object-localization"]
        assert seen[look]["by the model itself"] == [found]
        best = here.logits[0].argmax().item()
        assert found["label"] == f"class {best}"
        assert found["score"] == pytest.approx(here.logits[0].softmax(0)[best].item(), abs=1e-5)
        assert 0 <= found["box"]["xmin"] < found["box"]["xmax"] <= 60
        assert 0 <= found["box"]["ymin"] < found["box"]["ymax"] <= 40

        classes = seen[look]["image-classification"]
        assert classes[0]["label"] == found["label"]
        assert classes[0]["score"] == pytest.approx(found["score"], abs=1e-5)

        (detected,) = seen[look]["object-detection"]
        assert detected["label"] == found["label"]
        for corner, position in detected["box"].items():
            # The stock pipeline truncates to whole pixels, ours rounds.
            assert abs(position - found["box"][corner]) <= 1

    @pytest.mark.parametrize(
        "task", ["weakly-supervised-object-localization", "image-classification", "object-detection"]
    )
    def test_pipelines_do_not_say_not_supported(self, seen, look, task):
        assert not [message for message in seen[look][f"{task} says"] if "not supported" in message]


def test_saving_again_writes_the_whole_folder(seen, folder):
    files = sorted(path.name for path in (folder / "checkpoint").iterdir())
    assert seen["files"] == files
    assert seen["files of the model"] == [name for name in files if name != "preprocessor_config.json"]


def test_its_own_class_loads_without_asking_for_trust_again(seen):
    assert seen["by its own class"] == "SATForWeaklySupervisedLocalization"


OTHERS = [
    (method, backbone)
    for method in METHODS
    for backbone in ("vit", "dinov2_with_registers", "dinov3_vit", "vision_conformer")
][1:]


class TestOtherMethodsAndBackbones:
    """One process for all: whoever has several checkpoints loads them in one."""

    @pytest.fixture(scope="class")
    def seen(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("others")
        for method, backbone in OTHERS:
            model = model_of(method, backbone)
            model.save_pretrained(folder / f"{method}-{backbone}")
            size = model.config.image_size
            SATImageProcessor(size={"height": size, "width": size}).save_pretrained(folder / f"{method}-{backbone}")
        torch.save({size: images(2, size, size) for size in (32, 64)}, folder / "images.pt")
        script = Path(__file__).parents[1] / "remote_methods.py"
        command = [sys.executable, "-I", str(script), *(path.name for path in folder.iterdir() if path.is_dir())]
        environment = {**os.environ, "HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
        run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
        assert run.returncode == 0, run.stderr[-4000:]
        return json.loads(run.stdout.splitlines()[-1])

    @pytest.mark.parametrize(("method", "backbone"), OTHERS)
    def test_gives_the_same(self, seen, method, backbone):
        found = seen[f"{method}-{backbone}"]
        assert found["class"] == METHODS[method].model_class.__name__ and not found["package"]
        with torch.no_grad():
            model = model_of(method, backbone)
            expected = model(images(2, model.config.image_size, model.config.image_size))
        np.testing.assert_allclose(found["map"], expected.localization_map, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(found["logits"], expected.logits, rtol=1e-4, atol=1e-5)
        assert {"label", "score", "box"} <= set(found["pipeline"][0])
