"""Few training images take as many steps as all of them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modeling_sat.data import DatasetError
from modeling_sat.reproduction.command import ReproductionOptions, make_runs
from modeling_sat.reproduction.recipes import Recipe, find_recipes
from modeling_sat.reproduction.results import Key
from modeling_sat.reproduction.steps import as_many_steps, count_images
from modeling_sat.reproduction.studies import STUDIES
from modeling_sat.training.arguments import ConfigurationError


CONFIGS = Path(__file__).parents[2] / "scripts/configs"
IMAGENET, CUB = (1_281_167, 1000), (5994, 200)


def runs(recipe: Recipe, dataset: str, images: tuple[int, int], study: str = "fig8"):
    options = ReproductionOptions(dataset, seeds=[0], output_dir=Path("out"))
    study = STUDIES[study]
    return {
        key: by_seed[0].fields
        for key, by_seed in make_runs(study, study.rows, [recipe], options, count=lambda fields: images).items()
    }


def test_the_benchmarks_by_hand():
    (recipe,) = find_recipes(CONFIGS, "imagenet", "deit-small", None, False, {})
    few = runs(recipe, "imagenet", IMAGENET)
    # 1,281,167 images in batches of 128 are 10,010 batches, in fours 2,503 steps
    assert [few[Key("SAT", shot)].get("max_steps") for shot in ("1", "3", "5", "10", "full")] == [2503] * 4 + [None]
    assert few[Key("SAT", "1")]["eval_strategy"] == "steps" and few[Key("SAT", "1")]["eval_steps"] == 2503
    (recipe,) = find_recipes(CONFIGS, "cub", None, None, False, {})
    few = runs(recipe, "cub", CUB)
    # 5,994 in batches of 256 are 24 steps, 30 passes 720; evaluated and saved 30 times, as the full column is
    one = few[Key("SAT", "1")]
    assert (one["max_steps"], one["eval_strategy"], one["eval_steps"]) == (720, "steps", 24)
    assert (one["save_strategy"], one["save_steps"], one["images_per_class"]) == ("steps", 24, 1)
    full = few[Key("SAT", "full")]
    assert "max_steps" not in full and "eval_steps" not in full and full.get("images_per_class") is None


def test_all_rows_of_table_8_take_as_many():
    (recipe,) = find_recipes(CONFIGS, "cub", None, None, False, {})
    assert {
        fields.get("max_steps") for key, fields in runs(recipe, "cub", CUB, "table8").items() if key.column != "full"
    } == {720}


def test_laptops():
    (recipe,) = find_recipes(CONFIGS, "shapes", None, None, False, {})
    one = runs(recipe, "shapes", (4000, 6))[Key("SAT", "1")]
    # 250 steps in a pass, 8 passes; the classification loss alone for 3 passes of 250 steps, of one step each here
    assert (one["max_steps"], one["classification_epochs"], one["save_steps"]) == (2000, 750, 250)
    (recipe,) = find_recipes(CONFIGS, "tiny_imagenet", None, None, False, {})
    few = runs(recipe, "tiny_imagenet", (90_000, 200))
    assert {fields["max_steps"] for fields in few.values()} == {100}
    assert few[Key("SAT", "1")]["save_steps"] == 100 and few[Key("SAT", "1")]["eval_strategy"] == "no"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"num_train_epochs": 0.5}, {"max_steps": 8}),  # 1000 in batches of 64: 16 steps
        ({"max_steps": 50}, {"max_steps": 50}),
        ({"gradient_accumulation_steps": 4, "num_train_epochs": 2}, {"max_steps": 8}),
        ({"dataloader_drop_last": True, "num_train_epochs": 2}, {"max_steps": 30}),
        ({"eval_delay": 2, "num_train_epochs": 3}, {"eval_delay": 32, "eval_steps": 16}),
        ({"eval_strategy": "steps", "eval_steps": 7}, {"eval_steps": None, "eval_strategy": None}),
        ({"eval_strategy": "no", "save_strategy": "no"}, {"eval_steps": None, "save_steps": None}),
        ({"classification_epochs": 2}, {"classification_epochs": 32}),
        ({"logging_strategy": "epoch"}, {"logging_strategy": "steps", "logging_steps": 16}),
    ],
)  # fmt: skip
def test_what_recipes_count_in_passes(fields, expected):
    changed = as_many_steps(fields, all_images=1000, images=10)
    assert {name: changed.get(name) for name in expected} == expected


def test_a_recipe_of_few_images_is_no_full_column():
    recipe = Recipe("x", Path("x.yaml"), {"images_per_class": 1, "num_train_epochs": 2}, {})
    assert runs(recipe, "cub", CUB)[Key("SAT", "full")]["images_per_class"] is None


def test_images_are_counted_as_training_reads_them(tmp_path):
    for name, count in {"a": 20, "b": 10, "c": 10}.items():
        (tmp_path / name).mkdir()
        for index in range(count):
            pixels = np.full((16, 16, 3), index * 3 + len(name), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{index}.png")
    fields = {"dataset": "folder", "data_dir": str(tmp_path), "images_per_class": 1}
    assert count_images({**fields, "validation_fraction": 0.1}) == (36, 3)
    assert count_images({**fields, "validation_fraction": 0.5}) == (20, 3)
    assert count_images({**fields, "validation_fraction": 0.0, "classes": ["a", "b"]}) == (30, 2)
    shapes = {"num_classes": 2, "num_train": 12, "num_validation": 4, "num_test": 4}
    assert count_images({"dataset": "shapes", "dataset_options": shapes}) == (12, 2)
    with pytest.raises((ConfigurationError, DatasetError)):
        count_images({"dataset": "folder", "data_dir": str(tmp_path / "nowhere")})
