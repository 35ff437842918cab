"""What is wrong with one file ends nothing: neither training, nor evaluation, nor labelling, nor the pipeline."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from damaged_exif import TURNED, UPRIGHT, image_file, png_of_size
from model_mixin import tiny_model
from PIL import Image
from transformers import pipeline

import modeling_sat
from modeling_sat import SATImageProcessor
from modeling_sat.data import load_wsol_dataset
from modeling_sat.data.schema import DatasetError
from modeling_sat.data.views import TrainingView
from modeling_sat.inference.evaluate import EvaluationSettings, evaluate_checkpoint
from modeling_sat.labelling.predict import predict_images


DAMAGED = UPRIGHT | TURNED
REFUSED = {
    "script.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "it is PostScript"),
    "bomb.png": (png_of_size(13_300, 13_300), "the limit of 120 million"),
    "larger.png": (png_of_size(40_000, 40_000), "the limit of 120 million"),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    tiny_model(num_labels=2, id2label={0: "cat", 1: "dog"}).save_pretrained(folder)
    SATImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """`train` and `test`, each with two classes of one image for every damage, 40×20 pixels as they are stored."""
    root = tmp_path_factory.mktemp("photographs")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8)
    for index, exif in enumerate(DAMAGED.values()):
        for split in ("train", "test"):
            for label in ("cat", "dog"):
                suffix = (".jpg", ".png", ".webp")[index % 3]
                image_file(root / split / label / f"{index:02}{suffix}", Image.fromarray(pixels), exif)
    return root


@pytest.fixture
def with_refused(photographs, tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / "train" / label).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (40, 20)).save(tmp_path / "train" / label / f"{number}.png")
    for name, (content, _) in REFUSED.items():
        (tmp_path / "train" / "cat" / name).write_bytes(content)
    return tmp_path


def expected_sizes() -> list[tuple[int, int]]:
    return [(20, 40) if name in TURNED else (40, 20) for name in DAMAGED]


def test_rows_and_training_views(photographs):
    table = load_wsol_dataset("folder", photographs, "train", validation_fraction=0)
    assert [row["image"].size for row in table] == 2 * expected_sizes()
    views = TrainingView((40, 40), (32, 32)).of(table)
    assert all(views[(0, index)]["pixel_values"].shape == (3, 32, 32) for index in range(len(table)))
    processor = SATImageProcessor(size={"height": 32, "width": 32})
    assert processor([row["image"] for row in table], return_tensors="pt")["pixel_values"].shape[0] == len(table)


def test_evaluation(photographs, checkpoint, tmp_path):
    settings = EvaluationSettings(str(checkpoint), "folder", str(tmp_path), str(photographs), validation_fraction=0)
    assert evaluate_checkpoint(settings).num_images == 2 * len(DAMAGED)


def test_labelling(photographs, checkpoint, tmp_path):
    predict_images(checkpoint, [photographs / "test" / "cat"], tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "predictions.jsonl").open()]
    assert [(line["width"], line["height"]) for line in lines] == expected_sizes()
    assert not (tmp_path / "skipped.txt").exists()


def test_pipeline(photographs, checkpoint):
    localize = pipeline("weakly-supervised-object-localization", model=str(checkpoint))
    found = localize([str(file) for file in sorted((photographs / "test" / "cat").iterdir())])
    assert [objects[0]["mask"].size for objects in found] == expected_sizes()


class TestWhatIsRefused:
    @pytest.fixture(autouse=True)
    def no_program_is_started(self, monkeypatch):
        def started(*arguments, **options):
            raise AssertionError("a program was started")

        monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", started)

    @pytest.mark.parametrize("name", REFUSED)
    def test_by_the_pipeline(self, with_refused, checkpoint, name):
        localize = pipeline("weakly-supervised-object-localization", model=str(checkpoint))
        with pytest.raises(ValueError, match=f"{name} cannot be read as an image .*{REFUSED[name][1]}"):
            localize(str(with_refused / "train" / "cat" / name))

    def test_by_labelling_which_goes_on(self, with_refused, checkpoint, tmp_path):
        predict_images(checkpoint, [with_refused / "train"], tmp_path / "out")
        skipped = (tmp_path / "out" / "skipped.txt").read_text().splitlines()
        assert len(skipped) == len(REFUSED) and len((tmp_path / "out" / "predictions.jsonl").open().readlines()) == 4
        for name, (_, reason) in REFUSED.items():
            assert any(f"/{name} " in line and reason in line for line in skipped)

    def test_by_the_folder_or_skipped(self, with_refused, caplog):
        with pytest.raises(DatasetError) as error:
            load_wsol_dataset("folder", with_refused, "train", validation_fraction=0)
        for name, (_, reason) in REFUSED.items():
            assert name in str(error.value) and reason in str(error.value)
        table = load_wsol_dataset("folder", with_refused, "train", validation_fraction=0, on_bad_image="skip")
        assert len(table) == 4

    def test_limit_is_that_of_the_environment(self, with_refused, monkeypatch):
        monkeypatch.setenv("SAT_MAX_MEGAPIXELS", "0.0005")
        with pytest.raises(DatasetError, match=r"40×20 pixels are more than the limit of 0\.0005 million"):
            load_wsol_dataset("folder", with_refused, "train", validation_fraction=0)


def test_files_are_opened_in_one_place():
    package = Path(modeling_sat.__file__).parent
    files = [file.name for file in package.rglob("*.py") if re.search(r"\bImage\.open\(", file.read_text())]
    assert files == ["image_conversion_sat.py"]
