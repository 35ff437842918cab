"""What is trained: a recipe, what a row changes of it, and the run, a folder, that it is trained in."""

import dataclasses
import functools
import glob
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from ..methods import METHODS
from ..output.files import read_json, write_json, written_aside
from ..training.arguments import ARGUMENTS, ConfigurationError, read_config, unknown_field, with_method
from ..training.compositions import configurations
from ..training.model_arguments import members, split_by_method
from .identity import Identifier, differences, identity_key
from .names import CONVERTED, MODEL_TITLES
from .studies import LAPTOP_DATASETS, Row


TRAINING_FIELDS = {field.name: field for arguments in ARGUMENTS for field in dataclasses.fields(arguments)}
IDENTITY_FILE = "cell.json"
"""In a run's folder: what it was made from, see `identity`."""


@dataclass(frozen=True)
class Recipe:
    """The fields of a configuration file and of those it extends, and what the command line adds to it.

    Args:
        label: what tables call it, such as DeiT-S.
        path: of the file.
        fields: training field → value.
        added: those of the command line, which become part of a run's name.
    """

    label: str
    path: Path
    fields: Mapping[str, Any]
    added: Mapping[str, Any]

    def changed_by(self, *rows: Row) -> dict[str, Any]:
        """What the command line and the rows change of the file, so that equal runs have equal names.

        Raises:
            ConfigurationError: a row trains a method that does not exist yet.
        """
        changed = dict(self.added)
        for row in rows:
            changed |= row.fields
        if changed.get("method", "sat") not in METHODS:
            raise ConfigurationError(f"There is no method {changed['method']!r} in modeling_sat.methods.METHODS.")
        own = with_method(self.fields, self.path, changed.get("method"))
        own = own | {"method": self.fields.get("method", _default("method"))}
        return {name: value for name, value in changed.items() if value != own.get(name, _default(name))}

    def with_changes(self, changed: Mapping[str, Any]) -> dict[str, Any]:
        """All fields of a run; those that its method does not know are left out."""
        fields = with_method(self.fields, self.path, changed.get("method")) | changed
        return split_by_method(fields)[0]


@dataclass(frozen=True)
class Run:
    """One training run of a seed.

    Args:
        folder: with `model/`, `evaluation…/`, `config.yaml`, `cell.json` and `log.txt`.
        fields: of the training, output_dir and seeds among them.
        evaluation: the folder of the evaluation that is wanted.
        identity: what decides its result, see `identity.Identifier.of`.
    """

    folder: Path
    fields: Mapping[str, Any]
    evaluation: Path
    identity: Mapping[str, Any]

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    def write_config(self) -> None:
        """
        Raises:
            ConfigurationError: the folder holds a run that was made from something else, or does not say from what.
        """
        record = self.folder / IDENTITY_FILE
        if self.config.is_file():
            differ = differences(_read(record), self.identity) if record.is_file() else [f"it has no {IDENTITY_FILE}"]
            if differ:
                raise ConfigurationError(
                    f"{self.folder} holds a run with other settings: {'; '.join(differ)}. Choose another --output_dir, "
                    "or remove that folder."
                )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(record, self.identity, ensure_ascii=False)
        with written_aside(self.config) as file:
            yaml.safe_dump(dict(self.fields), file, sort_keys=False, allow_unicode=True)

    def why_anew(self) -> str | None:
        """Where a run of the same name is there that this one is not: in what they differ."""
        if self.config.is_file():
            return None
        name = self.folder.parent.name.rpartition("-")[0]
        others = self.folder.parent.parent.glob(f"{glob.escape(name)}-????????/{self.folder.name}/{IDENTITY_FILE}")
        others = sorted(others, key=lambda file: file.stat().st_mtime)
        shown = "/".join(self.folder.parts[-3:])
        if others:
            differ = differences(_read(others[-1]), self.identity)
            return f"{shown} is another run than {others[-1].parent.parent.name}: {'; '.join(differ)}."
        earlier = self.folder.parent.parent / name / self.folder.name
        if (earlier / self.config.name).is_file():
            return f"{earlier} is not used: it does not say what data and starting checkpoint it was made from."
        return None


def make_run(
    recipe: Recipe,
    rows: Sequence[Row],
    seed: int,
    dataset: str,
    runs: Path,
    evaluation_name: str = "evaluation",
    shared: Mapping[str, Any] | None = None,
    identifier: Identifier | None = None,
) -> Run:
    """The run of a recipe as changed by `rows`, below the folder `runs`; the same run has the same folder.

    Args:
        shared: further training fields, such as data_dir, that are not named in the folder's name.
        identifier: that of the other runs of a call, which spares looking at the same data again.
    """
    changed = recipe.changed_by(*rows)
    fields = recipe.with_changes(changed) | dict(shared or {}) | {"dataset": dataset}
    identity = (identifier or Identifier(runs)).of(fields)
    folder = (
        runs / f"{_slug(dataset)}-{recipe.path.stem}" / f"{slug(changed)}-{identity_key(identity)}" / f"seed-{seed}"
    )
    own = {
        "seed": seed, "data_seed": seed, "output_dir": str(folder / "model"), "save_total_limit": 1, "disable_tqdm": True
    }  # fmt: skip
    return Run(folder, fields | own, folder / evaluation_name, identity)


