"""However a batch is divided, over processes or accumulation steps, the training is the same."""

import json
import os

import pytest
import torch
from launching import TINY, refused, trained
from safetensors.torch import load_file


LOSSES = ("loss", "classification_loss", "area_loss", "normalization_loss", "area", "accuracy", "grad_norm")
STEPS = 20
# 37 images in batches of 16 leave 5: with accumulation in fours, parts of 4 and 1; over two processes, 3 and 2.
DIVISIONS = {
    "one": (1, 16, 1), "two processes": (2, 8, 1), "accumulated": (1, 4, 4), "both": (2, 4, 2),
}  # fmt: skip


def options(batch_size: int, accumulation: int) -> list:
    return [
        *TINY, "--per_device_train_batch_size", batch_size, "--gradient_accumulation_steps", accumulation,
        "--max_steps", STEPS, "--logging_steps", 1, "--eval_strategy", "no", "--save_strategy", "no",
        "--drop_path_rate", 0, "--learning_rate", 1e-3,
    ]  # fmt: skip


def log(folder) -> list[dict[str, float]]:
    history = json.loads((folder / "trainer_state.json").read_text())["log_history"]
    return [{name: entry.get(name, 0.0) for name in LOSSES} for entry in history if "loss" in entry]


def parameter_difference(one, other) -> float:
    one, other = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert one.keys() == other.keys()
    return max((one[name] - other[name]).abs().max().item() for name in one)


def log_difference(one, other) -> float:
    pairs = list(zip(log(one), log(other), strict=True))
    assert len(pairs) == STEPS
    return max(abs(a[name] - b[name]) for a, b in pairs for name in LOSSES)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("divisions")
    done = {}

    def folder(name: str, *more):
        key = " ".join(map(str, (name, *more)))
        if key not in done:
            processes, batch_size, accumulation = DIVISIONS[name]
            done[key] = root / str(len(done))
            trained(*options(batch_size, accumulation), *more, "--output_dir", done[key], processes=processes)
        return done[key]

    return folder


@pytest.fixture(scope="module")
def target(runs) -> float:
    """A λ amid the areas of the first run's batches, so that micro-batches lie on both sides of it."""
    return sorted(entry["area"] for entry in log(runs("one")))[STEPS // 2]


@pytest.mark.parametrize("name", [name for name in DIVISIONS if name != "one"])
@pytest.mark.parametrize("sides", ["one", "both"])
def test_a_divided_batch_trains_the_same_model(runs, target, name, sides):
    more = ["--area_target", target] if sides == "both" else []
    one, divided = runs("one", *more), runs(name, *more)
    figures = parameter_difference(one, divided), log_difference(one, divided)
    print(f"{name}, λ on {sides} side(s): parameters {figures[0]:.1e}, log {figures[1]:.1e}")
    assert figures[0] < 1e-5
    assert figures[1] < 1e-5


def test_the_area_loss_of_each_part_alone_is_another_training(runs, target):
    more = ["--area_target", target]
    one, divided = runs("one", *more), runs("accumulated", *more, "--exact_area", "false")
    assert parameter_difference(one, divided) > 1e-3
    # … and so is the area loss of each process alone.
    more += ["--area_reduction", "local"]
    assert parameter_difference(one, runs("two processes", *more)) > 1e-3


@pytest.mark.parametrize("name", ["two processes", "accumulated"])
def test_a_classification_phase_is_divided_exactly_too(runs, name):
    more = ["--classification_epochs", 3]
    assert parameter_difference(runs("one", *more), runs(name, *more)) < 1e-5
    assert log_difference(runs("one", *more), runs(name, *more)) < 1e-5


def cam() -> list:
    drop = TINY.index("--num_spatial_layers")
    return TINY[:drop] + TINY[drop + 2 :]


def test_a_baseline_is_divided_exactly_too(tmp_path):
    for name, (processes, batch_size, accumulation) in DIVISIONS.items():
        arguments = [*cam(), *options(batch_size, accumulation)[len(TINY) :], "--method", "cam"]
        trained(*arguments, "--output_dir", tmp_path / name, processes=processes)
        assert parameter_difference(tmp_path / "one", tmp_path / name) < 1e-5
        assert log_difference(tmp_path / "one", tmp_path / name) < 1e-5


def test_two_processes_go_on_where_they_were(tmp_path):
    """… with drop path, each process drawing for itself."""
    common = [*TINY, "--per_device_train_batch_size", 4, "--drop_path_rate", 0.3, "--logging_steps", 1,
              "--gradient_accumulation_steps", 2, "--eval_strategy", "no",
              "--save_strategy", "steps", "--save_steps", 4, "--save_total_limit", 9]  # fmt: skip
    trained(*common, "--max_steps", 10, "--output_dir", tmp_path / "whole", processes=2)
    trained(*common, "--max_steps", 4, "--output_dir", tmp_path / "parts", processes=2)
    assert sorted(os.listdir(tmp_path / "parts" / "checkpoint-4")) == sorted(
        os.listdir(tmp_path / "whole" / "checkpoint-4")
    )
    trained(*common, "--max_steps", 10, "--output_dir", tmp_path / "parts", processes=2)
    assert parameter_difference(tmp_path / "whole", tmp_path / "parts") == 0


def test_best_checkpoint_of_two_processes(tmp_path):
    common = [*TINY, "--per_device_train_batch_size", 4, "--num_train_epochs", 4, "--learning_rate", 3e-3]
    trained(*common, "--metric_for_best_model", "top1_cls", "--output_dir", tmp_path, processes=2)
    state = json.loads((tmp_path / "trainer_state.json").read_text())
    best = state["best_model_checkpoint"]
    assert os.path.isdir(best) and "being-written" not in best
    ends, chosen = load_file(tmp_path / "model.safetensors"), load_file(f"{best}/model.safetensors")
    assert all(torch.equal(ends[name], chosen[name]) for name in chosen)


def test_more_processes_than_images(tmp_path):
    two_images = ["--classes", "checks", "dots", "--images_per_class", 1]
    output = refused(*TINY, *two_images, "--output_dir", tmp_path, "--max_steps", 1, processes=3)
    assert "3 processes cannot share 2 training images" in output
