"""What a training run is made of: typed fields, filled from a YAML file and the command line."""

import dataclasses
import functools
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, get_origin, get_type_hints

import torch
import yaml
from transformers import HfArgumentParser, TrainingArguments

from ..data.arguments import DataArguments
from ..field_roles import Role, roles_of
from ..sentences import did_you_mean
from .compositions import composed, configurations, method_file
from .errors import ConfigurationError
from .freezing import FREEZING
from .model_arguments import (
    ModelArguments,
    StartArguments,
    add_config_fields,
    config_types,
    members,
    split_by_method,
    type_name,
)
from .trackers import usable_trackers


KEEPS_A_PASS = Role(steps=False, keeps_a_pass=True)
OF_TRAINER = {
    Role(): (
        "optim", "learning_rate", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm",
        "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "bf16", "fp16", "dataloader_drop_last",
    ),
    Role(decides_nothing="the folder of the run says it"): ("seed", "data_seed"),
    KEEPS_A_PASS: (
        "eval_strategy", "eval_steps", "eval_delay", "eval_on_start", "save_strategy", "save_steps", "greater_is_better",
    ),
    Role(False, decides_nothing="where a run is written, not what"): ("output_dir",),
    Role(False, decides_nothing="known by what it holds"): ("resume_from_checkpoint",),
    Role(False, decides_nothing="what is logged, and to whom"): (
        "report_to", "run_name", "project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id",
        "logging_strategy", "logging_steps", "logging_first_step", "logging_nan_inf_filter", "log_level",
        "log_level_replica", "log_on_each_node", "disable_tqdm", "include_num_input_tokens_seen", "skip_memory_metrics",
    ),
    Role(False, decides_nothing="an image's view depends on the seed, the pass and the image, not on who reads it"): (
        "dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers",
        "dataloader_prefetch_factor", "dataloader_multiprocessing_context",
    ),
    Role(False, decides_nothing="publication, after the training"): (
        "push_to_hub", "hub_model_id", "hub_strategy", "hub_token", "hub_private_repo", "hub_always_push", "hub_revision",
    ),
    Role(False, decides_nothing="evaluation sees each image alone, and no layer remembers a batch"): (
        "per_device_eval_batch_size",
    ),
    Role(False, decides_nothing="the best checkpoint and the last are kept whatever it is"): ("save_total_limit",),
}  # fmt: skip
"""The roles of fields that transformers declares. A run continues with other values of those that are not named, such as its
length, and is another run to `modeling_sat.reproduction`. Fields of ours say their role themselves."""


