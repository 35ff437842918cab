"""The table of studies: fields that exist, the paper's numbers, runs with names that say what they are."""

import dataclasses
import re
from pathlib import Path

import pytest

from modeling_sat.methods import METHODS
from modeling_sat.reproduction.claims import AboveOthers
from modeling_sat.reproduction.command import ReproductionOptions, choose_rows, make_runs, unique
from modeling_sat.reproduction.names import METRIC_TITLES
from modeling_sat.reproduction.published import PUBLISHED
from modeling_sat.reproduction.recipes import Recipe, find_recipes, make_run, parse_fields, read_recipe, slug
from modeling_sat.reproduction.results import Key
from modeling_sat.reproduction.studies import METHOD_ROWS, STUDIES, Row
from modeling_sat.training.arguments import ARGUMENTS, ConfigurationError
from modeling_sat.training.freezing import FREEZING


CONFIGS = Path(__file__).parents[2] / "scripts" / "configs"
RECIPE = Recipe(
    "DeiT-S", Path("configs/deit_small.yaml"), {"area_target": 0.35, "per_device_train_batch_size": 32}, {}
)

UNPRINTED = {"CAM", "Attention map", "BAS", "BAS*", "ORNet"}
"""Rows of Figure 1 that no table has on ImageNet and DeiT-S."""


@pytest.mark.parametrize("study", STUDIES.values(), ids=STUDIES)
def test_rows_change_fields_that_training_has(study):
    known = {field.name for arguments in ARGUMENTS for field in dataclasses.fields(arguments)}
    for row in (*study.rows, *study.columns):
        assert row.fields.keys() <= known
        assert row.fields.get("freeze", "none") in FREEZING
    assert {*study.metrics, *study.row_metrics} <= METRIC_TITLES.keys()


@pytest.mark.parametrize("name", STUDIES)
def test_claims_and_printed_rows_name_rows_that_exist(name):
    study = STUDIES[name]
    columns = {column.name for column in study.columns}
    rows = {row.name for row in study.rows} - (UNPRINTED if name == "fig1" else set())
    known = {row.name for row in study.rows}
    for claim in study.claims:
        keys = [value for value in vars(claim).values() if isinstance(value, Key)]
        assert all(key.row in known and key.column in columns for key in keys)
        assert set(getattr(claim, "rows", ())) <= known
    for numbers in PUBLISHED.get(name, {}).values():
        assert ({"SAT, DeiT-S"} if study.by_model else rows) <= numbers.keys()
        shown = {*study.metrics, *study.row_metrics, *columns}
        assert all(printed.keys() <= shown for printed in numbers.values())


def test_printed_numbers():
    assert PUBLISHED["table1"]["cub"]["SAT, DeiT-S"] == {"top1_loc": 80.96, "top5_loc": 94.13, "gt_known_loc": 98.45}
    assert PUBLISHED["table1"]["imagenet"]["GCNet, InceptionV3"] == {"top1_loc": 49.06, "top5_loc": 58.09}
    assert len(PUBLISHED["table1"]["cub"]) == len(PUBLISHED["table1"]["imagenet"]) == 22
    assert PUBLISHED["table2"]["imagenet"]["(b) + L_ba"]["gt_known_loc"] == 71.07
    assert PUBLISHED["table3"]["imagenet"]["SAT, DeiT-S"]["box_acc_70"] == 56.83
    assert PUBLISHED["table4"]["openimages30k"]["SAT, DeiT-S"] == {"piou": 59.54, "pxap": 74.20}
    assert PUBLISHED["table6"]["cub"]["SAT, DeiT-B"] == {"top1_cls": 85.3, "gt_known_loc": 98.1}
    assert PUBLISHED["table8"]["cub"]["(c) MLP"] == {
        "frozen_rate": 48, "1": 96.4, "3": 96.7, "5": 97.0, "10": 97.4, "full": 98.0,
    }  # fmt: skip
    for table in PUBLISHED["table3"].values():
        for row in table.values():
            mean = (row["box_acc_30"] + row["box_acc_50"] + row["box_acc_70"]) / 3
            assert row["box_acc_mean"] == pytest.approx(mean, abs=0.04)  # BAS on CUB: 88.82 = 266.46 / 3


