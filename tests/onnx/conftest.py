import contextlib
import io
import runpy
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from model_mixin import tiny_model
from PIL import Image

from modeling_sat import SATImageProcessor


SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="session")
def run_script():
    """Runs a script in this process, where torch and transformers are imported already; returns what it prints."""

    def run(name: str, *arguments) -> str:
        with (
            mock.patch.object(sys, "argv", [name, *map(str, arguments)]),
            contextlib.redirect_stdout(io.StringIO()) as printed,
        ):
            runpy.run_path(str(SCRIPTS / name), run_name="__main__")
        return printed.getvalue()

    return run


@pytest.fixture(scope="session")
def model():
    return tiny_model(num_hidden_layers=2, image_size=(32, 48), patch_size=(8, 16))


@pytest.fixture(scope="session")
def processor():
    return SATImageProcessor(size={"height": 32, "width": 48}, localization_threshold=0.55)


@pytest.fixture(scope="session")
def checkpoint(model, processor, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def exported(checkpoint, run_script, tmp_path_factory) -> tuple[Path, str]:
    """The folder that the command makes of `checkpoint`, and what it says."""
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    return folder, run_script("export_onnx.py", "--model", checkpoint, "--output_dir", folder)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("photographs")
    paths = []
    for index, (width, height) in enumerate([(61, 43), (80, 120), (33, 97), (200, 50), (64, 64)]):
        pixels = np.random.default_rng(index).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
        paths.append(str(folder / f"{index}.png"))
        Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST).save(paths[-1])
    return paths
