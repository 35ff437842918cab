"""A new training field touches one place: itself."""

from dataclasses import dataclass
from typing import Annotated

import pytest

from modeling_sat.field_roles import Role
from modeling_sat.reproduction.identity import deciding_fields
from modeling_sat.training import DataArguments, ModelArguments, SATTrainingArguments
from modeling_sat.training.arguments import resolve_fields, roles
from modeling_sat.training.checkpoints import differences_between, run_record


@dataclass
class Extended(SATTrainingArguments):
    mixing: float = 0.0
    note: Annotated[str, Role(steps=False, decides_nothing="read by people")] = ""
    patience: Annotated[int, Role(steps=False, keeps_a_pass=True)] = 3


def record(folder, **fields):
    arguments = Extended(str(folder), report_to=[], use_cpu=True, **fields)
    return run_record(ModelArguments(), DataArguments(), arguments, 8)


def test_a_run_goes_on_only_with_the_same(tmp_path):
    first = record(tmp_path)
    assert differences_between(first, record(tmp_path, note="again", patience=5)) == []
    assert differences_between(first, record(tmp_path, mixing=0.5)) == ["mixing 0.0, now 0.5"]


@pytest.mark.parametrize("best", [None, "gt_known_loc"])
def test_two_runs_differ_in_it(best):
    values = resolve_fields({"metric_for_best_model": best}) | {"mixing": 0.0, "note": "", "patience": 3}
    named = deciding_fields(values, ModelArguments, DataArguments, Extended)
    assert "mixing" in named and "note" not in named
    assert ("patience" in named) == (best is not None)


def test_fields_of_ours_and_those_of_transformers():
    known = roles()
    assert all(known[name].steps for name in ("ema_decay", "freeze", "exact_area", "classification_epochs", "seed"))
    assert all(known[name].steps for name in ("method", "model", "area_target", "validation_fraction", "optim"))
    assert not any(known[name].steps for name in ("num_train_epochs", "data_dir", "protocol", "output_dir"))
    assert {name for name, role in known.items() if role.keeps_a_pass} >= {"protocol", "view", "eval_steps"}
