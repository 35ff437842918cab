"""Starting from weights that are there: of any ViT of transformers, or of a model that knew other classes."""

import dataclasses
import re
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForImageClassification, PreTrainedConfig, PreTrainedModel

from .backbone_wsol import FAMILIES, resize_positions
from .class_names_sat import class_names, has_no_names, match_classes
from .configuration_conformer import VisionConformerConfig
from .configuration_wsol import pair


_WHERE = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")
_CODE = ("code_revision", "trust_remote_code")
_READING = (
    *_WHERE, *_CODE, "adapter_kwargs", "disable_mmap", "key_mapping", "tqdm_class", "use_safetensors", "variant",
    "weights_only",
)  # fmt: skip
"""What `from_pretrained` is told of files; all else is about the model that comes of them."""
_HEAD = re.compile(r"^(((patch|map|branch)_)?classifier|head)\.")
"""Weights with a row for each class."""
_AS_FIELDS = ("vit", "deit")
"""Families that become a ViT of the configuration's own fields; others become its `backbone_config`."""
_WITH_BRANCH = (VisionConformerConfig.model_type,)
"""Families with a second branch, whose classifier every method keeps."""


class StartsFromViT(PreTrainedModel):
    """`from_pretrained` that also takes a backbone of any family, and keeps of a classifier the classes that are wanted."""

    starts_from: tuple[str, ...] = ()
    """Types of other methods, besides its own, whose names of weights are its own."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, config=None, **kwargs):
        """Also takes a checkpoint of `FAMILIES` of transformers, classifier or not: what is added to it is then new.

        A ViT or DeiT may be of another `image_size`: its position embeddings are resized once.
        With `classifier="class_token"` a ViT's classifier is kept; a DeiT's distillation token is not. Where
        `id2label` or `config` name other classes than the checkpoint, or in another order, each class takes the weights
        of the class of its name (`match_classes`), and a warning says which are new.

        Args:
            kwargs: as transformers' `from_pretrained`. What is about files, such as `variant`, is about those of the
                checkpoint; what is about the model, such as `dtype` or `device_map`, is about the new one.

        Raises:
            ValueError: the checkpoint is of another architecture, quantized, or a GGUF file.
        """
        start = pretrained_model_name_or_path
        if start is None or kwargs.get("state_dict") is not None:
            return super().from_pretrained(start, *model_args, config=config, **kwargs)
        own = cls.config_class.model_type
        reading = {name: kwargs[name] for name in _READING if name in kwargs}
        where = {name: value for name, value in reading.items() if name in _WHERE}
        # Not by AutoConfig, which would ask for trust in code that is already running.
        try:
            there, _ = PreTrainedConfig.get_config_dict(start, **where)
        except OSError:
            if config is None:
                raise
            there = {}  # weights alone, of a model that `config` describes
        kind = there.get("model_type", own)
        others = (*cls.starts_from, *FAMILIES)
        if kind not in (own, *others):
            raise ValueError(
                f"{start} is a checkpoint of {kind!r}; {cls.__name__} loads its own checkpoints and those of "
                f"{', '.join(map(repr, others[:-1]))} and {others[-1]!r}."
            )
        is_backbone = kind in FAMILIES
        if is_backbone:
            _check_readable(start, there, kwargs)
        if isinstance(config, str) or hasattr(config, "__fspath__"):
            config = cls.config_class.from_pretrained(config)
        elif is_backbone and config is not None and not isinstance(config, cls.config_class):
            raise ValueError(f"config is a {type(config).__name__}; {cls.__name__} needs {cls.config_class.__name__}.")
        names = class_names(there.get("id2label"))
        if kind == own and not _names_other_classes(names, config, kwargs):
            return super().from_pretrained(start, *model_args, config=config, **kwargs)

        if is_backbone:
            code = {name: value for name, value in reading.items() if name in _CODE}
            source_config = AutoConfig.from_pretrained(start, **where, **code)
            has_classifier = kind in _AS_FIELDS + _WITH_BRANCH
            auto_class = AutoModelForImageClassification if has_classifier else AutoModel
            source, loading = auto_class.from_pretrained(
                start, config=source_config, output_loading_info=True, **reading
            )
            rename = _vit_name if has_classifier else "vit.{}".format
        else:
            source, loading = super().from_pretrained(start, output_loading_info=True, **reading)
            source_config, rename = source.config, str
        absent = loading["missing_keys"]
        weights = {rename(name): weight for name, weight in source.state_dict().items() if name not in absent}
        if kind in _AS_FIELDS:
            _drop_distillation_token(weights)
        names, found = class_names(source_config.id2label), set(weights)

        kwargs = {name: value for name, value in kwargs.items() if name not in reading}
        if config is None:
            config, kwargs = _configure(cls.config_class, source_config, kwargs)
        if kind in _AS_FIELDS:
            _resize_positions(weights, source_config, config)
        keeps_head = not is_backbone or getattr(config, "classifier", None) == "class_token" or kind in _WITH_BRANCH
        if keeps_head and any(_HEAD.match(name) for name in weights):
            weights = _head_for(class_names(config.id2label), names, weights, config.initializer_range, str(start))
        asked = kwargs.pop("output_loading_info", False)
        model, info = super().from_pretrained(
            None, *model_args, config=config, state_dict=weights, output_loading_info=True, **kwargs
        )
        unexpected = set() if kind in _AS_FIELDS else loading["unexpected_keys"]
        info["unexpected_keys"] = info["unexpected_keys"] | unexpected | (found - weights.keys())
        return (model, info) if asked else model


def _check_readable(start: str, there: Mapping[str, Any], kwargs: Mapping[str, Any]) -> None:
    if there.get("quantization_config"):
        method = there["quantization_config"].get("quant_method", "some method")
        raise ValueError(
            f"{start} is quantized ({method}), and a new model cannot be made of rounded weights. Start from the "
            "checkpoint that it was made of, and pass quantization_config for the new model."
        )
    if kwargs.get("gguf_file"):
        raise ValueError(
            f"{start}: a backbone is not read from a GGUF file (gguf_file). Give its safetensors checkpoint."
        )


def _names_other_classes(names: list[str], config: PreTrainedConfig | None, kwargs: Mapping[str, Any]) -> bool:
    """Whether the caller names classes, and not those of the checkpoint in their order."""
    if config is not None:
        wanted = class_names(config.id2label)
    elif kwargs.get("id2label"):
        wanted = class_names(kwargs["id2label"])
    elif kwargs.get("label2id"):
        wanted = class_names({index: name for name, index in kwargs["label2id"].items()})
    else:
        return False
    return bool(names) and wanted != names and not has_no_names(wanted)


def _configure(
    config_class: type[PreTrainedConfig], source: PreTrainedConfig, kwargs: dict[str, Any]
) -> tuple[PreTrainedConfig, dict[str, Any]]:
    """The configuration that another's becomes with the fields among `kwargs`, and the rest of them."""
    # Before the config checks itself: 3 spatial layers are too many for a ViT of 2 layers.
    known = {field.name for field in dataclasses.fields(config_class)} - {
        field.name for field in dataclasses.fields(PreTrainedConfig)
    }
    fields = {name: kwargs.pop(name) for name in known if name in kwargs}
    # Not fields: what a model is loaded in, "auto" included, is for the model to say.
    dtypes = {name: kwargs.pop(name) for name in ("dtype", "torch_dtype") if name in kwargs}
    if kwargs.get("label2id") and not kwargs.get("id2label"):
        kwargs["id2label"] = {index: name for name, index in kwargs["label2id"].items()}
    count, named = kwargs.get("num_labels"), kwargs.get("id2label")
    if count is not None and named and count != len(named):
        raise ValueError(f"num_labels is {count}, but id2label names {len(named)} classes; leave num_labels out.")
    settings = source.to_dict()
    if source.model_type in FAMILIES and source.model_type not in _AS_FIELDS:
        names = {name: settings[name] for name in ("id2label", "label2id")}
        settings = {**names, "backbone_config": source}
    elif source.model_type not in FAMILIES:  # what another method has for itself is left
        of_all = {field.name for field in dataclasses.fields(PreTrainedConfig)}
        settings = {name: value for name, value in settings.items() if name in known | of_all}
    if count is not None and not named and count != len(settings["id2label"]):
        settings = {name: value for name, value in settings.items() if name not in ("id2label", "label2id")}
    settings |= {"model_type": config_class.model_type, "architectures": None, **fields}
    config, kwargs = config_class.from_dict(settings, return_unused_kwargs=True, **kwargs)
    return config, kwargs | dtypes