def slug(changed: Mapping[str, Any]) -> str:
    """The name of a folder that says what a run changes of its recipe; "recipe" if nothing."""
    text = ",".join(
        _slug(f"{name}-{json.dumps(value) if isinstance(value, dict) else value}") for name, value in changed.items()
    )
    return f"{text[:100]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}" if len(text) > 120 else text or "recipe"


def read_recipe(path: Path, label: str, added: Mapping[str, Any]) -> Recipe:
    """
    Raises:
        ConfigurationError: the file cannot be read as one.
    """
    return Recipe(label, path, read_config(path), dict(added))


def find_recipes(
    configs: Path, dataset: str, model: str | None, config: Path | None, all_models: bool, added: Mapping[str, Any]
) -> list[Recipe]:
    """The recipes to run: the one that is asked for, the laptop's on `LAPTOP_DATASETS`, or those of the models.

    Args:
        configs: folder of `<dataset>/<model>.yaml`.
        all_models: all models that have a recipe rather than the paper's DeiT-S, or the nearest there is.

    Raises:
        ConfigurationError: there is none; it says which exist.
    """
    if config is not None:
        return [read_recipe(config, MODEL_TITLES.get(model, config.stem), added)]
    if model is None and dataset in LAPTOP_DATASETS:
        return [read_recipe(configs / dataset / "laptop.yaml", "laptop", added)]
    there = configurations(configs / dataset)
    paths = {name: configs / dataset / f"{name.replace('-', '_')}.yaml" for name in MODEL_TITLES}
    paths = {name: path for name, path in paths.items() if path in there}
    if not paths or (model is not None and model not in paths):
        known = f"there are {', '.join(map(str, there))}" if there else f"{configs / dataset} has none"
        wanted = f"on {dataset}" if model is None else f"of {model} on {dataset}"
        raise ConfigurationError(f"There is no recipe {wanted}; {known}. Give one by --config.")
    if model is not None:
        chosen = [model]
    elif all_models:
        chosen = [name for name in paths if _is_there(name, paths[name])]
    else:
        chosen = [name for name in ("deit-small", "deit-tiny", "deit-base") if name in paths][:1]
    return [read_recipe(paths[name], MODEL_TITLES[name], added) for name in chosen]


def _is_there(model: str, path: Path) -> bool:
    if model not in CONVERTED or (folder := Path(read_config(path)["model"])).is_dir():
        return True
    print(
        f"{MODEL_TITLES[model]} is left out: there is no {folder}; scripts/configs/backbones/{path.name} says how to make it."
    )
    return False


def parse_fields(arguments: Sequence[str]) -> dict[str, Any]:
    """`--field value …` as a mapping, with numbers, lists and mappings as YAML reads them.

    Raises:
        ConfigurationError: a value without a field, or a field that training does not have.
    """
    fields: dict[str, list[str]] = {}
    for argument in arguments:
        if argument.startswith("--"):
            name, _, value = argument[2:].partition("=")
            fields[name] = [value] if "=" in argument else []
        elif not fields:
            raise ConfigurationError(f"{argument!r} does not belong to an option.")
        else:
            fields[next(reversed(fields))].append(argument)
    for name in fields:
        if name not in TRAINING_FIELDS:
            raise ConfigurationError(unknown_field(name, "The command line"))
        if name in ("seed", "data_seed"):
            raise ConfigurationError(f"{name} is that of each run; give them by --seeds.")
    read = {name: [_read_value(name, value) for value in values] for name, values in fields.items()}
    return {name: True if not values else values[0] if len(values) == 1 else values for name, values in read.items()}


def _read_value(name: str, text: str) -> Any:
    value = yaml.safe_load(text)
    # YAML reads "no" as false, which is also a word: eval_strategy no.
    return text if isinstance(value, bool) and bool not in members(_training_hints()[name]) else value


@functools.cache
def _training_hints() -> dict[str, Any]:
    return {name: hint for arguments in ARGUMENTS for name, hint in get_type_hints(arguments).items()}


def _read(file: Path) -> dict[str, Any]:
    try:
        return read_json(file)
    except ValueError as error:
        raise ConfigurationError(f"{file} cannot be read ({error}); remove {file.parent}.") from error


def _default(name: str) -> Any:
    return TRAINING_FIELDS[name].default


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-")
