"""Checkpoints of the authors, of timm and of transformers, in files that the tests write, and one that is real."""

import argparse
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from model_mixin import BACKBONES, TINY, assert_same, images, model_of, tiny_model
from PIL import Image
from safetensors.torch import save_file
from transformers import (
    AutoModel,
    BeitConfig,
    BeitForImageClassification,
    DeiTConfig,
    DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher,
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2WithRegistersConfig,
    DINOv3ViTConfig,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    ViTModel,
)

from modeling_sat import SATForWeaklySupervisedLocalization, SATImageProcessor
from modeling_sat.checkpoints import CheckpointError, convert_checkpoint
from modeling_sat.methods import METHODS
from modeling_sat.models.modeling_conformer import VisionConformerForImageClassification


SCRIPT = Path(__file__).parents[2] / "scripts" / "convert_checkpoint.py"
HEADS = {"num_attention_heads": 2}
SPATIAL = ["vit.embeddings.spatial_position_embedding", "vit.embeddings.spatial_token"]
PATCH_HEAD = ["patch_classifier.bias", "patch_classifier.weight"]
CLASS_HEAD = ["classifier.bias", "classifier.weight"]


def timm_names(model: torch.nn.Module, layers: int = 4) -> dict[str, torch.Tensor]:
    """The weights of a SAT or ViT model of ours or transformers' as timm, and the authors after it, name them."""
    ours = model.state_dict()
    names = {
        "cls_token": "vit.embeddings.cls_token",
        "pos_embed": "vit.embeddings.position_embeddings",
        "patch_embed.proj.weight": "vit.embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "vit.embeddings.patch_embeddings.projection.bias",
        "norm.weight": "vit.layernorm.weight",
        "norm.bias": "vit.layernorm.bias",
    }
    if "vit.embeddings.spatial_token" in ours:
        names |= {"loc_token": "vit.embeddings.spatial_token"}
        names |= {"loc_embed": "vit.embeddings.spatial_position_embedding"}
    for part in ("weight", "bias"):
        names[f"head.{part}"] = f"patch_classifier.{part}" if "patch_classifier.bias" in ours else f"classifier.{part}"
        for index in range(layers):
            block, layer = f"blocks.{index}", f"vit.layers.{index}"
            names |= {
                f"{block}.norm1.{part}": f"{layer}.layernorm_before.{part}",
                f"{block}.norm2.{part}": f"{layer}.layernorm_after.{part}",
                f"{block}.attn.proj.{part}": f"{layer}.attention.o_proj.{part}",
                f"{block}.mlp.fc1.{part}": f"{layer}.mlp.fc1.{part}",
                f"{block}.mlp.fc2.{part}": f"{layer}.mlp.fc2.{part}",
            }
    weights = {name: ours[our_name].clone() for name, our_name in names.items()}
    for index in range(layers):
        for part in ("weight", "bias"):
            qkv = [ours[f"vit.layers.{index}.attention.{letter}_proj.{part}"] for letter in "qkv"]
            weights[f"blocks.{index}.attn.qkv.{part}"] = torch.cat(qkv)
    return weights


def authors_file(path: Path, **content) -> Path:
    """As their training writes it, for four layers of which three are spatial, with their saved Gaussian."""
    weights = {**timm_names(tiny_model(num_spatial_layers=3)), "weight": torch.ones(1, 1, 3, 3)}
    torch.save({"model": {f"module.{name}": value for name, value in weights.items()}, **content}, path)
    return path


