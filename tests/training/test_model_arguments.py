"""Fields of a configuration come from the methods' own classes."""

import re
from dataclasses import fields
from typing import Literal

import pytest
from transformers import PreTrainedConfig

from modeling_sat.methods import METHODS
from modeling_sat.training import ConfigurationError, ModelArguments, parse_arguments
from modeling_sat.training.model_arguments import config_types, reader, split_by_method


QUIET = ["--report_to", "none", "--use_cpu", "true"]


def parsed(folder, text: str, *options: str):
    (folder / "run.yaml").write_text(text)
    return parse_arguments(["--config", str(folder / "run.yaml"), *QUIET, *options])[0]


@pytest.mark.parametrize("method", METHODS)
def test_every_field_of_a_methods_configuration_can_be_given(method):
    common = {field.name for field in fields(PreTrainedConfig)}
    known = {field.name for field in fields(METHODS[method].config_class)} - common
    assert known == config_types(method).keys() <= {field.name for field in fields(ModelArguments)}


def test_values_have_the_types_of_the_configuration(tmp_path):
    text = "hidden_dropout_prob: 0.1\nqkv_bias: false\nimage_size: [64, 48]\nbackbone_config: {model_type: vit}\n"
    given = parsed(tmp_path, text, "--num-spatial-layers", "4", "--area_target=0.25", "--patch_size", "16")
    assert given.config_fields() == {
        "hidden_dropout_prob": 0.1, "qkv_bias": False, "image_size": [64, 48], "backbone_config": {"model_type": "vit"},
        "num_spatial_layers": 4, "area_target": 0.25, "patch_size": 16,
    }  # fmt: skip
    assert parsed(tmp_path, "", "--image_size", "[32, 16]", "--qkv_bias").config_fields() == {
        "image_size": [32, 16], "qkv_bias": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("hint", "text", "value"),
    [
        (float | int, "1", 1.0), (int | list[int] | None, "3", 3), (int | list[int], "[3, 4]", [3, 4]),
        (str | None, "3", "3"), (str | int, "3", 3), (bool, "no", False), (Literal["a", 2], "2", 2),
        (dict | None, '{"a": 1}', {"a": 1}), (list[str], '["a"]', ["a"]),
    ],
)  # fmt: skip
def test_reading_a_value(hint, text, value):
    assert reader(hint)(text) == value and type(reader(hint)(text)) is type(value)


@pytest.mark.parametrize(
    ("hint", "text"),
    [(int, "1.5"), (float, "much"), (dict, "[1]"), (list[int], "3"), (Literal["a"], "b"), (bool, "2")],
)
def test_what_is_no_value_of_the_type(hint, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        reader(hint)(text)


def test_another_methods_fields_of_a_recipe_are_left_out(tmp_path, capsys):
    text = "area_target: 0.2\nnum_spatial_layers: 4\nhidden_size: 96\nsmoothing_sigma: null\n"
    assert parsed(tmp_path, text, "--method", "cam").config_fields() == {"hidden_size": 96}
    said = "run.yaml sets area_target, num_spatial_layers, which the method cam does not have; left out.\n"
    assert capsys.readouterr().out == f"{tmp_path}/{said}"
    assert parsed(tmp_path, f"method: cam\n{text}", "--method", "sat").area_target == 0.2
    assert capsys.readouterr().out == ""
    assert split_by_method({"method": "cam", "seed": 1, "area_target": 0.2}) == (
        {"method": "cam", "seed": 1}, ["area_target"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--method", "cam", "--area_target", "0.2"], "The method cam has no area_target. Leave it out."),
        (["--num_spatial_layer", "2"], "Did you mean 'num_spatial_layers'?"),
        (["--image_size", "large"], "invalid int or list value: 'large'"),
        (["--hidden_dropout_prob", "much"], "invalid float value: 'much'"),
        (["--method", "vit"], "invalid choice: 'vit'"),
    ],
)
def test_on_the_command_line_they_are_refused(tmp_path, options, sentence):
    with pytest.raises(ConfigurationError) as error:
        parsed(tmp_path, "area_target: 0.3", *options)
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [({"method": "cam", "area_target": 0.2}, "has no area_target"), ({"method": "vit"}, "There is no method 'vit'")],
)
def test_from_python_too(given, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        ModelArguments(**given)
