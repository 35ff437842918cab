"""Every configuration below scripts/configs, and how one extends another."""

import shlex
from pathlib import Path

import pytest
import yaml

from modeling_sat.data import READERS
from modeling_sat.methods import METHODS
from modeling_sat.training import ConfigurationError, parse_arguments
from modeling_sat.training.arguments import read_config


ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "scripts/configs").rglob("*.yaml"))
SHARED = [path for path in FILES if path.stem in ("authors", "paper", "recipe")]
RUNS = [path for path in FILES if path not in SHARED]
BENCHMARKS = [
    "cub", "imagenet", "openimages30k", "stanford_cars", "stanford_dogs", "fgvc_aircraft", "tiny_imagenet", "folder"
]  # fmt: skip
SIZES = ["tiny", "small", "base"]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(dataset: str, name: str):
    return parse_arguments(["--config", str(ROOT / "scripts/configs" / dataset / f"{name}.yaml")])


def as_written(path: Path, *options: str):
    """The arguments of a file, whose bf16 needs no GPU to be read."""
    return parse_arguments(["--config", str(path), "--bf16", "false", "--report_to", "none", *options])


def write(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return str(folder / "run.yaml")


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_file_is_read_and_its_fields_are_valid(path):
    model, data, _ = as_written(path)
    METHODS["sat"].config_class(**model.config_fields())
    assert data.dataset in READERS


@pytest.mark.parametrize("path", RUNS, ids=named)
def test_the_command_at_the_head_names_the_file_itself(path):
    comment = [line[1:].strip() for line in path.read_text().splitlines() if line.startswith("#")]
    words = shlex.split("\n".join(comment).replace("\\\n", " ").replace("'", " ").replace('"', " "))
    if "scripts/reproduce.py" in words:
        assert words[words.index("--dataset") + 1] == path.parent.name
    else:
        assert words[words.index("--config") + 1] == named(path)
    script = next(word for word in words if word.startswith("scripts/") and word.endswith(".py"))
    assert (ROOT / script).is_file()


def test_no_two_runs_write_to_the_same_folder():
    folders = [read_config(path)["output_dir"] for path in RUNS]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("path", SHARED, ids=named)
def test_what_recipes_share_is_extended_and_is_no_run(path):
    assert not {"model", "output_dir"} & read_config(path).keys()
    extended = []
    for other in FILES:
        names = yaml.safe_load(other.read_text()).get("extends", [])
        extended += [(other.parent / name).resolve() for name in ([names] if isinstance(names, str) else names)]
    assert path in extended


@pytest.mark.parametrize("dataset", BENCHMARKS)
def test_a_benchmark_has_three_sizes_that_differ_in_the_model_alone(dataset):
    fields = [read_config(ROOT / "scripts/configs" / dataset / f"deit_{size}.yaml") for size in SIZES]
    for size, of_size in zip(SIZES, fields, strict=True):
        assert of_size.pop("model") == f"facebook/deit-{size}-patch16-224"
        assert of_size.pop("output_dir") == f"outputs/{dataset}-deit_{size}"
        assert of_size["dataset"] == dataset
    assert fields[0] == fields[1] == fields[2]


@pytest.mark.parametrize(
    ("dataset", "area_target", "passes", "learning_rate", "batch"),
    [("cub", 0.25, 30, 1e-4, 256), ("imagenet", 0.35, 1, 1.5e-5, 512)],
)
def test_the_authors_settings(dataset, area_target, passes, learning_rate, batch):
    model, data, training = parsed(dataset, "deit_small")
    config = METHODS["sat"].config_class(**model.config_fields())
    assert (config.area_target, config.drop_path_rate) == (area_target, 0.1)
    assert (config.spatial_query_scaling, config.smoothing_sigma) == ("head_mean", 0.418)
    assert (data.dataset, data.resize_size, config.image_size) == (dataset, 256, 224)
    assert (training.num_train_epochs, training.learning_rate) == (passes, learning_rate)
    assert training.per_device_train_batch_size * training.gradient_accumulation_steps == batch
    assert (training.lr_scheduler_type, training.warmup_steps, training.weight_decay) == ("constant", 0, 0.05)
    assert training.optim.startswith("adamw_torch")
    assert (training.max_grad_norm, training.seed, training.bf16) == (0, 6, False)


@pytest.mark.parametrize(("dataset", "passes"), [("cub", 30), ("imagenet", 5)])
@pytest.mark.parametrize("size", SIZES)
def test_the_papers_text_differs_in_its_formulas_and_passes(dataset, passes, size):
    folder = ROOT / "scripts/configs" / dataset
    code, paper = (read_config(folder / f"deit_{size}{end}.yaml") for end in ("", "_paper"))
    stated = {"smoothing_sigma": 6, "spatial_query_scaling": "hidden_size", "num_train_epochs": passes}
    assert paper == code | stated | {"output_dir": f"outputs/{dataset}-deit_{size}_paper"}


@pytest.mark.parametrize(
    ("dataset", "metric"), [("cub", "gt_known_loc"), ("openimages30k", "piou"), ("imagenet", None)]
)
def test_a_pass_is_chosen_on_validation_images(dataset, metric):
    _, _, training = parsed(dataset, "deit_small")
    assert (training.metric_for_best_model, training.load_best_model_at_end) == (metric, metric is not None)
    assert training.eval_strategy == training.save_strategy == "epoch"


def test_a_file_wins_over_those_it_extends_and_later_ones_over_earlier(tmp_path):
    path = write(
        tmp_path,
        first="dataset: shapes\narea_target: 0.1\nseed: 1\nnum_train_epochs: 1\ndataset_options: {num_train: 10}",
        second="area_target: 0.2\nseed: 2\nweight_decay: 0.3",
        run="extends: [first.yaml, second.yaml]\nseed: 3\nweight_decay: null",
    )
    model, data, training = parse_arguments(["--config", path, "--num_train_epochs", "7", "--report_to", "none"])
    assert (data.dataset, model.area_target, training.seed) == ("shapes", 0.2, 3)
    assert data.dataset_options == '{"num_train": 10}'
    assert (training.num_train_epochs, training.weight_decay) == (7, 0.05)


def test_extends_is_relative_to_its_own_file_and_a_file_may_be_reached_twice(tmp_path):
    folder = tmp_path / "recipes"
    folder.mkdir()
    write(tmp_path, shared="seed: 4")
    write(folder, one="extends: ../shared.yaml\narea_target: 0.2", two="extends: ../shared.yaml\nseed: 5")
    path = write(tmp_path, run="extends: [recipes/one.yaml, recipes/two.yaml]")
    assert read_config(Path(path)) == {"seed": 5, "area_target": 0.2}


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {"run": "extends: othr.yaml", "other": ""},
            r"run\.yaml extends .*othr\.yaml, which does not exist\. There are",
        ),
        (
            {"run": "extends: a.yaml", "a": "extends: b.yaml", "b": "extends: a.yaml"},
            r"run\.yaml, which extends \S*a\.yaml, which extends \S*b\.yaml, which extends \S*a\.yaml: a circle",
        ),
        ({"run": "extends: run.yaml"}, r"run\.yaml, which extends \S*run\.yaml: a circle"),
        ({"run": "extends: 3"}, r"extends 3; the name of a file or a list of names was expected"),
        ({"run": "extends: {a: b}"}, r"the name of a file or a list of names was expected"),
        ({"run": "extends: [a.yaml, 3]"}, r"the name of a file or a list of names was expected"),
        ({"run": "extends:"}, r"extends None; the name of a file"),
        ({"run": "extend: a.yaml"}, r"'extend', which does not exist. Did you mean 'extends'"),
        ({"run": "extends: a.yaml", "a": "area_traget: 0.3"}, r"a\.yaml has a field 'area_traget'.*'area_target'"),
        ({"run": "extends: a.yaml", "a": "[1"}, r"a\.yaml is not YAML"),
    ],
)
def test_what_cannot_be_extended_is_answered_in_a_sentence(tmp_path, files, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        parse_arguments(["--config", write(tmp_path, **files)])


def test_extends_is_no_option_of_the_command_line():
    with pytest.raises(ConfigurationError, match="'extends', which does not exist"):
        parse_arguments(["--extends", "a.yaml"])
