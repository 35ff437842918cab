"""A run's own record says which images it was not trained on."""

import json
import re
import shutil
import warnings
from dataclasses import replace

import datasets
import numpy as np
import pytest
import torch
from model_mixin import tiny_model
from PIL import Image

from modeling_sat import SATImageProcessorPil
from modeling_sat.checkpoints.evaluated_data import EvaluatedData
from modeling_sat.checkpoints.run_record import RunRecord, RunRecordError, fingerprints, packed
from modeling_sat.data import MissingSplitError, load_wsol_dataset
from modeling_sat.inference.evaluate import DATA_OPTIONS, EvaluationSettings, check_labels, evaluate_checkpoint
from modeling_sat.training import ConfigurationError, DataArguments, ModelArguments, SATTrainingArguments
from modeling_sat.training.checkpoints import images_record, run_record, without_trained
from modeling_sat.training.run import earlier_trainings, load_splits


def make_data(folder, seed=0, images=20):
    """Images of different sizes in bytes."""
    random = np.random.default_rng(seed)
    for split, count in (("train", images), ("test", 3)):
        rows = []
        for name in ("cat", "cow", "dog"):
            (folder / split / name).mkdir(parents=True)
            for index in range(count):
                file = folder / split / name / f"{index}.png"
                pixels = random.integers(0, 255, (random.integers(30, 400), 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(file)
                box = {"bbox": [[5, 5, 20, 20]], "categories": [name]}
                rows.append(json.dumps({"file_name": f"{name}/{index}.png", "objects": box}))
        (folder / split / "metadata.jsonl").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("data"))


def leave_record(output_dir, data_dir, data_seed=1, model=None, **fields):
    """What `train` leaves of its data, without the training."""
    output_dir.mkdir(exist_ok=True)
    data_arguments = DataArguments(data_dir=str(data_dir), **fields)
    arguments = SATTrainingArguments(str(output_dir), data_seed=data_seed, report_to=[], use_cpu=True)
    splits, is_held_out = load_splits(data_arguments, arguments)
    earlier = earlier_trainings(model, arguments)
    if "validation" in splits:
        splits["validation"] = without_trained(splits["validation"], earlier)
    record = run_record(ModelArguments(), data_arguments, arguments, len(splits["train"]))
    replace(record, images=images_record(splits, data_arguments, is_held_out, earlier)).save(output_dir)
    return splits


def evaluated(model, dataset="folder", data_dir=None, **given):
    return EvaluatedData(str(model), dataset, data_dir and str(data_dir), dict.fromkeys(DATA_OPTIONS) | given)


def make_older(folder):
    """As runs wrote it that did not record their images."""
    content = json.loads((folder / "run.json").read_text())
    del content["images"]
    (folder / "run.json").write_text(json.dumps(content))


CHOICES = [
    {"data_seed": 1},
    {"validation_fraction": 0.3},
    {"data_seed": None, "validation_fraction": 0.25},
    {"data_seed": 2, "classes": ["dog", "cat"]},
    {"data_seed": 3, "images_per_class": 4},
    {"on_bad_image": "skip", "data_seed": 4},
    {"dataset_options": '{"validation_fraction": 0.4, "seed": 5}'},
]


@pytest.mark.parametrize("is_older", [False, True])
@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_the_threshold_is_chosen_on_what_the_run_held_out(data, tmp_path, choice, is_older):
    splits = leave_record(tmp_path, data, **choice)
    if is_older:
        make_older(tmp_path)
    validation, why_not = evaluated(tmp_path, data_dir=data).validation()
    assert why_not is None
    assert set(validation["image_id"]) == set(splits["validation"]["image_id"])
    assert not set(validation["image_id"]) & set(splits["train"]["image_id"])
    found = evaluated(tmp_path, data_dir=data).split("validation")
    assert found["image_id"] == validation["image_id"]


@pytest.mark.parametrize("place", ["checkpoint-4", "its own"])
def test_a_checkpoint_of_a_run_has_its_record(data, tmp_path, place):
    splits = leave_record(tmp_path / "run", data)
    checkpoint = tmp_path / "run" / "checkpoint-4"
    checkpoint.mkdir()
    if place == "its own":
        shutil.copy(tmp_path / "run" / "run.json", checkpoint)
        checkpoint = shutil.copytree(checkpoint, tmp_path / "copied")
    validation, _ = evaluated(checkpoint).validation()
    assert set(validation["image_id"]) == set(splits["validation"]["image_id"])


def test_dataset_and_folder_are_the_runs(data, tmp_path):
    leave_record(tmp_path, data)
    found = evaluated(tmp_path, dataset=None)
    assert (found.dataset, found.data_dir) == ("folder", str(data))
    assert len(found.split("test")) == 9
    with pytest.raises(ValueError, match="does not say which data it was trained on; name a --dataset"):
        evaluated(tmp_path / "nowhere", dataset=None)


def test_what_is_taken_from_the_run_is_said(data, tmp_path):
    leave_record(tmp_path, data, validation_fraction=0.25, images_per_class=4)
    found = evaluated(tmp_path, dataset=None)
    said = (
        f"Taken from {tmp_path / 'run.json'}: dataset folder, data_dir {data}, validation_fraction 0.25, data_seed 1"
    )
    assert (found.taken("test"), found.taken("train")) == (f"{said}.", f"{said}, images_per_class 4.")
    found = evaluated(tmp_path, data_dir=data, data_seed=1, validation_fraction=0.25)
    assert found.taken("test") is None and len(found.split("test")) == 9
    assert evaluated(tmp_path, dataset="shapes").taken("train") is None
    assert evaluated("org/a-checkpoint", data_dir=data).taken("train") is None


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"data_seed": 0}, "--data_seed is 0, but the checkpoint's run had 1"),
        ({"validation_fraction": 0.2}, "--validation_fraction is 0.2, but the checkpoint's run had 0.1"),
        ({"classes": ["cat", "dog"]}, "--classes is cat dog, but the checkpoint's run had none"),
    ],
)
@pytest.mark.parametrize("is_older", [False, True])
def test_what_contradicts_the_run_is_refused(data, tmp_path, given, sentence, is_older):
    leave_record(tmp_path, data)
    if is_older:
        make_older(tmp_path)
    with pytest.raises(ValueError, match=sentence):
        evaluated(tmp_path, data_dir=data, **given).validation()
    evaluated(tmp_path, data_dir=data, data_seed=1, validation_fraction=0.1).validation()


