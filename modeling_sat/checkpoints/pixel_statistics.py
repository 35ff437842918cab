"""By which mean and standard deviation a starting point's pixels are scaled: as they were when it was trained."""

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

from huggingface_hub import ModelCard
from transformers import PreTrainedConfig
from transformers.image_utils import (
    IMAGENET_DEFAULT_MEAN,
    IMAGENET_DEFAULT_STD,
    IMAGENET_STANDARD_MEAN,
    IMAGENET_STANDARD_STD,
)

from ..methods import own_types
from ..models.image_processing_sat import SATImageProcessor
from ..output.files import read_json


logger = logging.getLogger(__name__)

StatisticsChoice = Literal["imagenet", "half", "checkpoint"]
STATISTICS = {
    "imagenet": {"image_mean": list(IMAGENET_DEFAULT_MEAN), "image_std": list(IMAGENET_DEFAULT_STD)},
    "half": {"image_mean": list(IMAGENET_STANDARD_MEAN), "image_std": list(IMAGENET_STANDARD_STD)},
}
"""Of every DeiT: "imagenet" (facebookresearch/deit `datasets.py`, `build_transform`; timm `models/deit.py`, `_cfg`; the
authors of SAT, `DataLoader/CUB_200_2011.py:49-62`), although the image processors of `facebook/deit-*-patch16-224` on the
Hub say 0.5. Of the ViTs of Google, augreg among them: "half"."""

_SCALING = ("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std")
_IS_DEIT = re.compile(r"(?<![a-z])deit|data-efficient image transformer", re.IGNORECASE)
_IS_GOOGLES = re.compile(r"(?<![a-z])vit_\w*?(augreg|in21k|\.orig)|\.augreg|\.orig_in21k", re.IGNORECASE)
_OPTION = "pixel_statistics (imagenet, half, or checkpoint for what its own files say)"


def pixel_statistics(checkpoint: str | Path, choice: StatisticsChoice | None = None) -> dict[str, Any]:
    """How pixels are scaled for a checkpoint of transformers, as settings of an image processor.

    Of a SAT or another method here, as its image processor says. Of a DeiT, whatever that says, by ImageNet's mean and
    standard deviation; one is known by its type, its name, or what its configuration or card says it comes from. Of
    other ViTs, DINOv2 and DINOv3 among them, as their image processor says. A doubt is said in a warning. How images
    are resized is not carried over: training and evaluation resize alike, bilinearly.

    Args:
        checkpoint: folder or Hub id.
        choice: decides instead.
    """
    own = _own_settings(checkpoint)
    if choice is not None:
        return own if choice == "checkpoint" else STATISTICS[choice]
    config = _config(checkpoint)
    if config.get("model_type") in own_types():
        return own
    if is_deit(checkpoint, config):
        if own and any(own.get(name) != value for name, value in STATISTICS["imagenet"].items()):
            logger.warning(
                "%s is a DeiT, which was trained with ImageNet's mean and standard deviation; pixels are scaled by these, "
                "not by the mean %s of its image processor. To choose otherwise, give %s.",
                checkpoint, own.get("image_mean"), _OPTION,
            )  # fmt: skip
        return STATISTICS["imagenet"]
    if "image_mean" not in own:
        logger.warning(
            "%s does not say how it scales pixels; ImageNet's mean and standard deviation are used. To choose "
            "otherwise, give %s.",
            checkpoint, _OPTION,
        )  # fmt: skip
    elif own["image_mean"] == STATISTICS["half"]["image_mean"] and not str(checkpoint).startswith("google/"):
        logger.warning(
            "Pixels are scaled by mean and standard deviation 0.5, as the image processor of %s says. If its weights come "
            "from a DeiT, they were trained with ImageNet's: give pixel_statistics imagenet.",
            checkpoint,
        )
    return own


def timm_pixel_statistics(
    file: Path, names: Iterable[str], choice: StatisticsChoice | None = None
) -> dict[str, list[float]]:
    """How pixels are scaled for a file of timm's: as the `config.json` beside it says, which timm's repositories have.

    Without one, a DeiT is known by its distillation token or name, a ViT of Google by its name. Of any other file
    ImageNet's mean and standard deviation are assumed, with a warning.

    Args:
        file: of weights; timm's own names of models are recognised in its name and in that of its folder.
        names: of its tensors.
        choice: decides instead.
    """
    config = _timm_config(file.with_name("config.json"))
    stated = config.get("pretrained_cfg", config)
    own = {f"image_{name}": list(stated[name]) for name in ("mean", "std") if stated.get(name)}
    if choice is not None and (choice != "checkpoint" or own):
        return own if choice == "checkpoint" else STATISTICS[choice]
    if own:
        return own
    described = f"{config.get('architecture', '')} {file.name} {file.parent.name}"
    if "dist_token" in names or _IS_DEIT.search(described):
        return STATISTICS["imagenet"]
    if _IS_GOOGLES.search(described):
        return STATISTICS["half"]
    logger.warning(
        "Nothing says how %s scales pixels: neither its name nor a config.json of timm's beside it. ImageNet's mean and "
        "standard deviation are assumed, which every DeiT has; for a ViT of Google (augreg) give pixel_statistics half.",
        file,
    )
    return STATISTICS["imagenet"]


def is_deit(checkpoint: str | Path, config: dict[str, Any]) -> bool:
    """Whether a checkpoint of transformers is a DeiT; most of Meta's have the type and the classes of a ViT."""
    folder = Path(checkpoint)
    place = folder.resolve() if folder.is_dir() else folder
    names = [place.name, *(part for part in place.parts if part.startswith("models--"))]
    names += [str(config.get(name, "")) for name in ("model_type", "_name_or_path", "architectures")]
    return any(_IS_DEIT.search(name) for name in [*names, *_card_names(folder)])


def _card_names(folder: Path) -> list[str]:
    """What the card of a local copy is about: its heading, and the checkpoint that it says it was made from."""
    if not (folder / "README.md").is_file():
        return []
    try:
        card = ModelCard.load(folder / "README.md", ignore_metadata_errors=True)
    except (OSError, ValueError):
        return []
    heading = re.search(r"^# (.+)$", card.text, re.MULTILINE)
    return [str(card.data.base_model or ""), heading[1] if heading else ""]


def _own_settings(checkpoint: str | Path) -> dict[str, Any]:
    try:
        settings, _ = SATImageProcessor.get_image_processor_dict(checkpoint)
    except (OSError, ValueError):
        return {}
    return {name: settings[name] for name in _SCALING if settings.get(name) is not None}


def _config(checkpoint: str | Path) -> dict[str, Any]:
    try:
        return PreTrainedConfig.get_config_dict(checkpoint)[0]
    except (OSError, ValueError):
        return {}


def _timm_config(file: Path) -> dict[str, Any]:
    try:
        return read_json(file)
    except (OSError, ValueError):
        return {}


CHOICES = get_args(StatisticsChoice)
