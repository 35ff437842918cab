"""What an evaluation found: all that `metrics.json` holds."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..output.files import read_json, write_json


METRICS_FILE = "metrics.json"
_OF_BOXES = ("constant_box_baselines", "errors", "median_iou_of_correct")


class EvaluationResultError(ValueError):
    """A `metrics.json` that is not there or cannot be read."""


@dataclass
class EvaluationResult:
    """Metrics, and how they were measured; fractions in [0, 1].

    What an earlier version did not record is None; what does not apply, such as constant boxes without boxes, is empty.

    Args:
        model: the checkpoint, as named by the user.
        view: "resize" and "crop", each (height, width); crop None: the whole image.
        map: "localization" or "class".
        ten_crop: whether classes are from ten crops.
        quality: "fast" or "high".
        threshold: of the localization; None: the images have neither boxes nor masks.
        threshold_source: "validation", "train", "test" or "fixed".
        constant_box_baselines: "whole_image", "center" → GT-known Loc.
        errors: cause → share of the images.
        median_iou_of_correct: of the boxes with an overlap of one half or more.
        metrics: name → value.
        constant_map_baselines: "uniform", "gaussian" → name → value.
        saved_to_checkpoint: whether the threshold was.
    """

    model: str | None = None
    protocol: str | None = None
    dataset: str | None = None
    split: str | None = None
    num_images: int | None = None
    view: dict[str, Any] | None = None
    map: str | None = None
    ten_crop: bool | None = None
    quality: str | None = None
    threshold: float | None = None
    threshold_source: str | None = None
    constant_box_baselines: dict[str, float] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    median_iou_of_correct: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    constant_map_baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    saved_to_checkpoint: bool | None = None

    @classmethod
    def load(cls, folder: str | Path, *needed: str) -> "EvaluationResult":
        """What `scripts/evaluate.py` wrote to a folder.

        Args:
            needed: names of what has to be there besides `metrics`.

        Raises:
            EvaluationResultError: there is none, it is not JSON, or it lacks what is needed.
        """
        file = Path(folder) / METRICS_FILE
        if not file.is_file():
            raise EvaluationResultError(f"{folder} has no {METRICS_FILE}; give the output_dir of scripts/evaluate.py.")
        try:
            content = read_json(file)
        except (OSError, ValueError) as error:
            raise EvaluationResultError(f"{file} cannot be read: {error}.") from error
        for name in (*needed, "metrics"):
            if content.get(name) is None:
                raise EvaluationResultError(f"{file} has no {name!r}; scripts/evaluate.py writes one.")
        known = {name.name: content.get(name.name) for name in fields(cls)}
        return cls(**{name: value for name, value in known.items() if value is not None})

    def save(self, folder: str | Path) -> None:
        """Writes `metrics.json`, whole or not at all.

        Raises:
            ValueError: a number is not finite.
        """
        content = asdict(self)
        if not self.constant_box_baselines:
            content = {name: content[name] for name in content if name not in _OF_BOXES}
        if not self.constant_map_baselines:
            del content["constant_map_baselines"]
        write_json(Path(folder) / METRICS_FILE, content)
