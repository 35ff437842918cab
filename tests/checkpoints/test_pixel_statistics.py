"""By which mean and standard deviation a starting point's pixels are scaled, and what is said of it."""

import json
import logging

import pytest
import torch
from model_mixin import TINY
from safetensors.torch import save_file
from test_sources import timm_names, vit
from transformers import (
    DeiTConfig,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2WithRegistersConfig,
    DINOv3ViTConfig,
    ViTImageProcessorPil,
)

from modeling_sat import SATForWeaklySupervisedLocalization, SATImageProcessor
from modeling_sat.checkpoints import convert_checkpoint
from modeling_sat.checkpoints.pixel_statistics import STATISTICS, pixel_statistics
from modeling_sat.training import ConfigurationError, parse_arguments
from modeling_sat.training.start import build_processor


IMAGENET, HALF = STATISTICS["imagenet"], STATISTICS["half"]
OWN = {"image_mean": [0.4, 0.4, 0.4], "image_std": [0.3, 0.3, 0.3]}
HEADS = {"num_attention_heads": 2}


def save(folder, statistics=HALF, model=None, **processor):
    """As Meta's own repositories are: the type of a ViT, and an image processor with 0.5."""
    (model or vit()).save_pretrained(folder)
    if statistics is not None:
        ViTImageProcessorPil(**statistics, **processor).save_pretrained(folder)
    return folder


def chosen(folder, choice=None):
    processor = build_processor(str(folder), (32, 32), choice)
    return {"image_mean": list(processor.image_mean), "image_std": list(processor.image_std)}


class TestDeiT:
    @pytest.mark.parametrize(
        "name", ["deit-tiny-patch16-224", "DeiT-small", "my_deit_base", "facebook--deit-base-patch16-384", "deit3"]
    )
    def test_a_local_copy_is_known_by_its_name(self, tmp_path, name, caplog):
        assert chosen(save(tmp_path / name)) == IMAGENET
        assert "is a DeiT" in caplog.text and "0.5" in caplog.text

    def test_a_download_is_known_by_its_repository(self, tmp_path):
        assert chosen(save(tmp_path / "models--facebook--deit-tiny-patch16-224" / "snapshots" / "3f2a")) == IMAGENET

    def test_a_copy_is_known_by_its_card(self, tmp_path):
        save(tmp_path / "start")
        (tmp_path / "start" / "README.md").write_text(
            "---\nlicense: apache-2.0\n---\n\n# Data-efficient Image Transformer (tiny-sized model)\n"
        )
        assert chosen(tmp_path / "start") == IMAGENET

    def test_a_copy_is_known_by_where_its_configuration_came_from(self, tmp_path):
        config = json.loads((save(tmp_path / "start") / "config.json").read_text())
        (tmp_path / "start" / "config.json").write_text(
            json.dumps(config | {"_name_or_path": "facebook/deit-small-patch16-224"})
        )
        assert chosen(tmp_path / "start") == IMAGENET

    def test_a_distilled_one_is_known_by_its_type(self, tmp_path):
        model = vit(DeiTForImageClassificationWithTeacher, DeiTConfig)
        assert chosen(save(tmp_path / "start", model=model)) == IMAGENET
        assert chosen(save(tmp_path / "bare", statistics=None, model=model)) == IMAGENET

    def test_training_and_evaluation_resize_alike(self, tmp_path):
        save(tmp_path / "deit", statistics=IMAGENET, resample=3)
        assert build_processor(str(tmp_path / "deit"), (32, 32)).resample == SATImageProcessor().resample
        convert_checkpoint(str(tmp_path / "deit"), "vit", tmp_path / "out")
        assert SATImageProcessor.from_pretrained(tmp_path / "out").resample == SATImageProcessor().resample

    def test_conversion_says_it(self, tmp_path):
        conversion = convert_checkpoint(str(save(tmp_path / "deit")), "vit", tmp_path / "out")
        assert "mean [0.485, 0.456, 0.406]" in str(conversion)
        assert list(SATImageProcessor.from_pretrained(tmp_path / "out").image_mean) == IMAGENET["image_mean"]


