"""Other people's checkpoints -> a folder that `from_pretrained` loads: the authors' SAT, timm's DeiT, transformers' ViT."""

import pickle
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..models.class_names_sat import class_names, match_classes
from ..models.configuration_sat import SATConfig
from ..models.image_processing_sat import SATImageProcessor
from ..models.loading_wsol import found_head
from ..models.modeling_sat import SATForWeaklySupervisedLocalization
from ..sentences import first_line
from .pixel_statistics import STATISTICS, StatisticsChoice, pixel_statistics, timm_pixel_statistics
from .trust import CheckpointError, check_code, check_finite


# timm's names, which the authors' SAT shares (`Model/SAT.py:37-88`), and ours.
_NAMES = {
    r"^cls_token$": "vit.embeddings.cls_token",
    r"^loc_token$": "vit.embeddings.spatial_token",
    r"^loc_embed$": "vit.embeddings.spatial_position_embedding",
    r"^pos_embed$": "vit.embeddings.position_embeddings",
    r"^patch_embed\.proj\.": "vit.embeddings.patch_embeddings.projection.",
    r"^blocks\.(\d+)\.norm1\.": r"vit.layers.\1.layernorm_before.",
    r"^blocks\.(\d+)\.norm2\.": r"vit.layers.\1.layernorm_after.",
    r"^blocks\.(\d+)\.attn\.proj\.": r"vit.layers.\1.attention.o_proj.",
    r"^blocks\.(\d+)\.mlp\.": r"vit.layers.\1.mlp.",
    r"^norm\.": "vit.layernorm.",
}
_FUSED_QKV = re.compile(r"^blocks\.(\d+)\.attn\.qkv\.(weight|bias)$")


@dataclass
class Conversion:
    """What became of a checkpoint.

    Args:
        model: the converted model.
        new: names of our parameters that the checkpoint does not have; they hold their initial values.
        left_out: names in the checkpoint that have no place in the model.
        threshold: the localization threshold in [0, 1] that the authors' training saved, if any.
        preprocessing: how pixel values are scaled, e.g. `image_mean`; see `pixel_statistics`.
    """

    model: SATForWeaklySupervisedLocalization
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
            lines.append(f"Localization threshold of the checkpoint: {self.threshold}.")
        return "\n".join(lines)


