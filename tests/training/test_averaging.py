import pytest
import torch
from launching import TINY, refused, trained
from safetensors.torch import load_file
from torch import nn

from modeling_sat.training.averaging import AVERAGE_FILE, AveragedWeights


@pytest.fixture
def model():
    model = nn.Linear(1, 1)
    model.bias.requires_grad_(False)
    nn.init.constant_(model.weight, 1.0)
    return model


def test_by_hand(model):
    average = AveragedWeights(0.5)
    average.update(model, step=1)  # begins as the weight itself
    for step, weight in ((20, 3.0), (21, 5.0)):
        nn.init.constant_(model.weight, weight)
        average.update(model, step)
    # 1 -> (1 + 3) / 2 = 2 -> (2 + 5) / 2 = 3.5
    assert average.weights["weight"].item() == 3.5
    assert list(average.weights) == ["weight"]


def test_the_beginning_is_soon_forgotten(model):
    average = AveragedWeights(0.99)
    average.update(model, step=1)
    nn.init.constant_(model.weight, 3.0)
    average.update(model, step=2)
    assert average.weights["weight"].item() == pytest.approx(1 * 3 / 12 + 3 * 9 / 12)  # decay (1 + 2) / (10 + 2)


def test_applied_for_a_while(model):
    average = AveragedWeights(0.5)
    average.update(model, step=1)
    nn.init.constant_(model.weight, 3.0)
    with average.applied(model):
        assert model.weight.item() == 1.0
    assert (model.weight.item(), average.weights["weight"].item()) == (3.0, 1.0)


def test_a_run_ends_with_the_average(tmp_path):
    trained(*TINY, "--num_train_epochs", 2, "--ema_decay", 0.9, "--metric_for_best_model", "top5_cls",
            "--save_total_limit", 3, "--output_dir", tmp_path)  # fmt: skip
    final = load_file(tmp_path / "model.safetensors")
    saved = [load_file(path) for path in tmp_path.glob(f"checkpoint-*/{AVERAGE_FILE}")]
    assert any(all(torch.equal(final[name], weight) for name, weight in average.items()) for average in saved)
    last = load_file(max(tmp_path.glob("checkpoint-*"), key=lambda path: path.stat().st_mtime) / "model.safetensors")
    assert any(not torch.equal(final[name], weight) for name, weight in last.items())


def test_a_decay_that_cannot_be(tmp_path):
    output = refused(*TINY, "--ema_decay", 1.5, "--output_dir", tmp_path)
    assert "ema_decay is 1.5; choose a number between 0 and 1" in output