def test_a_run_that_held_none_out_has_no_validation_images(data, tmp_path):
    leave_record(tmp_path, data, validation_fraction=0.0)
    with pytest.raises(MissingSplitError, match="held out no images"):
        evaluated(tmp_path, data_dir=data).validation()


def test_without_a_record_they_may_have_been_trained_on(data, tmp_path):
    for model in (tmp_path, "org/a-checkpoint"):
        validation, why_not = evaluated(model, data_dir=data).validation()
        assert f"all {len(validation)} images held out of train may have been trained on" in why_not
        with pytest.raises(ValueError, match="these are not validation images"):
            evaluated(model, data_dir=data).split("validation")


def test_moved_data_and_grown_data(data, tmp_path):
    splits = leave_record(tmp_path / "run", data)
    held_out = set(splits["validation"]["image_id"])
    moved = make_data(tmp_path / "moved")
    assert set(evaluated(tmp_path / "run", data_dir=moved).validation()[0]["image_id"]) == held_out
    for index in range(100, 130):  # more cats, of which the run's seed would choose others
        shutil.copy(moved / "train/cat/0.png", moved / f"train/cat/{index}.png")
    assert set(evaluated(tmp_path / "run", data_dir=moved).validation()[0]["image_id"]) == held_out
    make_older(tmp_path / "run")
    _, why_not = evaluated(tmp_path / "run", data_dir=moved).validation()
    assert why_not is not None


