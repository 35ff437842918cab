"""What a training may start from, whatever its method adds to a backbone."""

import pytest
from model_mixin import VIT, model_of
from safetensors.torch import load_file, save_file
from transformers import ViTConfig, ViTForImageClassification

from modeling_sat.methods import METHODS
from modeling_sat.training.arguments import ModelArguments
from modeling_sat.training.errors import ConfigurationError
from modeling_sat.training.start import build_model


CLASSES = ["apple", "banana", "orange"]


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vit")
    ViTForImageClassification(ViTConfig(**VIT)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("method", METHODS)
def test_every_method_starts_from_a_vit(vit, method):
    model = build_model(ModelArguments(method=method, model=str(vit)), CLASSES)
    assert model.config.num_labels == 3 and model.config.model_type == METHODS[method].config_class.model_type


def test_half_a_checkpoint_is_refused(tmp_path):
    """Of a ViT, or of the method itself, whose own part a ViT does not have."""
    for method, part in (("scm", "diffusion.0"), ("lctr", "cue_routing"), ("cam", "vit.layers.1")):
        folder = tmp_path / method
        model_of(method).save_pretrained(folder)
        weights = load_file(folder / "model.safetensors")
        kept = {name: weight for name, weight in weights.items() if not name.startswith(part)}
        assert 0 < len(kept) < len(weights)
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ConfigurationError, match=f"lacks {part}.* would stay random"):
            build_model(ModelArguments(method=method, model=str(folder)), CLASSES)
