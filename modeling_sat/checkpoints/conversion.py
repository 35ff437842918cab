"""Other people's checkpoints -> a folder that `from_pretrained` loads: the authors' of methods, timm's, transformers'."""

import argparse
import pickle
import re
import warnings
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import PreTrainedModel
from transformers.core_model_loading import (
    WeightConverter,
    WeightRenaming,
    WeightTransform,
    rename_source_key,
)

from ..methods import METHODS, Method
from ..models.class_names_sat import class_names, match_classes
from ..models.configuration_wsol import pair
from ..models.image_processing_sat import SATImageProcessor
from ..models.loading_wsol import found_head
from ..sentences import first_line
from .pixel_statistics import STATISTICS, StatisticsChoice, pixel_statistics, timm_pixel_statistics
from .sources import SOURCES
from .trust import CheckpointError, check_code, check_finite


@dataclass
class Conversion:
    """What became of a checkpoint.

    Args:
        model: the converted model.
        new: names of our parameters that the checkpoint does not have; they hold their initial values.
        left_out: names in the checkpoint that have no place in the model.
        threshold: the localization threshold in [0, 1] of the checkpoint or its authors, if any.
        preprocessing: how pixel values are scaled, e.g. `image_mean`; see `pixel_statistics`.
    """

    model: PreTrainedModel
    new: list[str]
    left_out: list[str]
    threshold: float | None = None
    preprocessing: dict = field(default_factory=dict)

    def __str__(self) -> str:
        parts = {"New, at their initial values": self.new, "In the checkpoint but left out": self.left_out}
        lines = [f"{title}: {', '.join(names) if names else 'none'}." for title, names in parts.items()]
        if "image_mean" in self.preprocessing:
            mean, std = (self.preprocessing[name] for name in ("image_mean", "image_std"))
            lines.append(f"Pixels are scaled by the mean {mean} and the standard deviation {std}.")
        if self.threshold is not None:
            lines.append(f"Localization threshold of its authors: {self.threshold}.")
        return "\n".join(lines)


def convert_checkpoint(
    checkpoint: str,
    source: str,
    output_dir: str | None = None,
    num_labels: int | None = None,
    pixel_statistics: StatisticsChoice | None = None,
    trust_remote_code: bool = False,
    **config,
) -> Conversion:
    """Converts a checkpoint and, with `output_dir`, saves model, processor and code there.

    Args:
        checkpoint: a `.safetensors`, `.pth` or `.pth.tar` file (pickles are read with `weights_only=True`); a folder
            or Hub id for `vit`.
        source: a key of `SOURCES`: a method (the files of its authors), `"timm"` (DeiT and ViT under timm's names),
            `"timm_vit"` and `"conformer"` (which stay a ViT and a Conformer, for any method to start from) or `"vit"` (any ViT of transformers that SAT starts from).
        output_dir: folder to write, made if missing.
        num_labels: classes of the new head; default: as many as the checkpoint's own head.
        pixel_statistics: how pixels are scaled, where the checkpoint's files do not tell or tell wrongly; see there.
        trust_remote_code: run code that a checkpoint for `vit` brings.
        config: fields of the model's configuration that the checkpoint does not tell, e.g. `classifier`, `area_target`,
            `num_attention_heads` (default: hidden_size / 64, as in every DeiT). With `classifier="class_token"`,
            `id2label` names the classes wanted, and those of a `vit` or `timm` checkpoint's classifier are matched by
            name (`match_classes`); of an authors' file it names the classes in the file's order.

    Raises:
        CheckpointError: the file is missing or unreadable, it does not fill a ViT, weights are NaN or infinite, it
            brings code of its own, or the folder cannot be written.
    """
    if source not in (*SOURCES, "vit"):
        raise CheckpointError(f"source is {source!r}; choose {', '.join(map(repr, SOURCES))} or 'vit'.")
    title = SOURCES[source].title if source in SOURCES else METHODS["sat"].title
    try:
        if source == "vit":
            check_code(checkpoint, trust_remote_code)
            config |= {"trust_remote_code": True} if trust_remote_code else {}
            conversion = _convert_transformers(checkpoint, METHODS["sat"], num_labels, pixel_statistics, config)
        else:
            conversion = _convert_file(Path(checkpoint), source, num_labels, pixel_statistics, config)
    except StrictDataclassError as error:
        raise CheckpointError(f"{checkpoint} does not make a {title} model: {error.__cause__ or error}") from error
    check_finite(conversion.model, checkpoint)
    if output_dir is not None:
        _save(conversion, Path(output_dir))
    return conversion


