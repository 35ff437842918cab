"""Where a model starts, and the fields of its configuration: those of the methods' own configuration classes."""

import argparse
import dataclasses
import functools
import inspect
import json
import operator
import re
import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from transformers import PreTrainedConfig
from transformers.hf_argparser import string_to_bool

from ..checkpoints.pixel_statistics import StatisticsChoice
from ..field_roles import Role
from ..methods import METHODS
from ..sentences import did_you_mean
from .errors import ConfigurationError


@dataclass
class StartArguments:
    """Where the model starts."""

    method: Literal[tuple(METHODS)] = field(
        default="sat", metadata={"help": "A name of `modeling_sat.methods.METHODS`."}
    )
    model: Annotated[str | None, Role(decides_nothing="known by what it holds")] = field(
        default=None,
        metadata={
            "help": "A checkpoint of the method, or of a ViT, DeiT, DINOv2 or DINOv3 (folder or Hub id); none: random weights."
        },
    )
    pixel_statistics: StatisticsChoice | None = field(
        default=None,
        metadata={
            "help": "Mean and standard deviation of pixels: imagenet, half (0.5), or checkpoint, what the files of `model` "
            "say; default: those that `model` was trained with, as far as they are known."
        },
    )
    trust_remote_code: bool | None = field(
        default=None, metadata={"help": "Run code that the checkpoint named by `model` brings; default: no."}
    )

    def __post_init__(self):
        """
        Raises:
            ConfigurationError: no such method, or a field that its configuration does not have.
        """
        if self.method not in METHODS:
            raise ConfigurationError(f"There is no method {self.method!r} in modeling_sat.methods.METHODS.")
        known = config_types(self.method)
        for name in self.config_fields():
            if name not in known:
                hint = did_you_mean(name, known, "Leave it out.")
                raise ConfigurationError(f"The method {self.method} has no {name}. {hint}")

    def config_fields(self) -> dict[str, Any]:
        """The fields of the method's configuration that were set."""
        of_the_start = {start.name for start in dataclasses.fields(StartArguments)}
        return {name: value for name, value in vars(self).items() if name not in of_the_start and value is not None}


@functools.cache
def config_types(method: str | None = None) -> dict[str, Any]:
    """Field → type of a method's configuration, or of any method's, save those that every model of transformers has."""
    if method is None:
        found: dict[str, Any] = {}
        for name in METHODS:
            for option, hint in config_types(name).items():
                found[option] = functools.reduce(operator.or_, [found.get(option, hint), hint])
        return found
    config_class = METHODS[method].config_class
    hints = get_type_hints(config_class, localns={"torch": torch})
    common = {option.name for option in dataclasses.fields(PreTrainedConfig)}
    return {
        option.name: hints[option.name]
        for option in dataclasses.fields(config_class)
        if option.init and option.name not in common
    }


def split_by_method(fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The training fields of a recipe that its method has, and the names of those that only other methods have."""
    foreign = config_types().keys() - config_types(fields.get("method") or "sat").keys()
    known = {name: value for name, value in fields.items() if name not in foreign}
    return known, [name for name, value in fields.items() if name in foreign and value is not None]


ModelArguments = dataclasses.make_dataclass(
    "ModelArguments",
    [(name, hint | None, field(default=None)) for name, hint in config_types().items()],
    bases=(StartArguments,),
    namespace={
        "__module__": __name__,
        "__doc__": "Where the model starts, and any field of a method's configuration; one that is None keeps the value of "
        "the checkpoint, or of the configuration's class.",
    },
)


def add_config_fields(parser: argparse.ArgumentParser) -> None:
    """An option for each field of a configuration: `--num_spatial_layers 4`; of a list or a mapping in JSON."""
    group = parser.add_argument_group("the model's configuration")
    for name, hint in config_types().items():
        flags = dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}"))
        optional = {"nargs": "?", "const": True} if bool in members(hint) else {}
        group.add_argument(*flags, type=reader(hint), help=_help(name), **optional)


def members(hint: Any) -> list[Any]:
    """`[float, int]` of `float | int | None`."""
    if get_origin(hint) in (Union, types.UnionType):
        return [kind for part in get_args(hint) for kind in members(part) if kind is not type(None)]
    return [hint]


def type_name(hint: Any) -> str:
    """`float` of `float | None`, `sat or cam` of `Literal["sat", "cam"]`."""
    kinds = members(hint)
    names = [
        " or ".join(map(str, get_args(kind))) if get_origin(kind) is Literal else getattr(kind, "__name__", str(kind))
        for kind in kinds
        if not (kind is int and float in kinds)
    ]
    names = ["list" if name == "tuple" else name for name in names]
    return " or ".join(dict.fromkeys(names))


def reader(hint: Any) -> Callable[[str], Any]:
    """What makes of text a value of a type, or of one of several: the type of an argument of `argparse`."""
    kinds = sorted(members(hint), key=lambda kind: kind is str)  # which any text is

    def read(text: str) -> Any:
        for kind in kinds:
            with suppress(ValueError, LookupError, argparse.ArgumentTypeError):
                return _read_as(kind, text)
        raise ValueError(text)

    read.__name__ = type_name(hint)
    return read


def _read_as(kind: Any, text: str) -> Any:
    if get_origin(kind) is Literal:
        return {str(choice): choice for choice in get_args(kind)}[text]
    if kind in (int, float, str):
        return kind(text)
    if kind is bool:
        return string_to_bool(text)
    value = json.loads(text)
    if not isinstance(value, list if (get_origin(kind) or kind) in (list, tuple) else dict):
        raise ValueError(text)
    return value


def _help(name: str) -> str:
    """What the docstring of a configuration says of a field, and of which methods it is."""
    having = [method for method in METHODS if name in config_types(method)]
    said = _documented(METHODS[having[0]].config_class).get(name, "")
    whose = "" if len(having) == len(METHODS) else f"[{', '.join(having)}]"
    return " ".join(filter(None, (said, whose))).replace("%", "%%") or "See the method's configuration."


@functools.cache
def _documented(config_class: type) -> dict[str, str]:
    """Field → text of the section "Args" of a class's docstring and of those of its bases."""
    found: dict[str, str] = {}
    for kind in config_class.__mro__:
        for header, text in re.findall(
            r"^ {4}(\w.*\)):\n((?: {8}.*\n?)+)", inspect.cleandoc(kind.__doc__ or ""), re.MULTILINE
        ):
            for name in re.sub(r"\([^)]*\)", "", header).split(","):
                found.setdefault(name.strip(), " ".join(text.split()))
    return found