def test_held_out_images_that_are_gone_or_others(data, tmp_path):
    splits = leave_record(tmp_path / "run", data)
    changed = make_data(tmp_path / "changed")
    gone, other, *kept = splits["validation"]["image_id"]
    (changed / gone).unlink()
    shutil.copy(changed / splits["train"]["image_id"][0], changed / other)  # trained on, under another name
    rows = (changed / "train/metadata.jsonl").read_text().splitlines()
    rows = [row for row in rows if json.loads(row)["file_name"] != gone.removeprefix("train/")]
    (changed / "train/metadata.jsonl").write_text("\n".join(rows))
    with pytest.warns(UserWarning, match=rf"2 of the {len(kept) + 2} images that the run held out"):
        validation, why_not = evaluated(tmp_path / "run", data_dir=changed).validation()
    assert why_not is None and set(validation["image_id"]) == set(kept)


def test_other_data_by_its_own_options(data, tmp_path):
    leave_record(tmp_path / "run", data)
    other = make_data(tmp_path / "other", seed=5)
    validation, why_not = evaluated(tmp_path / "run", data_dir=other, data_seed=7).validation()
    assert why_not is None and 5 <= len(validation) <= 6


@pytest.mark.parametrize("count", [2, 6])
def test_other_data_of_which_some_were_trained_on(data, tmp_path, count):
    leave_record(tmp_path, data)
    chosen = load_wsol_dataset("folder", data, "validation", validation_fraction=0.1, seed=7)
    content = json.loads((tmp_path / "run.json").read_text())
    content["settings"]["dataset"] = "org/other"
    content["images"] |= {
        "trained": packed(fingerprints(chosen.select(range(count)))),
        "held_out": packed(np.arange(90)),
    }
    (tmp_path / "run.json").write_text(json.dumps(content))
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        validation, why_not = evaluated(tmp_path, data_dir=data, data_seed=7).validation()
    sentence = f"trained on {count} of the 6 validation images"
    if count < 6:
        assert why_not is None and validation["image_id"] == chosen["image_id"][count:]
        assert any(sentence in str(warning.message) for warning in said)
    else:
        assert sentence in why_not


def test_a_validation_split_that_came_after_the_training(data, tmp_path):
    leave_record(tmp_path / "run", data)
    changed = make_data(tmp_path / "data")
    content = json.loads((tmp_path / "run/run.json").read_text())
    content["images"]["data_dir"] = str(changed)
    (tmp_path / "run/run.json").write_text(json.dumps(content))
    shutil.copytree(changed / "train", changed / "validation")
    validation, why_not = evaluated(tmp_path / "run").validation()
    assert f"its {len(validation)} images may have been trained on" in why_not