@dataclass
class _Checkpoint:
    state_dict: dict[str, torch.Tensor]
    threshold: float | None = None


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
        checkpoint: a `.safetensors`, `.pth` or `.pth.tar` file for `sat` and `timm` (pickles are read with
            `weights_only=True`); a folder or Hub id for `vit`.
        source: `"sat"` (the authors' files), `"timm"` (DeiT and ViT under timm's names) or `"vit"` (ViT or DeiT
            image classification of transformers).
        output_dir: folder to write, made if missing.
        num_labels: classes of the new head; default: as many as the checkpoint's own head.
        pixel_statistics: how pixels are scaled, where the checkpoint's files do not tell or tell wrongly; see there.
        trust_remote_code: run code that a checkpoint for `vit` brings.
        config: fields of `SATConfig` that the checkpoint does not tell, e.g. `classifier`, `area_target`,
            `num_attention_heads` (default: hidden_size / 64, as in every DeiT). With `classifier="class_token"`,
            `id2label` names the classes wanted, and those of a `vit` or `timm` checkpoint's classifier are matched by
            name (`match_classes`); of an authors' file it names the classes in the file's order.

    Raises:
        CheckpointError: the file is missing or unreadable, it fits nothing of a ViT, weights are NaN or infinite, it
            brings code of its own, or the folder cannot be written.
    """
    if source not in ("sat", "timm", "vit"):
        raise CheckpointError(f"source is {source!r}; choose 'sat', 'timm' or 'vit'.")
    try:
        if source == "vit":
            check_code(checkpoint, trust_remote_code)
            config |= {"trust_remote_code": True} if trust_remote_code else {}
            conversion = _convert_transformers(checkpoint, num_labels, pixel_statistics, config)
        else:
            conversion = _convert_timm_names(checkpoint, source, num_labels, pixel_statistics, config)
    except StrictDataclassError as error:
        raise CheckpointError(f"{checkpoint} does not make a SAT model: {error.__cause__ or error}") from error
    check_finite(conversion.model, checkpoint)
    if output_dir is not None:
        _save(conversion, Path(output_dir))
    return conversion


def _save(conversion: Conversion, output_dir: Path) -> None:
    height, width = conversion.model.vit.embeddings.image_size
    threshold = {} if conversion.threshold is None else {"localization_threshold": conversion.threshold}
    processor = SATImageProcessor(size={"height": height, "width": width}, **conversion.preprocessing, **threshold)
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        conversion.model.save_pretrained(output_dir)
        processor.save_pretrained(output_dir)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{output_dir} cannot be written: {error}. Choose another folder.") from error


def _convert_transformers(
    checkpoint: str, num_labels: int | None, choice: StatisticsChoice | None, config: dict
) -> Conversion:
    if num_labels is not None:
        config = {**config, "num_labels": num_labels}
    try:
        model, loading = SATForWeaklySupervisedLocalization.from_pretrained(
            checkpoint, output_loading_info=True, **config
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(f"{checkpoint} is not a ViT checkpoint of transformers: {error}") from error
    new = sorted(loading["missing_keys"])
    lacking = [name for name in new if not re.search(r"classifier|spatial_", name)]
    if lacking:
        raise CheckpointError(f"{checkpoint} does not fill a ViT: {', '.join(lacking[:5])} … would stay random.")
    left_out = sorted(loading["unexpected_keys"])
    if "classifier.weight" in new:
        left_out = ["classifier.bias", "classifier.weight", *left_out]
    return Conversion(model, new, left_out, preprocessing=pixel_statistics(checkpoint, choice))


def _convert_timm_names(
    checkpoint: str, source: str, num_labels: int | None, choice: StatisticsChoice | None, config: dict
) -> Conversion:
    if source == "sat" and config.get("classifier", "patch_tokens") != "patch_tokens":
        raise CheckpointError(
            "The authors' checkpoints have the paper's head on patch tokens; leave classifier at 'patch_tokens'."
        )
    read = _read(Path(checkpoint))
    head = read.state_dict.get("head.weight")
    shape_error = _shape_error(checkpoint, source, read.state_dict)
    if shape_error:
        raise CheckpointError(shape_error)

    positions, patches = read.state_dict["pos_embed"], read.state_dict["patch_embed.proj.weight"]
    if "dist_token" in read.state_dict:
        # A distilled DeiT: class token, distillation token, patches. SAT has no place for the second.
        positions = read.state_dict["pos_embed"] = torch.cat([positions[:, :1], positions[:, 2:]], dim=1)
    hidden_size = positions.shape[2]
    patch_size = tuple(patches.shape[2:])
    if num_labels is None:
        num_labels = len(config.get("id2label") or (head if head is not None else range(1000)))
    sat_config = SATConfig(
        **{
            "hidden_size": hidden_size,
            "num_hidden_layers": 1 + max(int(name.split(".")[1]) for name in read.state_dict if name[:7] == "blocks."),
            "num_attention_heads": max(hidden_size // 64, 1),
            "intermediate_size": len(read.state_dict["blocks.0.mlp.fc1.weight"]),
            "qkv_bias": "blocks.0.attn.qkv.bias" in read.state_dict,
            "patch_size": patch_size[0] if patch_size[0] == patch_size[1] else patch_size,
            "image_size": tuple(int((positions.shape[1] - 1) ** 0.5) * side for side in patch_size),
            "num_channels": patches.shape[1],
            "num_labels": num_labels,
            **config,
        }
    )
    model = SATForWeaklySupervisedLocalization(sat_config)
    own = model.state_dict()
    converted, left_out = {}, []
    if source == "timm" and head is not None and "id2label" in config and hasattr(model, "classifier"):
        found = match_classes(
            class_names(config["id2label"]), [f"LABEL_{row}" for row in range(len(head))], str(checkpoint)
        )
        warnings.warn(str(found), stacklevel=3)
        read.state_dict = found_head(found.rows, read.state_dict, sat_config.initializer_range)
        left_out += [] if "head.weight" in read.state_dict else ["head.weight", "head.bias"]
    for name, weight in read.state_dict.items():
        renamed = _rename(name, weight, model)
        if not renamed and name.startswith("blocks."):
            raise CheckpointError(f"{checkpoint} has {name}, which no layer of SAT has: it is another kind of ViT.")
        if any(key not in own or own[key].shape != value.shape for key, value in renamed.items()) or not renamed:
            left_out.append(name)
        else:
            converted |= renamed
    if "head.weight" in left_out and "head.bias" not in left_out:
        # A bias fits any head of as many classes, but means nothing beside other weights.
        left_out.append("head.bias")
        converted = {name: weight for name, weight in converted.items() if not name.endswith("classifier.bias")}
    new = sorted(own.keys() - converted.keys())
    if source == "sat":
        if new and not (num_labels != len(head) and all(name.startswith("patch_classifier") for name in new)):
            raise CheckpointError(f"{checkpoint} is no whole SAT checkpoint: it lacks {', '.join(new[:5])}.")
    elif any(not re.search(r"classifier|spatial_", name) for name in new):
        raise CheckpointError(f"{checkpoint} does not fill a ViT: {', '.join(new[:5])} would stay random.")
    model.load_state_dict(converted, strict=False)
    if source == "sat":
        preprocessing = STATISTICS[choice] if choice in STATISTICS else STATISTICS["imagenet"]
    else:
        preprocessing = timm_pixel_statistics(Path(checkpoint), read.state_dict, choice)
    return Conversion(model.eval(), new, left_out, read.threshold, preprocessing)


def _rename(name: str, weight: torch.Tensor, model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Our name(s) and weight(s) for one of timm's, none where SAT has no use for it."""
    if match := _FUSED_QKV.match(name):
        prefix = f"vit.layers.{match[1]}.attention"
        return {f"{prefix}.{part}_proj.{match[2]}": piece for part, piece in zip("qkv", weight.chunk(3))}
    if name in ("head.weight", "head.bias"):
        head = "patch_classifier" if hasattr(model, "patch_classifier") else "classifier"
        return {name.replace("head", head): weight}
    for pattern, replacement in _NAMES.items():
        if re.match(pattern, name):
            return {re.sub(pattern, replacement, name): weight}
    return {}


