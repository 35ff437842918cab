"""What a checkpoint must not do: run its own code unasked, or bring weights that are not numbers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from model_mixin import TINY, images, tiny_model
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

from modeling_sat import SATForWeaklySupervisedLocalization, SATImageProcessor, SATImageProcessorPil
from modeling_sat.checkpoints import CheckpointError, convert_checkpoint
from modeling_sat.checkpoints.load import load_checkpoint
from modeling_sat.methods import METHODS
from modeling_sat.training.arguments import ConfigurationError, ModelArguments
from modeling_sat.training.start import build_model


SCRIPTS = Path(__file__).parents[2] / "scripts"
CODE = """
from modeling_sat.models.configuration_sat import SATConfig
from modeling_sat.models.image_processing_sat import SATImageProcessorPil
from modeling_sat.models.modeling_sat import SATForWeaklySupervisedLocalization
class TheirConfig(SATConfig):
    model_type = "their"
class TheirModel(SATForWeaklySupervisedLocalization):
    config_class = TheirConfig
class TheirProcessor(SATImageProcessorPil):
    pass
"""


def save(folder: Path, model=None) -> Path:
    (model or tiny_model()).save_pretrained(folder)
    SATImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


def change(path: Path, **fields) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def with_code(folder: Path) -> Path:
    """Adds a module that leaves the file `ran` when it is imported."""
    flag = folder / "ran"
    (folder / "modeling_their.py").write_text(f'open({str(flag)!r}, "w").close()\n{CODE}')
    return folder


def foreign_config(folder: Path) -> Path:
    auto_map = {"AutoConfig": "modeling_their.TheirConfig", "AutoModel": "modeling_their.TheirModel"}
    change(with_code(save(folder)) / "config.json", model_type="their", auto_map=auto_map)
    return folder


def our_type_with_their_class(folder: Path) -> Path:
    change(with_code(save(folder)) / "config.json", auto_map={"AutoModel": "modeling_their.TheirModel"})
    return folder


def our_names_under_another_type(folder: Path) -> Path:
    save(folder)
    (folder / "configuration_sat.py").write_text(f"open({str(folder / 'ran')!r}, 'w').close()\n")
    change(folder / "config.json", model_type="their")
    return folder


def foreign_processor(folder: Path) -> Path:
    auto_map = {"AutoImageProcessor": ["modeling_their.TheirProcessor", None]}
    change(
        with_code(save(folder)) / "preprocessor_config.json",
        auto_map=auto_map,
        image_processor_type="TheirProcessor",
    )
    return folder


def from_another_repository(folder: Path) -> Path:
    change(with_code(save(folder)) / "config.json", auto_map={"AutoModel": "them/model--modeling_their.TheirModel"})
    return folder


def vit_with_code(folder: Path) -> Path:
    fields = {name: value for name, value in TINY.items() if name != "num_spatial_layers"}
    ViTForImageClassification(ViTConfig(**fields)).save_pretrained(folder)
    ViTImageProcessorPil().save_pretrained(folder)
    change(
        with_code(folder) / "config.json", auto_map={"AutoModelForImageClassification": "modeling_their.TheirModel"}
    )
    return folder


FOREIGN = {
    foreign_config: "config.json names the class TheirConfig of modeling_their.py",
    our_type_with_their_class: "config.json names the class TheirModel of modeling_their.py",
    our_names_under_another_type: "config.json names the class SATConfig of configuration_sat.py",
    foreign_processor: "preprocessor_config.json names the class TheirProcessor of modeling_their.py",
    from_another_repository: "names the class TheirModel of modeling_their.py in them/model",
    vit_with_code: "names the class TheirModel of modeling_their.py",
}


@pytest.mark.parametrize("make", FOREIGN, ids=lambda make: make.__name__)
class TestForeignCode:
    def test_is_refused_by_the_name_of_its_file(self, make, tmp_path):
        folder = make(tmp_path / "model")
        for use in (load_checkpoint, lambda name: convert_checkpoint(str(name), "vit")):
            with pytest.raises(CheckpointError, match=r"brings code of its own.*--trust_remote_code") as refused:
                use(folder)
            assert FOREIGN[make] in str(refused.value)
        with pytest.raises(ConfigurationError, match="--trust_remote_code") as refused:
            build_model(ModelArguments(model=str(folder)), ["a", "b"])
        assert FOREIGN[make] in str(refused.value)
        assert not (folder / "ran").exists()


class TestTrusted:
    def test_runs_when_asked(self, tmp_path):
        folder = foreign_config(tmp_path / "model")
        model, _ = load_checkpoint(folder, trust_remote_code=True)
        assert type(model).__name__ == "TheirModel" and (folder / "ran").exists()

    def test_training_starts_when_asked(self, tmp_path):
        folder = our_type_with_their_class(tmp_path / "model")
        model = build_model(ModelArguments(model=str(folder), trust_remote_code=True), ["a", "b"])
        assert type(model) is SATForWeaklySupervisedLocalization


@pytest.mark.parametrize("shipped", [True, False], ids=["with code", "without"])
@pytest.mark.parametrize("method", METHODS)
def test_our_own_run_the_installed_code(method, shipped, tmp_path):
    fields = {name: value for name, value in TINY.items() if method == "sat" or name != "num_spatial_layers"}
    folder = save(tmp_path / "model", METHODS[method].model_class(METHODS[method].config_class(**fields)))
    for file in folder.glob("*.py"):
        file.write_text(f"open({str(folder / 'ran')!r}, 'w').close()\n") if shipped else file.unlink()
    if not shipped:
        for name in ("config.json", "preprocessor_config.json"):
            change(folder / name, auto_map={}, custom_pipelines={})
    for trust in (False, True):
        model, processor = load_checkpoint(folder, trust_remote_code=trust)
        assert type(model) is METHODS[method].model_class and type(processor) in (
            SATImageProcessor,
            SATImageProcessorPil,
        )
    assert not (folder / "ran").exists()


@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("push_to_hub.py", ["--repo_id", "a/b"]),
        ("predict.py", ["--images", ".", "--output_dir", "out"]),
    ],
)
def test_scripts_refuse_in_a_sentence(script, options, tmp_path):
    folder = foreign_config(tmp_path / "model")
    (tmp_path / "image.png").write_bytes(b"")
    command = [sys.executable, str(SCRIPTS / script), "--model", str(folder), *options]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert run.returncode == 1 and "Traceback" not in run.stderr
    assert "error: " in run.stderr and "modeling_their.py" in run.stderr
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("method", METHODS)
def test_weights_that_are_no_numbers(method, value, tmp_path):
    fields = {name: entry for name, entry in TINY.items() if method == "sat" or name != "num_spatial_layers"}
    model = METHODS[method].model_class(METHODS[method].config_class(**fields))
    with torch.no_grad():
        model.vit.layers[1].mlp.fc1.weight[3, 5] = value
    folder = save(tmp_path / "model", model)
    message = r"1 of the 2048 numbers of vit\.layers\.1\.mlp\.fc1\.weight are NaN or infinite, "
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(folder)
    with pytest.raises(ConfigurationError, match=message):
        build_model(ModelArguments(model=str(folder), method=method), ["a", "b"])


def test_a_vit_of_no_numbers_starts_nothing(tmp_path):
    fields = {name: value for name, value in TINY.items() if name != "num_spatial_layers"}
    model = ViTForImageClassification(ViTConfig(**fields)).half()
    with torch.no_grad():
        model.vit.embeddings.cls_token.fill_(float("nan"))
        model.vit.layernorm.bias[0] = float("inf")
    model.save_pretrained(tmp_path)
    message = r"32 of the 32 numbers of vit\.embeddings\.cls_token are NaN or infinite and 1 more weights"
    with pytest.raises(ConfigurationError, match=message):
        build_model(ModelArguments(model=str(tmp_path)), ["a", "b"])
    with pytest.raises(CheckpointError, match=message):
        convert_checkpoint(str(tmp_path), "vit", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_start_that_lacks_weights(tmp_path):
    model = tiny_model()
    weights = {name: weight for name, weight in model.state_dict().items() if "layers.2" not in name}
    model.save_pretrained(tmp_path, state_dict=weights)
    with pytest.raises(ConfigurationError, match=r"lacks vit\.layers\.2\..*would stay random"):
        build_model(ModelArguments(model=str(tmp_path)), ["a", "b"])
    assert model(images()).logits.isfinite().all()