class TestOtherViTs:
    def test_as_their_processor_says(self, tmp_path, caplog):
        assert chosen(save(tmp_path / "vit", OWN)) == OWN
        assert not caplog.text

    @pytest.mark.parametrize("name", ["vit", "beit-like", "deity"[:3], "modeit"])
    def test_a_half_that_may_be_wrong_is_said(self, tmp_path, name, caplog):
        assert chosen(save(tmp_path / name)) == HALF
        assert "If its weights come from a DeiT" in caplog.text

    def test_without_a_processor_the_assumption_is_said(self, tmp_path, caplog):
        assert chosen(save(tmp_path / "vit", statistics=None)) == IMAGENET
        assert "does not say how it scales pixels" in caplog.text

    def test_a_sat_keeps_what_it_was_trained_with(self, tmp_path, caplog):
        folder = tmp_path / "sat-deit-small"
        fields = TINY
        SATForWeaklySupervisedLocalization(SATForWeaklySupervisedLocalization.config_class(**fields)).save_pretrained(
            folder
        )
        SATImageProcessor(**HALF).save_pretrained(folder)
        assert chosen(folder) == HALF
        assert not caplog.text

    @pytest.mark.parametrize(("choice", "expected"), [("imagenet", IMAGENET), ("half", HALF), ("checkpoint", OWN)])
    def test_the_user_decides(self, tmp_path, choice, expected):
        folder = save(tmp_path / "deit", OWN)
        assert chosen(folder, choice) == expected
        arguments, *_ = parse_arguments(["--model", str(folder), "--pixel_statistics", choice, "--report_to", "none"])
        assert arguments.pixel_statistics == choice and "pixel_statistics" not in arguments.config_fields()
        convert_checkpoint(str(folder), "vit", tmp_path / "out", pixel_statistics=choice)
        assert list(SATImageProcessor.from_pretrained(tmp_path / "out").image_std) == expected["image_std"]

    def test_random_weights_have_none_of_their_own(self):
        assert list(build_processor(None, (32, 32), "half").image_mean) == HALF["image_mean"]
        with pytest.raises(ConfigurationError, match="training starts from none"):
            build_processor(None, (32, 32), "checkpoint")


class TestDINO:
    """By the files that come with Meta's: those of DINOv3 from satellites have a mean of their own."""

    SATELLITE = {"image_mean": [0.43, 0.411, 0.296], "image_std": [0.213, 0.156, 0.143]}

    def folder(self, tmp_path, config, **settings):
        folder = tmp_path / config.model_type
        config.save_pretrained(folder)
        settings |= {"do_normalize": True, "do_rescale": True, "resample": 3, "rescale_factor": 1 / 255}
        (folder / "preprocessor_config.json").write_text(json.dumps(settings))
        return folder

    @pytest.mark.parametrize("config_class", [Dinov2Config, Dinov2WithRegistersConfig])
    def test_dinov2(self, config_class, tmp_path, caplog):
        crop = {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}, "do_center_crop": True}
        folder = self.folder(tmp_path, config_class(), image_processor_type="BitImageProcessor", **crop, **IMAGENET)
        assert chosen(folder) == IMAGENET and not caplog.text
        processor = build_processor(str(folder), (32, 32))
        assert processor.view().size == (32, 32) and not processor.do_center_crop

    @pytest.mark.parametrize("statistics", [IMAGENET, SATELLITE])
    def test_dinov3(self, statistics, tmp_path, caplog):
        square = {"size": {"height": 224, "width": 224}, "crop_size": None, "do_center_crop": None}
        kind = {"image_processor_type": "DINOv3ViTImageProcessorFast", "data_format": "channels_first"}
        folder = self.folder(tmp_path, DINOv3ViTConfig(), **kind, **square, **statistics)
        assert chosen(folder) == statistics and not caplog.text


class TestTimm:
    @pytest.fixture
    def weights(self):
        return {name: weight.contiguous() for name, weight in timm_names(vit()).items()}

    def convert(self, file, weights, **options):
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, file)
        return convert_checkpoint(str(file), "timm", **HEADS, **options).preprocessing

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("deit_tiny_patch16_224.safetensors", IMAGENET),
            ("deit3_small_patch16_224.fb_in22k_ft_in1k.safetensors", IMAGENET),
            ("vit_small_patch16_224.augreg_in21k_ft_in1k.safetensors", HALF),
            ("vit_base_patch16_224_in21k.safetensors", HALF),
            ("vit_base_patch16_224.orig_in21k/model.safetensors", HALF),
            ("deit_base_distilled_patch16_224.fb_in1k/model.safetensors", IMAGENET),
        ],
    )
    def test_known_by_name(self, tmp_path, weights, name, expected, caplog):
        assert self.convert(tmp_path / name, weights) == expected
        assert not caplog.text

    @pytest.mark.parametrize("nested", [True, False])
    def test_as_timms_own_configuration_says(self, tmp_path, weights, nested):
        stated = {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "interpolation": "bicubic"}
        (tmp_path / "config.json").write_text(
            json.dumps({"architecture": "deit_tiny_patch16_224", "pretrained_cfg": stated} if nested else stated)
        )
        found = self.convert(tmp_path / "model.safetensors", weights)
        assert found == {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}

    def test_a_distillation_token_tells(self, tmp_path, weights, caplog):
        weights["dist_token"] = torch.zeros_like(weights["cls_token"])
        weights["pos_embed"] = torch.cat([weights["pos_embed"][:, :1], weights["pos_embed"]], dim=1)
        assert self.convert(tmp_path / "weights.safetensors", weights) == IMAGENET
        assert not caplog.text

    def test_an_assumption_is_said_and_can_be_decided(self, tmp_path, weights, caplog):
        with caplog.at_level(logging.WARNING):
            assert self.convert(tmp_path / "weights.safetensors", weights) == IMAGENET
        assert "Nothing says how" in caplog.text and "pixel_statistics half" in caplog.text
        assert self.convert(tmp_path / "weights.safetensors", weights, pixel_statistics="half") == HALF


def test_an_id_that_is_not_there_is_assumed_with_a_word(caplog):
    assert pixel_statistics("nobody/vit-of-no-kind") == {}
    assert "does not say how" in caplog.text