def _shape_error(checkpoint: str, source: str, state_dict: dict) -> str | None:
    """Why these weights are not what `source` says, or `None`."""
    needed = ["pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight", "blocks.0.mlp.fc1.weight"]
    needed += ["loc_token", "loc_embed", "head.weight"] if source == "sat" else []
    missing = [name for name in needed if name not in state_dict]
    if missing:
        return (
            f"{checkpoint} has no {', '.join(missing)}, which a {source} checkpoint has; it holds "
            f"{', '.join(list(state_dict)[:4]) or 'nothing'} … Is it of another architecture, or another source?"
        )
    return None


def _read(path: Path) -> _Checkpoint:
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}. Give the path of a .safetensors, .pth or .pth.tar file.")
    try:
        if path.suffix == ".safetensors":
            return _Checkpoint(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} cannot be read as a checkpoint: {first_line(error)}. Pickles are read with weights_only=True, which runs "
            "no code; a file that needs more than tensors and numbers has to be re-saved by whoever trusts it."
        ) from error
    threshold = None
    if isinstance(content, dict) and isinstance(content.get("model", content.get("state_dict")), dict):
        # 0 is what the authors write before a threshold is chosen (`train.py:165,201`).
        threshold = content.get("best_thr") or None
        content = content.get("model", content.get("state_dict"))
    if not isinstance(content, dict) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise CheckpointError(f"{path} holds no state dict (names and tensors), nor one under 'model'.")
    state_dict = {name.removeprefix("module."): weight for name, weight in content.items()}
    return _Checkpoint(state_dict, None if threshold is None else float(threshold))
