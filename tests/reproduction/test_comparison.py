"""Methods compared on someone's own images: sentences, page, and the command with stand-ins for the trainings."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from transformers import HfArgumentParser

import modeling_sat.reproduction as package
from modeling_sat.methods import METHODS
from modeling_sat.reproduction import comparison
from modeling_sat.reproduction.claims import Best
from modeling_sat.reproduction.comparison import Images, as_page, study_of, what_is_measured, which_wins
from modeling_sat.reproduction.options import ComparisonOptions
from modeling_sat.reproduction.results import Key, Outcome, StudyResults
from modeling_sat.training.arguments import ConfigurationError


ROOT = Path(__file__).parents[2]
CONSTANTS = {"whole_image": {"gt_known_loc": 0.3}, "center": {"gt_known_loc": 0.5}}


def results(constants=CONSTANTS, metric="gt_known_loc", **values: list[float]) -> StudyResults:
    return StudyResults({
        Key(row): {seed: Outcome({metric: value}, constants) for seed, value in enumerate(of_seeds)}
        for row, of_seeds in values.items()
    })  # fmt: skip


def test_the_winner_in_a_sentence():
    assert which_wins(results(SAT=[0.8, 0.7], CAM=[0.6, 0.6]), "gt_known_loc") == (
        "SAT has the best GT-known Loc, 75.0 %; CAM follows with 60.0. A constant, the best centred box, has 50.0 %, "
        "which all have to beat."
    )
    weak = which_wins(results(SAT=[0.3], CAM=[0.4]), "gt_known_loc")
    assert weak.startswith("CAM has the best GT-known Loc, 40.0 %; SAT follows with 30.0.")
    assert "which no method beats: none has learnt to find" in weak and "One seed does not tell" in weak
    classes = which_wins(results({}, "top1_cls", SAT=[0.9]), "top1_cls")
    assert "constant" not in classes and "not who finds the objects" in classes
    assert which_wins(results(SAT=[]), "gt_known_loc") == "No run has ended well."


def test_the_best_is_judged_against_constants_and_others():
    lines = Best("gt_known_loc").judge(results(SAT=[0.6, 0.6], CAM=[0.8, 0.7], BAS=[0.5, 0.5]))
    assert lines[0].startswith("holds: CAM above the best constant in GT-known Loc by 25.0 ± 5.0")
    assert lines[1] == "measured: CAM has place 1 of 3 by its mean GT-known Loc, 75.0; next is SAT with 60.0."
    assert lines[2].startswith("holds: CAM above SAT in GT-known Loc by 15.0") and len(lines) == 4
    assert Best("gt_known_loc").judge(results(SAT=[])) == []


@pytest.mark.parametrize(
    ("boxes", "masks", "first", "sentence"),
    [
        (True, True, "gt_known_loc", ""),
        (True, False, "gt_known_loc", ""),
        (False, True, "piou", "masks and no boxes"),
        (False, False, "top1_cls", "neither boxes nor masks, so no number says how well an object is found"),
    ],
)
def test_the_metrics_are_those_that_the_images_allow(photographs, boxes, masks, first, sentence):
    images = Images("test", photographs, boxes, masks)
    study = study_of(images, list(METHODS))
    assert study.metrics[0] == first and "top1_cls" in study.metrics and ("pxap" in study.metrics) == masks
    assert sentence in what_is_measured(images)
    assert "flatters" not in what_is_measured(images)
    assert "flatters" in what_is_measured(images._replace(split="validation"))
    assert [row.name for row in study_of(images, ["cam"]).rows] == ["CAM"]


@pytest.mark.parametrize("boxes", [True, False])
def test_the_page_is_one_file(tmp_path, evaluated, photographs, boxes):
    outcomes = {
        Key(title): {0: evaluated(tmp_path / title / "evaluation", found, boxes)}
        for title, found in {"SAT": 1, "<CAM>": 0.5}.items()
    }
    study = study_of(Images("test", photographs, boxes, False), list(METHODS))
    page = as_page("# Methods\n\nBy hand.", "SAT wins.", study, StudyResults(outcomes), photographs, 2)
    assert '<p class="winner">SAT wins.</p>' in page and "&lt;CAM&gt;" in page and "<CAM>" not in page
    sources = re.findall(r'src="([^"]{30})', page)
    assert len(sources) == 1 + 2 * 2 * 3 and all(source.startswith("data:image/") for source in sources)
    assert page.count("<h2>") == 2
    nothing = as_page("# Methods\n\nBy hand.", "No run.", study, StudyResults({Key("SAT"): {}}), photographs, 2)
    assert "<img" not in nothing


TRAIN = """
import json, pathlib, sys, yaml
fields = yaml.safe_load(open(sys.argv[2]))
if fields.get("method") == "ts_cam":
    sys.exit("error: It does not like these images.")
