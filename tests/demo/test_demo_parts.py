"""The demo without a browser: what it takes, what it finds, and the folder for a Space."""

import os
import runpy
import subprocess
import sys
import time
from copy import deepcopy
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from model_mixin import tiny_model
from PIL import Image

from modeling_sat import SATImageProcessor
from modeling_sat.checkpoints import CheckpointError
from modeling_sat.demo.looking import LAYERS, MAX_SIDE, DemoModel, Settings, look_at
from modeling_sat.demo.pictures import MAX_MEGABYTES, Picture, PictureError, read_picture


gradio = pytest.importorskip("gradio", reason="the demo needs Gradio")
from modeling_sat.demo.page import build_page  # noqa: E402
from modeling_sat.demo.server import remove_old_files  # noqa: E402
from modeling_sat.demo.space import SpaceError, export_space  # noqa: E402


SCRIPT = Path(__file__).parents[2] / "scripts" / "demo.py"
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8))


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_model(image_size=64).save_pretrained(folder)
    SATImageProcessor(size={"height": 64, "width": 64}, localization_threshold=0.45).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(checkpoint) -> DemoModel:
    return DemoModel.load(str(checkpoint))


class TestReadPicture:
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
    def test_formats(self, kind):
        picture = read_picture("a", encoded(NOISE, kind))
        assert (picture.image.mode, picture.image.size, picture.note) == ("RGB", (8, 6), "")

    def test_of_two_pictures_of_a_telephone_nothing_is_said(self):
        assert read_picture("a.jpg", encoded(NOISE, "MPO", save_all=True, append_images=[NOISE])).note == ""

    @pytest.mark.parametrize(
        "content, sentence",
        [
            (b"", "a.png is empty"),
            (bytes(MAX_MEGABYTES * 1_000_000 + 1), "a.png has 20 MB; at most 20 MB are accepted"),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a.png cannot be read as a picture"),
            (encoded(NOISE, "PNG")[:-60], "a.png cannot be read as a picture"),
            (encoded(Image.new("1", (8000, 7000)), "PNG"), "a.png has more than 50 million pixels"),
        ],
    )
    def test_what_is_refused(self, content, sentence):
        with pytest.raises(PictureError, match=sentence):
            read_picture("a.png", content)


class TestFindings:
    def test_settings_need_no_second_look(self, model):
        seen = look_at(Picture("a.jpg", NOISE.resize((80, 60))), [model])
        blind = replace(
            model, localizer=replace(model.localizer, model=SimpleNamespace(config=model.localizer.model.config))
        )
        pictures = {
            blind.find(seen, seen.outputs[0], Settings(threshold, layer=layer, opacity=opacity))[0].tobytes()
            for threshold in (0.3, 0.8)
            for layer in LAYERS[:2]
            for opacity in (0.2, 0.9)
        }
        assert len(pictures) == 8

    def test_boxes_are_in_pixels_of_the_original_whatever_is_drawn(self, model):
        size = (3 * MAX_SIDE, 2 * MAX_SIDE)
        seen = look_at(Picture("a.jpg", NOISE.resize(size)), [model])
        assert seen.image.width == MAX_SIDE
        picture, prediction = model.find(seen, seen.outputs[0], Settings(0.99, multiple_objects=True))
        assert picture.size == seen.image.size
        assert (prediction["width"], prediction["height"]) == size
        (expected,) = model.localizer.processor.post_process_localization(
            seen.outputs[0], 0.99, [size[::-1]], multiple_objects=True
        )
        assert [found["box"] for found in prediction["objects"]] == expected["boxes"].tolist()

    def test_the_mask_shows_the_object_and_fades_the_rest(self, model):
        seen = look_at(Picture("a.jpg", Image.new("RGB", (400, 300))), [model])
        settings = Settings(0.5, layer="Mask", opacity=1.0)
        (found,) = model.localizer.processor.post_process_localization(
            seen.outputs[0], 0.5, [(300, 400)], return_masks=True
        )
        mask = found["masks"][0].numpy()
        faded = np.asarray(model.find(seen, seen.outputs[0], settings)[0])
        # Lines and words of the box cover a part of both.
        assert (faded[mask] == 0).mean() > 0.8
        assert (faded[~mask] == 255).mean() > 0.6


