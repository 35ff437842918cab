"""Whether a checkpoint is whole: every file that going on from it needs is there, as it was written."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers.trainer import OPTIMIZER_NAME, SCALER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_pt_utils import safe_globals
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME, SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME

from ..checkpoints.run_record import RUN_FILE
from ..output.files import read_json, to_disk, write_json
from ..sentences import first_line


MANIFEST_FILE = "manifest.json"
"""In a checkpoint: size and CRC-32 of each file that going on from it reads."""
AVERAGE_FILE = "ema.safetensors"
"""In a checkpoint of a run with `ema_decay`: the average, beside the weights that it continues from."""
_NOT_READ = {CONFIG_NAME, IMAGE_PROCESSOR_NAME, RUN_FILE, MANIFEST_FILE, "README.md", "training_args.bin"}
_DIVIDED = ("pytorch_model_fsdp", "optimizer_", "global_step")
"""How the folders of weights and states begin that FSDP and DeepSpeed write."""
_HOLDS = {
    OPTIMIZER_NAME: {"state", "param_groups"}, SCHEDULER_NAME: {"last_epoch"}, SCALER_NAME: {"scale"},
    "rng_state": {"python", "numpy", "cpu"},
}  # fmt: skip


class DamagedError(ValueError):
    """A file of a checkpoint is missing or is not as it was written."""


def seal(folder: Path) -> None:
    """Writes the manifest of a finished checkpoint and brings all of its files to the disk itself."""
    files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    listed = {
        name: {"bytes": path.stat().st_size, "crc32": _checksum(path)}
        for name, path in files.items()
        if name not in _NOT_READ and path.suffix != ".py"
    }
    manifest = folder / MANIFEST_FILE
    write_json(manifest, {"files": listed})
    for path in (*files.values(), *(path for path in folder.rglob("*") if path.is_dir()), folder):
        to_disk(path)


def damage(
    checkpoint: Path, *, fp16: bool = False, averaged: bool = False, processes: int = 1, only_weights: bool = False
) -> str | None:
    """What is wrong with a checkpoint, for the middle of a sentence; None where it is whole.

    Args:
        fp16, averaged: the run scales its gradients, or averages its weights, and needs their state.
        processes: that go on. A run may go on with another number than it had, each drawing new random numbers.
        only_weights: look at what the model itself is made of.
    """
    try:
        read_state(checkpoint)
        listed = _check_manifest(checkpoint)
        divided = any(path.is_dir() and path.name.startswith(_DIVIDED) for path in checkpoint.iterdir())
        if divided or (checkpoint / "pytorch_model_fsdp.bin").is_file():  # each knows its own layout
            return None
        weights_of(checkpoint)
        if averaged:
            _shapes(checkpoint / AVERAGE_FILE)
        if only_weights:
            return None
        states = [OPTIMIZER_NAME, SCHEDULER_NAME, *_random_states(checkpoint, processes)] + [SCALER_NAME] * fp16
        for name in states:
            _check_state(checkpoint / name, name in listed)
    except DamagedError as error:
        return str(error)
    except OSError as error:
        return f"it cannot be read ({error.strerror or error})"
    return None


def read_state(checkpoint: Path) -> dict[str, Any]:
    """Its `trainer_state.json`.

    Raises:
        DamagedError: it is missing, no JSON mapping, or does not say the step.
    """
    path = checkpoint / TRAINER_STATE_NAME
    if not path.is_file():
        raise DamagedError(f"it has no {TRAINER_STATE_NAME}")
    try:
        state = read_json(path)
    except ValueError as error:
        raise DamagedError(f"its {TRAINER_STATE_NAME} cannot be read ({error})") from error
    step = state.get("global_step")
    if type(step) is not int or step < 0:
        raise DamagedError(f"its {TRAINER_STATE_NAME} does not say at which step it was saved")
    history, epoch = state.get("log_history"), state.get("epoch")
    if not isinstance(history, (list, type(None))) or type(epoch) not in (int, float):
        raise DamagedError(f"its {TRAINER_STATE_NAME} is not one that a training writes")
    return state


def weights_of(checkpoint: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of each weight.

    Raises:
        DamagedError: a file of weights is missing or cut off.
    """
    index = checkpoint / SAFE_WEIGHTS_INDEX_NAME
    if (checkpoint / SAFE_WEIGHTS_NAME).is_file() or not index.is_file():
        return _shapes(checkpoint / SAFE_WEIGHTS_NAME)
    try:
        names = sorted(set(read_json(index)["weight_map"].values()))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedError(f"its {index.name} cannot be read ({error})") from error
    return {name: shape for file in names for name, shape in _shapes(checkpoint / file).items()}


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    if not file.is_file():
        raise DamagedError(f"it has no {file.name}")
    try:
        with safe_open(file, framework="pt") as weights:
            return {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DamagedError(f"its {file.name} cannot be read ({error})") from error


def _check_manifest(checkpoint: Path) -> frozenset[str]:
    """The files that were checked; none of a checkpoint from before there were manifests."""
    path = checkpoint / MANIFEST_FILE
    if not path.is_file():
        return frozenset()
    try:
        listed = read_json(path)["files"]
        expected = {name: (entry["bytes"], entry["crc32"]) for name, entry in listed.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DamagedError(f"its {MANIFEST_FILE} cannot be read ({error})") from error
    for name, (size, checksum) in expected.items():
        file = checkpoint / name
        if not file.is_file():
            raise DamagedError(f"it has no {name}")
        if file.stat().st_size != size:
            raise DamagedError(f"its {name} has {file.stat().st_size} bytes, {size} were written")
        if _checksum(file) != checksum:
            raise DamagedError(f"its {name} is not what was written")
    return frozenset(expected)


def _random_states(checkpoint: Path, processes: int) -> list[str]:
    """The file that each process draws from, or, of a run of another number of processes, those there are."""
    wanted = ["rng_state.pth"] if processes == 1 else [f"rng_state_{index}.pth" for index in range(processes)]
    there = sorted(path.name for path in checkpoint.glob("rng_state*.pth"))
    of_several = [f"rng_state_{index}.pth" for index in range(max(len(there), 2))]
    if set(wanted) <= set(there):
        return wanted
    if set(there) in ({"rng_state.pth"}, set(of_several)):
        return there
    raise DamagedError(f"it has no {next(name for name in wanted if name not in there)}")


def _check_state(file: Path, is_as_written: bool) -> None:
    if not file.is_file():
        raise DamagedError(f"it has no {file.name}")
    if is_as_written:
        return
    holds = _HOLDS["rng_state" if file.name.startswith("rng_state") else file.name]
    try:
        with zipfile.ZipFile(file) as archive:
            broken = archive.testzip()
        if broken is not None:
            raise DamagedError(f"its {file.name} is damaged")
        with safe_globals():
            content = torch.load(file, map_location="cpu", weights_only=True)
    except DamagedError:
        raise
    except Exception as error:  # torch.load fails in many ways
        reason = first_line(error)
        raise DamagedError(f"its {file.name} cannot be read ({reason})") from error
    if not isinstance(content, dict) or not holds <= content.keys():
        raise DamagedError(f"its {file.name} holds something else")


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            checksum = zlib.crc32(chunk, checksum)
    return checksum