def _save(conversion: Conversion, output_dir: Path) -> None:
    height, width = pair(conversion.model.config.image_size)
    threshold = {} if conversion.threshold is None else {"localization_threshold": conversion.threshold}
    processor = SATImageProcessor(size={"height": height, "width": width}, **conversion.preprocessing, **threshold)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        conversion.model.save_pretrained(output_dir)
        processor.save_pretrained(output_dir)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{output_dir} cannot be written: {error}. Choose another folder.") from error


def _convert_transformers(
    checkpoint: str, method: Method, num_labels: int | None, choice: StatisticsChoice | None, config: dict
) -> Conversion:
    if num_labels is not None:
        config = {**config, "num_labels": num_labels}
    try:
        model, loading = method.model_class.from_pretrained(checkpoint, output_loading_info=True, **config)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{checkpoint} is not a ViT checkpoint of transformers: {error}") from error
    new = sorted(loading["missing_keys"])
    _check_filled(checkpoint, new)
    left_out = sorted(loading["unexpected_keys"])
    return Conversion(model, new, left_out, preprocessing=pixel_statistics(checkpoint, choice))


def _check_filled(checkpoint: str | Path, new: list[str]) -> None:
    lacking = [name for name in new if not re.search(r"classifier|spatial_", name)]
    if lacking:
        raise CheckpointError(f"{checkpoint} does not fill a ViT: {', '.join(lacking[:5])} … would stay random.")


def _convert_file(
    file: Path, name: str, num_labels: int | None, choice: StatisticsChoice | None, config: dict
) -> Conversion:
    source = SOURCES[name]
    if source.is_whole and config.pop("classifier", "patch_tokens") != "patch_tokens":
        raise CheckpointError(
            "The authors' checkpoints have the paper's head on patch tokens; leave classifier at 'patch_tokens'."
        )
    theirs, threshold = _read(file)
    names = list(theirs)
    missing = [needed for needed in source.needs if needed not in theirs]
    if missing:
        raise CheckpointError(
            f"{file} has no {', '.join(missing)}, which a {name} checkpoint has; it holds "
            f"{', '.join(names[:4]) or 'nothing'} … Is it of another architecture, or another source?"
        )
    if "dist_token" in theirs:
        # A distilled DeiT: class token, distillation token, patches. Ours have no place for the second.
        theirs["pos_embed"] = torch.cat([theirs["pos_embed"][:, :1], theirs["pos_embed"][:, 2:]], dim=1)
    classes = len(theirs.get(source.classes, range(1000)))
    if num_labels is None:
        num_labels = len(config.get("id2label") or range(classes))
    fields = _conformer_fields(theirs) if source.is_conformer else _fields(theirs)
    fields |= {name: config.pop(name) for name in fields.keys() & config.keys()}
    model = source.model(fields, **{"num_labels": num_labels, **config})
    own = model.state_dict()
    head = "classifier" if "classifier.weight" in own else "patch_classifier"
    if not source.is_whole and head == "classifier" and "head.weight" in theirs and "id2label" in config:
        there = [f"LABEL_{row}" for row in range(classes)]
        found = match_classes(class_names(config["id2label"]), there, str(file))
        warnings.warn(str(found), stacklevel=3)
        theirs = found_head(found.rows, theirs, model.config.initializer_range)

    placed = {}
    for key, weight in theirs.items():
        renamed = _renamed(key, weight, [*source.transforms, WeightRenaming(r"^head\.", f"{head}.")])
        if key in renamed and key.startswith("blocks."):
            raise CheckpointError(
                f"{file} has {key}, which no layer of {source.title} has: it is another kind of ViT."
            )
        if all(part in own and own[part].shape == value.shape for part, value in renamed.items()):
            placed[key] = renamed
    their_head = source.classes.rpartition(".")[0]
    if f"{their_head}.weight" not in placed:
        # A bias fits any head of as many classes, but means nothing beside other weights.
        placed.pop(f"{their_head}.bias", None)
    weights = {part: value for renamed in placed.values() for part, value in renamed.items()}
    new = sorted(own.keys() - weights.keys())
    if not source.is_whole:
        _check_filled(file, new)
    elif new and not (num_labels != classes and all("classifier" in part for part in new)):
        raise CheckpointError(f"{file} is not a whole {source.title} checkpoint: it lacks {', '.join(new[:5])}.")
    model.load_state_dict(weights, strict=False)
    if source.is_whole:
        preprocessing = STATISTICS.get(choice, STATISTICS["imagenet"])
    else:
        preprocessing = timm_pixel_statistics(file, names, choice)
    left_out = [key for key in names if key not in placed]
    return Conversion(model.eval(), new, left_out, threshold or source.threshold, preprocessing)


