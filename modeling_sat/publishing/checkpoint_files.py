"""Which files a checkpoint consists of. What else lies in its folder stays at home."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers.dynamic_module_utils import get_relative_import_files
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from ..data.paths import contents
from ..methods import own_types
from ..output.files import read_json
from .errors import PublishingError


LARGEST_FILE = 50 * 10**9
"""Bytes; what can be downloaded from the Hub without its own transfer program."""
WEIGHTS_PATTERNS = (
    "model*.safetensors",
    SAFE_WEIGHTS_INDEX_NAME,
    "pytorch_model*.bin",
    "pytorch_model.bin.index.json",
)
"""Weights by any name that transformers would load."""


def checkpoint_files(folder: str | Path) -> list[Path]:
    """The files of a checkpoint that a user of it needs: config, image processor, weights, and the code they name.

    Raises:
        PublishingError: the folder is not a whole checkpoint; says what is missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PublishingError(
            f"{folder} is not a folder; give one that scripts/train.py or convert_checkpoint.py wrote."
        )
    config = read_if_there(folder / CONFIG_NAME)
    if config is None:
        steps = sorted(folder.glob("checkpoint-*"))
        hint = f" Its {steps[-1].name} may be what you mean." if steps else ""
        raise PublishingError(f"{folder} is not a checkpoint: it holds {contents(folder)}.{hint}")
    if config.get("model_type") not in own_types():
        raise PublishingError(
            f"{folder} holds a model of type {config.get('model_type')!r}; {', '.join(map(repr, own_types()))} were expected, "
            "whose code is in their folder for the Hub's users."
        )
    processor = read_if_there(folder / IMAGE_PROCESSOR_NAME)
    if processor is None:
        raise PublishingError(f"{folder} has no {IMAGE_PROCESSOR_NAME}; save its image processor there too.")
    files = [folder / CONFIG_NAME, folder / IMAGE_PROCESSOR_NAME, *_weights(folder), *_code(folder, config, processor)]
    for file in files:
        if file.stat().st_size > LARGEST_FILE:
            raise PublishingError(
                f"{file} has {file.stat().st_size / 1e9:.0f} GB, more than the {LARGEST_FILE / 1e9:.0f} GB that can be "
                "downloaded in one piece. Save it in parts: save_pretrained(…, max_shard_size='5GB')."
            )
        if file.suffix == ".safetensors":
            _check_weights(file)
    return files


def read_if_there(path: Path) -> dict[str, Any] | None:
    """A JSON file's content, or None where there is no such file.

    Raises:
        PublishingError: it is not a JSON mapping.
    """
    if not path.is_file():
        return None
    try:
        return read_json(path)
    except ValueError as error:
        raise PublishingError(f"{path} cannot be read: {error}.") from error


def _weights(folder: Path) -> list[Path]:
    if (folder / SAFE_WEIGHTS_NAME).is_file():
        return [folder / SAFE_WEIGHTS_NAME]
    index = read_if_there(folder / SAFE_WEIGHTS_INDEX_NAME)
    if index is None:
        raise PublishingError(f"{folder} has no {SAFE_WEIGHTS_NAME}: weights are published only as safetensors.")
    shards = [folder / name for name in sorted(set(index["weight_map"].values()))]
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise PublishingError(f"{folder} lacks parts of its weights: {', '.join(missing[:4])}.")
    return [folder / SAFE_WEIGHTS_INDEX_NAME, *shards]


def _code(folder: Path, config: dict[str, Any], processor: dict[str, Any]) -> list[Path]:
    """The modules that `auto_map` and `custom_pipelines` name, and those that they import from beside them."""
    named = [*config.get("auto_map", {}).values(), *processor.get("auto_map", {}).values()]
    named += [pipeline["impl"] for pipeline in config.get("custom_pipelines", {}).values()]
    classes = [name for entry in named for name in ([entry] if isinstance(entry, str) else entry) if name]
    if "AutoModel" not in config.get("auto_map", {}) or not config.get("custom_pipelines"):
        raise PublishingError(
            f"{folder / CONFIG_NAME} does not name the code of model and pipeline; load the checkpoint with this "
            "package and save it again."
        )
    modules = {folder / f"{name.partition('.')[0]}.py" for name in classes}
    try:
        imported = {Path(name) for module in sorted(modules) for name in get_relative_import_files(module)}
    except OSError as error:
        name = Path(error.filename or "").name
        raise PublishingError(f"{folder} lacks {name}, which its code needs; save the checkpoint again.") from error
    missing = sorted(path.name for path in modules | imported if not path.is_file())
    if missing:
        raise PublishingError(f"{folder} lacks {missing[0]}, which its code needs; save the checkpoint again.")
    return sorted(modules | imported)


def _check_weights(file: Path) -> None:
    try:
        with safe_open(file, framework="pt"):
            pass
    except (OSError, SafetensorError) as error:
        raise PublishingError(f"{file} cannot be read ({error}); it may have been cut off.") from error
