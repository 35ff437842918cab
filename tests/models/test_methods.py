"""Every method on every family of backbones. A new line in METHODS or FAMILIES is tested by being there."""

import pytest
from model_mixin import BACKBONES, ModelMixin, ThoroughModelMixin

from modeling_sat.methods import METHODS
from modeling_sat.models.backbone_wsol import FAMILIES


def test_every_family_has_a_small_backbone():
    assert set(BACKBONES) == set(FAMILIES)


for _method in METHODS:
    for _backbone in BACKBONES:
        if (_method, _backbone) == ("sat", "vit"):  # in test_modeling_sat.py, with its variants
            continue
        _name, _case = f"Test_{_method}_on_{_backbone}", {"method": _method, "backbone": _backbone}
        if (_method, _backbone) == ("bas", "vision_conformer"):  # its own losses need blocks that stand alone
            _case["config"] = {"losses": "sat"}
        if _method == "sat" or _backbone == "vit":
            globals()[_name] = type(_name, (ThoroughModelMixin,), _case)
        else:
            globals()[_name] = type(_name, (ModelMixin,), _case)
            _slow = _case | {"pytestmark": pytest.mark.slow}
            globals()[f"{_name}_thoroughly"] = type(f"{_name}_thoroughly", (ThoroughModelMixin,), _slow)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_says_what_it_is(method):
    assert METHODS[method].title and METHODS[method].paper and METHODS[method].config_class.model_type
