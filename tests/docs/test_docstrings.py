"""Every example in a docstring of the package gives what it says."""

import doctest
import importlib
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[2]
PUBLIC = {
    "modeling_sat.models.configuration_sat": ["SATConfig"],
    "modeling_sat.models.modeling_sat": ["SATModel", "SATForWeaklySupervisedLocalization"],
    "modeling_sat.models.image_processing_sat": ["SATLocalizationMixin.post_process_localization"],
    "modeling_sat.models.localization_sat": ["View"],
    "modeling_sat.data.loading": ["load_wsol_dataset"],
    "modeling_sat.inference.drawing": ["draw_localization"],
    **{
        f"modeling_sat.metrics.{name}.{name}": [""]
        for name in ("gt_known_loc", "top_k_loc", "max_box_acc", "max_box_acc_v2", "pxap", "piou")
    },
}
"""What has to have an example, by module; "" is the module itself."""


def modules_with_examples() -> list[str]:
    files = sorted((ROOT / "modeling_sat").rglob("*.py"))
    return [
        ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for file in files
        if ">>> " in file.read_text(encoding="utf-8")
    ]


@pytest.mark.parametrize("module", modules_with_examples())
def test_examples(module, monkeypatch):
    monkeypatch.chdir(ROOT)  # where "modeling_sat/metrics/…" is
    results = doctest.testmod(importlib.import_module(module), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.attempted > 0, f"{module} has >>> outside of a docstring"
    assert results.failed == 0, f"{results.failed} examples of {module} give something else; see above"


@pytest.mark.parametrize("module", PUBLIC)
def test_what_people_call_has_an_example(module):
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(module))
    with_examples = {test.name for test in found if test.examples}
    assert {f"{module}.{name}".rstrip(".") for name in PUBLIC[module]} <= with_examples