out = pathlib.Path(fields["output_dir"])
out.mkdir(parents=True)
(out / "trainer_state.json").write_text("{}")
(out / "preprocessor_config.json").write_text('{"localization_threshold": 0.4}')
(out / "run.json").write_text(json.dumps({"parameters": 5526346}))
"""
EVALUATE = """
import json, pathlib, sys
import numpy as np
from modeling_sat.data import load_wsol_dataset
from modeling_sat.evaluation import LocalizationEvaluator, View, save_records
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
out = pathlib.Path(options["--output_dir"])
out.mkdir()
split = options.get("--split", "test")
test = load_wsol_dataset("folder", options["--data_dir"], split, validation_fraction=0.5, seed=int(options["--data_seed"]))
evaluator = LocalizationEvaluator("sat", View((32, 32), None))
for index, row in enumerate(test):
    evaluator.update([row["image_id"]], [np.eye(8) + index], np.array([[0]]), np.array([row["label"]]))
save_records(evaluator, out / "records.parquet")
accuracy = 0.9 if "method-cam" in str(out) else 0.8
(out / "metrics.json").write_text(json.dumps({"metrics": {"top1_cls": accuracy}, "protocol": "sat", "ten_crop": False}))
(out / "speed.json").write_text('{"seconds_per_image": 0.02}')
"""


@pytest.fixture
def scripts(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (folder / "evaluate.py").write_text(EVALUATE)
    (folder / "configs").symlink_to(ROOT / "scripts/configs")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return folder


def photographs_in(folder: Path, splits=("train", "test")) -> Path:
    pixels = np.random.default_rng(0)
    for split in splits:
        for name in ("apple", "pear"):
            (folder / split / name).mkdir(parents=True)
            for index in range(4):
                picture = Image.fromarray(pixels.integers(0, 255, (40, 40, 3), np.uint8))
                picture.save(folder / split / name / f"{index}.png")
    return folder


def call(scripts: Path, *arguments):
    """The script without its process."""
    options, fields = HfArgumentParser(ComparisonOptions, allow_abbrev=False).parse_args_into_dataclasses(
        list(map(str, arguments)), return_remaining_strings=True, look_for_args_file=False
    )
    return package.compare(options, fields, scripts)


def test_a_folder_without_boxes_from_one_command(scripts, tmp_path, capsys):
    folder = photographs_in(tmp_path / "photographs")
    arguments = [
        "--data_dir",
        folder,
        "--methods",
        "sat",
        "cam",
        "ts_cam",
        "--output_dir",
        tmp_path / "out",
        "--jobs",
        2,
    ]
    result = call(scripts, *arguments, "--images", 2)
    assert result.winner.startswith("CAM has the best Top-1 Cls, 90.0 %; SAT follows with 80.0.")
    assert "| CAM | 1 | 90.0 | 5.53 | 20.0 |" in result.table and "| TS-CAM | 0 | – | – | – |" in result.table
    assert "neither boxes nor masks" in result.table and "of the paper" not in result.table
    assert "Measured on 8 test images" in result.table
    assert list(result.failed.values()) == ["It does not like these images."]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"compare.html", "table.md", "results.json", "runs"}
    page = (tmp_path / "out/compare.html").read_text()
    assert page.count('<img src="data:image/jpeg') == 2 * 3  # two images, each by two methods: their maps are equal
    assert json.loads((tmp_path / "out/results.json").read_text())["winner"] == result.winner
    configs = list((tmp_path / "out/runs").glob("folder-deit_tiny/*/seed-0/config.yaml"))
    assert len(configs) == 3

    capsys.readouterr()
    call(scripts, *arguments[:5], *arguments[6:])  # without TS-CAM
    assert "2 of 2 runs are there already." in capsys.readouterr().out


def test_a_folder_without_test_images_is_measured_on_validation(scripts, tmp_path):
    folder = photographs_in(tmp_path / "photographs", ["train"])
    arguments = ["--data_dir", folder, "--methods", "sat", "--output_dir", tmp_path / "out"]
    result = call(scripts, *arguments, "--validation_fraction", "0.5")
    assert "Measured on 4 validation images. There are no test images" in result.table
    assert list((tmp_path / "out/runs").glob("*/*/seed-0/evaluation-split-validation/metrics.json"))


def test_a_dry_run_trains_nothing(scripts, tmp_path, capsys):
    folder = photographs_in(tmp_path / "photographs")
    assert call(scripts, "--data_dir", folder, "--output_dir", tmp_path / "out", "--dry_run") is None
    printed = capsys.readouterr().out.splitlines()
    assert sum("train.py" in line for line in printed) == len(comparison.METHOD_ROWS)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--methods", "sat", "cma"], "There is no method 'cma'; choose some of sat, cam"),
        (["--method", "cam"], "give them by --methods"),
        (["--aera_target", "0.3"], r"Did you mean 'area_target'\?"),
        (["--images", "0"], "images is 0"),
        (["--dataset", "org/name"], "There is no recipe of deit-tiny on org/name"),
        (["--seed", "3"], "give them by --seeds"),
        (["--data_dir", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, sentence, scripts, tmp_path):
    with pytest.raises((ConfigurationError, OSError, ValueError), match=sentence):
        call(scripts, *arguments, "--output_dir", tmp_path / "out")
    assert not (tmp_path / "out").exists()
