"""What a run writes is what others read."""

import json
from dataclasses import replace

import numpy as np
import pytest

from modeling_sat.checkpoints.run_record import (
    HELD_OUT,
    NUMBERED_BY,
    ImagesRecord,
    RunRecord,
    RunRecordError,
    SessionRecord,
    packed,
)


RECORD = RunRecord(
    settings={"dataset": "cub", "seed": 6, "classes": None},
    batch_size=64,
    training_images=5994,
    length={"num_train_epochs": 30, "max_steps": -1},
    images=ImagesRecord("/data", HELD_OUT, packed(np.array([3, 1, 3])), packed(np.array([7])), NUMBERED_BY),
    frozen_rate=0.25,
    parameters=1000,
    session=SessionRecord(10, 3.5, "1 × H200", {"torch": "2.13"}, {"dataset": "org/birds"}, 0.35),
)


def test_it_comes_back_as_it_was(tmp_path):
    RECORD.save(tmp_path)
    found = RunRecord.of(tmp_path)
    assert replace(found, path=None) == RECORD and found.path == tmp_path / "run.json"
    assert found.trained.tolist() == [1, 3] and found.held_out.tolist() == [7]


def test_the_keys_of_the_file(tmp_path):
    RECORD.save(tmp_path)
    content = json.loads((tmp_path / "run.json").read_text())
    assert list(content) == ["settings", "length", "images", "frozen_rate", "parameters", "session"]
    assert content["settings"] == {
        "dataset": "cub", "seed": 6, "classes": None, "images in a batch": 64, "training images": 5994
    }  # fmt: skip
    assert set(content["images"]) == {"data_dir", "validation", "trained", "held_out", "numbered_by"}
    assert set(content["session"]) == {"from_step", "seconds", "hardware", "versions", "hub", "seconds_per_step"}


def test_older_and_later_records(tmp_path):
    content = {"settings": {"seed": 1}, "images": None, "session": {"seconds": 2.0, "mood": "good"}, "more": 1}
    (tmp_path / "run.json").write_text(json.dumps(content))
    found = RunRecord.of(tmp_path)
    assert (found.settings, found.batch_size, found.trained) == ({"seed": 1}, None, None)
    assert found.session == SessionRecord(seconds=2.0)


def test_one_without_settings_says_what_it_says(tmp_path):
    (tmp_path / "run.json").write_text('{"frozen_rate": 0.5}')
    assert RunRecord.load(tmp_path / "run.json", partial=True).frozen_rate == 0.5
    with pytest.raises(RunRecordError, match="not the record that a training writes"):
        RunRecord.load(tmp_path / "run.json")
