"""Means, spreads, verdicts and tables on numbers made by hand."""

import json
from pathlib import Path

import pytest
from PIL import Image

from modeling_sat.reproduction.claims import Above, AboveConstants, AboveOthers, ChangesLittle, Reaches
from modeling_sat.reproduction.results import Key, Outcome, StudyResults, iou_by_size, summarize, threshold_interval
from modeling_sat.reproduction.studies import STUDIES
from modeling_sat.reproduction.tables import as_json, as_markdown, published_for


COSTS = {"trained_parameters": 2e6, "training_images": 5994}
CONSTANTS = {"whole_image": {"gt_known_loc": 0.2}, "center": {"gt_known_loc": 0.5}}


def results(values: dict[Key, list[float]], metric: str = "gt_known_loc") -> StudyResults:
    return StudyResults({
        key: {seed: Outcome({metric: value}, CONSTANTS) for seed, value in enumerate(of_seeds)}
        for key, of_seeds in values.items()
    })  # fmt: skip


def test_mean_and_deviation_by_hand():
    # mean (70 + 72 + 77) / 3 = 73; deviations -3, -1, 4: (9 + 1 + 16) / 2 = 13, its root 3.606
    mean, deviation, count = results({Key("a"): [0.70, 0.72, 0.77]}).summary(Key("a"), "gt_known_loc")
    assert (mean, deviation, count) == (pytest.approx(73), pytest.approx(13**0.5), 3)
    assert summarize([1.0]) == (1.0, None, 1)
    assert summarize([]) is None


@pytest.mark.parametrize(
    ("better", "worse", "sentence"),
    [
        # differences 2, 1, 3: mean 2, deviation 1, standard error 1 / √3 = 0.6
        ([0.72, 0.72, 0.74], [0.70, 0.71, 0.71], "holds: b above a in GT-known Loc by 2.0 ± 0.6 points (3 of 3"),
        ([0.70, 0.71, 0.71], [0.72, 0.72, 0.74], "does not hold: b above a in GT-known Loc by -2.0 ± 0.6 points (0 "),
        # differences 3, -2, 1: mean 0.7, deviation √(38 / 6) = 2.5, standard error 1.5
        ([0.73, 0.68, 0.71], [0.70] * 3, "within the spread: b above a in GT-known Loc by 0.7 ± 1.5 points (2 of 3"),
        ([0.7] * 3, [0.7] * 3, "within the spread: b above a in GT-known Loc by 0.0 ± 0.0 points (0 of 3 seeds)"),
        ([0.72], [0.70], "one seed, not judged: b above a in GT-known Loc by 2.0 points"),
        ([], [0.70], "not judged: b above a in GT-known Loc: there is no seed with both results"),
    ],
)  # fmt: skip
def test_one_result_above_another(better, worse, sentence):
    lines = Above(Key("b"), Key("a")).judge(results({Key("a"): worse, Key("b"): better}))
    assert len(lines) == 1 and lines[0].startswith(sentence)


def test_seeds_are_paired():
    result = results({Key("a"): [0.6, 0.7], Key("b"): [0.9, 0.8]})
    del result.outcomes[Key("b")][0]
    assert result.differences(Key("b"), Key("a"), "gt_known_loc") == [pytest.approx(10)]


def test_rows_that_were_not_asked_for_are_not_judged():
    assert Above(Key("b"), Key("a")).judge(results({Key("a"): [0.7]})) == []


def test_other_claims():
    shots = results({Key("SAT", "1"): [0.60, 0.56], Key("SAT", "full"): [0.80, 0.80]})
    # shares 75 and 70 %: mean 72.5, deviation 5 / √2 = 3.5
    (line,) = Reaches(Key("SAT", "1"), Key("SAT", "full"), "the paper: 97 %").judge(shots)
    assert line == "measured: SAT, 1 reaches 72.5 ± 3.5 % of SAT, full in GT-known Loc (2 seeds); the paper: 97 %."
    lines = AboveConstants("SAT", "gt_known_loc").judge(shots)
    assert lines[0].startswith("holds: SAT, 1 above the best constant in GT-known Loc by 8.0 ± 2.0 points (2 of 2")
    batches = results({Key("batch 64"): [0.700, 0.706], Key("batch 128"): [0.706, 0.708]})  # 70.3 and 70.7
    (line,) = ChangesLittle(("batch 64", "batch 128"), "batches", limit=0.5).judge(batches)
    assert line.startswith("holds: GT-known Loc changes by 0.4 points over batches (batch 64 to batch 128)")
    (line,) = ChangesLittle(("batch 64", "batch 128"), "batches", limit=0.3).judge(batches)
    assert line.startswith("does not hold")
    methods = results(
        {
            Key("SAT", model="DeiT-S"): [0.8, 0.9],
            Key("CAM", model="DeiT-S"): [0.6, 0.6],
            Key("SAT", model="DeiT-T"): [0.7],
        }
    )
    (line,) = AboveOthers("SAT", "gt_known_loc").judge(methods)
    assert line.startswith("holds: SAT, DeiT-S above CAM, DeiT-S in GT-known Loc by 25.0 ± 5.0")