class TestNotFinite:
    @pytest.fixture
    def broken(self, model) -> DemoModel:
        network = deepcopy(model.localizer.model)
        for weight in network.parameters():
            weight.data.fill_(float("nan"))
        return DemoModel("broken-model", replace(model.localizer, model=network))

    def test_looking_says_so_by_the_name_of_the_model(self, broken):
        with pytest.raises(CheckpointError, match=r"broken-model found nothing: .* NaN or infinite"):
            look_at(Picture("a.jpg", NOISE), [broken])

    def test_the_page_shows_the_sentence(self, broken, model):
        page = build_page([model, broken], [Picture("a.jpg", NOISE)])
        take, take_example = (
            next(block.fn for block in page.fns.values() if block.fn is not None and block.fn.__name__ == name)
            for name in ("take", "take_example")
        )
        settings = False, LAYERS[0], 0.4, 0.5, 0.5
        _, seen, status, shown, *found = take(("a.png", encoded(NOISE, "PNG")), *settings)
        assert (seen, shown, len(found)) == (None, "", 2)
        assert "broken-model found nothing" in status
        seen, status, *_ = take_example(SimpleNamespace(index=0), *settings)
        assert seen is None and "broken-model found nothing" in status


def test_old_files_go_and_new_ones_stay(tmp_path):
    for name in ("old/upload.jpg", "new/upload.jpg", "kept/thumbnail.webp"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    an_hour_ago = time.time() - 3600
    for path in [*tmp_path.glob("old/*"), *tmp_path.glob("kept/*"), tmp_path / "kept"]:
        os.utime(path, (an_hour_ago, an_hour_ago))
    remove_old_files(tmp_path, 60, kept={tmp_path / "kept", tmp_path / "kept" / "thumbnail.webp"})
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {"new/upload.jpg", "kept/thumbnail.webp"}


class TestSpace:
    @pytest.fixture(scope="class")
    def space(self, tmp_path_factory, checkpoint) -> Path:
        folder = tmp_path_factory.mktemp("export")
        NOISE.save(folder / "noise.png")
        export_space(["someone/sat"], folder / "space", [folder / "noise.png"])
        # A folder stands in for the Hub: it has the name of the checkpoint where the Space starts.
        (folder / "space" / "someone").mkdir()
        (folder / "space" / "someone" / "sat").symlink_to(checkpoint)
        return folder / "space"

    def test_its_page_opens_without_anything_else_of_this_repository(self, space, tmp_path):
        program = (
            "import os, runpy, sys; sys.path.insert(0, os.getcwd()); import modeling_sat; "
            "assert modeling_sat.__file__.startswith(os.getcwd()); runpy.run_path('app.py')"
        )
        # With -S the editable installation of this package is out of sight.
        packages = str(Path(gradio.__file__).parents[1])
        settings = {"PYTHONPATH": packages, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
        environment = {**os.environ, **settings}
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", program], cwd=space, env=environment, stdout=subprocess.PIPE, text=True
        )
        try:
            assert "The page is at http" in process.stdout.readline()
        finally:
            process.terminate()
            process.wait(30)
        assert not list(tmp_path.glob("modeling_sat-demo-*"))

    def test_its_card_and_requirements(self, space):
        card = (space / "README.md").read_text()
        assert card.startswith("---\n")
        for line in ("sdk: gradio", f"sdk_version: {gradio.__version__}", "app_file: app.py", "- someone/sat"):
            assert f"\n{line}\n" in card
        requirements = (space / "requirements.txt").read_text().split()
        assert any(line.startswith("torch") for line in requirements)
        assert not any("extra" in line or line.startswith("gradio") for line in requirements)
        assert (space / "examples" / "noise.png").is_file()

    def test_what_is_refused(self, space, checkpoint, tmp_path):
        with pytest.raises(SpaceError, match="is not the id of one"):
            export_space([str(checkpoint)], tmp_path / "space")
        with pytest.raises(SpaceError, match="holds something already"):
            export_space(["someone/sat"], space)
        with pytest.raises(PictureError, match="is not there"):
            export_space(["someone/sat"], tmp_path / "space", [tmp_path / "missing.png"])
        assert not (tmp_path / "space").exists()


def test_without_gradio_the_script_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    for name in [name for name in sys.modules if name.startswith("modeling_sat.demo.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(SystemExit, match="error: The demo needs gradio"):
        runpy.run_path(str(SCRIPT), run_name="__main__")


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["--model", "nowhere"], "error: nowhere cannot be used"),
        (["--model", "nowhere", "--examples", "missing.png"], "error: The example missing.png is not there."),
    ],
)
def test_the_script_ends_with_a_sentence(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["demo.py", *arguments])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(SCRIPT), run_name="__main__")
    assert str(end.value).startswith(sentence)
