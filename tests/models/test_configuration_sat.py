"""The configuration: defaults, what it refuses and with which sentence, and what survives a save."""

import json

import pytest
from huggingface_hub.errors import StrictDataclassError
from model_mixin import tiny_config
from transformers import AutoConfig, ViTConfig

from modeling_sat import SATConfig, SATForWeaklySupervisedLocalization


def test_defaults_are_those_of_the_authors_code():
    config = SATConfig()
    assert isinstance(config, ViTConfig)
    assert (config.num_spatial_layers, config.area_target, config.drop_path_rate) == (3, 0.35, 0.1)
    assert (config.area_loss_weight, config.normalization_loss_weight) == (1, 1)
    assert (config.smoothing_kernel_size, config.smoothing_sigma) == (3, 0.418)
    assert (config.area_reduction, config.classifier) == ("global", "patch_tokens")
    assert config.spatial_query_scaling == "head_mean"
    assert config.layer_norm_eps == 1e-6
    assert ViTConfig().layer_norm_eps != 1e-6


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"patch_size": 7}, "image_size has height 32, which patch_size 7 does not divide .* are 28 and 35"),
        ({"image_size": (32, 36)}, "image_size has width 36, .* nearest widths that it does are 32 and 40"),
        ({"image_size": 4}, "image_size has height 4, .* are 8 and 16"),
        ({"image_size": [32, 32, 32]}, r"image_size is \[32, 32, 32\]; give one number"),
        ({"patch_size": 0}, "patch_size is 0; give one number"),
        ({"image_size": "32"}, "image_size"),
        ({"num_spatial_layers": 0}, r"num_spatial_layers is 0; choose a number from 1 to num_hidden_layers \(4\)"),
        ({"num_spatial_layers": 5}, r"num_spatial_layers is 5; choose a number from 1 to num_hidden_layers \(4\)"),
        ({"num_spatial_layers": 2.0}, "num_spatial_layers"),
        ({"num_attention_heads": 3}, "hidden_size 32 is not a multiple of num_attention_heads 3"),
        ({"num_attention_heads": 0}, "num_attention_heads is 0; choose a whole number"),
        ({"hidden_size": -32}, "hidden_size is -32; choose a whole number"),
        ({"num_labels": 0}, "num_labels is 0; choose a whole number"),
        ({"area_target": 0.0}, r"area_target is 0.0; .* between 0 and 1, both excluded"),
        ({"area_target": 1.0}, r"area_target is 1.0; .* between 0 and 1, both excluded"),
        ({"area_target": float("nan")}, "area_target is nan"),
        ({"area_target": "0.35"}, "area_target"),
        ({"area_loss_weight": -1}, r"area_loss_weight \(-1\) .* must not be negative; 0 turns a loss off"),
        ({"normalization_loss_weight": float("nan")}, r"normalization_loss_weight \(nan\) must not be negative"),
        ({"smoothing_kernel_size": 2}, "smoothing_kernel_size is 2; choose an odd number"),
        ({"smoothing_sigma": 0}, "smoothing_sigma is 0; choose a standard deviation above 0"),
        ({"drop_path_rate": 1.0}, r"drop_path_rate is 1.0; choose a probability in \[0, 1\)"),
        ({"area_reduction": "mean"}, "area_reduction is 'mean'; choose one of 'global', 'local'"),
        ({"classifier": "linear"}, "classifier is 'linear'; choose one of 'patch_tokens', 'class_token'"),
        ({"spatial_query_scaling": "none"}, "spatial_query_scaling is 'none'; choose one of 'head_mean'"),
    ],
    ids=lambda value: "-".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_bad_values_stop_at_construction(fields, message):
    with pytest.raises(StrictDataclassError, match=message):
        tiny_config(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"image_size": (32, 40), "patch_size": (8, 4)},
        {"image_size": [32, 40]},
        {"num_spatial_layers": 4},
        {"area_target": 0.01},
        {"smoothing_kernel_size": 1},
        {"smoothing_sigma": 6},
        {"area_loss_weight": 0, "normalization_loss_weight": 0},
        {"drop_path_rate": 0},
    ],
    ids=str,
)
def test_save_and_load(fields, tmp_path):
    config = tiny_config(**fields)
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is SATConfig
    for name, value in fields.items():
        assert getattr(loaded, name) == (list(value) if isinstance(value, tuple) else value)
    saved, given = loaded.to_diff_dict(), config.to_diff_dict()
    assert {**saved, **fields} == {**given, **fields}


def test_saved_file_tells_auto_classes_and_pipelines_where_the_code_is(tmp_path):
    SATForWeaklySupervisedLocalization(tiny_config()).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())
    assert saved["model_type"] == "sat"
    assert saved["auto_map"] == {
        "AutoConfig": "configuration_sat.SATConfig",
        "AutoModel": "modeling_sat.SATForWeaklySupervisedLocalization",
        "AutoModelForImageClassification": "modeling_sat.SATForWeaklySupervisedLocalization",
        "AutoModelForObjectDetection": "modeling_sat.SATForWeaklySupervisedLocalization",
    }
    assert set(saved["custom_pipelines"]) == {"weakly-supervised-object-localization"}


def test_labels():
    config = tiny_config(num_labels=2, id2label={0: "cat", 1: "dog"}, label2id={"cat": 0, "dog": 1})
    assert config.num_labels == 2
    assert config.label2id["dog"] == 1
