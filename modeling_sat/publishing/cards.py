"""Model cards that write themselves: every number is read from a file that a run left."""

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from jinja2 import Environment
from transformers.utils import SAFE_WEIGHTS_NAME

from ..evaluation.report import METRIC_NAMES, PREDICTIONS_FILE
from ..evaluation.result import METRICS_FILE, EvaluationResult
from ..methods import METHODS, own_types
from ..models.configuration_wsol import pair
from ..models.image_conversion_sat import ImageError, decode_image
from .errors import PublishingError
from .facts import Run, check_same_model, heading, known_metrics, note, read_evaluation, table


TEMPLATE_FILE = Path(__file__).with_name("template.md")
CARD_FILE, PICTURE_FILE = "README.md", "maps.jpg"
PICTURE_WIDTH = 1200
"""Pixels at most."""
TASK = "weakly-supervised-object-localization"
MARKER = "<!-- Written by modeling_sat from the files of the run. Remove this line, and your changes will be kept. -->"
_AT_THE_THRESHOLD = (
    "gt_known_loc", "gt_known_loc_predicted_class", "top1_loc", "top5_loc", "box_acc_30", "box_acc_50", "box_acc_70",
)  # fmt: skip
_TRAINERS_MARKER = "has been generated automatically according to the information the Trainer had access to"
_LINKED_PICTURE = re.compile(r"!\[[^\]]*\]\(([^):\s]+)\)")


@dataclass
class CardSettings:
    """What a card says besides what the checkpoint's folder says.

    Args:
        evaluations: folders that `scripts/evaluate.py` wrote, of this checkpoint.
        picture: an image file; None: `predictions.png` of the first evaluation that has one, else the run's last map
            picture.
        license: as the Hub names licences.
        base_model: id of the checkpoint that training started from; None: what the run recorded.
    """

    evaluations: Sequence[str | Path] = ()
    picture: str | Path | None = None
    license: str = "apache-2.0"
    base_model: str | None = None


def model_card(
    folder: str | Path,
    repo_id: str,
    revision: str | None = None,
    settings: CardSettings | None = None,
    picture: str | None = None,
    name: str | None = None,
) -> str:
    """The card of a checkpoint folder as Markdown with the Hub's metadata above it.

    Args:
        folder: as `scripts/train.py` or `save_pretrained` wrote it.
        repo_id: what users load it by: an id, or the folder itself.
        revision: the branch to load.
        picture: its address as the card links it; None: no picture.
        name: its title; None: the last part of `repo_id`.

    Raises:
        PublishingError: an evaluation cannot be read or is of another checkpoint, or the model is of no method here.
    """
    settings = settings or CardSettings()
    run, name = Run(Path(folder)), name or Path(repo_id).name
    results = [read_evaluation(evaluation) for evaluation in settings.evaluations]
    for result, where in zip(results, settings.evaluations, strict=True):
        check_same_model(result, run, repo_id, where)
        _warn_if_older(Path(where) / METRICS_FILE, run.folder / SAFE_WEIGHTS_NAME)
    hub = {} if run.record.session is None else run.record.session.hub
    base_model, dataset = settings.base_model or hub.get("base_model"), hub.get("dataset")
    method = own_types().get(run.config.get("model_type", "sat"))
    if method is None:
        raise PublishingError(
            f"{folder} holds a model of type {run.config['model_type']!r}; a card can be written of "
            f"{', '.join(map(repr, own_types()))}."
        )
    metadata = ModelCardData(
        library_name="transformers",
        license=settings.license,
        pipeline_tag="object-detection",
        tags=[TASK, "image-classification", method.replace("_", "-")],
        base_model=base_model,
        datasets=[dataset] if dataset else None,
        model_name=name,
        eval_results=_eval_results(results) or None,
    )
    text = Environment().from_string(TEMPLATE_FILE.read_text(encoding="utf-8")).render(
        metadata=metadata.to_yaml(),
        marker=MARKER,
        name=name,
        repo_id=repo_id,
        revision=f', revision="{revision}"' if revision else "",
        paper=METHODS[method].paper,
        model=_describe_model(run.config),
        classes=_list_classes(run.class_names),
        num_classes=len(run.class_names),
        picture=picture,
        results=[{"heading": heading(result), "table": table(result), "note": note(result)} for result in results],
        training=run.sentences(),
        recipe=run.recipe(),
        threshold=run.processor.get("localization_threshold"),
    )  # fmt: skip
    return str(ModelCard(re.sub(r"\n{3,}", "\n\n", text) + "\n"))  # which checks its metadata