def _vit_name(name: str) -> str:
    """Our name of a ViT's or DeiT's weight; what we have no place for stays, to be reported as such."""
    return name.replace("deit.", "vit.", 1).replace("cls_classifier.", "classifier.")


def _drop_distillation_token(weights: dict[str, torch.Tensor]) -> None:
    """Leaves out the position of a distillation token, which stays to be reported as unexpected."""
    if "vit.embeddings.distillation_token" in weights:
        positions = weights["vit.embeddings.position_embeddings"]
        weights["vit.embeddings.position_embeddings"] = torch.cat([positions[:, :1], positions[:, 2:]], dim=1)


def _resize_positions(weights: dict[str, torch.Tensor], source: PreTrainedConfig, config: PreTrainedConfig) -> None:
    """Position embeddings of another resolution, by the resize that the model itself does between resolutions."""
    table = weights.get("vit.embeddings.position_embeddings")
    there, wanted = (
        tuple(side // patch for side, patch in zip(pair(settings.image_size), pair(settings.patch_size)))
        for settings in (source, config)
    )
    if table is not None and there != wanted and table.shape[1] > there[0] * there[1]:
        weights["vit.embeddings.position_embeddings"] = resize_positions(table, there, wanted)


def _head_for(
    wanted: list[str], there: list[str], weights: dict[str, torch.Tensor], std: float, source: str
) -> dict[str, torch.Tensor]:
    """The weights with a classifier of the wanted classes, or without one where it knows none of them."""
    if has_no_names(wanted):  # nothing is said of classes but their number
        same = len(wanted) == len(there)
        return weights if same else {name: weight for name, weight in weights.items() if not _HEAD.match(name)}
    if wanted == there:
        return weights
    found = match_classes(wanted, there, source)
    if found.new or found.by_position:
        warnings.warn(str(found), stacklevel=4)
    return found_head(found.rows, weights, std)


def found_head(rows: list[int | None], weights: dict[str, torch.Tensor], std: float) -> dict[str, torch.Tensor]:
    """The weights with the classifier's rows in another order; those that are None are new.

    Args:
        rows: for each class of the new classifier its row in the old one.
        weights: by name, of a whole model or of its head.
        std: of the normal distribution of new rows; new biases are 0.
    """
    if all(row is None for row in rows):
        return {name: weight for name, weight in weights.items() if not _HEAD.match(name)}
    kept = [index for index, row in enumerate(rows) if row is not None]
    taken = [row for row in rows if row is not None]
    head = {}
    for name, weight in weights.items():
        if _HEAD.match(name):
            head[name] = weight.new_zeros(len(rows), *weight.shape[1:])
            if weight.ndim > 1:
                head[name].normal_(std=std)
            head[name][kept] = weight[taken]
    return {**weights, **head}


__all__ = ["StartsFromViT", "found_head"]