def test_the_place_among_several_methods():
    of = {"SAT": [0.8, 0.9], "CAM": [0.6, 0.6], "SCM": [0.9, 0.88], "BAS*": []}
    first, *rest = AboveOthers("SAT", "gt_known_loc").judge(results({Key(row): of[row] for row in of}))
    assert first == "measured: SAT has place 2 of 3 by its mean GT-known Loc, 85.0; above it: SCM 89.0."
    # differences to SCM -10 and 2: mean -4, deviation 8.5, standard error 6
    assert [line.split(":")[0] for line in rest] == ["holds", "within the spread", "not judged"]
    assert len(AboveOthers("CAM", "gt_known_loc").judge(results({Key(row): of[row] for row in ("SAT", "CAM")}))) == 1


def test_a_table_has_every_row_the_papers_numbers_and_the_constants():
    study = STUDIES["table2"]
    values = {Key(row.name): [0.70, 0.74] for row in study.rows}
    values[Key("(a) L_cls")] = []
    failed = {Path("runs/x"): "no memory"}
    table = as_markdown("table2", study, "imagenet", "By hand.", results(values), failed)
    assert "# Ablation of the losses (Table 2 of the paper) on imagenet" in table
    assert "| (a) L_cls | 0 | – [56.86] | – [66.67] | – [69.29] |" in table
    assert "| (b) + L_ba | 2 | – [58.21] | – [68.36] | 72.0 ± 2.8 [71.07] |" in table
    assert "| *constant: best centred box* |  |  |  | 50.0 ± 0.0 |" in table
    assert "not judged: (b) + L_ba above (a) L_cls" in table
    assert "runs/x/log.txt: no memory" in table


def test_a_grid_has_the_frozen_rate():
    study = STUDIES["table8"]
    result = results({Key(row.name, column.name): [0.7] for row in study.rows for column in study.columns})
    result.outcomes[Key("(b) attention", "1")] = {0: Outcome({"gt_known_loc": 0.716, "frozen_rate": 0.21}, CONSTANTS)}
    table = as_markdown("table8", study, "imagenet", "By hand.", result)
    assert "| (b) attention | 1 | 21.0 [21] | 71.6 [71.6] | 70.0 [72.3] |" in table
    assert "| (a) nothing | 1 | – [0] | 70.0 [70.9] |" in table
    assert "| *constant: whole image* |  |  | 20.0" in table


def test_other_methods_stand_as_published_only_where_the_dataset_is_theirs():
    study = STUDIES["table1"]
    result = results({Key("SAT", model="DeiT-S"): [0.98]})
    assert "| CAM, VGG16 |  | [41.06] | [50.66] | [55.1] |" in as_markdown("table1", study, "cub", "", result)
    table = as_markdown("table1", study, "shapes", "", result)
    assert "VGG16" not in table and "98.0 [98.45]" in table and "the paper on CUB-200" in table
    assert "In brackets" not in as_markdown(
        "table1", study, "shapes", "", results({Key("SAT", model="laptop"): [0.8]})
    )
    assert published_for("fig4", "cub") == (None, {})


def test_a_constant_counts_once_for_each_seed():
    result = results({Key("a"): [0.7, 0.8], Key("b"): [0.7, 0.8]})
    assert result.constants()["center"] == {"gt_known_loc": [50.0, 50.0]}


def test_no_seed_is_left_out_of_the_json():
    result = results({Key("(a) L_cls"): [0.5, 0.6], Key("(d) + F"): [0.7, 0.8]})
    content = json.loads(json.dumps(as_json(STUDIES["table2"], result, {})))
    assert [(cell["row"], cell["seed"], cell["metrics"]["gt_known_loc"]) for cell in content["cells"]] == [
        ("(a) L_cls", 0, 0.5), ("(a) L_cls", 1, 0.6), ("(d) + F", 0, 0.7), ("(d) + F", 1, 0.8),
    ]  # fmt: skip
    assert content["claims"][0].startswith("holds: (d) + F above (a) L_cls in GT-known Loc by 20.0")