def vit(model_class=ViTForImageClassification, config_class=ViTConfig, **fields):
    torch.manual_seed(0)
    fields = {name: value for name, value in {**TINY, **fields}.items() if name != "num_spatial_layers"}
    model = model_class(config_class(**fields)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    return model


class TestAuthors:
    def test_same_outputs(self, tmp_path):
        file = authors_file(tmp_path / "sat.pth.tar", best_thr=0.35, epoch=3)
        conversion = convert_checkpoint(file, "sat", tmp_path / "out", **HEADS)
        assert (conversion.new, conversion.left_out, conversion.threshold) == ([], ["weight"], 0.35)
        expected = tiny_model(num_spatial_layers=3)
        with torch.no_grad():
            assert_same(conversion.model(images()), expected(images()), rtol=0, atol=0)
            loaded = SATForWeaklySupervisedLocalization.from_pretrained(tmp_path / "out")
            assert_same(loaded(images()), expected(images()), rtol=0, atol=0)

    def test_processor_has_threshold_and_size(self, tmp_path):
        file = authors_file(tmp_path / "sat.pth.tar", best_thr=0.35, epoch=3)
        convert_checkpoint(file, "sat", tmp_path / "out", **HEADS)
        processor = SATImageProcessor.from_pretrained(tmp_path / "out")
        assert processor.localization_threshold == 0.35
        assert processor.view().size == (32, 32)

    @pytest.mark.parametrize("content", [{}, {"best_thr": 0}], ids=["none", "zero: not chosen yet"])
    def test_without_threshold(self, tmp_path, content):
        conversion = convert_checkpoint(authors_file(tmp_path / "f.pth", **content), "sat", tmp_path / "out", **HEADS)
        assert conversion.threshold is None
        assert SATImageProcessor.from_pretrained(tmp_path / "out").localization_threshold == 0.4

    def test_another_number_of_classes_makes_a_new_head(self, tmp_path):
        conversion = convert_checkpoint(authors_file(tmp_path / "sat.pth"), "sat", num_labels=7, **HEADS)
        assert conversion.new == PATCH_HEAD
        assert sorted(conversion.left_out) == ["head.bias", "head.weight", "weight"]
        assert conversion.model(images()).logits.shape == (3, 7)

    @pytest.mark.parametrize("missing", ["loc_token", "blocks.2.norm1.weight", "head.weight"])
    def test_a_part_of_one_is_refused(self, tmp_path, missing):
        weights = timm_names(tiny_model())
        del weights[missing]
        save_file(weights, tmp_path / "part.safetensors")
        with pytest.raises(
            CheckpointError, match=r"part.safetensors (has no loc_token|is not a whole SAT|has no head)"
        ):
            convert_checkpoint(tmp_path / "part.safetensors", "sat", **HEADS)


class TestSCM:
    @pytest.fixture
    def model(self):
        model = model_of("scm", drop_path_rate=0.0)
        for index, parameter in enumerate(model.diffusion.parameters()):
            torch.nn.init.constant_(parameter, 0.5 + 0.1 * index)
        return model

    @pytest.fixture
    def weights(self, model):
        """By their names, lib/models/deit.py and graphFusion.py."""
        weights = timm_names(model)
        for index, block in enumerate(model.diffusion):
            weights[f"layers.{index}.fuse._loss_rate"] = block.similarity_weight.detach()
            weights[f"layers.{index}.thred"] = block.threshold.detach()
        return {name: weight for name, weight in weights.items() if not name.startswith("diffusion.")}

    def test_same_outputs_in_evaluation_and_training(self, model, weights, tmp_path):
        file = tmp_path / "model_best.pth"
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": weight for name, weight in weights.items()}}, file)
        conversion = convert_checkpoint(file, "scm", tmp_path / "out", **HEADS, drop_path_rate=0.0)
        assert (conversion.new, conversion.left_out, conversion.threshold) == ([], [], 0.35)
        for converted in (conversion.model, type(model).from_pretrained(tmp_path / "out")):
            with torch.no_grad():
                for training in (False, True):
                    expected = model.train(training)(images(), output_class_maps=True)
                    found = converted.train(training)(images(), output_class_maps=True)
                    assert_same(found, expected, rtol=0, atol=0)

    def test_a_ts_cam_is_refused(self, weights, tmp_path):
        others = {name: weight for name, weight in weights.items() if not name.startswith("layers.")}
        save_file(others, tmp_path / "ts_cam.safetensors")
        with pytest.raises(CheckpointError, match=r"has no layers\.0\.fuse\._loss_rate, which a scm checkpoint has"):
            convert_checkpoint(tmp_path / "ts_cam.safetensors", "scm", **HEADS)

    def test_a_part_of_one_is_refused(self, weights, tmp_path):
        del weights["layers.2.thred"]
        save_file(weights, tmp_path / "part.safetensors")
        with pytest.raises(CheckpointError, match=r"is not a whole SCM checkpoint: it lacks diffusion\.2\.threshold"):
            convert_checkpoint(tmp_path / "part.safetensors", "scm", **HEADS)


class TestTSCAM:
    @pytest.fixture
    def model(self):
        torch.manual_seed(0)
        fields = {name: value for name, value in TINY.items() if name != "num_spatial_layers"}
        model = METHODS["ts_cam"].model_class(METHODS["ts_cam"].config_class(**fields)).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.25)
        return model

    @pytest.fixture
    def file(self, model, tmp_path):
        """As their training writes it."""
        weights = {f"module.{name}": value for name, value in timm_names(model).items()}
        torch.save({"epoch": 3, "state_dict": weights, "best_map": 0.877}, tmp_path / "model_best.pth")
        return tmp_path / "model_best.pth"

    def test_same_outputs(self, model, file, tmp_path):
        conversion = convert_checkpoint(file, "ts_cam", tmp_path / "out", **HEADS)
        assert (conversion.new, conversion.left_out, conversion.threshold) == ([], [], 0.1)
        loaded = type(model).from_pretrained(tmp_path / "out")
        with torch.no_grad():
            expected = model(images(), output_class_maps=True)
            for converted in (conversion.model, loaded):
                assert_same(converted(images(), output_class_maps=True), expected, rtol=0, atol=0)
        processor = SATImageProcessor.from_pretrained(tmp_path / "out")
        assert processor.localization_threshold == 0.1 and processor.view().size == (32, 32)

    def test_another_number_of_classes_makes_a_new_head(self, file):
        conversion = convert_checkpoint(file, "ts_cam", num_labels=7, **HEADS)
        assert (conversion.new, sorted(conversion.left_out)) == (PATCH_HEAD, ["head.bias", "head.weight"])

    def test_a_plain_classifier_is_refused(self, tmp_path):
        save_file(timm_names(vit()), tmp_path / "deit.safetensors")
        with pytest.raises(CheckpointError, match="is not a whole TS-CAM checkpoint: it lacks patch_classifier"):
            convert_checkpoint(tmp_path / "deit.safetensors", "ts_cam", **HEADS)

    def test_is_told_from_a_sat(self, file):
        with pytest.raises(CheckpointError, match="has no loc_token, loc_embed, which a sat checkpoint has"):
            convert_checkpoint(file, "sat", **HEADS)

    def test_has_no_class_token_head(self, file):
        with pytest.raises(CheckpointError, match="leave classifier at 'patch_tokens'"):
            convert_checkpoint(file, "ts_cam", classifier="class_token", **HEADS)


