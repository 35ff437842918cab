"""What a checkpoint must not do unasked: run code of its own, or bring weights that are not numbers."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import ImageProcessingMixin, PreTrainedConfig
from transformers.utils import CONFIG_NAME, IMAGE_PROCESSOR_NAME

from ..methods import METHODS, own_types
from ..models.image_processing_sat import SATImageProcessor


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not fit; the message says why."""


def check_code(name: str | Path, trust_remote_code: bool = False) -> None:
    """Refuses a checkpoint that names other code than this package's, of which the installed one runs.

    Args:
        name: folder or Hub id.
        trust_remote_code: whether the user has said that its code may run.

    Raises:
        CheckpointError: with the class and its file.
    """
    classes = [named for method in METHODS.values() for named in (method.config_class, method.model_class)]
    ours = {f"{named.__module__.rpartition('.')[2]}.{named.__name__}" for named in classes}
    ours |= set(_classes(SATImageProcessor().to_dict()))
    config, processor = (
        _read(PreTrainedConfig.get_config_dict, name),
        _read(ImageProcessingMixin.get_image_processor_dict, name),
    )
    for file, content in ((CONFIG_NAME, config), (IMAGE_PROCESSOR_NAME, processor)):
        # Under a type that is not ours, a class of our name would be read from the checkpoint.
        known = "model_type" not in content or content["model_type"] in own_types()
        foreign = [named for named in _classes(content) if not known or named not in ours]
        if foreign and not trust_remote_code:
            module, _, class_name = foreign[0].rpartition("--")[2].rpartition(".")
            raise CheckpointError(
                f"{name} brings code of its own: its {file} names the class {class_name} of {module}.py"
                f"{' in ' + foreign[0].partition('--')[0] if '--' in foreign[0] else ''}, which is not of this package. "
                "Read that file, and if you trust it, pass --trust_remote_code (in Python: trust_remote_code=True)."
            )


def check_finite(model: nn.Module, name: str | Path) -> None:
    """
    Raises:
        CheckpointError: a weight is NaN or infinite, with its name.
    """
    weights = {weight_name: weight for weight_name, weight in model.state_dict().items() if weight.is_floating_point()}
    broken = [weight_name for weight_name, weight in weights.items() if not torch.isfinite(weight).all()]
    if broken:
        wrong = weights[broken[0]]
        rest = f" and {len(broken) - 1} more weights" if len(broken) > 1 else ""
        raise CheckpointError(
            f"{name} cannot be used: {int((~torch.isfinite(wrong)).sum())} of the {wrong.numel()} numbers of "
            f"{broken[0]} are NaN or infinite{rest}, so that its training has failed, or its file is damaged. Take an "
            "earlier checkpoint."
        )


def _read(read: Any, name: str | Path) -> dict[str, Any]:
    try:
        return read(name)[0]
    except Exception:  # no such file, or no JSON: said by whoever loads it
        return {}


def _classes(content: dict[str, Any]) -> list[str]:
    """The classes that `auto_map` names, an entry of which is one or a list or a mapping of them."""
    found = []
    auto_map = content.get("auto_map")
    for entry in auto_map.values() if isinstance(auto_map, dict) else ():
        entries = entry.values() if isinstance(entry, dict) else [entry] if isinstance(entry, str) else entry
        found += [named.strip() for named in entries or () if isinstance(named, str)]
    return found
