import json
import re

import pytest
import torch
from launching import TINY, refused, trained
from safetensors.torch import load_file

from modeling_sat import SATConfig, SATForWeaklySupervisedLocalization
from modeling_sat.methods import METHODS
from modeling_sat.training.freezing import FREEZING, freeze, frozen_rate


# Table 8: frozen share in percent of DeiT-S, per recipe (a) to (e)
TABLE_8 = {200: (0, 24, 48, 71, 91), 1000: (0, 21, 42, 64, 81)}
DEIT_SMALL = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 12, "num_attention_heads": 6}
SMALL = {
    "image_size": 64, "patch_size": 16, "hidden_size": 24, "intermediate_size": 48, "num_hidden_layers": 3,
    "num_attention_heads": 2, "num_labels": 4,
}  # fmt: skip


@pytest.mark.parametrize("classes", TABLE_8)
def test_the_rates_are_those_of_table_8(classes):
    rates = []
    for recipe in FREEZING:
        with torch.device("meta"):
            model = SATForWeaklySupervisedLocalization(SATConfig(**DEIT_SMALL, num_labels=classes))
        rates.append(freeze(model, recipe))
        assert rates[-1] == frozen_rate(model)
    assert tuple(round(100 * rate) for rate in rates) == TABLE_8[classes]


@pytest.mark.parametrize("recipe", FREEZING)
@pytest.mark.parametrize("method", METHODS)
def test_a_step_moves_what_is_not_frozen_and_nothing_else(method, recipe):
    torch.manual_seed(0)
    model = METHODS[method].model_class(METHODS[method].config_class(**SMALL)).train()
    freeze(model, recipe)
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(learning, lr=1.0)
    model(pixel_values=torch.randn(4, 3, 64, 64), labels=torch.tensor([0, 1, 2, 3])).loss.backward()
    optimizer.step()
    for name, weight in model.named_parameters():
        if not weight.requires_grad:
            assert weight.grad is None and torch.equal(weight, before[name]), name
        elif not name.endswith("key.bias") and not name.endswith("k_proj.bias"):  # softmax does not see it
            assert not torch.equal(weight, before[name]), name
    moved = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert any("patch_classifier" in name for name in moved)
    if method == "sat":
        assert any("spatial" in name for name in moved)


def test_a_recipe_of_blocks_spares_the_spatial_ones():
    model = SATForWeaklySupervisedLocalization(SATConfig(**SMALL, num_spatial_layers=1))
    freeze(model, "blocks")
    frozen = {name for name, weight in model.named_parameters() if not weight.requires_grad}
    assert {name.split(".")[2] for name in frozen} == {"0", "1"}
    assert all(name.startswith("vit.layers.") for name in frozen)


def test_layer_11_is_not_layer_1():
    config = {**SMALL, "num_hidden_layers": 12}
    model = SATForWeaklySupervisedLocalization(SATConfig(**config, num_spatial_layers=1))
    freeze(model, "blocks")
    assert all(weight.requires_grad for name, weight in model.named_parameters() if name.startswith("vit.layers.11."))


def test_an_unknown_recipe_gets_a_sentence():
    with pytest.raises(ValueError, match=r"freeze is 'heads'; choose one of none, attention"):
        freeze(SATForWeaklySupervisedLocalization(SATConfig(**SMALL)), "heads")


@pytest.mark.parametrize("method", METHODS)
def test_train_says_and_records_the_rate(method, tmp_path):
    tiny = list(TINY)
    if method != "sat":
        drop = tiny.index("--num_spatial_layers")
        del tiny[drop : drop + 2]
    options = ["--freeze", "attention", "--max_steps", 2, "--save_strategy", "steps", "--save_steps", 1]
    output = trained(*tiny, *options, "--method", method, "--output_dir", tmp_path)
    said = int(re.search(r"Frozen rate: (\d+)% of the parameters \(freeze: attention\)", output)[1])
    record = json.loads((tmp_path / "run.json").read_text())
    assert said == round(100 * record["frozen_rate"]) > 0
    steps = [load_file(tmp_path / f"checkpoint-{step}" / "model.safetensors") for step in (1, 2)]
    same = {name for name, weight in steps[0].items() if torch.equal(weight, steps[1][name])}
    assert same and all("attention" in name for name in same)


def test_train_refuses_an_unknown_recipe(tmp_path):
    output = refused(*TINY, "--freeze", "heads", "--output_dir", tmp_path)
    assert "heads" in output and "all_but_spatial_attention" in output