class TestLCTR:
    @pytest.fixture
    def model(self):
        torch.manual_seed(0)
        fields = {name: value for name, value in TINY.items() if name != "num_spatial_layers"}
        model = METHODS["lctr"].model_class(METHODS["lctr"].config_class(**fields)).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.25)
        return model

    @pytest.fixture
    def file(self, model, tmp_path):
        """As their training writes it, options of the command line included."""
        weights, ours = timm_names(model), model.state_dict()
        del weights["head.weight"], weights["head.bias"]
        names = {"conv3x3": "convolution", "CDM._routing_fn_two.fc": "average", "CDM._routing_fn_two.fc2": "maximum"}
        for theirs, name in names.items():
            weights |= {f"{theirs}.{part}": ours[f"cue_routing.{name}.{part}"] for part in ("weight", "bias")}
        weights["CDM.bias"] = ours["patch_classifier.bias"]
        weights["CDM.weight"] = ours["patch_classifier.weight"].transpose(0, 1).clone()  # experts first
        content = {"model": weights, "epoch": 79, "args": argparse.Namespace(model="deit_small_lctr", lr=5e-5)}
        torch.save(content, tmp_path / "checkpointAt80.pth")
        return tmp_path / "checkpointAt80.pth"

    def test_same_outputs(self, model, file, tmp_path):
        conversion = convert_checkpoint(file, "lctr", tmp_path / "out", **HEADS)
        assert (conversion.new, conversion.left_out, conversion.threshold) == ([], [], 0.09)
        loaded = type(model).from_pretrained(tmp_path / "out")
        with torch.no_grad():
            expected = model(images(), output_class_maps=True)
            for converted in (conversion.model, loaded):
                assert_same(converted(images(), output_class_maps=True), expected, rtol=0, atol=0)

    def test_another_number_of_classes_makes_a_new_head(self, file):
        conversion = convert_checkpoint(file, "lctr", num_labels=7, **HEADS)
        assert (conversion.new, sorted(conversion.left_out)) == (PATCH_HEAD, ["CDM.bias", "CDM.weight"])

    def test_a_plain_classifier_is_refused(self, tmp_path):
        save_file(timm_names(vit()), tmp_path / "deit.safetensors")
        with pytest.raises(CheckpointError, match=r"has no CDM\.weight, CDM\.bias, which a lctr checkpoint has"):
            convert_checkpoint(tmp_path / "deit.safetensors", "lctr", **HEADS)


