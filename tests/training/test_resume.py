"""A training that is killed, again and again, ends bit for bit where an undisturbed one ends."""

import json
import os
import random
import shutil
import signal
import time

import datasets
import pytest
import torch
from launching import TINY, Launched, refused, start, train, trained
from safetensors.torch import load_file

from modeling_sat.data.preparation import PreparationSettings, prepare_dataset
from modeling_sat.data.views import TrainingView
from modeling_sat.training import run
from modeling_sat.training.checkpoints import RUN_FILE, last_checkpoint, partial_folder


# Drop path draws from the random numbers that a checkpoint must bring back; 37 images are 5 steps a pass.
DROPPING = [
    *TINY, "--per_device_train_batch_size", 8, "--drop_path_rate", 0.3, "--logging_steps", 1, "--learning_rate", 1e-3,
]  # fmt: skip
SCENARIOS = {
    "steps": ["--max_steps", 32, "--eval_strategy", "no", "--save_strategy", "steps", "--save_steps", 2],
    "a worker": ["--max_steps", 22, "--eval_strategy", "no", "--save_strategy", "steps", "--save_steps", 2,
                 "--dataloader_num_workers", 1],
    "evaluating passes": ["--num_train_epochs", 5, "--eval_strategy", "epoch", "--save_strategy", "steps",
                          "--save_steps", 5],
    "saving passes": ["--num_train_epochs", 5, "--save_total_limit", 1, "--ema_decay", 0.9],
    "accumulating": ["--max_steps", 22, "--per_device_train_batch_size", 2, "--gradient_accumulation_steps", 4,
                     "--save_strategy", "steps", "--save_steps", 3, "--eval_strategy", "steps", "--eval_steps", 4],
}  # fmt: skip


def assert_same_weights(one, other):
    one, other = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    done = {}

    def folder(name):
        if name not in done:
            done[name] = tmp_path_factory.mktemp("undisturbed") / "run"
            trained(*DROPPING, *SCENARIOS[name], "--output_dir", done[name])
        return done[name]

    return folder


def wait_until(training: Launched, happened) -> bool:
    """False where the training ended before."""
    deadline = time.monotonic() + 60
    while not happened():
        if not training.running:
            return False
        assert time.monotonic() < deadline, training.output[-2000:]
        time.sleep(0.0005)
    return True


@pytest.mark.parametrize(
    ("when", "name"),
    [("at any moment", name) for name in SCENARIOS]
    + [("while saving", name) for name in ("steps", "a worker", "saving passes")],
)
def test_killed_three_times(undisturbed, tmp_path, name, when):
    seed = random.SystemRandom().randrange(10**6)
    print("seed", seed)
    draw, folder, kills = random.Random(seed), tmp_path / "run", 0
    for _ in range(3):
        before = last_checkpoint(folder)
        training = start(*DROPPING, *SCENARIOS[name], "--output_dir", folder)
        stopped = wait_until(training, lambda earlier=before: last_checkpoint(folder) != earlier)
        if when == "while saving":
            stopped = stopped and wait_until(training, partial_folder(folder).is_dir)
            time.sleep(draw.uniform(0, 0.02))
        else:
            time.sleep(draw.uniform(0, 0.25))
        kills += stopped and training.running
        training.kill()
        print("killed, last whole", last_checkpoint(folder), "being written", partial_folder(folder).exists())
    assert kills
    trained(*DROPPING, *SCENARIOS[name], "--output_dir", folder)
    assert_same_weights(undisturbed(name), folder)
    assert not partial_folder(folder).exists()


def die_while_renaming():
    os.replace = _kill_at_checkpoint(os.replace, after=False)


def die_after_renaming():
    os.replace = _kill_at_checkpoint(os.replace, after=True)


def die_while_rotating():
    rmtree = shutil.rmtree

    def kill(path, *args, **kwargs):
        if "checkpoint-" in str(path) and "being-written" not in str(path) and os.path.isdir(path):
            os.remove(f"{path}/optimizer.pt")
            os.kill(os.getpid(), signal.SIGKILL)
        return rmtree(path, *args, **kwargs)

    shutil.rmtree = kill


def die_before_the_final_model():
    run.calibrate = lambda *args: os.kill(os.getpid(), signal.SIGKILL)


def _kill_at_checkpoint(replace, after):
    def kill(source, target):
        if "checkpoint-" not in str(source):
            return replace(source, target)
        if after:
            replace(source, target)
        os.kill(os.getpid(), signal.SIGKILL)

    return kill


@pytest.mark.parametrize(
    "before", [die_while_renaming, die_after_renaming, die_while_rotating, die_before_the_final_model]
)
def test_killed_at_the_worst_moment(undisturbed, tmp_path, before):
    assert train(*DROPPING, *SCENARIOS["steps"], "--output_dir", tmp_path, before=before).exit_codes == [-9]
    trained(*DROPPING, *SCENARIOS["steps"], "--output_dir", tmp_path)
    assert_same_weights(undisturbed("steps"), tmp_path)
    assert json.loads((tmp_path / "trainer_state.json").read_text())["global_step"] == 32


