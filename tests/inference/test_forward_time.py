"""The time of an image, from forward passes alone."""

import json

import pytest
import torch

from modeling_sat.inference.forward_time import ForwardTime, seconds_per_image


def test_the_first_pass_does_not_count():
    assert ForwardTime().seconds_per_image is None
    assert ForwardTime([(4, 2.0)]).seconds_per_image == 0.5
    assert ForwardTime([(4, 2.0), (4, 0.4), (2, 0.2)]).seconds_per_image == pytest.approx(0.1)  # 0.6 s of 6 images


def test_it_measures_what_is_within(tmp_path, monkeypatch):
    clock, times = ForwardTime(), iter([10.0, 12.0, 20.0, 20.5])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    for images in (4, 2):
        with clock.of(images, torch.device("cpu")):
            pass
    assert clock.batches == [(4, 2.0), (2, 0.5)]
    clock.save(tmp_path)
    content = json.loads((tmp_path / "speed.json").read_text())
    assert (content["seconds_per_image"], content["images_in_a_batch"]) == (0.25, 4)
    assert content["device"].startswith("cpu, ") and "thread" in content["device"]
    assert seconds_per_image(tmp_path) == 0.25 and seconds_per_image(tmp_path / "elsewhere") is None