def conformer_names(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights of a Conformer of 6 blocks as pengzhiliang/Conformer, and TS-CAM after it, name them."""
    once = {
        "vit.embeddings.cls_token": "cls_token",
        "vit.embeddings.patch_embeddings.projection": "trans_patch_conv",
        "vit.stem.conv": "conv1",
        "vit.stem.norm": "bn1",
        "vit.layernorm": "trans_norm",
        "vit.first_convolution": "conv_1",
        "vit.layers.0": "trans_1",
        "branch_classifier": "conv_cls_head",
        "patch_classifier": "trans_cls_head",
        "classifier": "trans_cls_head",
    }
    once |= {f"vit.layers.{index}": f"conv_trans_{index + 1}.trans_block" for index in range(1, 6)}
    for index in range(5):
        parts = {"convolution": "cnn_block", "fusion": "fusion_block", "down": "squeeze_block", "up": "expand_block"}
        once |= {f"vit.units.{index}.{ours}": f"conv_trans_{index + 2}.{theirs}" for ours, theirs in parts.items()}
    of_layers = {"layernorm_before": "norm1", "layernorm_after": "norm2", "attention.o_proj": "attn.proj"}
    of_units = {f"norm{index}": f"bn{index}" for index in (1, 2, 3)} | {"residual_norm": "residual_bn"}
    weights = {}
    for name, weight in model.state_dict().items():
        prefix = next(prefix for prefix in once if name == prefix or name.startswith(prefix + "."))
        rest = name.removeprefix(prefix)
        if "layers" in prefix:
            for ours, theirs in of_layers.items():
                rest = rest.replace(ours, theirs)
        elif prefix.endswith((".down", ".up")):
            rest = rest.replace("projection", "conv_project").replace("norm", "ln" if "down" in prefix else "bn")
        elif "units" in prefix or "first" in prefix:
            for ours, theirs in of_units.items():
                rest = rest.replace(f".{ours}.", f".{theirs}.")
        weights[once[prefix] + rest] = weight.clone()
    for name in [name for name in weights if ".q_proj." in name]:
        qkv = [weights.pop(name.replace("q_proj", f"{letter}_proj")) for letter in "qkv"]
        weights[name.replace("attention.q_proj", "attn.qkv")] = torch.cat(qkv)
    return weights


class TestConformer:
    @pytest.fixture(scope="class")
    def model(self):
        torch.manual_seed(0)
        model = VisionConformerForImageClassification(BACKBONES["vision_conformer"])
        for name, weight in model.state_dict().items():
            if weight.is_floating_point():
                weight.normal_(std=0.1).add_("norm" in name and not name.endswith(("bias", "mean")))
        return model.eval()

    @pytest.fixture
    def file(self, model, tmp_path):
        torch.save({"model": conformer_names(model)}, tmp_path / "conformer.pth")
        return tmp_path / "conformer.pth"

    def test_same_outputs(self, model, file, tmp_path):
        conversion = convert_checkpoint(file, "conformer", tmp_path / "out", **HEADS)
        assert (conversion.new, conversion.left_out, conversion.threshold) == ([], [], None)
        loaded, report = type(model).from_pretrained(tmp_path / "out", output_loading_info=True)
        assert not any(report.values())
        kept = {"patch_size": 16, "base_channels": 8, "channel_ratio": 2, "num_hidden_layers": 6, "image_size": 224}
        assert {name: getattr(loaded.config, name) for name in kept} == kept
        with torch.no_grad():
            assert_same(loaded(images(2, 64, 64)), model(images(2, 64, 64)), rtol=0, atol=0)

    def test_every_method_starts_from_it(self, model, file, tmp_path):
        convert_checkpoint(file, "conformer", tmp_path / "out", **HEADS)
        for name, method in METHODS.items():
            fields = {"losses": "sat"} if name == "bas" else {}
            started = method.model_class.from_pretrained(tmp_path / "out", num_labels=7, **fields)
            assert started.config.num_labels == 7 and started.config.image_size == 224
            theirs = model.vit.state_dict()
            ours = {name: weight for name, weight in started.vit.state_dict().items() if "spatial" not in name}
            assert theirs.keys() == ours.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
        processor = SATImageProcessor.from_pretrained(tmp_path / "out")
        assert processor.view().size == (224, 224) and processor.image_mean[0] == 0.485

    def test_another_number_of_classes_makes_new_heads(self, file):
        conversion = convert_checkpoint(file, "conformer", num_labels=7, **HEADS)
        assert conversion.new == ["branch_classifier.bias", "branch_classifier.weight", *CLASS_HEAD]
        assert conversion.model.config.num_labels == 7

    def test_ts_cam_on_it(self, tmp_path):
        model = model_of("ts_cam", "vision_conformer", image_size=224)
        torch.save(
            {"state_dict": {f"module.{n}": w for n, w in conformer_names(model).items()}}, tmp_path / "best.pth"
        )
        conversion = convert_checkpoint(tmp_path / "best.pth", "ts_cam_conformer", tmp_path / "out", **HEADS)
        assert (conversion.new, conversion.left_out, conversion.threshold) == ([], [], 0.1)
        loaded = type(model).from_pretrained(tmp_path / "out")
        with torch.no_grad():
            expected = model(images(2, 64, 64), output_class_maps=True, interpolate_pos_encoding=True)
            found = loaded(images(2, 64, 64), output_class_maps=True, interpolate_pos_encoding=True)
        assert_same(found, expected, rtol=0, atol=0)

    @pytest.mark.parametrize(
        ("source", "missing", "message"),
        [
            ("ts_cam_conformer", None, "not a whole TS-CAM checkpoint: it lacks patch_classifier"),
            (
                "conformer",
                "conv_trans_3.cnn_block.conv1.weight",
                "not a whole Conformer checkpoint: it lacks vit.units.1",
            ),
            ("conformer", "conv_cls_head.weight", "has no conv_cls_head.weight, which a conformer checkpoint has"),
            ("ts_cam", None, "has no pos_embed, .* another source"),
        ],
    )
    def test_another_file_is_refused(self, model, source, missing, message, tmp_path):
        weights = conformer_names(model)
        weights.pop(missing, None)
        save_file(weights, tmp_path / "part.safetensors")
        with pytest.raises(CheckpointError, match=message):
            convert_checkpoint(tmp_path / "part.safetensors", source, **HEADS)


@pytest.fixture(scope="module")
def timm_files(tmp_path_factory):
    """The same ViT as transformers, and under timm's names in each kind of file."""
    folder = tmp_path_factory.mktemp("timm")
    model = vit(layer_norm_eps=1e-6)
    model.save_pretrained(folder / "transformers")
    weights = timm_names(model)
    save_file(weights, folder / "vit.safetensors")
    torch.save(weights, folder / "vit.pth")
    torch.save({"model": weights}, folder / "deit.pth")
    torch.save({"state_dict": {f"module.{name}": value for name, value in weights.items()}}, folder / "vit.pth.tar")
    return folder


class TestTimm:
    @pytest.mark.parametrize("name", ["vit.safetensors", "vit.pth", "deit.pth", "vit.pth.tar"])
    def test_class_token_is_what_transformers_gives(self, timm_files, name):
        conversion = convert_checkpoint(timm_files / name, "timm", classifier="class_token", **HEADS)
        assert (conversion.new, conversion.left_out) == (SPATIAL, [])
        expected = SATForWeaklySupervisedLocalization.from_pretrained(
            timm_files / "transformers", classifier="class_token"
        )
        for model in (conversion.model, expected):
            torch.nn.init.ones_(model.vit.embeddings.spatial_token)
            torch.nn.init.zeros_(model.vit.embeddings.spatial_position_embedding)
        with torch.no_grad():
            assert_same(conversion.model(images()), expected(images()), rtol=0, atol=0)

    def test_it_may_stay_a_vit_for_every_method_to_start_from(self, timm_files, tmp_path):
        conversion = convert_checkpoint(timm_files / "vit.safetensors", "timm_vit", tmp_path, **HEADS)
        assert (conversion.new, conversion.left_out) == ([], [])
        expected = ViTForImageClassification.from_pretrained(timm_files / "transformers")
        with torch.no_grad():
            loaded = ViTForImageClassification.from_pretrained(tmp_path)
            torch.testing.assert_close(loaded(images()).logits, expected(images()).logits, rtol=0, atol=0)
        for method in METHODS.values():
            model = method.model_class.from_pretrained(tmp_path, num_labels=3)
            weight = model.vit.layers[0].mlp.fc1.weight
            torch.testing.assert_close(weight, expected.vit.layers[0].mlp.fc1.weight, rtol=0, atol=0)

    @pytest.mark.parametrize("num_labels", [None, 5, 7])
    def test_patch_tokens_take_nothing_of_the_head(self, timm_files, num_labels):
        # Not the bias either, though its shape fits where the number of classes is the same.
        conversion = convert_checkpoint(timm_files / "vit.pth", "timm", num_labels=num_labels, **HEADS)
        assert conversion.new == PATCH_HEAD + SPATIAL
        assert sorted(conversion.left_out) == ["head.bias", "head.weight"]
        assert len(conversion.model.patch_classifier.bias) == (num_labels or 5)
        foreign = timm_names(vit(layer_norm_eps=1e-6))["head.bias"]
        if num_labels != 7:
            assert not torch.equal(conversion.model.patch_classifier.bias.detach(), foreign)

    def test_report(self, timm_files):
        said = str(convert_checkpoint(timm_files / "vit.pth", "timm", classifier="class_token", num_labels=7, **HEADS))
        assert f"New, at their initial values: {', '.join(CLASS_HEAD + SPATIAL)}." in said
        assert "left out: head." in said

    def test_class_names_are_matched_and_not_counted(self, timm_files):
        with pytest.warns(UserWarning, match="new one of 5 classes stands in its place: .* has no names for its 5"):
            conversion = convert_checkpoint(
                timm_files / "vit.pth", "timm", classifier="class_token", id2label=dict(enumerate("abcde")), **HEADS
            )
        assert conversion.new == CLASS_HEAD + SPATIAL
        assert sorted(conversion.left_out) == ["head.bias", "head.weight"]

    def test_a_thousand_classes_without_names_are_imagenets(self, tmp_path):
        source = vit(num_labels=1000)
        save_file(timm_names(source), tmp_path / "vit.safetensors")
        names = {0: "goldfish", 1: "n01440764", 2: "axolotl of mine"}
        with pytest.warns(UserWarning, match="2 of the 3 classes keep .* assumed to be ImageNet-1k's in their order"):
            conversion = convert_checkpoint(
                tmp_path / "vit.safetensors", "timm", classifier="class_token", id2label=names, **HEADS
            )
        weight = conversion.model.classifier.weight.detach()
        torch.testing.assert_close(weight[:2], source.classifier.weight[[1, 0]].detach(), rtol=0, atol=0)
        assert conversion.model.config.id2label == names and conversion.new == SPATIAL

    def test_distilled(self, tmp_path):
        weights = timm_names(vit())
        positions = weights["pos_embed"]
        weights["dist_token"] = torch.randn(1, 1, 32)
        weights["pos_embed"] = torch.cat([positions[:, :1], torch.randn(1, 1, 32), positions[:, 1:]], dim=1)
        weights |= {"head_dist.weight": torch.randn(5, 32), "head_dist.bias": torch.randn(5)}
        save_file(weights, tmp_path / "distilled.safetensors")
        conversion = convert_checkpoint(tmp_path / "distilled.safetensors", "timm", classifier="class_token", **HEADS)
        assert conversion.new == SPATIAL
        assert sorted(conversion.left_out) == ["dist_token", "head_dist.bias", "head_dist.weight"]
        torch.testing.assert_close(conversion.model.vit.embeddings.position_embeddings.detach(), positions)

    def test_patches_that_are_not_square(self, tmp_path):
        weights = timm_names(tiny_model(image_size=(32, 16), patch_size=(8, 4)))
        save_file(weights, tmp_path / "vit.safetensors")
        conversion = convert_checkpoint(tmp_path / "vit.safetensors", "timm", **HEADS)
        assert conversion.model.vit.embeddings.image_size == (32, 16)
        assert conversion.new == []

    def test_without_qkv_bias(self, tmp_path):
        weights = {k: v for k, v in timm_names(vit()).items() if not k.endswith("qkv.bias")}
        save_file(weights, tmp_path / "vit.safetensors")
        conversion = convert_checkpoint(tmp_path / "vit.safetensors", "timm", **HEADS)
        assert conversion.model.vit.layers[0].attention.q_proj.bias is None
        assert conversion.new == PATCH_HEAD + SPATIAL

    def test_layers_with_more_than_sat_has(self, tmp_path):
        save_file({**timm_names(vit()), "blocks.1.ls1.gamma": torch.ones(32)}, tmp_path / "vit.safetensors")
        with pytest.raises(
            CheckpointError, match=r"vit.safetensors has blocks.1.ls1.gamma, which no layer of SAT has"
        ):
            convert_checkpoint(tmp_path / "vit.safetensors", "timm", **HEADS)

    def test_fields_that_do_not_fit(self, timm_files):
        with pytest.raises(CheckpointError, match="hidden_size 32 is not a multiple of num_attention_heads 3"):
            convert_checkpoint(timm_files / "vit.pth", "timm", num_attention_heads=3)


class Payload:
    def __reduce__(self):
        return os.system, ("touch ran",)


class TestFilesThatFitNothing:
    def test_resnet(self, tmp_path):
        weights = {"conv1.weight": torch.zeros(4, 3, 7, 7), "layer1.0.conv1.weight": torch.zeros(4, 4, 1, 1)}
        save_file({**weights, "fc.weight": torch.zeros(5, 4)}, tmp_path / "resnet.safetensors")
        with pytest.raises(CheckpointError, match=r"resnet.safetensors has no pos_embed, .* it holds conv1.weight"):
            convert_checkpoint(tmp_path / "resnet.safetensors", "timm")

    def test_missing(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"There is no file .*nowhere.pth"):
            convert_checkpoint(tmp_path / "nowhere.pth", "timm")

    @pytest.mark.parametrize("name", ["vit.safetensors", "vit.pth"])
    @pytest.mark.parametrize("size", [0, 100, 5000])
    def test_truncated(self, timm_files, tmp_path, name, size):
        (tmp_path / name).write_bytes((timm_files / name).read_bytes()[:size])
        with pytest.raises(CheckpointError, match=f"{name} cannot be read as a checkpoint"):
            convert_checkpoint(tmp_path / name, "timm")

    def test_code_in_a_pickle_is_not_run(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        torch.save({"model": Payload()}, tmp_path / "evil.pth")
        (tmp_path / "evil.pth.tar").write_bytes(pickle.dumps({"model": Payload()}))
        for name in ("evil.pth", "evil.pth.tar"):
            with pytest.raises(CheckpointError, match=f"{name} cannot be read .* weights_only=True"):
                convert_checkpoint(tmp_path / name, "sat")
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {"model": {"a": 1}}, torch.zeros(2)], ids=str)
    def test_no_state_dict(self, tmp_path, content):
        torch.save(content, tmp_path / "odd.pth")
        with pytest.raises(CheckpointError, match=r"odd.pth holds no state dict"):
            convert_checkpoint(tmp_path / "odd.pth", "timm")

    def test_unknown_source(self, tmp_path):
        with pytest.raises(CheckpointError, match=r"source is 'keras'; choose 'sat', 'ts_cam', .* or 'vit'"):
            convert_checkpoint(tmp_path / "any", "keras")

    def test_output_that_is_a_file(self, timm_files, tmp_path):
        (tmp_path / "out").write_text("mine")
        with pytest.raises(CheckpointError, match=r"out cannot be written: .*File exists"):
            convert_checkpoint(timm_files / "vit.pth", "timm", tmp_path / "out", **HEADS)
        assert (tmp_path / "out").read_text() == "mine"


