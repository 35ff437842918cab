"""The same images by each row, side by side, as they were measured: no model runs (Fig. 3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
from datasets import Dataset
from PIL import Image
from transformers.utils import IMAGE_PROCESSOR_NAME

from ..evaluation import LocalizationEvaluator
from ..evaluation.analysis import boxes_at
from ..evaluation.boxes import largest_component_boxes
from ..inference.drawing import contact_sheet, draw_localization
from ..inference.sheets import draw_record
from ..output.files import read_json
from .results import Outcome, StudyResults


CELL_SIZE = 240
THICK = {"line_scale": 2.0}


class Panel(NamedTuple):
    picture: Image.Image
    caption: str


class Line(NamedTuple):
    """An image, and what each row makes of it, in their order."""

    image: Panel
    panels: list[Panel]


@dataclass(frozen=True)
class Looked:
    """A run's evaluation, image by image."""

    evaluator: LocalizationEvaluator
    threshold: float

    @classmethod
    def of(cls, outcome: Outcome) -> "Looked":
        """The threshold of images without boxes and masks is the checkpoint's own."""
        threshold = outcome.threshold
        if threshold is None:
            threshold = read_json(outcome.evaluation.parent / "model" / IMAGE_PROCESSOR_NAME)["localization_threshold"]
        return cls(outcome.records(), float(threshold))

    @cached_property
    def places(self) -> dict[str, int]:
        """Image → where its record stands."""
        return {record["image_id"]: index for index, record in enumerate(self.evaluator.records)}

    @cached_property
    def overlaps(self) -> np.ndarray | None:
        """IoU with the closest true box; None where images have none."""
        has_boxes = all(record["boxes"] is not None for record in self.evaluator.records)
        return self.evaluator.iou(self.threshold) if has_boxes else None

    @cached_property
    def boxes(self) -> np.ndarray | None:
        return None if self.overlaps is None else boxes_at(self.evaluator, self.threshold)

    def panel(self, image_id: str, row: dict[str, Any], class_names: Sequence[str]) -> Panel:
        place = self.places[image_id]
        record, said = self.evaluator.records[place], []
        if self.boxes is None:  # the records have none: that of the preview of the map
            preview = cv2.resize(record["preview"] / np.float32(255), self.evaluator.view.size[::-1])
            boxes = largest_component_boxes(preview, np.array([self.threshold]))
        else:
            boxes = self.boxes[place][None]
            said.append(f"IoU {self.overlaps[place]:.2f}")
        if record["top5"] is not None and record["top5"][0] != record["label"]:
            said.append(f"as {class_names[record['top5'][0]]}")
        return Panel(draw_record(record, boxes, self.evaluator.view, row, **THICK), ", ".join(said))


def look(results: StudyResults) -> dict[str, Looked]:
    """Row → its evaluation by the first seed that all rows have, or else by its own first one."""
    known = {row: of for row in results.rows if (of := results.outcomes.get(row.at(results.columns[0])))}
    shared = set.intersection(*(set(of) for of in known.values())) if known else set()
    return {
        str(row): Looked.of(next((outcome for seed, outcome in of.items() if seed in shared), next(iter(of.values()))))
        for row, of in known.items()
    }


def seed_looked_at(results: StudyResults) -> int | None:
    """The seed of `look`; None where no run ended well."""
    known = [list(of) for of in results.outcomes.values() if of]
    return next((seed for seed in known[0] if all(seed in of for of in known)), known[0][0]) if known else None


def spread_out(looked: Mapping[str, Looked], count: int) -> list[str]:
    """So many of the images that all rows measured, evenly over the data: nobody chose them."""
    shared = _shared(looked)
    return [shared[index] for index in np.unique(np.linspace(0, len(shared) - 1, count).round().astype(int))]


def most_different(looked: Mapping[str, Looked], count: int, without: Sequence[str] = ()) -> list[str]:
    """Images on which the rows differ most: by their overlaps or, without boxes, by their maps."""
    shared = [image for image in _shared(looked) if image not in without]
    columns = []
    for one in looked.values():
        if one.overlaps is not None:
            columns.append([[one.overlaps[one.places[image]]] for image in shared])
        else:
            records = one.evaluator.records
            columns.append([records[one.places[image]]["preview"].ravel() / 255 for image in shared])
    differences = np.std(np.array(columns, np.float64), axis=0).mean(axis=-1) if shared else np.zeros(0)
    return [shared[index] for index in np.argsort(-differences, kind="stable")[:count] if differences[index] > 0]


def draw_lines(looked: Mapping[str, Looked], dataset: Dataset, image_ids: Sequence[str]) -> list[Line]:
    """A line for each image: the image with its true boxes, then map and boxes of each row."""
    names, indices = dataset.features["label"].names, {image: index for index, image in enumerate(dataset["image_id"])}
    lines = []
    for image_id in image_ids:
        row = dataset[indices[image_id]]
        image = draw_localization(row["image"], None, ground_truth_boxes=row["boxes"], **THICK)
        panels = [one.panel(image_id, row, names) for one in looked.values()]
        lines.append(Line(Panel(image, names[row["label"]]), panels))
    return lines


def side_by_side(results: StudyResults, dataset: Dataset, count: int = 8) -> Image.Image:
    """A sheet: an image in each line, a row's map and box (green; the true ones are red) in each column.

    Args:
        dataset: the test images of the seed that `look` takes.
    """
    looked = look(results)
    pictures, captions = [], []
    for line in draw_lines(looked, dataset, spread_out(looked, count)):
        pictures += [line.image.picture, *(panel.picture for panel in line.panels)]
        said = [": ".join(filter(None, (name, panel.caption))) for name, panel in zip(looked, line.panels)]
        captions += [line.image.caption, *said]
    return contact_sheet(pictures, 1 + len(looked), captions, CELL_SIZE)


def _shared(looked: Mapping[str, Looked]) -> list[str]:
    first, *others = looked.values()
    return [image for image in first.places if all(image in other.places for other in others)]