def runs_of(name: str, tmp_path: Path, recipe: Recipe = RECIPE, dataset: str = "cub", protocol: str = "sat"):
    study = STUDIES[name]
    options = ReproductionOptions(dataset, seeds=[0, 1], protocol=protocol, output_dir=tmp_path)
    rows = choose_rows(study, dataset, None)
    return make_runs(study, rows, [recipe], options, count=lambda fields: (5994, 200))


def test_a_run_is_named_by_what_it_changes(tmp_path):
    assert slug({}) == "recipe"
    assert slug({"images_per_class": 3, "freeze": "mlp"}) == "images_per_class-3,freeze-mlp"
    assert slug({"dataset_options": {"num_train": 48}}) == "dataset_options-num_train-48"
    assert len(slug({"dataset_options": {f"option_{index}": index for index in range(30)}})) < 120
    run = make_run(RECIPE, [Row("b", {"area_target": 0.25})], 2, "cub", tmp_path)
    assert run.folder.parent.parent == tmp_path / "cub-deit_small" and run.folder.name == "seed-2"
    assert re.fullmatch(r"area_target-0\.25-[0-9a-f]{8}", run.folder.parent.name)
    assert (run.fields["seed"], run.fields["data_seed"], run.fields["area_target"]) == (2, 2, 0.25)


def test_studies_share_runs(tmp_path):
    full = runs_of("table1", tmp_path)[Key("SAT", model="DeiT-S")][0].folder
    assert full.parent.name.startswith("recipe-")
    for name in ("table3", "table4", "table6", "fig5", "fig6", "fig7"):
        folders = [by_seed[0].folder for by_seed in runs_of(name, tmp_path).values()]
        assert folders[0] == full and len(set(folders)) == len(METHOD_ROWS)
    assert runs_of("table2", tmp_path)[Key("(d) + F")][0].folder == full
    assert runs_of("table8", tmp_path)[Key("(a) nothing", "full")][0].folder == full
    assert runs_of("fig8", tmp_path)[Key("SAT", "full")][0].folder == full
    few = {by_seed[0].folder for key, by_seed in runs_of("fig8", tmp_path).items() if key.row == "SAT"}
    assert few < {by_seed[0].folder for by_seed in runs_of("table8", tmp_path).values()}
    sweep = runs_of("fig4", tmp_path)
    assert sweep[Key("λ 0.35")][0].folder == sweep[Key("batch 32")][0].folder == full
    assert len(unique(sweep)) == 2 * (len(sweep) - 1)


def test_sweeps_fit_the_dataset(tmp_path):
    small = [key.row for key in runs_of("fig4", tmp_path, dataset="shapes") if key.row.startswith("batch")]
    large = [key.row for key in runs_of("fig4", tmp_path) if key.row.startswith("batch")]
    assert small == ["batch 8", "batch 16", "batch 32", "batch 64"]
    assert large == ["batch 16", "batch 32", "batch 64", "batch 128", "batch 256"]


def test_a_protocol_is_another_evaluation_of_the_same_run(tmp_path):
    one = runs_of("table1", tmp_path)[Key("SAT", model="DeiT-S")][0]
    other = runs_of("table1", tmp_path, protocol="wsolevaluation")[Key("SAT", model="DeiT-S")][0]
    assert one.folder == other.folder and one.evaluation != other.evaluation
    one.write_config()
    other.write_config()


def test_a_method_leaves_out_what_it_does_not_know():
    fields = RECIPE.with_changes({"method": "cam"})
    assert "area_target" not in fields and fields["per_device_train_batch_size"] == 32


def test_rows_are_chosen_by_name_or_letter():
    study = STUDIES["table2"]
    assert [row.name for row in choose_rows(study, "cub", ["d", "(a)"])] == ["(a) L_cls", "(d) + F"]
    assert [row.name for row in choose_rows(study, "cub", ["(b) + L_ba"])] == ["(b) + L_ba"]
    with pytest.raises(ConfigurationError, match=r"no row 'e'; there are \(a\) L_cls"):
        choose_rows(study, "cub", ["e"])