def test_validation_images_of_an_earlier_training_are_left_out(data, tmp_path):
    first = leave_record(tmp_path / "first", data, validation_fraction=0.5)
    with pytest.warns(UserWarning, match="validation images were trained on before"):
        second = leave_record(tmp_path / "second", data, 2, tmp_path / "first", validation_fraction=0.5)
    assert not set(second["validation"]["image_id"]) & set(first["train"]["image_id"])
    record = RunRecord.of(tmp_path / "second")
    assert set(fingerprints(first["train"])) <= set(record.trained)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"settings": []}', '{"settings": {}, "images": 3}', '{"a'])
def test_a_damaged_record_is_said(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunRecordError, match=r"run\.json cannot be read"):
        evaluated(tmp_path)
    with pytest.raises(ConfigurationError, match=r"run\.json cannot be read"):
        earlier_trainings(str(tmp_path), SATTrainingArguments(str(tmp_path / "run"), report_to=[], use_cpu=True))


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "model"
    tiny_model(num_labels=3, id2label={0: "cat", 1: "cow", 2: "dog"}).save_pretrained(folder)
    SATImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def test_only_what_was_not_trained_on_is_called_validation_and_saved(data, checkpoint, tmp_path):
    torch.set_num_threads(1)
    before = (checkpoint / "preprocessor_config.json").read_text()

    def evaluate(**options):
        settings = EvaluationSettings(
            str(checkpoint), "folder", str(tmp_path / "out"), str(data), view="whole", **options
        )
        return evaluate_checkpoint(settings)

    with pytest.warns(UserWarning, match="6 images held out of train may have been trained on"):
        result = evaluate()
    assert (result.threshold_source, result.saved_to_checkpoint) == ("fixed", False)
    with pytest.warns(UserWarning, match="is recorded as chosen on train, and is not saved"):
        result = evaluate(validation_fraction=0.1)
    assert (result.threshold_source, result.saved_to_checkpoint) == ("train", False)
    assert (checkpoint / "preprocessor_config.json").read_text() == before
    leave_record(checkpoint, data)
    result = evaluate()
    assert (result.threshold_source, result.saved_to_checkpoint) == ("validation", True)


def test_classes_without_names_are_said():
    class Labelled:
        features = {"label": type("Names", (), {"names": ["cat", "cow", "dog"]})}

    with pytest.warns(UserWarning, match="have no names; they are assumed to be in the dataset's order"):
        check_labels(tiny_model(num_labels=3), Labelled)


def renamed(data, folder):
    for file in data.rglob("*.png"):
        new = folder / file.relative_to(data).parent / f"photograph {file.name}"
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, new)
    for split in ("train", "test"):
        text = (data / split / "metadata.jsonl").read_text()
        (folder / split / "metadata.jsonl").write_text(re.sub(r"/(\d+\.png)", r"/photograph \1", text))
    return {"dataset": "folder", "data_dir": folder}


def as_parquet(data, folder):
    for split, table in datasets.load_dataset("imagefolder", data_dir=str(data), cache_dir=str(folder / "c")).items():
        table.to_parquet(folder / f"{split}.parquet")
    return {"dataset": str(folder)}


@pytest.mark.parametrize("change", [renamed, as_parquet])
def test_same_images_under_other_names(data, tmp_path, change):
    held_out = leave_record(tmp_path / "run", data, validation_fraction=0.25)["validation"]
    given = change(data, tmp_path)
    validation, why_not = evaluated(tmp_path / "run", **given).validation()
    assert why_not is None and len(validation) == len(held_out)
    assert set(fingerprints(validation)) == set(fingerprints(held_out))


def test_a_picture_that_is_there_twice(data, tmp_path):
    shutil.copytree(data, tmp_path / "data")
    for file in (tmp_path / "data/train/cat").glob("*.png"):
        shutil.copy(file, file.with_name(f"copy of {file.name}"))
    leave_record(tmp_path / "run", tmp_path / "data")
    record = RunRecord.of(tmp_path / "run")
    assert not np.isin(record.held_out, record.trained).any()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        validation, why_not = evaluated(tmp_path / "run", data_dir=tmp_path / "data").validation()
    assert why_not is None and set(fingerprints(validation)) == set(record.held_out)


def test_record_that_numbers_images_by_their_names(data, tmp_path):
    leave_record(tmp_path, data, data_seed=0)
    content = json.loads((tmp_path / "run.json").read_text())
    content["images"].pop("numbered_by")
    (tmp_path / "run.json").write_text(json.dumps(content))
    assert RunRecord.of(tmp_path).trained is None
    assert evaluated(tmp_path, data_dir=data).validation()[1] is None


def test_large_files_are_read_in_parts(tmp_path):
    bits = np.random.default_rng(0).integers(0, 255, (120, 120, 3), dtype=np.uint8)
    for name, place in (("a", 0), ("b", 60), ("c", 119)):
        other = bits.copy()
        other[place] = 0
        (tmp_path / name).mkdir()
        Image.fromarray(other).save(tmp_path / name / "picture.bmp")
    table = load_wsol_dataset("folder", tmp_path, "train", validation_fraction=0.0)
    assert len(set(fingerprints(table))) == 3
