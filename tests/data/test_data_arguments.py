"""One place spells the options of the data."""

import inspect

import pytest

from modeling_sat.data import DatasetError, MissingSplitError, load_wsol_dataset
from modeling_sat.data.arguments import CHOICE, DataArguments


SMALL = '{"num_classes": 3, "num_train": 12, "num_validation": 0, "num_test": 3}'


def test_it_has_every_option_of_load_wsol_dataset():
    parameters = inspect.signature(load_wsol_dataset).parameters.values()
    named = {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}
    assert named - {"seed"} == set(CHOICE)


def test_what_it_loads_is_what_load_wsol_dataset_gives():
    arguments = DataArguments("shapes", dataset_options=SMALL, validation_fraction=0.25)
    expected = load_wsol_dataset(
        "shapes", None, ["train", "validation"], validation_fraction=0.25, seed=3, num_classes=3, num_train=12,
        num_validation=0, num_test=3,
    )  # fmt: skip
    found = arguments.load(["train", "validation"], seed=3)
    assert {split: table["image_id"] for split, table in found.items()} == {
        split: table["image_id"] for split, table in expected.items()
    }
    assert len(arguments.load("train", validation_fraction=0.0)) == 12
    with pytest.raises(MissingSplitError):
        arguments.load("validation", validation_fraction=0.0)


def test_of_an_option_given_twice_the_readers_wins():
    options = {"num_classes": 3, "num_train": 12, "num_validation": 0, "images_per_class": 1}
    arguments = DataArguments("shapes", dataset_options=options, images_per_class=2)
    assert len(arguments.load("train")) == 3 and len(arguments.load("train", images_per_class=2)) == 6


def test_from_other_settings():
    assert DataArguments.of({"dataset": "cub", "learning_rate": 1}) == DataArguments("cub")


@pytest.mark.parametrize("options", ["[1]", "3", '{"a"', [1]])
def test_options_that_are_no_mapping(options):
    with pytest.raises(DatasetError, match=r"dataset_options: .* is not a mapping such as"):
        DataArguments("shapes", dataset_options=options).load("train")
