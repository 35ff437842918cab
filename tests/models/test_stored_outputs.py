"""Numbers must not drift: outputs, losses and gradients of small models against those stored in `fixtures/`.

The weights are a formula, not a random state, so that only the model's arithmetic is compared. After a change that
is meant to change the numbers, `python tests/test_stored_outputs.py` writes the file anew.
"""

from pathlib import Path

import pytest
import torch
from model_mixin import tiny_config
from safetensors.torch import load_file, save_file

from modeling_sat import SATForWeaklySupervisedLocalization


FILE = Path(__file__).parent / "fixtures" / "stored_outputs.safetensors"
VARIANTS = {
    "patch_tokens": {},
    "class_token": {"classifier": "class_token"},
    "paper_text": {"spatial_query_scaling": "hidden_size", "smoothing_sigma": 6, "area_target": 0.25},
    "non_square": {"image_size": (48, 16), "patch_size": (8, 4), "num_spatial_layers": 4},
}
STORED_GRADIENTS = ("spatial_token", "spatial_position_embedding", "layers.3.attention.k_proj.bias", "classifier.bias")


def formula_model(**fields) -> SATForWeaklySupervisedLocalization:
    model = SATForWeaklySupervisedLocalization(tiny_config(drop_path_rate=0.0, **fields))
    with torch.no_grad():
        for index, (name, parameter) in enumerate(sorted(model.named_parameters())):
            wave = torch.sin(torch.arange(parameter.numel(), dtype=torch.float64) * (1.0 + 0.37 * index) + index)
            parameter.copy_((0.35 * wave + ("norm" in name and "weight" in name)).view_as(parameter))
    return model


def compute(variant: str) -> dict[str, torch.Tensor]:
    model = formula_model(**VARIANTS[variant]).train()
    height, width = model.vit.embeddings.image_size
    numbers = torch.arange(2 * 3 * height * width, dtype=torch.float64)
    pixel_values = torch.sin(numbers * 0.731 + torch.cos(numbers * 0.0113) * 3).view(2, 3, height, width).float()
    is_patch_head = model.config.classifier == "patch_tokens"
    outputs = model(pixel_values, labels=torch.tensor([1, 3]), output_class_maps=is_patch_head)
    outputs.loss.backward()
    results = {name: value.detach() for name, value in outputs.items() if value is not None}
    results |= {
        f"gradient of {name}": parameter.grad
        for name, parameter in model.named_parameters()
        if name.endswith(STORED_GRADIENTS)
    }
    return {f"{variant}: {name}": value.contiguous() for name, value in results.items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_has_drifted(variant):
    stored = {name: value for name, value in load_file(FILE).items() if name.startswith(f"{variant}: ")}
    computed = compute(variant)
    assert computed.keys() == stored.keys()
    for name, value in stored.items():
        torch.testing.assert_close(
            computed[name], value, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_the_stored_numbers_are_of_use():
    # Maps that vary, and variants that differ.
    stored = load_file(FILE)
    for variant in VARIANTS:
        assert stored[f"{variant}: localization_map"].std() > 0.02
        assert stored[f"{variant}: gradient of vit.embeddings.spatial_token"].abs().max() > 1e-3
    maps = [stored[f"{variant}: localization_map"] for variant in ("patch_tokens", "paper_text")]
    assert (maps[0] - maps[1]).abs().max() > 0.02
    assert FILE.stat().st_size < 200_000


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    save_file({name: value for variant in VARIANTS for name, value in compute(variant).items()}, FILE)
    print(f"wrote {FILE}")
