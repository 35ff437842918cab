"""A checkpoint that is not whole is passed over, with a word; where none is whole nothing begins anew unasked."""

import json
import random
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from modeling_sat.checkpoints.run_record import RunRecord
from modeling_sat.training import ConfigurationError, SATTrainingArguments, TrainingStopped
from modeling_sat.training.checkpoints import (
    check_nothing_is_replaced,
    check_same_run,
    check_weights_fit,
    explain_failed_reading,
    whole_checkpoint,
)
from modeling_sat.training.whole import MANIFEST_FILE, damage, seal


STATE = {"global_step": 4, "epoch": 1.0, "log_history": []}
RECORD = RunRecord(
    settings={
        "learning_rate": 0.1,
        "exact_area": True,
        "lr_scheduler_type": "cosine",
        "dataset_options": '{"a":1}',
    },
    length={"num_train_epochs": 2},
)


def make_checkpoint(folder: Path, sealed: bool = True, processes: int = 1) -> Path:
    folder.mkdir(parents=True)
    weight = torch.nn.Parameter(torch.ones(2, 3))
    optimizer = torch.optim.AdamW([weight])
    weight.sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.ConstantLR(optimizer)
    draws = {"python": random.getstate(), "numpy": np.random.get_state(), "cpu": torch.random.get_rng_state()}
    save_file({"weight": weight.data}, folder / "model.safetensors")
    save_file({"weight": weight.data}, folder / "ema.safetensors")
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    torch.save(schedule.state_dict(), folder / "scheduler.pt")
    torch.save({"scale": 2.0}, folder / "scaler.pt")
    for name in ["rng_state.pth"] if processes == 1 else [f"rng_state_{index}.pth" for index in range(processes)]:
        torch.save(draws, folder / name)
    (folder / "trainer_state.json").write_text(json.dumps(STATE))
    (folder / "config.json").write_text("{}")
    if sealed:
        seal(folder)
    return folder


def arguments(folder, **fields) -> SATTrainingArguments:
    return SATTrainingArguments(str(folder), report_to=[], use_cpu=True, **fields)


def empty(file):
    file.write_bytes(b"")


def cut(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def flip(file):
    content = bytearray(file.read_bytes())
    if zipfile.is_zipfile(file):  # a byte of what is stored, not of its padding
        content[content.index(b"PROTO" if b"PROTO" in content else b"\x80\x02") + 3] ^= 4
    else:
        content[-2] ^= 4
    file.write_bytes(content)


def other(file):
    file.write_bytes(b"[]") if file.suffix == ".json" else torch.save({}, file)


def folder_instead(file):
    file.unlink()
    file.mkdir()


NAMES = [
    "model.safetensors",
    "ema.safetensors",
    "optimizer.pt",
    "scheduler.pt",
    "scaler.pt",
    "rng_state.pth",
    "trainer_state.json",
]
WAYS = [Path.unlink, empty, cut, other, flip, folder_instead]


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("name", NAMES)
def test_each_file_counts(tmp_path, name, way, sealed):
    if not sealed and way is flip and name.endswith(("safetensors", "json")):
        pytest.skip("nothing tells, of a checkpoint from before there were manifests")
    folder = make_checkpoint(tmp_path / "checkpoint-4", sealed)
    assert damage(folder, fp16=True, averaged=True) is None
    way(folder / name)
    assert name in damage(folder, fp16=True, averaged=True)


@pytest.mark.parametrize(
    "state",
    ["null", "3", '{"global_step": null}', '{"global_step": -1, "epoch": 0}', '{"global_step": "4", "epoch": 1}',
     '{"global_step": true, "epoch": 1}', '{"global_step": 4}', '{"global_step": 4, "epoch": 1, "log_history": {}}'],
)  # fmt: skip
def test_a_state_that_says_no_step(tmp_path, state):
    folder = make_checkpoint(tmp_path / "checkpoint-4", sealed=False)
    (folder / "trainer_state.json").write_text(state)
    assert "trainer_state.json" in damage(folder)


@pytest.mark.parametrize("text", ["", "[]", '{"files": 3}', '{"files": {"a": 3}}'])
def test_a_damaged_manifest(tmp_path, text):
    folder = make_checkpoint(tmp_path / "checkpoint-4")
    (folder / MANIFEST_FILE).write_text(text)
    assert "manifest.json cannot be read" in damage(folder)


def test_what_others_rewrite_does_not_count(tmp_path):
    folder = make_checkpoint(tmp_path / "checkpoint-4")
    for name in ("config.json", "preprocessor_config.json", "README.md", "notes.txt"):
        (folder / name).write_text("{ }")
    assert damage(folder) is None


@pytest.mark.parametrize("sealed", [True, False])
def test_random_numbers_of_several_processes(tmp_path, sealed):
    folder = make_checkpoint(tmp_path / "checkpoint-4", sealed, processes=2)
    assert damage(folder, processes=2) is None
    assert damage(folder, processes=1) is None and damage(folder, processes=4) is None  # divided otherwise
    (folder / "rng_state_0.pth").unlink()
    assert "it has no rng_state_0.pth" in damage(folder, processes=2)
    empty(folder / "rng_state_1.pth")
    assert damage(folder, processes=4) is not None


def test_weights_in_parts(tmp_path):
    folder = make_checkpoint(tmp_path / "checkpoint-4", sealed=False)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"weight": "model-00001-of-00002.safetensors"}}))
    assert damage(folder) is None
    index.write_text(json.dumps({"weight_map": {"weight": "model-00002-of-00002.safetensors"}}))
    assert "it has no model-00002-of-00002.safetensors" in damage(folder)
    index.write_text("[]")
    assert "model.safetensors.index.json cannot be read" in damage(folder)


