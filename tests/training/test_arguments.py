import json

import pytest
import yaml

from modeling_sat.methods import METHODS
from modeling_sat.training import ConfigurationError, parse_arguments


@pytest.fixture
def config(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "run.yaml"
        path.write_text(text)
        return str(path)

    return write


def test_the_command_line_overrides_the_file(config, tmp_path):
    path = config("dataset: shapes\narea_target: 0.3\nnum_train_epochs: 4\ndataset_options: {num_train: 10}\n")
    model, data, training = parse_arguments(
        ["--config", path, "--area_target=0.25", "--output_dir", str(tmp_path), "--report_to", "none"]
    )
    assert model.config_fields() == {"area_target": 0.25}
    assert (data.dataset, data.dataset_options) == ("shapes", '{"num_train": 10}')
    assert (training.num_train_epochs, training.output_dir) == (4, str(tmp_path))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lr_scheduler_kwargs", "{num_cycles: 2}"),
        ("activation_checkpointing_kwargs", "{use_reentrant: false}"),
        ("accelerator_config", "{split_batches: false}"),
        ("fsdp_config", "{min_num_params: 3}"),
    ],
)
@pytest.mark.parametrize("quoted", [False, True])
def test_fields_that_hold_mappings_take_them_in_yaml_and_json(config, name, value, quoted):
    text = f"'{json.dumps(yaml.safe_load(value))}'" if quoted else value
    _, _, training = parse_arguments(["--config", config(f"{name}: {text}\n"), "--report_to", "none"])
    held = getattr(training, name)
    held = held if isinstance(held, dict) else vars(held)
    assert yaml.safe_load(value).items() <= held.items()


def test_a_list_is_taken_where_a_field_has_one(config):
    _, data, training = parse_arguments(["--config", config("classes: [apple, 7]\nreport_to: [none]\n")])
    assert (data.classes, training.report_to) == (["apple", "7"], [])


def test_defaults_are_the_authors_settings():
    _, _, training = parse_arguments([])
    assert training.learning_rate == 1e-4
    assert training.weight_decay == 0.05
    assert training.lr_scheduler_type == "constant"
    assert training.num_train_epochs == 30


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("area_traget: 0.3", "'area_traget', which does not exist. Did you mean 'area_target'?"),
        ("area_target: much", "invalid float value: 'much'"),
        ("- a list", "holds a list; expected lines of `field: value`"),
        ("a: [1", "is not YAML"),
        ("area_target: [0.3, 0.4]", "gives area_target a list, [0.3, 0.4]; one value (float) was expected"),
        ("area_target: [0.3]", "gives area_target a list, [0.3]; one value (float) was expected"),
        ("area_target: {cub: 0.3}", "gives area_target a mapping, {'cub': 0.3}; one value (float) was expected"),
        ("method: [sat, cam]", f"one value ({' or '.join(METHODS)}) was expected"),
        ("classes: {apple: 1}", "gives classes a mapping, {'apple': 1}; a list was expected"),
        ("classes: [{apple: 1}]", "a list of single values was expected"),
        ("dataset_options: [3]", "gives dataset_options a list, [3]; a mapping was expected"),
        ("1: 2", "has a field '1', which does not exist"),
    ],
)
def test_a_wrong_file_is_answered_in_a_sentence(config, text, sentence):
    with pytest.raises(ConfigurationError, match=None) as error:
        parse_arguments(["--config", config(text)])
    assert sentence in str(error.value)


def test_an_unknown_option_names_the_nearest():
    with pytest.raises(
        ConfigurationError, match=r"'learning_rat', which does not exist\. Did you mean 'learning_rate'"
    ):
        parse_arguments(["--learning_rat", "0.1"])


def test_a_missing_file_lists_its_neighbours(config):
    path = config("dataset: shapes")
    with pytest.raises(ConfigurationError, match=r"no configuration file .*runn\.yaml\. There are .*run\.yaml"):
        parse_arguments(["--config", path.replace("run.yaml", "runn.yaml")])


def test_the_best_checkpoint_has_to_be_saved():
    with pytest.raises(ConfigurationError, match="set save_strategy, which is no, and eval_strategy, which is epoch"):
        parse_arguments(["--metric_for_best_model", "gt_known_loc", "--save_strategy", "no", "--report_to", "none"])