def card_files(
    folder: str | Path, repo_id: str, revision: str | None = None, settings: CardSettings | None = None
) -> dict[str, bytes]:
    """A checkpoint's card and picture, by their names on the Hub.

    A card that someone wrote by hand, one without the line that says we did, is published as it is, with the pictures of
    the folder that it shows.

    Raises:
        PublishingError: see `model_card`; or numbers are to be added to a card that was written by hand.
    """
    folder, settings = Path(folder), settings or CardSettings()
    own = folder / CARD_FILE
    text = own.read_text(encoding="utf-8") if own.is_file() else MARKER
    if MARKER not in text and _TRAINERS_MARKER not in text:
        if settings.evaluations:
            raise PublishingError(
                f"{own} was written by hand, so nothing is added to it; remove it to have one written, or leave the "
                "evaluation out."
            )
        pictures = {name: folder / name for name in _LINKED_PICTURE.findall(text)}
        inside = {name: path for name, path in pictures.items() if path.resolve().is_relative_to(folder.resolve())}
        return {CARD_FILE: text.encode()} | {
            name: path.read_bytes() for name, path in inside.items() if path.is_file()
        }
    picture = find_picture(folder, settings)
    name = None if picture is None else PICTURE_FILE
    files = {CARD_FILE: model_card(folder, repo_id, revision, settings, name).encode()}
    return files if picture is None else files | {PICTURE_FILE: small_picture(picture)}


def save_card(
    file: str | Path, folder: str | Path, repo_id: str | None = None, settings: CardSettings | None = None
) -> None:
    """Writes a checkpoint's card to a file, and its picture beside it unless it is there already.

    Args:
        repo_id: what users load it by; None: the folder, and what is not `README.md` gives the card its title.

    Raises:
        PublishingError: see `model_card`; or the file was written by hand.
    """
    file, settings = Path(file), settings or CardSettings()
    if file.is_file() and not {MARKER, _TRAINERS_MARKER} & _markers(file.read_text(encoding="utf-8")):
        raise PublishingError(f"{file} was written by hand, so it is left as it is; choose another file.")
    picture, name = find_picture(Path(folder), settings), None
    file.parent.mkdir(parents=True, exist_ok=True)
    if picture is not None and picture.parent.resolve() == file.parent.resolve():
        name = picture.name
    elif picture is not None:
        name = PICTURE_FILE if file.name == CARD_FILE else file.with_suffix(".jpg").name
        file.with_name(name).write_bytes(small_picture(picture))
    title = file.stem if repo_id is None and file.name != CARD_FILE else None
    text = model_card(folder, repo_id or str(folder), None, settings, name, title)
    file.write_text(text, encoding="utf-8")


def find_picture(folder: Path, settings: CardSettings) -> Path | None:
    """The picture that was asked for, that of an evaluation, the run's last, or the one saved with an earlier card."""
    if settings.picture is not None:
        if not Path(settings.picture).is_file():
            raise PublishingError(f"There is no picture {settings.picture}.")
        return Path(settings.picture)
    candidates = [Path(evaluation) / PREDICTIONS_FILE for evaluation in settings.evaluations]
    candidates += [*sorted((folder / "maps").glob("step-*.jpg"), reverse=True), folder / PICTURE_FILE]
    return next((path for path in candidates if path.is_file()), None)


def small_picture(path: Path) -> bytes:
    """A picture as JPEG, at most `PICTURE_WIDTH` pixels wide.

    Raises:
        PublishingError: it is not an image.
    """
    try:
        image = decode_image(path)
    except ImageError as error:
        raise PublishingError(f"{path} is not an image that can be read ({error}).") from error
    image.thumbnail((PICTURE_WIDTH, 4 * PICTURE_WIDTH))
    buffer = BytesIO()
    image.save(buffer, format="JPEG", quality=88)
    return buffer.getvalue()


def _markers(text: str) -> set[str]:
    return {marker for marker in (MARKER, _TRAINERS_MARKER) if marker in text}


def _eval_results(results: Sequence[EvaluationResult]) -> list[EvalResult]:
    return [
        EvalResult(
            task_type="object-detection",
            task_name="Weakly supervised object localization",
            dataset_type=os.path.basename(result.dataset),
            dataset_name=os.path.basename(result.dataset),
            dataset_split=result.split,
            metric_type=key,
            metric_name=METRIC_NAMES[key],
            metric_value=round(value, 4),
            metric_config=result.protocol,
            metric_args={name: getattr(result, name) for name in ("threshold", "threshold_source")}
            if key in _AT_THE_THRESHOLD
            else None,
        )
        for result, key, value in known_metrics(results)
    ]


def _describe_model(config: dict[str, Any]) -> str:
    if "hidden_size" not in config:
        return "a vision transformer"
    size, patch = ("×".join(map(str, pair(config[name]))) for name in ("image_size", "patch_size"))
    return (
        f"a vision transformer of {config['num_hidden_layers']} layers and {config['hidden_size']} channels that sees "
        f"images of {size} pixels in patches of {patch}"
    )


def _list_classes(names: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(f"`{name}`" for name in names[:most])
    return f"It knows {len(names):,} classes: {shown}{', …' if len(names) > most else '.'}"


def _warn_if_older(metrics: Path, weights: Path) -> None:
    if weights.is_file() and metrics.stat().st_mtime < weights.stat().st_mtime:
        warnings.warn(
            f"{metrics} is older than {weights}; if the checkpoint was trained again since, evaluate it again.",
            stacklevel=4,
        )