@pytest.mark.parametrize("name", [name for name in STUDIES if name not in ("fig3", "fig5", "fig6", "fig7")])
def test_figures_are_drawn(name, tmp_path):
    study = STUDIES[name]
    metrics = dict.fromkeys(study.metrics, 0.7)
    outcomes = {
        Key(row.name, column.name): {
            seed: Outcome({**metrics, study.metrics[0]: 0.6 + 0.05 * index + 0.02 * seed}, CONSTANTS, costs=COSTS)
            for seed in range(3)
        }
        for row in study.rows
        for index, column in enumerate(study.columns)
    }  # fmt: skip
    outcomes[next(iter(outcomes))] = {}  # one that failed
    study.figure(StudyResults(outcomes)).savefig(tmp_path / "figure.png")
    assert min(Image.open(tmp_path / "figure.png").size) > 100


class Curves:
    """An evaluator of which only a curve is asked."""

    def __init__(self, thresholds):
        self.thresholds, self.records = thresholds, []


def test_the_interval_of_thresholds_by_hand(monkeypatch):
    import numpy as np

    import modeling_sat.reproduction.results as module

    accuracy = np.array([0.70, 0.69, 0.50, 0.69, 0.70, 0.71, 0.60])
    monkeypatch.setattr(module, "accuracy_by_threshold", lambda evaluator: accuracy)
    monkeypatch.setattr(Outcome, "records", lambda outcome: Curves(np.arange(7) / 10))
    # best 0.71 at 0.5; 0.69 and above at 0.3, 0.4 and 0.5, three steps of 0.1, and not across the hole at 0.2
    assert threshold_interval(Outcome({})) == {"threshold_interval": pytest.approx(0.3)}


@pytest.mark.parametrize(
    ("thresholds", "accuracy", "expected"),
    [
        ([0.1, 0.2, 0.3, 0.4], [0.1, 0.7, 0.1, 0.2], 0.1),  # one good threshold is one step
        ([0.1, 0.2, 0.3, 0.4], [0.7, 0.7, 0.7, 0.7], 0.4),
        ([0.1, 0.2, 0.23, 0.3, 0.4], [0.1, 0.7, 0.7, 0.7, 0.1], 0.2),  # 0.23 was fixed beforehand
        ([0.02, 0.1, 0.2, 0.3, 0.4], [0.7, 0.7, 0.7, 0.1, 0.1], 0.2),  # and so was 0.02
        ([0.1, 0.2, 0.3, 0.4, 0.5], [0.7, 0.1, 0.7, 0.69, 0.1], 0.2),  # the best twice: the longer stretch
        ([0.0, 0.25, 0.5, 0.75], [0.0, 0.0, 0.0, 0.0], 1.0),
        ([index / 1000 for index in range(1000)], [0.5] * 999 + [0.6], 0.001),
    ],
)
def test_every_threshold_counts_a_step(monkeypatch, thresholds, accuracy, expected):
    import numpy as np

    import modeling_sat.reproduction.results as module

    monkeypatch.setattr(module, "accuracy_by_threshold", lambda evaluator: np.array(accuracy))
    monkeypatch.setattr(Outcome, "records", lambda outcome: Curves(np.array(thresholds)))
    assert threshold_interval(Outcome({})) == {"threshold_interval": pytest.approx(expected)}


def test_overlap_of_small_and_large_objects_by_hand(monkeypatch):
    import numpy as np

    import modeling_sat.reproduction.results as module

    sizes, overlaps = np.array([0.5, 0.1, 0.9, 0.2, 0.8, 0.4]), np.array([0.6, 0.1, 0.9, 0.3, 0.7, 0.4])
    monkeypatch.setattr(module, "sizes_and_overlaps", lambda evaluator, threshold: (sizes, overlaps, "mask"))
    monkeypatch.setattr(Outcome, "records", lambda outcome: None)
    assert iou_by_size(Outcome({})) == {
        "iou_all": pytest.approx(0.5), "iou_small": pytest.approx(0.2), "iou_large": pytest.approx(0.8),
    }  # fmt: skip


def test_a_further_method_is_judged():
    study = STUDIES["table1"]
    result = results({Key("SAT", model="DeiT-S"): [0.9, 0.91], Key("CAM", model="DeiT-S"): [0.5, 0.52]})
    assert "- holds: SAT, DeiT-S above CAM, DeiT-S in GT-known Loc" in as_markdown("table1", study, "cub", "", result)