def test_layouts_of_divided_models_are_theirs(tmp_path):
    folder = make_checkpoint(tmp_path / "checkpoint-4", sealed=False)
    for name in ("model.safetensors", "optimizer.pt"):
        (folder / name).unlink()
    (folder / "pytorch_model_fsdp_0").mkdir()
    assert damage(folder) is None
    (folder / "pytorch_model_fsdp_0" / "__0_0.distcp").write_bytes(b"12")
    seal(folder)
    empty(folder / "pytorch_model_fsdp_0" / "__0_0.distcp")
    assert "__0_0.distcp has 0 bytes, 2 were written" in damage(folder)


def test_the_one_before_is_taken_and_said(tmp_path):
    for step in (2, 4, 6, 10):
        make_checkpoint(tmp_path / f"checkpoint-{step}")
    for name in ("checkpoint-²", "checkpoint-last", "checkpoint-12-copy", "checkpoint-"):
        shutil.copytree(tmp_path / "checkpoint-2", tmp_path / name)
    (tmp_path / "checkpoint-99").write_text("a file")
    assert whole_checkpoint(arguments(tmp_path)).name == "checkpoint-10"
    (tmp_path / "checkpoint-10" / "optimizer.pt").unlink()
    empty(tmp_path / "checkpoint-6" / "scheduler.pt")
    with pytest.warns(
        UserWarning, match="checkpoint-10 .it has no optimizer.pt.; .*checkpoint-6 .*checkpoint-4, the previous one"
    ):
        assert whole_checkpoint(arguments(tmp_path)).name == "checkpoint-4"


def test_where_none_is_whole_nothing_begins_anew(tmp_path):
    assert whole_checkpoint(arguments(tmp_path)) is None
    for step in (2, 4):
        empty(make_checkpoint(tmp_path / f"checkpoint-{step}") / "model.safetensors")
    with pytest.raises(
        ConfigurationError, match=r"No checkpoint in .* is complete: .*checkpoint-4 .*checkpoint-2 .*remove"
    ):
        whole_checkpoint(arguments(tmp_path))