def test_fields_of_the_command_line():
    fields = parse_fields(["--learning_rate", "1.0e-3", "--dataset_options", '{"num_train": 8}', "--bf16=true"])
    assert fields == {"learning_rate": 0.001, "dataset_options": {"num_train": 8}, "bf16": True}
    assert parse_fields(["--classes", "checks", "dots"]) == {"classes": ["checks", "dots"]}
    # YAML alone reads "no" as false.
    no = {"eval_strategy": "no", "bf16": False}
    assert parse_fields(["--eval_strategy", "no", "--bf16", "no"]) == no
    with pytest.raises(ConfigurationError, match=r"'area_targt', which does not exist. Did you mean 'area_target'"):
        parse_fields(["--area_targt", "0.3"])
    with pytest.raises(ConfigurationError, match="seed is that of each run; give them by --seeds"):
        parse_fields(["--seed", "3"])
    with pytest.raises(ConfigurationError, match="'cub' does not belong to an option"):
        parse_fields(["cub"])


def test_recipes_are_found_or_named(tmp_path):
    folder = tmp_path / "cub"
    folder.mkdir()
    for model in ("deit_tiny", "deit_base"):
        (folder / f"{model}.yaml").write_text("area_target: 0.25\n")
    assert [recipe.label for recipe in find_recipes(tmp_path, "cub", None, None, True, {})] == ["DeiT-T", "DeiT-B"]
    assert [recipe.label for recipe in find_recipes(tmp_path, "cub", None, None, False, {})] == ["DeiT-T"]
    with pytest.raises(ConfigurationError, match=r"no recipe of deit-small on cub; there are .*deit_base.yaml"):
        find_recipes(tmp_path, "cub", "deit-small", None, False, {})
    with pytest.raises(ConfigurationError, match=r"no recipe on dogs; .*dogs has none"):
        find_recipes(tmp_path, "dogs", None, None, True, {})
    with pytest.raises(ConfigurationError, match=r"no configuration file nowhere.yaml"):
        read_recipe(Path("nowhere.yaml"), "x", {})


@pytest.mark.parametrize("dataset", ["shapes", "tiny_imagenet"])
def test_laptop_recipes_are_the_default(dataset):
    (recipe,) = find_recipes(CONFIGS, dataset, None, None, True, {})
    assert recipe.path.name == "laptop.yaml"


def test_conformer_is_among_all_models_once_it_is_converted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [recipe.label for recipe in find_recipes(CONFIGS, "cub", None, None, True, {})]
    (recipe,) = find_recipes(CONFIGS, "cub", "conformer-small", None, False, {})
    assert "Conformer-S" not in names and recipe.label == "Conformer-S"
    Path(recipe.fields["model"]).mkdir(parents=True)
    assert [recipe.label for recipe in find_recipes(CONFIGS, "cub", None, None, True, {})] == [*names, "Conformer-S"]


def test_every_method_is_a_row_of_the_tables_that_compare_methods():
    study = STUDIES["table1"]
    options = ReproductionOptions("cub", seeds=[0], output_dir=Path("out"))
    runs = make_runs(study, study.rows, [RECIPE], options)
    titles = [method.title for method in METHODS.values()] + ["BAS*"] * ("bas" in METHODS)
    assert list(runs) == [Key(title, model="DeiT-S") for title in titles]
    assert [str(key) for key in runs][:2] == ["SAT, DeiT-S", "CAM, DeiT-S"]
    assert runs[Key("CAM", model="DeiT-S")][0].folder.parent.name.startswith("method-cam-")
    assert any(isinstance(claim, AboveOthers) for claim in study.claims)
    assert choose_rows(study, "cub", ["cam"]) == choose_rows(study, "cub", ["CAM"])


def test_a_method_trains_with_its_own_settings():
    (recipe,) = find_recipes(CONFIGS, "cub", "deit-small", None, False, {"learning_rate": 1e-4})
    row = Row("TS-CAM", {"method": "ts_cam"})
    assert recipe.changed_by(row) == {"learning_rate": 1e-4, "method": "ts_cam"}
    fields = recipe.with_changes(recipe.changed_by(row))
    assert (fields["per_device_train_batch_size"], fields["learning_rate"]) == (128, 1e-4)
    assert recipe.changed_by(Row("SAT", {"method": "sat"})) == {}
