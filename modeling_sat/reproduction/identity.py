"""What decides the result of a run: its fields, what its data and its starting point hold. Runs alike in it are one."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.constants import HF_HUB_CACHE
from huggingface_hub.errors import HTTPError
from huggingface_hub.file_download import repo_folder_name

from ..checkpoints.pixel_statistics import pixel_statistics
from ..data import READERS
from ..data.arguments import as_mapping
from ..training.arguments import resolve_fields, roles
from ..training.model_arguments import config_types


FORMAT = 1
"""Changes when equal fields, data and starting points would give another result."""

_SAID_WHERE_UNSET = (
    "image_size", "patch_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_spatial_layers", "classifier", "area_target", "area_loss_weight", "normalization_loss_weight",
    "smoothing_kernel_size", "smoothing_sigma", "area_reduction", "spatial_query_scaling", "drop_path_rate",
)  # fmt: skip
"""Fields of configurations that identities name even where they are not set, as they did before others could be. Those are
named where they are set, so that a new field of a method makes no other run of those that are there."""

_CHECKPOINT_FILES = ("config.json", "preprocessor_config.json", "*.safetensors", "*.bin", "*.index.json", "*.py")
"""Of a checkpoint folder, what `from_pretrained` reads."""


class Identifier:
    """Identities of the runs of one call, each data folder and starting point being looked at once.

    Args:
        leave_out: a folder that is written to while runs are made, which may lie within the data.
    """

    def __init__(self, leave_out: Path | None = None):
        self._leave_out = None if leave_out is None else leave_out.resolve()
        self._known: dict[tuple[str, str], Any] = {}

    def of(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """What decides the result of a run by `fields`, as JSON has it.

        Returns:
            "fields": training field → value, defaults included, save those whose role it is to decide nothing; "data":
            what the dataset's files are; "start": what the checkpoint is that training starts from; "format".

        Raises:
            ConfigurationError: a field that does not exist, or a value of the wrong type.
        """
        resolved = resolve_fields(dict(fields))
        options = as_mapping(resolved["dataset_options"])
        values = {**resolved, "dataset_options": options}
        return {
            "fields": {name: _plain(values[name]) for name in sorted(deciding_fields(resolved))},
            "data": self._data(resolved["dataset"], resolved["data_dir"], options),
            "start": self._once("start", resolved["model"]),
            "resumed": self._once("start", resolved["resume_from_checkpoint"]),
            "format": FORMAT,
        }

    def _data(self, dataset: str, data_dir: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
        of_files = {"data_dir": data_dir, **{f"dataset_options {text}": text for text in _texts(options)}}
        found = {
            name: self._once("files", path)
            for name, path in of_files.items()
            if path is not None and Path(path).exists()
        }
        if data_dir is not None and "data_dir" not in found:
            found["data_dir"] = str(data_dir)  # a folder within a repository, or one that is not there
        if dataset not in READERS:
            local = Path(dataset).exists()
            revision = options.get("revision")
            found["dataset"] = self._once(
                "files" if local else "dataset", dataset if local else f"{dataset}@{revision or 'main'}"
            )
        return found

    def _once(self, kind: str, name: str | None) -> Any:
        if name is None:
            return None
        if (kind, name) not in self._known:
            self._known[kind, name] = self._look(kind, name)
        return self._known[kind, name]

    def _look(self, kind: str, name: str) -> Any:
        if kind == "files":
            return files_fingerprint(Path(name), self._leave_out)
        if kind == "start":
            if not Path(name).exists():
                return _of_hub("model", name, "main")
            # A folder's name and card say whether it is a DeiT, on which the scaling of pixels depends.
            pixels = pixel_statistics(name) if Path(name).is_dir() else {}
            return {**checkpoint_fingerprint(Path(name)), "pixels": _plain(pixels)}
        repository, _, revision = name.rpartition("@")
        return _of_hub("dataset", repository, revision)


def identity_key(identity: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits that stand for an identity in the name of a folder."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:8]


def deciding_fields(resolved: Mapping[str, Any], *kinds: type) -> list[str]:
    """Names of the training fields in which two runs differ, by the roles of the fields.

    Args:
        resolved: training field → value, defaults included.
        kinds: the dataclasses of the arguments; default: those of training.
    """
    known, decides = roles(*kinds), evaluation_decides(resolved)
    unset = {name for name in config_types() if name not in _SAID_WHERE_UNSET and resolved.get(name) is None}
    return [
        name
        for name in resolved
        if known[name].decides_nothing is None and (decides or not known[name].keeps_a_pass) and name not in unset
    ]


def evaluation_decides(fields: Mapping[str, Any]) -> bool:
    """Whether evaluation on the way decides which weights a run ends with."""
    kept = fields.get("load_best_model_at_end") or fields.get("metric_for_best_model") is not None
    return bool(kept) or fields.get("lr_scheduler_type") == "reduce_lr_on_plateau"


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """In what two identities differ, as "area_target 0.35 and 0.25"."""
    first, second = ({**identity.get("fields", {})} for identity in (one, other))
    said = [
        f"{name} {first.get(name)} and {second.get(name)}"
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    ]
    words = {"data": "the data's files", "start": "the starting checkpoint", "resumed": "resume_from_checkpoint"}
    said += [
        f"{word} ({_short(one.get(part))} and {_short(other.get(part))})"
        for part, word in words.items()
        if one.get(part) != other.get(part)
    ]
    return said + (["the version of modeling_sat"] if one.get("format") != other.get("format") else [])


def files_fingerprint(path: Path, leave_out: Path | None = None) -> dict[str, Any]:
    """What a file or folder holds by names, sizes and times, without reading it. Links are followed, hidden files not read.

    Args:
        leave_out: a folder within it that does not count.

    Returns:
        "files", "bytes" and "sha256" over every file's relative name, size and time of change.
    """
    lines, total = [], 0
    for name, stat in _walk(path, leave_out):
        lines.append(f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}")
        total += stat.st_size
    digest = hashlib.sha256("\n".join(sorted(lines)).encode(errors="surrogateescape"))
    return {"files": len(lines), "bytes": total, "sha256": digest.hexdigest()}


def checkpoint_fingerprint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint's file, or of those of a folder that `from_pretrained` reads: name → SHA-256."""
    files = (
        [path] if path.is_file() else sorted({file for pattern in _CHECKPOINT_FILES for file in path.glob(pattern)})
    )
    return {file.name: _sha256(file) for file in files if file.is_file()}


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _walk(path: Path, leave_out: Path | None):
    """(name, stat) of every file; a link that leads back ends there."""
    if path.is_file():
        yield path.name, path.stat()
        return
    pending = [("", path, frozenset())]
    while pending:
        prefix, folder, above = pending.pop()
        place = folder.resolve()
        if place in above or place == leave_out:
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    if entry.is_dir():
                        pending.append((f"{prefix}{entry.name}/", Path(entry.path), above | {place}))
                    else:
                        yield prefix + entry.name, entry.stat()
                except OSError:  # a link to nowhere
                    continue


def _of_hub(kind: str, repository: str, revision: str) -> str:
    """The commit that a name of the Hub stands for: what the Hub says, or else the cache, or else the name alone."""
    try:
        return f"{repository}@{HfApi().repo_info(repository, repo_type=kind, revision=revision, timeout=10).sha}"
    except (OSError, ValueError, HTTPError):
        reference = Path(HF_HUB_CACHE, repo_folder_name(repo_id=repository, repo_type=kind), "refs", revision)
        return f"{repository}@{reference.read_text().strip() if reference.is_file() else revision}"


def _texts(value: Any) -> list[str]:
    """Every text within a mapping or list."""
    if isinstance(value, Mapping):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) and value else []


def _plain(value: Any) -> Any:
    """As JSON has it, with 30.0 as 30, and text of a mapping as the mapping."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in sorted(value.items())}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _short(value: Any) -> str:
    if isinstance(value, Mapping) and "sha256" in value:
        return f"{value['files']} files, {value['sha256'][:8]}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_short(item)}" for name, item in value.items()) or "none"
    return str(value)[:40]
