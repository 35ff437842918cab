"""Checkpoints of the authors of methods and of Conformer, in files that the tests write."""

import argparse
from pathlib import Path

import pytest
import torch
from files_of_others import CLASS_HEAD, HEADS, PATCH_HEAD, authors_file, conformer_names, timm_names, vit
from model_mixin import BACKBONES, TINY, assert_same, images, model_of, tiny_model
from safetensors.torch import save_file

from modeling_sat import SATForWeaklySupervisedLocalization, SATImageProcessor
from modeling_sat.checkpoints import CheckpointError, convert_checkpoint
from modeling_sat.methods import METHODS
from modeling_sat.models.modeling_conformer import VisionConformerForImageClassification


SCRIPT = Path(__file__).parents[2] / "scripts" / "convert_checkpoint.py"


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