def test_the_one_that_is_asked_for_is_not_replaced(tmp_path):
    for step in (2, 4):
        make_checkpoint(tmp_path / f"checkpoint-{step}")
    asked = arguments(tmp_path, resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert whole_checkpoint(asked) == tmp_path / "checkpoint-4"
    cut(tmp_path / "checkpoint-4" / "optimizer.pt")
    with pytest.raises(ConfigurationError, match=r"checkpoint-4 is incomplete: its optimizer\.pt has"):
        whole_checkpoint(asked)


def test_the_average_and_the_scaler_are_needed_where_the_run_has_them(tmp_path):
    folder = make_checkpoint(tmp_path / "checkpoint-4", sealed=False)
    (folder / "ema.safetensors").unlink()
    (folder / "scaler.pt").unlink()
    assert whole_checkpoint(arguments(tmp_path)) == folder
    for fields, name in (({"ema_decay": 0.9}, "ema.safetensors"), ({"fp16": True}, "scaler.pt")):
        with pytest.raises(ConfigurationError, match=f"it has no {name}"):
            whole_checkpoint(arguments(tmp_path, **fields))


@pytest.mark.parametrize("text", ["", "[]", "null", "3", "{}", '{"settings": null}', '{"settings": {}, "length": []}'])
def test_a_damaged_run_record(tmp_path, text):
    checkpoint = make_checkpoint(tmp_path / "checkpoint-4")
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ConfigurationError, match=r"run\.json cannot be read .*; remove it to continue"):
        check_same_run(checkpoint, RECORD)


def write_record(folder, **changed):
    content = {"settings": {**RECORD.settings, **changed}, "length": RECORD.length}
    (folder / "run.json").write_text(json.dumps(content))
    return content


def test_records_of_older_runs_and_other_spellings(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "checkpoint-4")
    content = write_record(tmp_path, dataset_options='{"a": 1}')
    del content["settings"]["exact_area"], content["length"]
    (tmp_path / "run.json").write_text(json.dumps(content))
    check_same_run(checkpoint, RECORD)
    with pytest.raises(ConfigurationError, match="exact_area"):
        check_same_run(checkpoint, replace(RECORD, settings={**RECORD.settings, "exact_area": False}))
    (tmp_path / "run.json").unlink()
    write_record(checkpoint, learning_rate=0.2)  # the checkpoint's own
    with pytest.raises(ConfigurationError, match=r"learning_rate 0\.2, now 0\.1"):
        check_same_run(checkpoint, RECORD)


def test_a_trained_model_is_not_replaced_without_a_word(tmp_path):
    check_nothing_is_replaced(tmp_path, RECORD)
    empty(tmp_path / "model.safetensors")
    with pytest.raises(ConfigurationError, match="that was not trained here"):
        check_nothing_is_replaced(tmp_path, RECORD)
    write_record(tmp_path, learning_rate=0.2)
    with pytest.raises(ConfigurationError, match=r"model of another run .*learning_rate 0\.2, now 0\.1"):
        check_nothing_is_replaced(tmp_path, RECORD)
    write_record(tmp_path)
    with pytest.warns(UserWarning, match="trained again from step 0"):
        check_nothing_is_replaced(tmp_path, RECORD)


def test_classes_that_changed_places(tmp_path):
    checkpoint = make_checkpoint(tmp_path / "checkpoint-4")
    model = torch.nn.Module()
    model.weight = torch.nn.Parameter(torch.zeros(2, 3))
    model.config = type("Config", (), {"id2label": {0: "cat", 1: "dog"}})
    (checkpoint / "config.json").write_text('{"id2label": {"0": "cat", "1": "dog"}}')
    check_weights_fit(checkpoint, model)
    (checkpoint / "config.json").write_text('{"id2label": {"0": "dog", "1": "wolf"}}')
    with pytest.raises(ConfigurationError, match="class 0 is 'dog' there and 'cat' in the data"):
        check_weights_fit(checkpoint, model)
    (checkpoint / "config.json").write_text('{"id2label": ')
    with pytest.raises(ConfigurationError, match=r"config.json cannot be read .* continue from the one before it"):
        check_weights_fit(checkpoint, model)


@pytest.mark.parametrize("error", [KeyError("state"), ValueError("a group of another size"), EOFError()])
def test_what_fits_no_more_is_said(error):
    with (
        pytest.raises(TrainingStopped, match="Training cannot continue from checkpoint-4"),
        explain_failed_reading("checkpoint-4"),
    ):
        raise error
