import json

import torch
from launching import TINY, refused, trained
from safetensors.torch import load_file

from modeling_sat.training.whole import AVERAGE_FILE


def weights(folder, name="model.safetensors"):
    return load_file(folder / name)


def test_a_run_evaluates_and_ends_with_the_average(tmp_path):
    steps, decay = 6, 0.8  # two passes over three batches
    trained(*TINY, "--per_device_train_batch_size", 16, "--num_train_epochs", 2, "--ema_decay", decay,
            "--save_strategy", "steps", "--save_steps", 1, "--save_total_limit", steps, "--eval_strategy", "steps",
            "--eval_steps", 1, "--learning_rate", 1e-2, "--warmup_steps", 0, "--metric_for_best_model", "top5_cls",
            "--output_dir", tmp_path)  # fmt: skip
    average = None
    for step in range(1, steps + 1):
        folder = tmp_path / f"checkpoint-{step}"
        last = weights(folder)
        if average is None:
            average = last
        else:
            average = {name: decay * average[name] + (1 - decay) * weight for name, weight in last.items()}
        saved = {name.removeprefix("module."): weight for name, weight in weights(folder, AVERAGE_FILE).items()}
        for name, weight in average.items():
            torch.testing.assert_close(saved[name], weight, rtol=1e-4, atol=1e-6)
    assert any((average[name] - weight).abs().max() > 1e-4 for name, weight in last.items())

    state = json.loads((tmp_path / "trainer_state.json").read_text())
    best = weights(tmp_path / f"checkpoint-{state['best_global_step']}", AVERAGE_FILE)
    for name, weight in weights(tmp_path).items():
        assert torch.equal(weight, best[f"module.{name}"])


def test_a_decay_that_cannot_be(tmp_path):
    output = refused(*TINY, "--ema_decay", 1.5, "--output_dir", tmp_path)
    assert "ema_decay is 1.5; choose a number between 0 and 1" in output
