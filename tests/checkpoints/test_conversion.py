"""Checkpoints of timm and of transformers, what fits nothing, the command, and one file that is real."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from files_of_others import CLASS_HEAD, HEADS, PATCH_HEAD, SPATIAL, timm_names, vit
from model_mixin import TINY, assert_same, images, tiny_model
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


SCRIPT = Path(__file__).parents[2] / "scripts" / "convert_checkpoint.py"


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
