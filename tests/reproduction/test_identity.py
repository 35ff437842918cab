"""Runs are one only where nothing differs that decides their result."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from huggingface_hub.errors import HTTPError

from modeling_sat.reproduction import identity
from modeling_sat.reproduction.command import ReproductionOptions, make_runs
from modeling_sat.reproduction.identity import (
    Identifier,
    checkpoint_fingerprint,
    files_fingerprint,
    identity_key,
)
from modeling_sat.reproduction.recipes import Recipe, make_run
from modeling_sat.reproduction.results import Key
from modeling_sat.reproduction.studies import STUDIES, Row
from modeling_sat.training.arguments import OF_TRAINER, ConfigurationError, resolve_fields, roles


@pytest.fixture
def data(tmp_path) -> Path:
    for name in ("train/cat/1.jpg", "train/dog/2.jpg", "test/cat/3.jpg", "metadata.csv"):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_text(name)
    return tmp_path / "data"


@pytest.fixture
def start(tmp_path) -> Path:
    (tmp_path / "start").mkdir()
    (tmp_path / "start/config.json").write_text('{"model_type": "vit"}')
    (tmp_path / "start/preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    (tmp_path / "start/model.safetensors").write_bytes(b"weights")
    return tmp_path / "start"


def key(**fields) -> str:
    return identity_key(Identifier().of({"dataset": "folder", **fields}))


KEEPS_BEST = {"metric_for_best_model": "gt_known_loc"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"num_train_epochs": 3}),
        ({}, {"dataset_options": {"masks": "silhouettes"}}),
        ({"dataset_options": {"num_train": 8}}, {"dataset_options": {"num_train": 9}}),
        ({}, {"classes": ["cat", "dog"]}),
        ({}, {"validation_fraction": 0.2}),
        ({}, {"model": "org/one"}),
        ({"model": "org/one"}, {"model": "org/other"}),
        ({}, {"on_bad_image": "skip"}),
        ({}, {"resize_size": 256}),
        ({}, {"adam_beta2": 0.99}),
        ({}, {"bf16": True}),
        ({}, {"ema_decay": 0.99}),
        ({}, {"optim": "sgd"}),
        ({}, KEEPS_BEST),
        (KEEPS_BEST, {**KEEPS_BEST, "protocol": "wsolevaluation"}),
        (KEEPS_BEST, {**KEEPS_BEST, "view": "whole"}),
        (KEEPS_BEST, {**KEEPS_BEST, "eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 10}),
        (KEEPS_BEST, {**KEEPS_BEST, "save_strategy": "best"}),
        (KEEPS_BEST, {**KEEPS_BEST, "eval_delay": 3}),
        (KEEPS_BEST, {**KEEPS_BEST, "greater_is_better": False}),
        ({"load_best_model_at_end": True}, {"load_best_model_at_end": True, "view": "whole"}),
        ({"lr_scheduler_type": "reduce_lr_on_plateau"},
         {"lr_scheduler_type": "reduce_lr_on_plateau", "protocol": "wsolevaluation"}),
    ],
)  # fmt: skip
def test_two_runs(one, other):
    assert key(**one) != key(**other)


@pytest.mark.parametrize(
    "fields",
    [
        {"output_dir": "elsewhere"}, {"report_to": ["wandb"]}, {"logging_steps": 7}, {"dataloader_num_workers": 5},
        {"push_to_hub": True, "hub_model_id": "me/mine"}, {"per_device_eval_batch_size": 3}, {"seed": 1}, {"data_seed": 1},
        {"num_train_epochs": 30.0}, {"learning_rate": "1e-4"}, {"save_total_limit": 9}, {"area_target": None},
        {"eval_strategy": "no"}, {"save_strategy": "steps", "save_steps": 9}, {"protocol": "wsolevaluation"}, {"view": "whole"},
    ],
)  # fmt: skip
def test_one_run(fields):
    assert key() == key(**fields)


def test_fields_that_decide_nothing_exist():
    known = resolve_fields({}).keys()
    named = [name for names in OF_TRAINER.values() for name in names]
    assert set(named) <= known == roles().keys() and len(set(named)) == len(named)
    assert "hub_token" not in Identifier().of({"hub_token": "secret"})["fields"]


def test_data_is_known_by_what_it_holds(data, tmp_path):
    before = key(data_dir=str(data))
    moved = tmp_path / "moved"
    data.rename(moved)
    assert key(data_dir=str(moved)) == before
    (tmp_path / "link").symlink_to(moved)
    assert key(data_dir=str(tmp_path / "link")) == before
    (moved / ".DS_Store").write_text("")
    (moved / "train/cat/back").symlink_to(moved)  # leads back
    assert key(data_dir=str(moved)) == before
    for change in (
        lambda: (moved / "metadata.csv").write_text("another size"),
        lambda: os.utime(moved / "train/cat/1.jpg", ns=(0, 1)),
        lambda: (moved / "train/cat/1.jpg").rename(moved / "train/dog/1.jpg"),
        lambda: (moved / "test/cat/4.jpg").write_text(""),
        lambda: (moved / "train/dog/2.jpg").unlink(),
    ):
        change()
        after = key(data_dir=str(moved))
        assert after != before
        before = after


def test_what_a_run_writes_is_not_its_data(data):
    before = files_fingerprint(data)
    (data / "outputs").mkdir()
    (data / "outputs/log.txt").write_text("")
    assert files_fingerprint(data, (data / "outputs").resolve()) == before != files_fingerprint(data)


def test_paths_of_options_and_parquet_folders(data, tmp_path):
    boxes = tmp_path / "boxes.json"
    boxes.write_text("[]")
    options = {"dataset_options": {"annotations": str(boxes)}, "data_dir": str(data)}
    before, parquet = key(**options), key(dataset=str(data))
    boxes.write_text("[1]")
    assert key(**options) != before
    (data / "train-00000-of-00001.parquet").write_text("")
    assert key(dataset=str(data)) != parquet


def test_a_starting_checkpoint_is_known_by_its_content(start, tmp_path):
    before = key(model=str(start))
    start.rename(tmp_path / "moved")
    start = tmp_path / "moved"
    (start / "README.md").write_text("a card")
    os.utime(start / "model.safetensors", ns=(0, 0))
    assert key(model=str(start)) == before
    for name, content in (
        ("model.safetensors", b"others!"),
        ("config.json", b"{}"),
        ("preprocessor_config.json", b"{}"),
    ):
        stat = (start / name).stat() if (start / name).exists() else None
        (start / name).write_bytes(content)
        if stat is not None:  # what only looks at times would not see
            os.utime(start / name, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        after = key(model=str(start))
        assert after != before
        before = after
    assert set(checkpoint_fingerprint(start)) == {"config.json", "model.safetensors", "preprocessor_config.json"}


def test_a_folder_whose_name_scales_pixels(start):
    before = key(model=str(start))
    start.rename(start.with_name("deit-tiny"))
    named = key(model=str(start.with_name("deit-tiny")))
    start.with_name("deit-tiny").rename(start)
    assert named != before == key(model=str(start))
    assert key(model=str(start), pixel_statistics="imagenet") != before


def test_a_name_of_the_hub_is_its_commit(monkeypatch, tmp_path):
    import modeling_sat.reproduction.identity as module

    monkeypatch.setattr(module, "HF_HUB_CACHE", str(tmp_path))
    for kind, fields in (("models", {"model": "org/name"}), ("datasets", {"dataset": "org/name"})):
        before = key(**fields)
        reference = tmp_path / f"{kind}--org--name/refs/main"
        reference.parent.mkdir(parents=True)
        reference.write_text("0123abc")
        assert key(**fields) != before


RECIPE = Recipe("DeiT-S", Path("configs/deit_small.yaml"), {"area_target": 0.35}, {})


def run_of(tmp_path, recipe=RECIPE, **options):
    options = ReproductionOptions("cub", seeds=[0], output_dir=tmp_path, **options)
    study = STUDIES["table1"]
    return make_runs(study, study.rows, [recipe], options)[Key("SAT", model="DeiT-S")][0]


def test_runs_of_two_data_folders(data, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    out = tmp_path / "out"
    one, two = (run_of(out, data_dir=str(folder)) for folder in (data, other))
    assert one.folder != two.folder
    one.write_config()
    assert "is another run than recipe-" in two.why_anew() and "the data's files" in two.why_anew()
    two.write_config()
    assert run_of(out, data_dir=str(data)).folder == one.folder
    assert one.why_anew() is None


def test_an_edited_recipe_is_another_run_and_says_why(tmp_path):
    one = run_of(tmp_path)
    one.write_config()
    two = run_of(tmp_path, replace(RECIPE, fields={"area_target": 0.25}))
    assert one.folder != two.folder and "area_target 0.35 and 0.25" in two.why_anew()


def test_a_protocol_that_chooses_the_pass_is_another_run(tmp_path):
    keeping = replace(RECIPE, fields=KEEPS_BEST)
    assert run_of(tmp_path, keeping).folder != run_of(tmp_path, keeping, protocol="wsolevaluation").folder
    assert run_of(tmp_path).folder == run_of(tmp_path, protocol="wsolevaluation").folder
    whole = replace(RECIPE, added={"view": "whole"})
    assert run_of(tmp_path, whole).evaluation.name == "evaluation-view-whole"
    wsol = replace(RECIPE, fields={"protocol": "wsolevaluation"})
    assert run_of(tmp_path, wsol).fields["protocol"] == "wsolevaluation"
    assert run_of(tmp_path, wsol, protocol="sat").fields["protocol"] == "sat"


def test_runs_of_earlier_versions_are_not_used(tmp_path):
    old = tmp_path / "runs/cub-deit_small/recipe/seed-0"
    (old / "evaluation").mkdir(parents=True)
    (old / "config.yaml").write_text(yaml.safe_dump({"area_target": 0.35}))
    (old / "evaluation/metrics.json").write_text("{}")
    run = run_of(tmp_path)
    assert run.folder != old
    assert "does not say what data and starting checkpoint" in run.why_anew()


def test_a_run_that_was_tampered_with_is_refused(tmp_path):
    run = make_run(RECIPE, [Row("b", {"area_target": 0.25})], 0, "cub", tmp_path)
    run.write_config()
    run.write_config()
    record = run.folder / "cell.json"
    record.write_text(record.read_text().replace('"area_target": 0.25', '"area_target": 0.5'))
    with pytest.raises(ConfigurationError, match=r"holds a run with other settings: area_target 0\.5 and 0\.25"):
        run.write_config()
    record.unlink()
    with pytest.raises(ConfigurationError, match="it has no cell"):
        run.write_config()


def test_a_network_that_fails_leaves_the_name(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise HTTPError("no route to the Hub")

    monkeypatch.setattr(identity.HfApi, "repo_info", fail)
    monkeypatch.setattr(identity, "HF_HUB_CACHE", str(tmp_path))
    assert Identifier().of({"dataset": "cub", "model": "someone/vit"})["start"] == "someone/vit@main"
