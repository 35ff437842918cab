"""What ends a training from outside is said in a sentence, and what was saved stays."""

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from launching import TINY, TRAIN, refused, start, trained
from safetensors.torch import load_file

from modeling_sat.data.preparation import PreparationSettings, prepare_dataset
from modeling_sat.training import SATTrainer
from modeling_sat.training.checkpoints import last_checkpoint, partial_folder


SAVING = [
    *TINY, "--per_device_train_batch_size", 8, "--max_steps", 6, "--eval_strategy", "no", "--save_strategy", "steps",
    "--save_steps", 2, "--drop_path_rate", 0.3, "--logging_steps", 1,
]  # fmt: skip
MATCHING = ["--eval_strategy", "steps", "--eval_steps", 2]
real_save = torch.save


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    trained(*SAVING, "--output_dir", folder)
    return load_file(folder / "model.safetensors")


def fail_at_the_second_optimizer(fail):
    """`fail` instead of torch.save when the optimizer's state is saved again."""
    calls = []

    def save(content, target, *args, **kwargs):
        if str(target).endswith("optimizer.pt"):
            calls.append(target)
            if len(calls) == 2:
                return fail(content, target)
        return real_save(content, target, *args, **kwargs)

    torch.save = save


def _no_space(content, target):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))


def _full_device(content, target):
    os.symlink("/dev/full", target)
    real_save(content, target)


def _limited_file(content, target):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    try:
        real_save(content, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)


def disk_is_full():
    fail_at_the_second_optimizer(_no_space)


def device_is_full():
    fail_at_the_second_optimizer(_full_device)


def file_is_limited():
    fail_at_the_second_optimizer(_limited_file)


def weights_do_not_fit():
    save_model = SATTrainer.save_model

    def save(self, output_dir=None, **kwargs):
        if self.state.global_step == 4:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        return save_model(self, output_dir, **kwargs)

    SATTrainer.save_model = save


@pytest.mark.parametrize("before", [disk_is_full, device_is_full, file_is_limited, weights_do_not_fit])
def test_a_full_disk(undisturbed, tmp_path, before):
    output = refused(*SAVING, "--output_dir", tmp_path, before=before)
    print(output[-400:])
    kept = tmp_path / "checkpoint-2"
    assert f"The model cannot be saved in {tmp_path} (" in output
    assert f"); {kept} is whole." in output
    assert last_checkpoint(tmp_path) == kept
    torch.load(kept / "optimizer.pt", weights_only=True)
    load_file(kept / "model.safetensors")
    trained(*SAVING, "--output_dir", tmp_path)  # there is room again
    ends = load_file(tmp_path / "model.safetensors")
    assert all(torch.equal(ends[name], weight) for name, weight in undisturbed.items())
    assert not partial_folder(tmp_path).exists()


def another_fault():
    def fail(content, target):
        raise RuntimeError("a fault of the program")

    fail_at_the_second_optimizer(fail)


def test_a_fault_of_the_program_keeps_its_traceback(tmp_path):
    finished = start(*SAVING, "--output_dir", tmp_path, before=another_fault).wait()
    assert finished.exit_codes == [1]
    assert "Traceback" in finished.output and "a fault of the program" in finished.output


def test_a_reading_process_that_dies(tmp_path):
    """As a user starts it: a process of its own, whose worker is killed as the kernel does for lack of memory."""
    options = [*SAVING[: SAVING.index("--max_steps")], "--max_steps", 100_000, "--save_strategy", "steps", "--save_steps",
               1000, "--eval_strategy", "no", "--dataloader_num_workers", 1, "--logging_steps", 5]  # fmt: skip
    command = [str(part) for part in (sys.executable, TRAIN, *options, "--output_dir", tmp_path)]
    log = tmp_path / "log.txt"
    with log.open("w") as file:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 100
        while "'loss'" not in log.read_text():
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.1)
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            workers = [int(pid) for pid in file.read().split()]
        workers = [pid for pid in workers if "resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_text()]
        assert len(workers) == 1
        os.kill(workers[0], signal.SIGKILL)
        assert process.wait(60) == 1
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    output = log.read_text()
    assert "Traceback" not in output
    assert "error: A process that reads images died" in output
    assert "fewer than 1 dataloader_num_workers" in output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--per_device_train_batch_size", 0], "per_device_train_batch_size is 0; choose a whole number, 1 or more."),
        (["--per_device_eval_batch_size", 0], "per_device_eval_batch_size is 0"),
        (["--gradient_accumulation_steps", 0], "gradient_accumulation_steps is 0"),
        (["--gradient_accumulation_steps", -2], "gradient_accumulation_steps is -2"),
        (["--label_smoothing_factor", 0.1], "label_smoothing_factor is 0.1; the model computes its own losses"),
        (
            ["--report_to", "tensorbord"],
            "report_to has 'tensorbord', which is not a tracker. Did you mean 'tensorboard'?",
        ),
        ([*MATCHING, "--metric_for_best_model", "gt_know_loc"], "Did you mean 'gt_known_loc'?"),
        ([*MATCHING, "--metric_for_best_model", "eval_loss"], "The validation images have no metric 'loss'"),
    ],
)
def test_bad_input_gets_a_sentence(tmp_path, options, sentence):
    assert sentence in refused(*SAVING, *options, "--output_dir", tmp_path)


def test_the_best_needs_validation_images(tmp_path):
    prepared = tmp_path / "data"
    options = {"num_train": 16, "num_validation": 4}
    prepare_dataset(
        PreparationSettings(dataset="shapes", output_dir=str(prepared), dataset_options=options, splits=["train"])
    )
    arguments = [*SAVING[4:], "--dataset", prepared, "--validation_fraction", 0, "--output_dir", tmp_path / "run"]
    output = refused(*arguments, *MATCHING, "--metric_for_best_model", "top1_cls")
    assert "there are no validation images to measure it on" in output


def test_a_run_record_that_was_cut_off(tmp_path):
    trained(*SAVING, "--output_dir", tmp_path)
    (tmp_path / "run.json").write_text("")
    output = refused(*SAVING, "--output_dir", tmp_path)
    assert "run.json cannot be read" in output


def test_a_training_state_that_was_cut_off(tmp_path):
    trained(*SAVING, "--output_dir", tmp_path)
    shutil.copytree(tmp_path / "checkpoint-6", tmp_path / "checkpoint-7")
    (tmp_path / "checkpoint-7" / "model.safetensors").write_bytes(b"")
    output = trained(*SAVING, "--output_dir", tmp_path)
    assert f"Incomplete: {tmp_path / 'checkpoint-7'} (its model.safetensors has 0 bytes" in output
    assert f"continues from {tmp_path / 'checkpoint-6'}" in output


def test_the_run_record_is_json(tmp_path):
    trained(*SAVING, "--output_dir", tmp_path)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["settings"]["training images"] == 37 and record["settings"]["images in a batch"] == 8
    assert not (tmp_path / ".run.json").exists()
