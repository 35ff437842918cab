"""What training starts from: a model with a head for the classes, and an image processor that fits it."""

from pathlib import Path

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import PreTrainedConfig, PreTrainedModel

from ..checkpoints import CheckpointError, check_code, check_finite
from ..checkpoints.pixel_statistics import STATISTICS, StatisticsChoice, pixel_statistics
from ..methods import METHODS
from ..models.image_processing_sat import SATImageProcessor
from ..sentences import first_line
from .arguments import ModelArguments
from .errors import ConfigurationError


def build_model(model_arguments: ModelArguments, class_names: list[str]) -> PreTrainedModel:
    """The starting point: a checkpoint with a head for `class_names`, or random weights.

    Raises:
        ConfigurationError: the checkpoint cannot be read or does not fit, or a field has a value out of its range.
    """
    try:
        return _build_model(model_arguments, class_names)
    except StrictDataclassError as error:
        raise ConfigurationError(str(error.__cause__ or error)) from error
    except ConfigurationError:
        raise
    except CheckpointError as error:
        raise ConfigurationError(str(error)) from error
    except (OSError, ValueError, SafetensorError) as error:
        reason = first_line(error)
        model = model_arguments.model
        where = (
            "" if model is None or Path(model).exists() else "there is no such folder, and the Hub does not have it: "
        )
        raise ConfigurationError(
            f"Training cannot start from {model}: {where}{reason}. Give a folder by --model; "
            "scripts/convert_checkpoint.py makes one of a checkpoint of timm or of a method's authors."
        ) from error


def _build_model(model_arguments: ModelArguments, class_names: list[str]) -> PreTrainedModel:
    method = METHODS[model_arguments.method].model_class
    labels = {"id2label": dict(enumerate(class_names)), "label2id": {name: i for i, name in enumerate(class_names)}}
    fields = model_arguments.config_fields()
    if model_arguments.model is None:
        return method(method.config_class(**fields, **labels))
    if Path(model_arguments.model).is_file():
        raise ConfigurationError(
            f"{model_arguments.model} is a file; make a folder of it by scripts/convert_checkpoint.py --checkpoint "
            f"{model_arguments.model} --source timm --output_dir FOLDER and give that folder as model."
        )
    trust = bool(model_arguments.trust_remote_code)
    check_code(model_arguments.model, trust)
    model, loading = method.from_pretrained(
        model_arguments.model, ignore_mismatched_sizes=True, output_loading_info=True, dtype=torch.float32,
        **({"trust_remote_code": True} if trust else {}), **fields, **labels,
    )  # fmt: skip
    resized = [key[0] if isinstance(key, tuple) else key for key in loading["mismatched_keys"]]
    wrong = [name for name in resized if "classifier" not in name]
    if wrong:
        raise ConfigurationError(
            f"{model_arguments.model} has {', '.join(wrong[:3])} of another shape than this configuration asks for; "
            "leave image_size, patch_size, hidden_size and the like to the checkpoint."
        )
    kind = PreTrainedConfig.get_config_dict(model_arguments.model)[0].get("model_type")
    # A ViT lacks what the method adds to it; a checkpoint of the method lacks at most the classes that are wanted.
    needed = "" if kind == method.config_class.model_type else f"{method.base_model_prefix}."
    lacking = sorted(
        name
        for name in loading["missing_keys"]
        if name.startswith(needed) and "classifier" not in name and "spatial_" not in name
    )
    if lacking:
        raise ConfigurationError(
            f"{model_arguments.model} lacks {', '.join(lacking[:3])}{' …' if len(lacking) > 3 else ''}, which would stay "
            "random. Give a whole checkpoint."
        )
    check_finite(model, model_arguments.model)
    return model


def build_processor(
    model: str | None, image_size: tuple[int, int], choice: StatisticsChoice | None = None
) -> SATImageProcessor:
    """A processor that shows the model the whole image, with pixels scaled as when the starting point was trained.

    Raises:
        ConfigurationError: `choice` is "checkpoint" and there is none.
    """
    size = {"height": image_size[0], "width": image_size[1]}
    if model is not None:
        return SATImageProcessor(size=size, **pixel_statistics(model, choice))
    if choice == "checkpoint":
        raise ConfigurationError(
            "pixel_statistics is checkpoint, but training starts from none; choose imagenet or half."
        )
    return SATImageProcessor(size=size, **({} if choice is None else STATISTICS[choice]))
