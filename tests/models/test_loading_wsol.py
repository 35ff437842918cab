"""Starting points: which classes keep their weights, and what `from_pretrained` is told reaches whom it is for."""

import json
import shutil
import warnings

import pytest
import torch
from model_mixin import TINY, images, tiny_model
from transformers import (
    AutoModelForImageClassification,
    DeiTConfig,
    DeiTForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from modeling_sat import SATConfig, SATForWeaklySupervisedLocalization
from modeling_sat.methods import METHODS
from modeling_sat.models.modeling_cam import CAMForWeaklySupervisedLocalization


NAMES = ["cat", "dog", "horse", "bird", "fish"]
FIELDS = {name: value for name, value in TINY.items() if name not in ("num_spatial_layers", "num_labels")}
METHOD = pytest.mark.parametrize("method", [method.model_class for method in METHODS.values()], ids=METHODS)


def labels(names: list[str]) -> dict:
    return {"id2label": dict(enumerate(names)), "label2id": {name: row for row, name in enumerate(names)}}


def vit(names: list[str] = NAMES, model_class=ViTForImageClassification, config_class=ViTConfig):
    torch.manual_seed(0)
    model = model_class(config_class(**FIELDS, **labels(names))).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    vit().save_pretrained(folder)
    return folder


class TestClasses:
    """`id2label` of the new model against that of the checkpoint."""

    def load(self, folder, names, **arguments):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model, loading = SATForWeaklySupervisedLocalization.from_pretrained(
                folder, classifier="class_token", output_loading_info=True, **labels(names), **arguments
            )
        return model, loading, [str(warning.message) for warning in caught if "classifier" in str(warning.message)]

    def test_in_another_order_each_keeps_its_own_row(self, folder):
        model, loading, said = self.load(folder, NAMES[::-1])
        expected = vit().classifier
        torch.testing.assert_close(model.classifier.weight, expected.weight.flip(0), rtol=0, atol=0)
        torch.testing.assert_close(model.classifier.bias, expected.bias.flip(0), rtol=0, atol=0)
        assert said == [] and not any("classifier" in name for name in loading["missing_keys"])
        assert model.config.id2label == dict(enumerate(NAMES[::-1]))

    def test_other_classes_of_the_same_number_are_new(self, folder):
        model, loading, (said,) = self.load(folder, ["a", "b", "c", "d", "e"])
        assert {"classifier.weight", "classifier.bias"} <= loading["missing_keys"]
        assert model.classifier.weight.std() < 0.1 and (model.classifier.bias == 0).all()
        assert "is left out, and a new one of 5 classes stands in its place" in said

    def test_some_are_new(self, folder):
        model, _, (said,) = self.load(folder, ["Fish", "newt", "cat"])
        expected = vit().classifier.weight
        torch.testing.assert_close(model.classifier.weight[[0, 2]], expected[[4, 0]], rtol=0, atol=0)
        assert 0 < model.classifier.weight[1].std() < 0.1 and model.classifier.bias[1] == 0
        assert "2 of the 3 classes keep their weights" in said and "new are 1: 'newt'" in said

    def test_the_names_of_a_config_count_too(self, folder):
        config = SATConfig(**TINY | {"num_labels": 2}, classifier="class_token", **labels(["dog", "cat"]))
        model = SATForWeaklySupervisedLocalization.from_pretrained(folder, config=config)
        torch.testing.assert_close(model.classifier.weight, vit().classifier.weight[[1, 0]], rtol=0, atol=0)

    def test_label2id_alone_names_them(self, folder):
        model = SATForWeaklySupervisedLocalization.from_pretrained(
            folder, classifier="class_token", label2id={"dog": 0, "cat": 1}
        )
        torch.testing.assert_close(model.classifier.weight, vit().classifier.weight[[1, 0]], rtol=0, atol=0)

    def test_without_names_the_order_stays(self, folder):
        for given in ({}, {"config": SATConfig(**TINY, classifier="class_token")}):
            arguments = given or {"classifier": "class_token"}
            model = SATForWeaklySupervisedLocalization.from_pretrained(folder, **arguments)
            torch.testing.assert_close(model.classifier.weight, vit().classifier.weight, rtol=0, atol=0)

    @pytest.mark.parametrize("kind", ["sat", "class_token", "cam"])
    def test_our_own_checkpoints_too(self, tmp_path, kind):
        sat = tiny_model(**labels(NAMES), **({"classifier": "class_token"} if kind == "class_token" else {}))
        sat.save_pretrained(tmp_path)
        method = CAMForWeaklySupervisedLocalization if kind == "cam" else SATForWeaklySupervisedLocalization
        model = method.from_pretrained(tmp_path, **labels(["dog", "cat", "bird", "horse", "fish"]))
        head = "classifier" if kind == "class_token" else "patch_classifier"
        there, here = getattr(sat, head), getattr(model, head)
        torch.testing.assert_close(here.weight, there.weight[[1, 0, 3, 2, 4]], rtol=0, atol=0)
        torch.testing.assert_close(here.bias, there.bias[[1, 0, 3, 2, 4]], rtol=0, atol=0)
        torch.testing.assert_close(model.vit.layers[2].mlp.fc1.weight, sat.vit.layers[2].mlp.fc1.weight)

    def test_by_auto_classes_too(self, tmp_path):
        sat = tiny_model(**labels(NAMES))
        sat.save_pretrained(tmp_path)
        model = AutoModelForImageClassification.from_pretrained(tmp_path, **labels(NAMES[::-1]))
        torch.testing.assert_close(model.patch_classifier.weight, sat.patch_classifier.weight.flip(0), rtol=0, atol=0)

    def test_numbers_that_contradict_the_names(self, folder):
        with pytest.raises(ValueError, match="num_labels is 7, but id2label names 2 classes"):
            SATForWeaklySupervisedLocalization.from_pretrained(folder, num_labels=7, id2label={0: "a", 1: "b"})


class TestArguments:
    @METHOD
    @pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
    @pytest.mark.parametrize(
        ("asked", "dtype"),
        [("auto", torch.float16), ("bfloat16", torch.bfloat16), (torch.float32, torch.float32), (None, torch.float16)],
    )
    def test_dtype(self, method, name, asked, dtype, tmp_path):
        vit().half().save_pretrained(tmp_path)
        model = method.from_pretrained(tmp_path, **{name: asked})
        assert {parameter.dtype for parameter in model.parameters()} == {dtype} and model.config.dtype == dtype

    def test_a_dtype_that_is_none(self, folder):
        with pytest.raises(ValueError, match="dtype"):
            SATForWeaklySupervisedLocalization.from_pretrained(folder, dtype="float7")

    @METHOD
    def test_variant(self, method, folder, tmp_path):
        vit().save_pretrained(tmp_path, variant="fp16")
        model = method.from_pretrained(tmp_path, variant="fp16")
        torch.testing.assert_close(model.vit.layers[1].mlp.fc1.weight, vit().vit.layers[1].mlp.fc1.weight)
        with pytest.raises(OSError, match=r"model\.fp16\.safetensors"):
            method.from_pretrained(folder, variant="fp16")

    @METHOD
    def test_use_safetensors(self, method, folder, tmp_path):
        with pytest.raises(OSError, match=r"pytorch_model\.bin"):
            method.from_pretrained(folder, use_safetensors=False)
        shutil.copy(folder / "config.json", tmp_path)
        torch.save(vit().state_dict(), tmp_path / "pytorch_model.bin")
        assert method.from_pretrained(tmp_path, use_safetensors=False).config.num_labels == 5
        with pytest.raises(OSError, match=r"no file named model\.safetensors"):
            method.from_pretrained(tmp_path, use_safetensors=True)

    def test_what_is_about_files_goes_to_the_source_and_the_rest_to_the_model(self, folder, monkeypatch):
        seen = {}
        original = AutoModelForImageClassification.from_pretrained.__func__

        def spy(cls, name, **arguments):
            seen.update(arguments)
            return original(cls, name, **arguments)

        monkeypatch.setattr(AutoModelForImageClassification, "from_pretrained", classmethod(spy))
        of_files = {
            "proxies": {"http": "proxy:1"}, "local_files_only": True, "cache_dir": str(folder), "force_download": False,
            "token": False, "revision": "main", "subfolder": "", "weights_only": True, "disable_mmap": True,
            "key_mapping": {"^none": "none"}, "use_safetensors": True,
        }  # fmt: skip
        model = SATForWeaklySupervisedLocalization.from_pretrained(
            folder, **of_files, device_map="cpu", attn_implementation="eager", area_target=0.2
        )
        assert seen.items() >= of_files.items() and "device_map" not in seen
        assert (model.config._attn_implementation, model.config.area_target) == ("eager", 0.2)

    @METHOD
    def test_subfolder(self, method, tmp_path):
        vit().save_pretrained(tmp_path / "inner")
        assert method.from_pretrained(tmp_path, subfolder="inner").config.num_labels == 5

    def test_device_map_with_a_disk(self, folder, tmp_path):
        device_map = {
            "vit.embeddings": "cpu",
            "vit.layernorm": "cpu",
            "patch_classifier": "cpu",
            "vit.layers.0": "cpu",
        }
        device_map |= {f"vit.layers.{index}": "disk" for index in (1, 2, 3)}
        torch.manual_seed(0)
        model = SATForWeaklySupervisedLocalization.from_pretrained(
            folder, device_map=device_map, offload_folder=tmp_path
        )
        assert model.vit.layers[3].mlp.fc1.weight.device.type == "meta"
        assert model(images()).localization_map.isfinite().all()

    def test_state_dict_beside_a_name(self, folder):
        with pytest.raises(ValueError, match="`state_dict` cannot be passed together with a model name"):
            SATForWeaklySupervisedLocalization.from_pretrained(folder, state_dict={})

    def test_gguf(self, folder):
        with pytest.raises(ValueError, match="not read from a GGUF file"):
            SATForWeaklySupervisedLocalization.from_pretrained(folder, gguf_file="vit.gguf")

    def test_a_quantized_source(self, folder, tmp_path):
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        config = json.loads((folder / "config.json").read_text())
        config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
        (tmp_path / "config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match=r"is quantized \(bitsandbytes\)"):
            SATForWeaklySupervisedLocalization.from_pretrained(tmp_path)

    @METHOD
    def test_config_as_a_path_and_of_another_kind(self, method, folder, tmp_path):
        method.config_class(**FIELDS, **labels(["a"])).save_pretrained(tmp_path)
        assert method.from_pretrained(folder, config=str(tmp_path)).config.id2label == {0: "a"}
        with pytest.raises(ValueError, match=r"config is a ViTConfig; .* needs"):
            method.from_pretrained(folder, config=ViTConfig(**FIELDS))


def test_every_method_starts_from_a_deit(tmp_path):
    source = vit(model_class=DeiTForImageClassification, config_class=DeiTConfig)
    source.save_pretrained(tmp_path)
    for method in METHODS.values():
        model, loading = method.model_class.from_pretrained(tmp_path, output_loading_info=True)
        of_the_backbone = [name for name in loading["missing_keys"] if name.startswith("vit.")]
        assert all("spatial_" in name for name in of_the_backbone)
        weights = source.deit.layers[2].mlp.fc1.weight
        torch.testing.assert_close(model.vit.layers[2].mlp.fc1.weight, weights, rtol=0, atol=0)


@METHOD
def test_a_vit_of_another_resolution_keeps_its_positions_resized(folder, method):
    source = AutoModelForImageClassification.from_pretrained(folder).eval()
    model, report = method.from_pretrained(folder, image_size=64, output_loading_info=True, num_labels=3)
    assert not report["mismatched_keys"] and model.config.image_size == 64
    with torch.no_grad():
        asked_for = images(1, 64, 64)
        expected = source.vit.embeddings(asked_for, interpolate_pos_encoding=True)
        own = model.vit.embeddings(asked_for)[:, : expected.shape[1]]
    torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-4)
