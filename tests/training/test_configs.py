"""Every configuration below scripts/configs, and how one extends another."""

import itertools
import re
import shlex
from pathlib import Path

import pytest

from modeling_sat.data import READERS
from modeling_sat.methods import METHODS
from modeling_sat.training import ConfigurationError, parse_arguments
from modeling_sat.training.arguments import read_config
from modeling_sat.training.compositions import method_file


ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "scripts/configs"
FILES = sorted(CONFIGS.rglob("*.yaml"))
PARTS = {
    kind: [path.stem for path in FILES if path.parent.name == kind] for kind in ("datasets", "backbones", "methods")
}
SHARED = [path for path in FILES if {path.parent.name, path.stem} & {*PARTS, *PARTS["methods"], *METHODS, "authors"}]
RUNS = [path for path in FILES if path not in SHARED]
BENCHMARKS = [
    "cub", "imagenet", "openimages30k", "stanford_cars", "stanford_dogs", "fgvc_aircraft", "tiny_imagenet", "folder",
    "caltech101",
]  # fmt: skip
SIZES = ["tiny", "small", "base"]


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def parsed(dataset: str, name: str):
    return parse_arguments(["--config", str(CONFIGS / dataset / f"{name}.yaml")])


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
    METHODS[model.method].config_class(**model.config_fields())
    assert data.dataset in READERS


@pytest.mark.parametrize("path", [path for path in FILES if "\n#   " in f"\n{path.read_text()}"], ids=named)
def test_the_command_at_the_head_names_the_file_or_a_run_of_it(path):
    lines = [
        line[1:].strip() for line in path.read_text().splitlines() if re.match("#   +(accelerate|python|--)", line)
    ]
    words = shlex.split(" ".join(lines).replace("\\", " "))
    assert (ROOT / next(word for word in words if word.startswith("scripts/") and word.endswith(".py"))).is_file()
    if "scripts/reproduce.py" in words:
        assert words[words.index("--dataset") + 1] == path.parent.name
    elif path in RUNS:
        assert words[words.index("--config") + 1] == named(path)
    elif "--config" in words:
        config = Path(words[words.index("--config") + 1])
        assert path.stem == config.parent.name or config.stem.endswith(path.stem)
        read_config(ROOT / config)


def test_no_two_runs_write_to_the_same_folder():
    composed = [CONFIGS / dataset / f"{name}.yaml" for dataset in PARTS["datasets"] for name in PARTS["backbones"]]
    folders = [read_config(path)["output_dir"] for path in {*RUNS, *composed}]
    assert len(set(folders)) == len(folders)


@pytest.mark.parametrize("path", SHARED, ids=named)
def test_what_runs_share_is_no_run(path):
    assert not {"model", "output_dir"} <= read_config(path).keys()


@pytest.mark.parametrize("dataset", BENCHMARKS)
def test_a_benchmark_has_three_sizes_that_differ_in_the_model_alone(dataset):
    fields = [read_config(CONFIGS / dataset / f"deit_{size}.yaml") for size in SIZES]
    for size, of_size in zip(SIZES, fields, strict=True):
        assert of_size.pop("model") == f"facebook/deit-{size}-patch16-224"
        assert of_size.pop("output_dir") == f"outputs/{dataset}-deit_{size}"
        assert of_size["dataset"] == dataset
    assert fields[0] == fields[1] == fields[2]


@pytest.mark.parametrize("dataset", PARTS["datasets"])
def test_a_run_is_composed_of_a_data_set_a_backbone_and_a_method(dataset):
    parts = {kind: CONFIGS / kind for kind in PARTS}
    for backbone, method in itertools.product(PARTS["backbones"], METHODS):
        name = f"{backbone}_{method}"
        of_method = method_file(CONFIGS / dataset / "any.yaml", method)
        expected = read_config(parts["datasets"] / f"{dataset}.yaml")
        expected |= read_config(parts["backbones"] / f"{backbone}.yaml") | {"method": method}
        expected |= {} if of_method is None else read_config(of_method)
        assert read_config(CONFIGS / dataset / f"{name}.yaml") == expected | {
            "output_dir": f"outputs/{dataset}-{name}"
        }


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
    folder = CONFIGS / dataset
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


def tree(folder: Path) -> Path:
    """A folder of configurations of one data set, one backbone and two methods."""
    for name, text in {
        "datasets/birds": "dataset: cub\narea_target: 0.2\nlearning_rate: 1.0e-3",
        "backbones/vit": "hidden_size: 48",
        "methods/cam": "method: cam\nlearning_rate: 1.0e-2",
        "methods/other": "method: sat\nseed: 3",
        "birds/other": "extends: ../methods/other.yaml\nseed: 4",
        "birds/own": "extends: [vit.yaml]\nnum_train_epochs: 2",
    }.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.yaml").write_text(text)
    return folder / "birds"


def test_the_settings_of_a_method_for_a_data_set_go_before_its_general_ones(tmp_path):
    fields = {"dataset": "cub", "area_target": 0.2, "learning_rate": 1e-3, "hidden_size": 48}
    folder = tree(tmp_path)
    assert read_config(folder / "vit.yaml") == fields | {"output_dir": "outputs/birds-vit"}
    cam = fields | {"method": "cam", "learning_rate": 1e-2, "output_dir": "outputs/birds-vit_cam"}
    assert read_config(folder / "vit_cam.yaml") == cam
    assert read_config(folder / "vit_other.yaml")["seed"] == 4
    assert read_config(folder / "own.yaml") == fields | {"num_train_epochs": 2, "output_dir": "outputs/birds-vit"}
    (folder / "vit.yaml").write_text("seed: 9")
    assert read_config(folder / "vit.yaml") == {"seed": 9}


def test_a_method_of_the_command_line_brings_its_settings(tmp_path):
    folder = tree(tmp_path)
    for config in ("vit", "own", "vit_cam"):
        arguments = ["--config", str(folder / f"{config}.yaml"), "--report_to", "none", "--method", "cam"]
        model, _, training = parse_arguments(arguments)
        assert (model.method, training.learning_rate) == ("cam", 1e-2)
        assert parse_arguments([*arguments, "--learning_rate", "1e-5"])[2].learning_rate == 1e-5
    path = write(tmp_path, run="learning_rate: 0.5", cam="seed: 1")  # a person's own files, not of the tree
    _, _, training = parse_arguments(["--config", path, "--method=cam", "--report_to", "none"])
    assert (training.learning_rate, training.seed) == (0.5, 6)


@pytest.mark.parametrize("name", ["birds/vit_none.yaml", "birds/swin.yaml", "fish/vit.yaml", "birds/vit.yml"])
def test_what_cannot_be_composed_is_not_there(tmp_path, name):
    tree(tmp_path)
    with pytest.raises(ConfigurationError, match="There is no configuration file") as error:
        read_config(tmp_path / name)
    assert ("birds/vit.yaml" in str(error.value)) == name.startswith("birds")


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
