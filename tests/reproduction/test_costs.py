"""Parameters and times beside the metrics."""

import pytest
import torch
from safetensors.torch import save_file

from modeling_sat.checkpoints.run_record import RunRecord, SessionRecord
from modeling_sat.inference.forward_time import SPEED_FILE
from modeling_sat.reproduction.costs import cost, known_costs, three_digits
from modeling_sat.reproduction.recipes import Run
from modeling_sat.reproduction.results import Key, Outcome, StudyResults
from modeling_sat.reproduction.runner import costs_of
from modeling_sat.reproduction.studies import STUDIES
from modeling_sat.reproduction.tables import as_markdown
from modeling_sat.training.arguments import ConfigurationError


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.01234, "0.0123"), (1.234, "1.23"), (21.67, "21.7"), (216.7, "217"), (12345, "12,345")],
)
def test_numbers_are_short(value, text):
    assert three_digits(value) == text


def test_a_row_pays_the_mean_over_its_runs():
    outcomes = {
        Key("a", "1"): {0: Outcome({}, costs={"parameters": 2e6, "seconds_per_image": 0.010})},
        Key("a", "full"): {0: Outcome({}, costs={"parameters": 2e6, "seconds_per_image": 0.014}), 1: Outcome({})},
        Key("b", "1"): {0: Outcome({})},
    }
    results = StudyResults(outcomes)
    assert cost(results, Key("a"), "parameters").mean == 2
    assert cost(results, Key("a"), "seconds_per_image").mean == pytest.approx(12)
    assert cost(results, Key("b"), "parameters") is None
    assert known_costs(results, ("seconds_per_step", "seconds_per_image", "parameters")) == [
        "seconds_per_image", "parameters",
    ]  # fmt: skip


def test_a_table_shows_what_is_known():
    costs = {"parameters": 21.67e6, "seconds_per_step": 0.5}
    outcomes = {Key("(a) L_cls"): {0: Outcome({"gt_known_loc": 0.7}, costs=costs)}, Key("(d) + F"): {0: Outcome({})}}
    table = as_markdown("table2", STUDIES["table2"], "imagenet", "By hand.", StudyResults(outcomes))
    assert "| GT-known Loc | parameters (million) | training step (ms) |" in table and "inference" not in table.split(
        "|"
    )
    assert "70.0 [69.29] | 21.7 | 500 |" in table and "– [73.13] | – | – |" in table
    assert "Times are of the machine that ran it" in table
    assert len({line.count("|") for line in table.splitlines() if line.startswith("|")}) == 1
    without = StudyResults({Key("(a) L_cls"): {0: Outcome({"gt_known_loc": 0.7})}})
    assert "parameters" not in as_markdown("table2", STUDIES["table2"], "imagenet", "By hand.", without)


def test_what_a_run_recorded(tmp_path):
    run = Run(tmp_path, {}, tmp_path, {})
    record = RunRecord(
        parameters=1000, frozen_rate=0.25, training_images=48, session=SessionRecord(seconds_per_step=0.5)
    )
    assert costs_of(run, record) == {
        "parameters": 1000, "trained_parameters": 750, "training_images": 48, "seconds_per_step": 0.5,
    }  # fmt: skip
    (tmp_path / SPEED_FILE).write_text('{"seconds_per_image": 0.01}')
    assert costs_of(run, RunRecord()) == {"seconds_per_image": 0.01}
    (tmp_path / SPEED_FILE).write_text("{")
    with pytest.raises(ValueError, match=r"speed.json cannot be read .* remove it"):
        costs_of(run, RunRecord())


def test_what_the_files_of_an_earlier_run_say(tmp_path):
    (tmp_path / "model").mkdir()
    save_file({"a": torch.zeros(4, 5), "b": torch.zeros(3)}, tmp_path / "model/model.safetensors")
    (tmp_path / "model/trainer_state.json").write_text('{"global_step": 30}')
    record = RunRecord(frozen_rate=0.0, session=SessionRecord(from_step=10, seconds=5.0))
    known = {"parameters": 23, "trained_parameters": 23}
    assert costs_of(Run(tmp_path, {"eval_strategy": "no"}, tmp_path, {}), record) == known | {"seconds_per_step": 0.25}
    # Evaluation on the way was within these seconds.
    assert costs_of(Run(tmp_path, {"eval_strategy": "epoch"}, tmp_path, {}), record) == known
    (tmp_path / "model/model.safetensors").write_text("no weights")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        costs_of(Run(tmp_path, {}, tmp_path, {}), record)
