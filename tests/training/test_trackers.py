import json
import os
import shutil
import warnings

import numpy as np
import pytest
import torch
from launching import TINY, start, trained
from PIL import Image
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from modeling_sat.training import trackers
from modeling_sat.training.checkpoints import last_checkpoint
from modeling_sat.training.trackers import TolerantTracker, UnknownTrackerError, usable_trackers
from modeling_sat.training.whole import MANIFEST_FILE


DROP = TINY.index("--report_to")
EVALUATED = [
    *TINY[:DROP], *TINY[DROP + 2 :], "--per_device_train_batch_size", 8, "--num_train_epochs", 4, "--logging_steps", 2,
    "--learning_rate", 3e-3, "--drop_path_rate", 0.3,
]  # fmt: skip


def test_an_unknown_tracker_names_the_nearest():
    with pytest.raises(UnknownTrackerError, match=r"'wandbb', which is not a tracker\. Did you mean 'wandb'"):
        usable_trackers(["wandbb"])


def test_a_tracker_that_is_not_installed_is_a_warning():
    with pytest.warns(UserWarning, match="Nothing is reported to wandb"):
        assert usable_trackers(["wandb", "tensorboard"]) == ["tensorboard"]


def test_none_is_none():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert usable_trackers("none") == usable_trackers(["none"]) == usable_trackers(None) == []


def test_a_tracker_fails_once():
    class Broken:
        calls = 0

        def on_log(self, *args):
            self.calls += 1
            raise ConnectionError("no route")

    broken = Broken()
    tolerant = TolerantTracker("wandb", broken)
    with pytest.warns(UserWarning, match="wandb cannot be reached .ConnectionError: no route."):
        tolerant.on_log()
    tolerant.on_log()
    tolerant.show(Image.new("RGB", (2, 2)), 1)
    assert broken.calls == 1


def test_every_picture_function_is_of_a_known_tracker():
    assert set(trackers._SHOW) <= set(trackers.INTEGRATION_TO_CALLBACK)


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracked")
    output = trained(
        *EVALUATED,
        "--report_to",
        "tensorboard",
        "wandb",
        "--metric_for_best_model",
        "top1_cls",
        "--output_dir",
        folder,
    )
    assert "Nothing is reported to wandb" in output
    return folder


def test_tensorboard_holds_losses_and_pictures(tracked):
    (events,) = tracked.rglob("events.out.tfevents.*")
    accumulator = EventAccumulator(str(events.parent), size_guidance={"images": 0})
    accumulator.Reload()
    scalars = set(accumulator.Tags()["scalars"])
    names = ("loss", "classification_loss", "area_loss", "normalization_loss", "area", "accuracy")
    assert {f"train/{name}" for name in names} | {"eval/gt_known_loc", "eval/top1_cls"} <= scalars
    assert [event.step for event in accumulator.Images("eval/maps")] == [5, 10, 15, 20]


def test_maps_are_drawn_at_every_evaluation(tracked):
    files = sorted(path.name for path in (tracked / "maps").iterdir())
    assert files == [f"step-{step:06}.jpg" for step in (5, 10, 15, 20)]
    pixels = np.asarray(Image.open(tracked / "maps" / files[-1]))
    assert pixels.shape[0] > 100 and pixels.std() > 10


def best_of(folder) -> tuple[dict, dict]:
    """The state of a run, and its evaluations by step."""
    state = json.loads((folder / "trainer_state.json").read_text())
    return state, {entry["step"]: entry["eval_top1_cls"] for entry in state["log_history"] if "eval_top1_cls" in entry}


def assert_ends_with_the_best(folder):
    state, scores = best_of(folder)
    assert len(scores) == 4
    best = max(scores, key=scores.get)  # the first of equals
    assert state["best_global_step"] == best
    assert state["best_metric"] == scores[best]
    assert os.path.samefile(state["best_model_checkpoint"], folder / f"checkpoint-{best}")
    ends, chosen = load_file(folder / "model.safetensors"), load_file(folder / f"checkpoint-{best}/model.safetensors")
    assert all(torch.equal(ends[name], chosen[name]) for name in chosen)
    for saved in folder.glob("checkpoint-*/trainer_state.json"):
        assert "being-written" not in saved.read_text()
    assert len(list(folder.glob("checkpoint-*"))) <= 2


def test_a_run_ends_with_its_best_weights(tracked):
    assert_ends_with_the_best(tracked)


def test_a_killed_run_ends_with_its_best_weights(tracked, tmp_path):
    options = [*EVALUATED, "--report_to", "none", "--metric_for_best_model", "top1_cls", "--output_dir", tmp_path]
    training = start(*options)
    while last_checkpoint(tmp_path) is None and training.running:
        pass
    training.kill()
    trained(*options)
    assert_ends_with_the_best(tmp_path)
    assert best_of(tmp_path)[1] == best_of(tracked)[1]


def test_a_moved_run_ends_with_its_best_weights(tracked, tmp_path):
    folder = shutil.copytree(tracked, tmp_path / "moved")
    for checkpoint in folder.glob("checkpoint-*"):
        state = checkpoint / "trainer_state.json"
        state.write_text(state.read_text().replace(str(tracked), str(tmp_path / "gone")))
        (checkpoint / MANIFEST_FILE).unlink()
    trained(*EVALUATED, "--report_to", "none", "--metric_for_best_model", "top1_cls", "--output_dir", folder)
    assert_ends_with_the_best(folder)


def test_a_tensorboard_that_cannot_write_is_a_warning(tracked, tmp_path):
    output = trained(
        *EVALUATED, "--report_to", "tensorboard", "--output_dir", tmp_path, "--metric_for_best_model", "top1_cls",
        environment={"TENSORBOARD_LOGGING_DIR": "/proc/nowhere/x"},
    )  # fmt: skip
    assert output.count("tensorboard cannot be reached") == 1
    ends, undisturbed = (load_file(folder / "model.safetensors") for folder in (tmp_path, tracked))
    assert all(torch.equal(ends[name], undisturbed[name]) for name in ends)