@pytest.mark.parametrize("name", ["steps", "evaluating passes"])
def test_a_finished_run_stays_as_it_is(undisturbed, tmp_path, name):
    folder = shutil.copytree(undisturbed(name), tmp_path / "run")
    trained(*DROPPING, *SCENARIOS[name], "--output_dir", folder)
    assert_same_weights(undisturbed(name), folder)


def test_evaluation_does_not_disturb_a_training(undisturbed, tmp_path):
    options = list(SCENARIOS["evaluating passes"])
    options[options.index("epoch")] = "no"
    trained(*DROPPING, *options, "--output_dir", tmp_path)
    assert_same_weights(undisturbed("evaluating passes"), tmp_path)


def test_half_checkpoints_are_ignored(undisturbed, tmp_path):
    folder = tmp_path / "run"
    kept = undisturbed("steps")
    partial_folder(folder).joinpath("checkpoint-99").mkdir(parents=True)
    (partial_folder(folder) / "checkpoint-99" / "trainer_state.json").write_text("{}")
    shutil.copytree(kept / "checkpoint-30", folder / "checkpoint-30")
    shutil.copy(kept / RUN_FILE, folder)
    shutil.copytree(kept / "checkpoint-32", folder / "checkpoint-32")
    (folder / "checkpoint-32" / "trainer_state.json").unlink()
    (folder / "checkpoint-last").mkdir()
    trained(*DROPPING, *SCENARIOS["steps"], "--output_dir", folder)
    assert_same_weights(kept, folder)
    assert not partial_folder(folder).exists()


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (["--learning_rate", 2e-3], "is of another run: learning_rate 0.001, now 0.002"),
        (["--dataset_options", '{"num_train": 39, "num_validation": 8}'], "is of another run: "),
        (["--images_per_class", 2], "is of another run: "),
        (["--hidden_size", 32], "is of another model: "),
        (["--per_device_train_batch_size", 16], "images in a batch 8, now 16"),
        (["--seed", 7], "seed 6, now 7"),
        (["--freeze", "mlp"], "freeze none, now mlp"),
    ],
)
def test_another_run_is_not_gone_on_with(undisturbed, tmp_path, changed, sentence):
    kept = undisturbed("steps")
    before = (kept / RUN_FILE).read_text()
    for place in (
        ["--output_dir", kept],
        ["--resume_from_checkpoint", kept / "checkpoint-30", "--output_dir", tmp_path],
    ):
        output = refused(*DROPPING, *SCENARIOS["steps"], *changed, *place)
        assert sentence in output
    assert (kept / RUN_FILE).read_text() == before


@pytest.mark.parametrize("place", ["nowhere", ".", "empty"])
def test_what_is_no_checkpoint_is_refused(tmp_path, place):
    (tmp_path / "empty").mkdir()
    options = ["--resume_from_checkpoint", tmp_path / place, "--output_dir", tmp_path / "run"]
    assert "is not a checkpoint of a training" in refused(*DROPPING, *SCENARIOS["steps"], *options)


def test_a_longer_run_goes_on(undisturbed, tmp_path):
    common = [*DROPPING, "--save_strategy", "epoch", "--eval_strategy", "no", "--output_dir", tmp_path / "run"]
    trained(*common, "--num_train_epochs", 2)
    trained(*common, "--num_train_epochs", 5)
    assert_same_weights(undisturbed("evaluating passes"), tmp_path / "run")
    assert json.loads((tmp_path / "run" / RUN_FILE).read_text())["length"]["num_train_epochs"] == 5


def test_a_longer_run_of_a_falling_learning_rate_is_refused(tmp_path):
    common = [*DROPPING, "--save_strategy", "epoch", "--eval_strategy", "no", "--lr_scheduler_type", "cosine"]
    trained(*common, "--num_train_epochs", 1, "--output_dir", tmp_path)
    output = refused(*common, "--num_train_epochs", 2, "--output_dir", tmp_path)
    assert "num_train_epochs 1.0, now 2.0, on which its falling learning rate depends" in output


def buffer_less():
    TrainingView.SHUFFLE_BUFFER = 20
    datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0.1  # seconds after each pass, else 5


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stream_goes_on_where_it_was(tmp_path, workers):
    options = {"num_train": 40, "num_validation": 4}
    prepare_dataset(
        PreparationSettings(dataset="shapes", output_dir=str(tmp_path / "data"), dataset_options=options,
                            splits=["train"], images_per_shard=10)
    )  # fmt: skip
    stream = [*DROPPING[4:], "--dataset", tmp_path / "data", "--dataset_options", '{"streaming": true}',
              "--eval_strategy", "no", "--save_steps", 3, "--dataloader_num_workers", workers]  # fmt: skip
    trained(*stream, "--max_steps", 12, "--output_dir", tmp_path / "whole", before=buffer_less)
    training = start(*stream, "--max_steps", 12, "--output_dir", tmp_path / "killed", before=buffer_less)
    wait_until(training, lambda: last_checkpoint(tmp_path / "killed"))
    training.kill()
    trained(*stream, "--max_steps", 12, "--output_dir", tmp_path / "killed", before=buffer_less)
    assert_same_weights(tmp_path / "whole", tmp_path / "killed")