def _fields(theirs: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What the shapes of a ViT's weights, by timm's names, tell of its configuration."""
    positions, patches = theirs["pos_embed"], theirs["patch_embed.proj.weight"]
    hidden_size, patch_size = positions.shape[2], tuple(patches.shape[2:])
    return {
        "hidden_size": hidden_size,
        "num_hidden_layers": 1 + max(int(name.split(".")[1]) for name in theirs if name.startswith("blocks.")),
        "num_attention_heads": max(hidden_size // 64, 1),
        "intermediate_size": len(theirs["blocks.0.mlp.fc1.weight"]),
        "qkv_bias": "blocks.0.attn.qkv.bias" in theirs,
        "patch_size": patch_size[0] if patch_size[0] == patch_size[1] else patch_size,
        "image_size": tuple(int((positions.shape[1] - 1) ** 0.5) * side for side in patch_size),
        "num_channels": patches.shape[1],
    }


def _conformer_fields(theirs: dict[str, torch.Tensor]) -> dict[str, Any]:
    """The same of a Conformer, whose shapes do not tell `image_size`."""
    hidden_size, stem = theirs["trans_patch_conv.weight"].shape[0], theirs["conv1.weight"]
    return {
        "hidden_size": hidden_size,
        "num_hidden_layers": max(int(name.split(".")[0][11:]) for name in theirs if name.startswith("conv_trans_")),
        "num_attention_heads": max(hidden_size // 64, 1),
        "intermediate_size": len(theirs["trans_1.mlp.fc1.weight"]),
        "qkv_bias": "trans_1.attn.qkv.bias" in theirs,
        "patch_size": 4 * theirs["trans_patch_conv.weight"].shape[2],
        "image_size": 224,
        "num_channels": stem.shape[1],
        "base_channels": len(stem),
        "channel_ratio": len(theirs["conv_1.conv3.weight"]) // len(stem),
    }


def _renamed(name: str, weight: torch.Tensor, transforms: list[WeightTransform]) -> dict[str, torch.Tensor]:
    """A weight by our name, or its parts by theirs; by its own where no transform knows it.

    Not by transformers' `from_pretrained(key_mapping=…)`: that renames only, and saves again under the names it read.
    """
    renamings = [transform for transform in transforms if isinstance(transform, WeightRenaming)]
    converters = [transform for transform in transforms if isinstance(transform, WeightConverter)]
    renamed, pattern = rename_source_key(name, renamings, converters)
    if pattern is None:
        return {renamed: weight}
    converter = deepcopy(next(converter for converter in converters if pattern in converter.source_patterns))
    converter.add_tensor(renamed, name, pattern, weight)
    return converter.convert(renamed)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], float | None]:
    """The weights, and the localization threshold that the authors' training saved with them."""
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Give the path of a .safetensors, .pth or .pth.tar file.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path), None
        # DeiT's training script, and those that grew out of it, save their command line's options too.
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: {first_line(error)}. Pickles are read with weights_only=True, which runs "
            "no code; a file that needs more than tensors and numbers has to be re-saved by someone who trusts it."
        ) from error
    threshold = None
    if isinstance(content, dict) and isinstance(content.get("model", content.get("state_dict")), dict):
        # 0 is what the authors write before a threshold is chosen (`train.py:165,201`).
        threshold = content.get("best_thr") or None
        content = content.get("model", content.get("state_dict"))
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no state dict (names and tensors), and none under 'model'.")
    state_dict = {name.removeprefix("module."): weight for name, weight in content.items()}
    return state_dict, None if threshold is None else float(threshold)