TRANSFORMERS = {
    "vit": (ViTForImageClassification, ViTConfig),
    "deit": (DeiTForImageClassification, DeiTConfig),
    "deit distilled": (DeiTForImageClassificationWithTeacher, DeiTConfig),
}


@pytest.fixture(params=TRANSFORMERS)
def kind(request):
    return request.param


@pytest.fixture(params=["old", "new"])
def checkpoint(request, kind, tmp_path):
    """A folder with weights under the names that `save_pretrained` writes, or under those of the modules."""
    model = vit(*TRANSFORMERS[kind])
    model.save_pretrained(tmp_path / "checkpoint")
    if request.param == "new":
        save_file(model.state_dict(), tmp_path / "checkpoint" / "model.safetensors", metadata={"format": "pt"})
    return tmp_path / "checkpoint"


class TestTransformers:
    def test_class_token_keeps_every_weight(self, checkpoint, kind):
        source = vit(*TRANSFORMERS[kind])
        model, loading = SATForWeaklySupervisedLocalization.from_pretrained(
            checkpoint, classifier="class_token", output_loading_info=True
        )
        assert sorted(loading["missing_keys"]) == SPATIAL
        assert model.config.layer_norm_eps == 1e-12
        theirs, ours = source.state_dict(), model.state_dict()
        for name, weight in theirs.items():
            name = name.replace("deit.", "vit.").replace("cls_classifier", "classifier")
            if "distillation" in name:
                continue
            if "position_embeddings" in name and kind != "vit":
                weight = torch.cat([weight[:, :1], weight[:, 2:]], dim=1)
            torch.testing.assert_close(ours[name], weight, rtol=0, atol=0)
        assert len(ours) == len([name for name in theirs if "distillation" not in name]) + 2

    def test_conversion_says_what_is_new_and_left_out(self, checkpoint, kind, tmp_path):
        conversion = convert_checkpoint(str(checkpoint), "vit", tmp_path / "out", num_labels=7)
        assert conversion.new == PATCH_HEAD + SPATIAL
        left_out = {
            "vit": CLASS_HEAD,
            "deit": [*CLASS_HEAD, "vit.embeddings.distillation_token"],
            "deit distilled": [
                *CLASS_HEAD,
                "distillation_classifier.bias",
                "distillation_classifier.weight",
                "vit.embeddings.distillation_token",
            ],
        }
        assert conversion.left_out == left_out[kind]
        loaded = SATForWeaklySupervisedLocalization.from_pretrained(tmp_path / "out")
        assert loaded.config.model_type == "sat" and loaded.config.num_labels == 7
        with torch.no_grad():
            assert_same(loaded(images()), conversion.model.eval()(images()), rtol=0, atol=0)


