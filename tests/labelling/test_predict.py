import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pycocotools.mask
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTImageProcessorPil, ViTModel, pipeline

from modeling_sat import SATConfig, SATForWeaklySupervisedLocalization, SATImageProcessor
from modeling_sat.checkpoints import CheckpointError
from modeling_sat.labelling.formats import Labels, read_predictions
from modeling_sat.labelling.image_files import ImageFiles, PredictionError
from modeling_sat.labelling.labeller import Labeller
from modeling_sat.labelling.predict import UNFINISHED_FILE, predict_images
from modeling_sat.models.image_conversion_sat import to_upright_rgb
from modeling_sat.output.ownership import folder_of_one_run


SCRIPT = Path(__file__).parents[2] / "scripts" / "predict.py"
SIZES = {
    "alpha.png": (50, 40),
    "animated.gif": (30, 60),
    "deep/er/cmyk.jpg": (90, 70),
    "deep/grey16.png": (64, 32),
    "photograph.jpg": (1500, 900),
    "turned.JPG": (40, 80),
}
"""(width, height) of the upright images, sorted by path."""
BROKEN = ["notes.jpg", "truncated.png"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("checkpoint")
    config = SATConfig(
        hidden_size=48,
        num_attention_heads=3,
        num_hidden_layers=4,
        intermediate_size=96,
        image_size=64,
        patch_size=8,
        id2label={0: "apple", 1: "banana", 2: "orange"},
    )
    SATForWeaklySupervisedLocalization(config).save_pretrained(folder)
    SATImageProcessor(size={"height": 64, "width": 64}, localization_threshold=0.6).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / ".thumbnails").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (900, 1500, 4), np.uint8)

    def picture(mode: str, size: tuple[int, int]) -> Image.Image:
        return (
            Image.fromarray(np.kron(noise[:4, :4], np.ones((300, 400, 1), np.uint8)), "RGBA")
            .resize(size)
            .convert(mode)
        )

    picture("RGBA", (50, 40)).save(folder / "alpha.png")
    frames = [picture("P", (30, 60)), Image.new("P", (30, 60))]
    frames[0].save(folder / "animated.gif", save_all=True, append_images=frames[1:])
    picture("CMYK", (90, 70)).save(folder / "deep" / "er" / "cmyk.jpg")
    Image.fromarray((np.arange(64 * 32) * 30).astype(np.uint16).reshape(32, 64)).save(folder / "deep" / "grey16.png")
    picture("RGB", (1500, 900)).save(folder / "photograph.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture("RGB", (80, 40)).save(folder / "turned.JPG", exif=exif)
    (folder / "notes.jpg").write_text("not an image")
    (folder / "truncated.png").write_bytes((folder / "alpha.png").read_bytes()[:-200])
    picture("RGB", (20, 20)).save(folder / ".hidden.jpg")
    picture("RGB", (20, 20)).save(folder / ".thumbnails" / "hidden.jpg")
    (folder / "README.txt").write_text("apples")
    return folder


def run(*arguments: object, launcher: str = "", folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, *launcher.split(), str(SCRIPT), *map(str, arguments)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def lines(output_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (output_dir / "predictions.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(checkpoint, photographs, tmp_path_factory) -> tuple[subprocess.CompletedProcess, Path]:
    """The script on all photographs from their own folder, as a user would run it."""
    output_dir = tmp_path_factory.mktemp("runs") / "not" / "there yet"
    arguments = ("--model", checkpoint, "--images", ".", "--output_dir", output_dir, "--batch_size", 4)
    return run(*arguments, folder=photographs), output_dir


def test_every_image_has_a_line_in_order(finished):
    process, output_dir = finished
    assert process.returncode == 0, process.stderr
    found = {line["image"]: (line["width"], line["height"]) for line in lines(output_dir)}
    assert list(found.items()) == list(SIZES.items())
    assert "Boxes of 6 images" in process.stdout


def test_boxes_are_those_of_the_processor(finished, checkpoint, photographs):
    model = SATForWeaklySupervisedLocalization.from_pretrained(checkpoint).eval()
    processor = SATImageProcessor.from_pretrained(checkpoint)
    for line in lines(finished[1]):
        image = to_upright_rgb(Image.open(photographs / line["image"]))
        with torch.inference_mode():
            outputs = model(**processor(images=image, return_tensors="pt"))
        (expected,) = processor.post_process_localization(outputs, target_sizes=[(image.height, image.width)])
        (found,) = line["objects"]
        assert found["label"] == model.config.id2label[expected["labels"].item()]
        assert found["score"] == pytest.approx(expected["scores"].item(), abs=1e-5)
        assert found["box"] == pytest.approx(expected["boxes"][0].tolist(), abs=1e-3)


def test_every_image_has_an_overlay_of_its_shape(finished):
    overlays = {file.relative_to(finished[1] / "overlays") for file in (finished[1] / "overlays").rglob("*.*")}
    assert overlays == {Path(name).with_suffix(".jpg") for name in SIZES}
    for name, (width, height) in SIZES.items():
        with Image.open(finished[1] / "overlays" / Path(name).with_suffix(".jpg")) as overlay:
            assert 384 <= max(overlay.size) <= 1280
            assert overlay.width / overlay.height == pytest.approx(width / height, rel=0.01)


def test_unreadable_images_are_listed_and_skipped(finished):
    process, output_dir = finished
    sentences = (output_dir / "skipped.txt").read_text().splitlines()
    assert [sentence.split(" cannot be read as an image (")[0] for sentence in sentences] == BROKEN
    assert "Skipped 2 images" in process.stderr
    assert "Traceback" not in process.stderr


def test_two_processes_write_what_one_writes(finished, checkpoint, photographs, tmp_path):
    launcher = "-m torch.distributed.run --standalone --nproc_per_node 2"
    arguments = (
        "--model",
        checkpoint,
        "--images",
        ".",
        "--output_dir",
        tmp_path,
        "--batch_size",
        3,
        "--format",
        "coco",
    )
    process = run(*arguments, "--no_overlays", launcher=launcher, folder=photographs)
    assert process.returncode == 0, process.stderr
    assert process.stdout.count("Boxes of 6 images") == 1
    for found, expected in zip(lines(tmp_path), lines(finished[1]), strict=True):
        assert found["image"] == expected["image"]
        assert found["objects"][0]["box"] == pytest.approx(expected["objects"][0]["box"], abs=1e-3)
    assert (tmp_path / "skipped.txt").read_text() == (finished[1] / "skipped.txt").read_text()
    coco = json.loads((tmp_path / "annotations.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == list(SIZES)
    assert not (tmp_path / "overlays").exists()


def test_the_script_ends_with_a_sentence(checkpoint, photographs, tmp_path, monkeypatch):
    arguments = ("--model", checkpoint, "--images", photographs / "notes.jpg", "--output_dir", tmp_path)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    with pytest.raises(SystemExit, match=r"^error: None of the 1 images can be read. The first: .*notes.jpg cannot"):
        runpy.run_path(str(SCRIPT), run_name="__main__")


@pytest.fixture
def spoiled(monkeypatch):
    """Makes the outputs of the images of these names NaN or infinite, as weights or a precision do."""

    def spoil(*names: str, output: str = "localization_map", value: float = float("nan")) -> None:
        localize = Labeller.localize

        def localized(self, images):
            outputs = localize(self, images)
            for image, found in zip(images, outputs):
                if not names or image.path.name in names:
                    spoiled = found[output].numpy().copy()
                    spoiled.flat[1] = value
                    found[output] = torch.from_numpy(spoiled)
            return outputs

        monkeypatch.setattr(Labeller, "localize", localized)

    return spoil


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("output", ["localization_map", "logits"])
def test_outputs_that_are_not_finite_are_skipped_by_name(checkpoint, photographs, tmp_path, spoiled, output, value):
    spoiled("alpha.png", "cmyk.jpg", output=output, value=value)
    summary = predict_images(checkpoint, [photographs / name for name in SIZES], tmp_path, format="coco")
    assert (summary.num_images, len(summary.skipped)) == (4, 2)
    count = {"localization_map": 64, "logits": 3}[output]
    for sentence, name in zip((tmp_path / "skipped.txt").read_text().splitlines(), ("alpha.png", "cmyk.jpg")):
        problem = f"1 of the {count} numbers of its {output.replace('_', ' ')} are NaN or infinite"
        assert f"{name} gets no box: {problem}. The weights, or a precision" in sentence
    for file in ("predictions.jsonl", "annotations.json"):
        assert not {"NaN", "Infinity"} & set(re.findall(r"\w+", (tmp_path / file).read_text()))
    assert len(lines(tmp_path)) == 4


def test_a_model_that_gives_nothing_finite_ends_the_run(checkpoint, photographs, tmp_path, monkeypatch, spoiled):
    spoiled()
    arguments = ("--model", checkpoint, "--images", photographs / "alpha.png", "--output_dir", tmp_path)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
    with pytest.raises(
        SystemExit, match=r"^error: None of the 1 images gets a box\. The first: .*alpha.png gets no box"
    ):
        runpy.run_path(str(SCRIPT), run_name="__main__")


def test_a_second_run_into_the_folder_ends_with_a_sentence(checkpoint, photographs, tmp_path, monkeypatch):
    arguments = ("--model", checkpoint, "--images", photographs / "alpha.png", "--output_dir", tmp_path)
    with monkeypatch.context() as patched, folder_of_one_run(tmp_path):
        patched.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        with pytest.raises(SystemExit, match=r"^error: Another run is writing to .* Wait for its end"):
            runpy.run_path(str(SCRIPT), run_name="__main__")
    assert not list(tmp_path.iterdir())
    assert predict_images(checkpoint, [photographs / "alpha.png"], tmp_path).num_images == 1


def test_entries_that_another_program_writes_are_not_concluded(checkpoint, photographs, tmp_path, monkeypatch):
    """As two runs did that did not know of each other."""
    describe = Labeller.describe

    def described(self, image, *arguments):
        journal = tmp_path / UNFINISHED_FILE
        if image.path.name == "turned.JPG":
            first_entry = journal.read_bytes().splitlines(keepends=True)[1]
            with open(journal, "ab") as file:
                file.write(first_entry)
        return describe(self, image, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Labeller, "describe", described)
        with pytest.raises(
            PredictionError, match=r"was changed by something else .* 1 of the 8 images have no complete entry"
        ):
            predict_images(checkpoint, [photographs], tmp_path, batch_size=1)
    assert not (tmp_path / "predictions.jsonl").exists()
    with pytest.warns(UserWarning, match=r"alpha\.png a second time, in line 9"):
        predict_images(checkpoint, [photographs], tmp_path, batch_size=1)
    assert [line["image"] for line in lines(tmp_path)] == [str(photographs / name) for name in SIZES]


def test_a_second_run_does_not_take_overlays_for_images(checkpoint, tmp_path):
    Image.new("RGB", (40, 40)).save(tmp_path / "one.png")
    for _ in range(2):
        summary = predict_images(checkpoint, [tmp_path], tmp_path)
        assert summary.num_images == 1
        assert not (tmp_path / "skipped.txt").exists()


class Killed(BaseException):
    """As if the process ended; no handler expects it."""


def three_then_killed(labels):
    for prediction in list(read_predictions(labels.predictions))[:3]:
        yield Path(prediction["image"]).relative_to(labels.image_root), prediction
    raise Killed


def interrupted_after(count: int, monkeypatch, *arguments, **settings) -> None:
    describe, described = Labeller.describe, []

    def describe_some(*arguments):
        described.append(1)
        if len(described) > count:
            raise Killed
        return describe(*arguments)

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Labeller, "describe", describe_some)
        predict_images(*arguments, **settings)


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """The names of the images that are read from here on."""
    names, original = [], Labeller.read

    def remembered(self, path, with_picture):
        names.append(path.name)
        return original(self, path, with_picture)

    monkeypatch.setattr(Labeller, "read", remembered)
    return names


class TestInterruptedRun:
    settings = {"batch_size": 2, "format": "coco"}

    @pytest.fixture
    def output_dir(self, checkpoint, photographs, tmp_path, monkeypatch) -> Path:
        """Four images are through."""
        interrupted_after(4, monkeypatch, checkpoint, [photographs], tmp_path, **self.settings)
        assert not (tmp_path / "predictions.jsonl").exists()
        return tmp_path

    def test_goes_on_where_it_was(self, output_dir, checkpoint, photographs, read, tmp_path_factory):
        predict_images(checkpoint, [photographs], output_dir, **self.settings)
        assert sorted(read) == ["notes.jpg", "photograph.jpg", "truncated.png", "turned.JPG"]
        whole = tmp_path_factory.mktemp("whole")
        predict_images(checkpoint, [photographs], whole, **self.settings)
        for name in ("predictions.jsonl", "skipped.txt", "annotations.json", "review.html"):
            assert (output_dir / name).read_text() == (whole / name).read_text()
        assert not (output_dir / UNFINISHED_FILE).exists()

    def test_a_line_cut_in_the_middle_is_done_again(self, output_dir, checkpoint, photographs, read):
        unfinished = output_dir / UNFINISHED_FILE
        unfinished.write_bytes(unfinished.read_bytes()[:-20])
        assert predict_images(checkpoint, [photographs], output_dir, **self.settings).num_images == len(SIZES)
        assert len(read) == 5
        assert [line["image"] for line in lines(output_dir)] == [str(photographs / name) for name in SIZES]

    @pytest.mark.parametrize("damage", [b"null\n", b"\n", b"\0" * 512, b'{"image": "\xc3', b'{"objects": []}\n'])
    def test_a_damaged_line_and_those_after_it_are_done_again(
        self, output_dir, checkpoint, photographs, read, damage, tmp_path_factory
    ):
        unfinished = output_dir / UNFINISHED_FILE
        whole = unfinished.read_bytes().splitlines(keepends=True)
        unfinished.write_bytes(b"".join([*whole[:3], damage, *whole[3:]]))
        with pytest.warns(UserWarning, match=r"in line 4\. \d entries count for nothing, .* 2 before are kept"):
            predict_images(checkpoint, [photographs], output_dir, **self.settings)
        assert len(read) == 6
        found = [line["image"] for line in lines(output_dir)]
        assert found == [str(photographs / name) for name in SIZES]

    def test_images_that_came_in_between_stand_in_their_place(self, checkpoint, photographs, tmp_path, monkeypatch):
        images = [photographs / name for name in SIZES]
        interrupted_after(2, monkeypatch, checkpoint, images[1:], tmp_path, **self.settings)
        predict_images(checkpoint, images, tmp_path, **self.settings)
        assert [line["image"] for line in lines(tmp_path)] == list(map(str, images))

    @pytest.mark.parametrize("format", ["coco", "yolo", "voc", "metadata"])
    def test_a_file_that_is_there_is_whole(self, checkpoint, photographs, tmp_path, monkeypatch, format):
        """… and one of an earlier run stays until then."""
        settings = {"format": format, "draw_overlays": False}
        images = [photographs / name for name in SIZES]
        predict_images(checkpoint, images[:2], tmp_path, **settings)
        earlier = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
        with monkeypatch.context() as patched, pytest.raises(Killed):
            patched.setattr(Labels, "__iter__", three_then_killed)
            predict_images(checkpoint, images, tmp_path, **settings)
        there = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
        assert (tmp_path / UNFINISHED_FILE) in there
        changed = {file.name for file in there if there[file] != earlier.get(file)}
        assert changed == {UNFINISHED_FILE, "predictions.jsonl"}
        predict_images(checkpoint, images, tmp_path, **settings)
        assert not (tmp_path / UNFINISHED_FILE).exists()

    @pytest.mark.parametrize("changed", [{"threshold": 0.3}, {"masks": "rle"}, {"multiple_objects": True}])
    def test_with_other_settings_begins_anew(self, output_dir, checkpoint, photographs, read, changed):
        predict_images(checkpoint, [photographs], output_dir, **self.settings, **changed)
        assert len(read) == len(SIZES) + len(BROKEN)

    def test_with_another_checkpoint_begins_anew(self, output_dir, checkpoint, photographs, read, tmp_path_factory):
        other = tmp_path_factory.mktemp("other")
        SATForWeaklySupervisedLocalization.from_pretrained(checkpoint).save_pretrained(other)
        SATImageProcessor(size={"height": 64, "width": 64}).save_pretrained(other)
        predict_images(other, [photographs], output_dir, **self.settings)
        assert len(read) == len(SIZES) + len(BROKEN)

    def test_a_finished_run_begins_anew(self, output_dir, checkpoint, photographs, read):
        for _ in range(2):
            read.clear()
            predict_images(checkpoint, [photographs], output_dir, **self.settings)
        assert len(read) == len(SIZES) + len(BROKEN)


def test_masks_are_those_of_the_processor(checkpoint, photographs, tmp_path):
    predict_images(checkpoint, [photographs / "photograph.jpg"], tmp_path, masks="rle", draw_overlays=False)
    model = SATForWeaklySupervisedLocalization.from_pretrained(checkpoint).eval()
    processor = SATImageProcessor.from_pretrained(checkpoint)
    image = Image.open(photographs / "photograph.jpg")
    with torch.inference_mode():
        outputs = model(**processor(images=image, return_tensors="pt"))
    (expected,) = processor.post_process_localization(outputs, target_sizes=[(900, 1500)], return_masks=True)
    (found,) = lines(tmp_path)[0]["objects"]
    decoded = pycocotools.mask.decode({**found["mask"], "counts": found["mask"]["counts"].encode()})
    np.testing.assert_array_equal(decoded.astype(bool), expected["masks"][0])
    assert not (tmp_path / "review.html").exists()


def test_high_quality_boxes_are_the_pipelines(checkpoint, photographs, tmp_path):
    predict_images(checkpoint, [photographs / "photograph.jpg"], tmp_path, quality="high", draw_overlays=False)
    localize = pipeline("weakly-supervised-object-localization", model=str(checkpoint))
    (found,), (expected,) = lines(tmp_path)[0]["objects"], localize(photographs / "photograph.jpg", quality="high")
    assert found["score"] == pytest.approx(expected["score"], abs=1e-5)
    assert np.rint(found["box"]).tolist() == list(expected["box"].values())


def test_threshold_and_multiple_objects_reach_the_boxes(checkpoint, photographs, tmp_path):
    localize = pipeline("weakly-supervised-object-localization", model=str(checkpoint))
    image = photographs / "photograph.jpg"
    thresholds = (0.7, 0.8, 0.9)  # a random model's map falls apart somewhere among them
    several = max(thresholds, key=lambda threshold: len(localize(image, threshold=threshold, multiple_objects=True)))
    for name, settings in {
        "low": {"threshold": 0.1},
        "high": {"threshold": several},
        "many": {"threshold": several, "multiple_objects": True},
    }.items():
        predict_images(checkpoint, [image], tmp_path / name, draw_overlays=False, **settings)
    boxes = {
        name: [found["box"] for found in lines(tmp_path / name)[0]["objects"]] for name in ("low", "high", "many")
    }
    areas = {name: (box[0][2] - box[0][0]) * (box[0][3] - box[0][1]) for name, box in boxes.items()}
    assert areas["high"] < areas["low"]
    assert len(boxes["many"]) > len(boxes["high"]) == 1
    assert boxes["many"][0] == boxes["high"][0]


def test_images_that_differ_by_suffix_have_overlays_of_their_own(checkpoint, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a.jpg", "a.png", "b.png"):
        Image.new("RGB", (40, 40)).save(images / name)
    predict_images(checkpoint, [images], tmp_path / "out")
    overlays = sorted(file.name for file in (tmp_path / "out" / "overlays").iterdir())
    assert overlays == ["a.jpg.jpg", "a.png.jpg", "b.jpg"]
    with pytest.raises(PredictionError, match=r"a\.jpg and a\.png do; rename one"):
        predict_images(checkpoint, [images], tmp_path / "out", format="yolo")


def test_names_are_relative_to_what_holds_all_inputs(photographs):
    files = ImageFiles.find([photographs / "deep" / "er", photographs / "alpha.png", photographs / "alpha.png"])
    assert [files.name(path).as_posix() for path in files.paths] == ["alpha.png", "deep/er/cmyk.jpg"]
    files = ImageFiles.find([photographs / "deep"])
    assert [files.name(path).as_posix() for path in files.paths] == ["er/cmyk.jpg", "grey16.png"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": ["{tmp}/absent"]}, "absent does not exist. Give image files or folders"),
        ({"images": ["{tmp}/empty"]}, "There are no image files .*empty holds README.txt"),
        ({"output_dir": "{tmp}/empty/README.txt"}, "README.txt cannot be made"),
        ({"output_dir": "{tmp}/empty/README.txt/out"}, "README.txt/out cannot be made"),
        ({"output_dir": "{tmp}/taken"}, "predictions.jsonl cannot be written"),
        ({"model": "{tmp}/absent"}, "absent cannot be used: there is no such folder"),
        ({"model": "{tmp}/empty/README.txt"}, "README.txt is not a checkpoint: it is a file"),
        ({"model": "{tmp}/empty"}, "empty is not a checkpoint: it has no config.json; it holds README.txt"),
        ({"model": "{tmp}/vit"}, "vit cannot be used: its ViTImageProcessorPil does not make boxes"),
        ({"model": "{tmp}/disguised"}, "disguised holds a ViTModel, which gives no localization map"),
        ({"model": "{tmp}/beheaded"}, "beheaded lacks weights of its model: patch_classifier.bias"),
        ({"model": "{tmp}/damaged"}, "damaged cannot be used: "),
        ({"threshold": 1.0}, "The threshold is 1.0; choose one from 0 to below 1"),
        ({"batch_size": 0}, "The batch size is 0; choose 1 or more"),
        ({"format": "voc", "masks": "rle"}, "voc has no masks as rle; choose boxes alone, or another format: "),
        ({"format": "yolo", "masks": "rle"}, "yolo has no masks as rle; choose polygons, or another format"),
        ({"quality": "best"}, "The quality is 'best'; choose one of fast, high"),
        ({"format": "csv"}, "The format is 'csv'; choose one of jsonl, coco, yolo, voc"),
    ],
)
def test_what_cannot_work_is_said_in_a_sentence(settings, message, checkpoint, photographs, bad_things, tmp_path):
    settings = {"model": checkpoint, "images": [photographs / "alpha.png"], "output_dir": tmp_path, **settings}
    for name, value in settings.items():
        if isinstance(value, str):
            settings[name] = value.format(tmp=bad_things)
        elif isinstance(value, list):
            settings[name] = [str(path).format(tmp=bad_things) for path in value]
    with pytest.raises((CheckpointError, PredictionError), match=message):
        predict_images(**settings)


@pytest.fixture(scope="module")
def bad_things(checkpoint, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    (folder / "empty").mkdir()
    (folder / "empty" / "README.txt").write_text("apples")
    (folder / "taken" / "predictions.jsonl").mkdir(parents=True)
    vit = ViTConfig(hidden_size=24, num_attention_heads=3, num_hidden_layers=1, intermediate_size=24, image_size=32)
    for name, processor in {
        "vit": ViTImageProcessorPil(),
        "disguised": SATImageProcessor(size={"height": 32, "width": 32}),
    }.items():
        ViTModel(vit).save_pretrained(folder / name)
        processor.save_pretrained(folder / name)
    model = SATForWeaklySupervisedLocalization.from_pretrained(checkpoint)
    processor = SATImageProcessor.from_pretrained(checkpoint)
    headless = {name: weight for name, weight in model.state_dict().items() if not name.startswith("patch_classifier")}
    model.save_pretrained(folder / "beheaded", state_dict=headless)
    processor.save_pretrained(folder / "beheaded")
    model.save_pretrained(folder / "damaged")
    processor.save_pretrained(folder / "damaged")
    (folder / "damaged" / "model.safetensors").write_bytes(b"not weights")
    return folder
