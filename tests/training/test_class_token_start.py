"""The README's recipe of the class token: a folder of 1000 WordNet ids keeps ImageNet's classifier, row by row."""

import pytest
import torch
from model_mixin import TINY
from transformers import ViTConfig, ViTForImageClassification

from modeling_sat.models.class_names_sat import imagenet_synsets
from modeling_sat.training.arguments import ModelArguments
from modeling_sat.training.start import build_model


WNIDS, WORDS = list(imagenet_synsets()), list(imagenet_synsets().values())


@pytest.mark.parametrize("names", [WORDS, None], ids=["words", "no names, as timm"])
def test_wnids(names, tmp_path, recwarn):
    fields = {name: value for name, value in TINY.items() if name not in ("num_spatial_layers", "num_labels")}
    config = ViTConfig(**fields, num_labels=1000, **({} if names is None else {"id2label": dict(enumerate(names))}))
    vit = ViTForImageClassification(config)
    torch.nn.init.normal_(vit.classifier.bias)
    vit.save_pretrained(tmp_path)
    arguments = ModelArguments(model=str(tmp_path), classifier="class_token", num_spatial_layers=2)
    model = build_model(arguments, WNIDS)
    torch.testing.assert_close(model.classifier.weight, vit.classifier.weight, rtol=0, atol=0)
    torch.testing.assert_close(model.classifier.bias, vit.classifier.bias, rtol=0, atol=0)
    assert model.config.id2label[1] == "n01443537"
    # The classes in another order, some of them, and a new one.
    some = [*WNIDS[9::-1], "axolotl of mine"]
    model = build_model(arguments, some)
    torch.testing.assert_close(model.classifier.weight[:10], vit.classifier.weight[:10].flip(0), rtol=0, atol=0)
    said = [str(warning.message) for warning in recwarn if "classifier" in str(warning.message)]
    assert any("10 of the 11 classes keep" in text and "axolotl of mine" in text for text in said)