class TestTransformersFolder:
    def test_other_number_of_classes_makes_a_new_class_token_head(self, tmp_path):
        vit().save_pretrained(tmp_path)
        conversion = convert_checkpoint(str(tmp_path), "vit", num_labels=7, classifier="class_token")
        assert conversion.new == CLASS_HEAD + SPATIAL
        assert conversion.left_out == CLASS_HEAD

    def test_pixel_statistics_are_carried_over(self, tmp_path):
        vit().save_pretrained(tmp_path / "vit")
        ViTImageProcessorPil(
            image_mean=[0.5] * 3, image_std=[0.5] * 3, size={"height": 64, "width": 64}
        ).save_pretrained(tmp_path / "vit")
        convert_checkpoint(str(tmp_path / "vit"), "vit", tmp_path / "out")
        processor = SATImageProcessor.from_pretrained(tmp_path / "out")
        assert list(processor.image_mean) == list(processor.image_std) == [0.5] * 3
        # The size is the model's: black is (0 - 0.5) / 0.5.
        pixels = processor(Image.new("RGB", (50, 50)), return_tensors="pt")["pixel_values"]
        assert pixels.shape == (1, 3, 32, 32) and (pixels == -1).all()

    def test_backbone_without_classifier(self, tmp_path):
        vit(ViTModel).save_pretrained(tmp_path)
        conversion = convert_checkpoint(str(tmp_path), "vit", classifier="class_token", num_labels=5)
        assert (conversion.new, conversion.left_out) == (CLASS_HEAD + SPATIAL, [])

    def test_weights_of_something_else(self, tmp_path):
        vit().save_pretrained(tmp_path)
        save_file({"conv1.weight": torch.zeros(2)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(
            CheckpointError, match=r"does not fill a ViT: vit.embeddings.cls_token, .* would stay random"
        ):
            convert_checkpoint(str(tmp_path), "vit")

    def test_another_architecture(self, tmp_path):
        BeitForImageClassification(BeitConfig(**{k: v for k, v in TINY.items() if k != "num_spatial_layers"})).save_pretrained(tmp_path)  # fmt: skip
        with pytest.raises(CheckpointError, match="is a checkpoint of 'beit'"):
            convert_checkpoint(str(tmp_path), "vit")

    def test_no_checkpoint(self, tmp_path):
        with pytest.raises(CheckpointError, match="is not a ViT checkpoint of transformers"):
            convert_checkpoint(str(tmp_path), "vit")

    def test_dtype_and_attention_are_passed_on(self, tmp_path):
        vit().save_pretrained(tmp_path)
        model = SATForWeaklySupervisedLocalization.from_pretrained(
            tmp_path, dtype=torch.bfloat16, attn_implementation="eager", area_target=0.2
        )
        assert model.dtype == torch.bfloat16
        assert (model.config._attn_implementation, model.config.area_target) == ("eager", 0.2)


class TestOtherFamilies:
    @pytest.mark.parametrize("config_class", [Dinov2Config, Dinov2WithRegistersConfig, DINOv3ViTConfig])
    def test_backbone_without_classifier(self, config_class, tmp_path):
        config = config_class(
            **{name: TINY[name] for name in TINY if name not in ("num_spatial_layers", "num_labels")}
        )
        backbone = AutoModel.from_config(config)
        backbone.save_pretrained(tmp_path / "backbone")
        conversion = convert_checkpoint(str(tmp_path / "backbone"), "vit", tmp_path / "out", num_labels=7)
        assert (conversion.new, conversion.left_out) == (PATCH_HEAD + SPATIAL, [])
        loaded = SATForWeaklySupervisedLocalization.from_pretrained(tmp_path / "out")
        weights = loaded.vit.state_dict()
        for name, weight in backbone.state_dict().items():
            torch.testing.assert_close(weights[name], weight, rtol=0, atol=0)
        with torch.no_grad():
            assert_same(loaded(images()), conversion.model.eval()(images()), rtol=0, atol=0)
        assert SATImageProcessor.from_pretrained(tmp_path / "out").view().size == (32, 32)

    @pytest.mark.parametrize("classifier", ["patch_tokens", "class_token"])
    def test_their_own_classifier_is_left_out(self, classifier, tmp_path):
        # It reads the class token beside the mean of the patches.
        vit(Dinov2ForImageClassification, Dinov2Config).save_pretrained(tmp_path)
        conversion = convert_checkpoint(str(tmp_path), "vit", classifier=classifier)
        assert conversion.new == (PATCH_HEAD if classifier == "patch_tokens" else CLASS_HEAD) + SPATIAL
        assert conversion.left_out == CLASS_HEAD


class TestScript:
    def run(self, *arguments) -> subprocess.CompletedProcess:
        command = [sys.executable, str(SCRIPT), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    def test_as_a_user(self, timm_files, tmp_path):
        options = ["--source", "timm", "--num_labels", 7, "--num_attention_heads", 2, "--output_dir", tmp_path / "out"]
        run = self.run("--checkpoint", timm_files / "vit.pth", *options)
        assert run.returncode == 0, run.stderr
        assert "New, at their initial values: patch_classifier.bias" in run.stdout
        assert "left out: head.weight, head.bias." in run.stdout
        config = json.loads((tmp_path / "out" / "config.json").read_text())
        assert config["model_type"] == "sat" and len(config["id2label"]) == 7
        assert (tmp_path / "out" / "preprocessor_config.json").is_file()

    def test_a_bad_file_is_one_sentence(self, tmp_path):
        (tmp_path / "text.pth").write_text("no weights")
        run = self.run("--checkpoint", tmp_path / "text.pth", "--source", "sat", "--output_dir", tmp_path / "out")
        assert run.returncode == 1
        assert run.stderr.strip().splitlines()[-1].startswith("error: ") and "Traceback" not in run.stderr
        assert not (tmp_path / "out").exists()


class TestDeiTTiny:
    @pytest.fixture(scope="class")
    def folder(self, real_data, tmp_path_factory):
        folder = tmp_path_factory.mktemp("deit")
        file = real_data / "deit_tiny_patch16_224_imagenet1k.safetensors"
        conversion = convert_checkpoint(file, "timm", folder, classifier="class_token")
        assert (conversion.new, conversion.left_out) == (SPATIAL, [])
        # Its 152 tensors have 5,717,416 numbers; ours beside them are a token and its position.
        assert conversion.model.num_parameters() == 5_717_416 + 2 * 192
        return folder

    def test_classifies_imagenet(self, real_data, folder):
        # Every 25th of the thousand classes. As a plain ViT it is right on four of five; the untrained map, about a
        # half everywhere in three layers, costs a little of that. Weights in a wrong place would cost nearly all.
        model = SATForWeaklySupervisedLocalization.from_pretrained(folder)
        processor = SATImageProcessor.from_pretrained(folder)
        files = sorted((real_data / "imagenet-one-per-class" / "train").glob("*/*"))
        assert len(files) == 1000
        chosen = range(0, 1000, 25)
        inputs = processor([Image.open(files[index]) for index in chosen], return_tensors="pt")
        with torch.no_grad():
            predictions = model(**inputs).logits.argmax(-1)
        assert (predictions == torch.tensor(chosen)).float().mean() > 0.6