@dataclass
class SATTrainingArguments(TrainingArguments):
    """transformers' TrainingArguments with the authors' settings for CUB as defaults (`train.py:50-75`), save that a
    batch has 64 images and gradients are clipped; `scripts/configs/authors.yaml` has all of theirs."""

    output_dir: str = "outputs/run"
    num_train_epochs: float = 30
    per_device_train_batch_size: int = 64
    per_device_eval_batch_size: int = 64
    learning_rate: float = 1e-4
    weight_decay: float = 0.05
    lr_scheduler_type: str = "constant"
    eval_strategy: str = "epoch"
    save_strategy: str = "epoch"
    save_total_limit: int | None = 2
    logging_steps: float = 20
    seed: int = 6
    report_to: list[str] = field(
        default_factory=lambda: ["tensorboard"],
        metadata={"help": "Trackers, such as tensorboard, wandb, trackio; none."},
    )
    remove_unused_columns: bool = False
    logging_nan_inf_filter: bool = False
    ddp_find_unused_parameters: bool | None = False
    use_cpu: bool | None = field(
        default=None, metadata={"help": "Train on the CPU; default: where there is nothing else."}
    )
    dataloader_pin_memory: bool | None = field(
        default=None, metadata={"help": "Read into page-locked memory; default: where there is a GPU."}
    )
    dataloader_num_workers: int = field(
        default_factory=lambda: min(8, os.cpu_count() // 2) if torch.cuda.is_available() else 0,
        metadata={"help": "Processes that read images; default: half the cores, at most 8, where there is a GPU."},
    )
    dataloader_persistent_workers: bool | None = field(
        default=None, metadata={"help": "Keep them between passes; default: where there are any."}
    )
    classification_epochs: float = field(
        default=0,
        metadata={
            "help": "Passes with the classification loss alone before the spatial losses join; a model from random "
            "weights needs some, a pretrained one none."
        },
    )
    freeze: Literal[tuple(FREEZING)] = field(
        default="none", metadata={"help": "What of a pretrained model does not learn, Table 8 (a) to (e)."}
    )
    exact_area: bool = field(
        default=True,
        metadata={
            "help": "With gradient accumulation, take the area loss over the whole batch, for one more forward pass of "
            "each part; else each part has its own."
        },
    )
    ema_decay: float | None = field(
        default=None,
        metadata={
            "help": "Evaluate and end with an exponential moving average of the weights, such as 0.99; it helps where "
            "the learning rate stays constant. Default: the weights of the last step."
        },
    )
    load_best_model_at_end: bool | None = field(
        default=None,
        metadata={
            "help": "End with the checkpoint that was best on the validation images by metric_for_best_model, such as "
            "gt_known_loc, rather than with the last; default: whether that metric is named."
        },
    )
    hub_strategy: str = field(
        default="end", metadata={"help": "With push_to_hub: end, one commit that holds the trained model whole."}
    )
    protocol: Annotated[Literal["sat", "wsolevaluation"], KEEPS_A_PASS] = field(
        default="sat", metadata={"help": "Evaluation protocol."}
    )
    view: Annotated[Literal["crop", "whole"] | None, KEEPS_A_PASS] = field(
        default=None, metadata={"help": "What evaluation shows of an image; default: the protocol's own."}
    )

    def __post_init__(self):
        for name in ("per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; choose a whole number, 1 or more.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ConfigurationError(f"ema_decay is {self.ema_decay}; choose a number between 0 and 1, such as 0.99.")
        if self.label_smoothing_factor:
            raise ConfigurationError(
                f"label_smoothing_factor is {self.label_smoothing_factor:g}; the model computes its own losses, without "
                "smoothing. Leave it at 0."
            )
        if self.push_to_hub and getattr(self.hub_strategy, "value", self.hub_strategy) != "end":
            raise ConfigurationError(
                f"hub_strategy is {self.hub_strategy}; a checkpoint is published when training has ended, in one commit. "
                "Leave it at end; scripts/push_to_hub.py publishes an earlier one."
            )
        if self.use_cpu is None:
            self.use_cpu = not torch.accelerator.is_available()
        if self.dataloader_pin_memory is None:
            self.dataloader_pin_memory = torch.cuda.is_available() and not self.use_cpu
        if self.dataloader_persistent_workers is None:
            self.dataloader_persistent_workers = self.dataloader_num_workers > 0
        if self.load_best_model_at_end is None:
            self.load_best_model_at_end = self.metric_for_best_model is not None
        evaluates, saves = (str(getattr(when, "value", when)) for when in (self.eval_strategy, self.save_strategy))
        if self.load_best_model_at_end and saves not in (evaluates, "best"):
            raise ConfigurationError(
                f"The best checkpoint by {self.metric_for_best_model} can only be kept if one is saved at every "
                f"evaluation; set save_strategy, which is {saves}, and eval_strategy, which is {evaluates}, alike."
            )
        self.report_to = usable_trackers(self.report_to)
        super().__post_init__()


ARGUMENTS = (ModelArguments, DataArguments, SATTrainingArguments)


def roles(*kinds: type) -> dict[str, Role]:
    """The role of each field of a run's arguments, or of subclasses of them.

    Args:
        kinds: default: `ARGUMENTS`.
    """
    of_trainer = {name: role for role, names in OF_TRAINER.items() for name in names}
    others = {option.name: Role(steps=False) for option in dataclasses.fields(TrainingArguments)} | of_trainer
    return {name: role for kind in kinds or ARGUMENTS for name, role in roles_of(kind, others).items()}


class _Parser(HfArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(message[0].upper() + message[1:] + ".")


def parse_arguments(argv: list[str]) -> tuple[ModelArguments, DataArguments, SATTrainingArguments]:
    """Reads `--config FILE` and any `--field value`, which overrides the file and the files that it extends.

    Raises:
        ConfigurationError: no such file, a key that does not exist (with the nearest that does), or a value of the
            wrong type.
    """
    parser = _make_parser()
    argv = [part for argument in argv for part in (argument.split("=", 1) if argument[:2] == "--" else [argument])]
    config = argv[argv.index("--config") + 1] if "--config" in argv[:-1] else None
    from_file = {} if config is None else read_config(Path(config))
    method = parser.parse_known_args(_as_argv(from_file) + argv)[0].method
    if config is not None:
        from_file = with_method(from_file, Path(config), method)
    from_file, left_out = split_by_method({**from_file, "method": method})
    start, data, training, others, unknown = parser.parse_args_into_dataclasses(
        _as_argv(from_file) + argv, return_remaining_strings=True, look_for_args_file=False
    )
    if unknown:
        raise ConfigurationError(unknown_field(unknown[0].lstrip("-"), "The command line"))
    model = ModelArguments(**vars(start), **{name: getattr(others, name) for name in config_types()})
    if left_out and training.process_index == 0:
        print(f"{config} sets {', '.join(left_out)}, which the method {method} does not have; left out.")
    return model, data, training


def resolve_fields(fields: dict[str, Any]) -> dict[str, Any]:
    """Every field of a run, given or left at its default, as training reads it, without making a run of it.

    Raises:
        ConfigurationError: a field that does not exist, or a value of the wrong type.
    """
    known, unknown = _make_parser().parse_known_args(_as_argv(fields))
    if unknown:
        raise ConfigurationError(unknown_field(unknown[0].lstrip("-"), "The run"))
    return {name: value for name, value in vars(known).items() if name != "config"}


def read_config(path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The fields of a YAML file and of those it names under `extends`, relative to itself: one file or a list of them.
    `<dataset>/<backbone>.yaml` need not be a file: see `compositions`.

    Later ones win over earlier ones, the file itself over all; `null` brings a field's default back.

    Args:
        extended_by: the files on the way to this one, outermost first.

    Raises:
        ConfigurationError: a file is missing, is not YAML or extends itself; a key does not exist; or a list or a
            mapping is given to a field that takes one value.
    """
    content = _read_yaml(path)
    extended = content.pop("extends", [])
    extended = [extended] if isinstance(extended, str) else extended
    if not isinstance(extended, list) or not all(isinstance(name, str) for name in extended):
        raise ConfigurationError(f"{path} extends {extended!r}; the name of a file or a list of names was expected.")
    _check_fields(content, path)
    chain = (*extended_by, path)
    fields = {}
    for name in extended:
        other = Path(os.path.normpath(path.parent / name))
        if not other.is_file() and composed(other) is None:
            raise ConfigurationError(f"{path} extends {other}, which does not exist.{_neighbours(other)}")
        if other.resolve() in [file.resolve() for file in chain]:
            raise ConfigurationError(f"{', which extends '.join(map(str, (*chain, other)))}: a circle.")
        fields |= read_config(other, chain)
    return fields | content


def with_method(fields: dict[str, Any], recipe: Path, method: str | None) -> dict[str, Any]:
    """The fields of a recipe and, over them, the settings of a method that is not its own (`compositions.method_file`)."""
    if method is None or method == fields.get("method", ModelArguments.method):
        return fields
    settings = method_file(recipe, method)
    return fields | ({} if settings is None else read_config(settings)) | {"method": method}


def _make_parser() -> _Parser:
    parser = _Parser(
        (StartArguments, *ARGUMENTS[1:]),
        description="Trains SAT, or another method, on labelled images.",
        allow_abbrev=False,
    )
    add_config_fields(parser)
    parser.add_argument("--config", help="YAML file with any of the fields below, and `extends: OTHER_FILE`")
    return parser


def _read_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file() and (content := composed(path)) is not None:
        return content
    if not path.is_file():
        raise ConfigurationError(f"There is no configuration file {path}.{_neighbours(path)}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not YAML: {error}") from error
    if not isinstance(content, dict):
        raise ConfigurationError(f"{path} holds a {type(content).__name__}; expected lines of `field: value`.")
    return content


def _neighbours(path: Path) -> str:
    near = [str(other) for other in configurations(path.parent)]
    return f" There are {', '.join(near)}." if near else ""


def _check_fields(content: dict[str, Any], path: Path) -> None:
    known, types = _field_names(), _field_types()
    for name, value in content.items():
        if name not in known:
            raise ConfigurationError(unknown_field(str(name), str(path), "extends"))
        kinds = {get_origin(kind) or kind for kind in members(types[name])}
        takes_mapping = name == "dataset_options" or dict in kinds
        takes_list = bool({list, tuple} & kinds)
        if isinstance(value, list) and not takes_list:
            expected = "a mapping" if takes_mapping else f"one value ({type_name(types[name])})"
        elif isinstance(value, dict) and not takes_mapping:
            expected = "a list" if takes_list else f"one value ({type_name(types[name])})"
        elif isinstance(value, list) and any(isinstance(item, (list, dict)) for item in value):
            expected = "a list of single values"
        else:
            continue
        kind = "list" if isinstance(value, list) else "mapping"
        raise ConfigurationError(f"{path} gives {name} a {kind}, {value}; {expected} was expected.")


@functools.cache
def _field_types() -> dict[str, Any]:
    return {name: hint for arguments in ARGUMENTS for name, hint in get_type_hints(arguments).items()}


@functools.cache
def _list_fields() -> frozenset[str]:
    return frozenset(action.dest for action in _make_parser()._actions if action.nargs == "+")


def _as_argv(fields: dict[str, Any]) -> list[str]:
    argv = []
    for name, value in fields.items():
        if isinstance(value, list) and name in _list_fields():
            argv += [f"--{name}", *map(str, value)]
        elif value is not None:
            argv += [f"--{name}", json.dumps(value) if isinstance(value, (dict, list)) else str(value)]
    return argv


def _field_names() -> list[str]:
    return [field.name for arguments in ARGUMENTS for field in dataclasses.fields(arguments) if field.init]


def unknown_field(name: str, where: str, *others: str) -> str:
    """What to say of a field that training does not have; `others` are known to `where` besides."""
    hint = did_you_mean(name, [*_field_names(), *others], "`--help` lists the fields.")
    return f"{where} has a field {name!r}, which does not exist. {hint}"
