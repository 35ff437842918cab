"""An evaluator's records in one Parquet file, so that a result can be analysed again without the model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..models.localization_sat import View
from .evaluator import LocalizationEvaluator
from .records import LocalizationRecord


SETTINGS = b"modeling_sat.evaluator"
"""Key of the file's metadata under which protocol, view and thresholds stand, as JSON."""

ARRAYS = {
    "ground_truth": (np.float64, (-1, 4)),
    "boxes": (np.uint32, (-1, 4)),
    "best_boxes": (np.uint32, (-1, 4)),
    "predicted_class_boxes": (np.uint32, (-1, 4)),
    "repeats": (np.uint32, (-1,)),
    "foreground": (np.uint32, (-1,)),
    "background": (np.uint32, (-1,)),
}
"""Columns that hold an array, flat: type, and the shape it has in a record."""

NEW_COLUMNS = ("predicted_class_boxes",)
"""That files of earlier versions lack, which is as if they held nothing."""

SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("image_size", pa.list_(pa.int32())),
        ("label", pa.int32()),
        ("top5", pa.list_(pa.int32())),
        *((name, pa.list_(pa.from_numpy_dtype(dtype))) for name, (dtype, _) in ARRAYS.items()),
        ("map_problem", pa.string()),
        ("preview", pa.binary()),
        ("preview_size", pa.list_(pa.int32())),
    ]
)


def save_records(evaluator: LocalizationEvaluator, path: str | Path) -> None:
    """Writes the records of `evaluator`, and what they were made with, to the Parquet file `path`.

    One row per image: its identity, classes, ground truth and boxes in pixels of the view, pixel histograms where it
    has a mask, and a small preview of the map. Any Parquet reader opens it.
    """
    settings = {
        "protocol": evaluator.protocol.name,
        "view": {"resize": evaluator.view.resize, "crop": evaluator.view.crop},
        "thresholds": evaluator.thresholds.tolist(),
        "pixel_thresholds": evaluator.pixel_thresholds.tolist(),
    }
    table = pa.Table.from_pylist([_row(record) for record in evaluator.records], schema=SCHEMA)
    table = table.replace_schema_metadata({SETTINGS: json.dumps(settings)})
    pq.write_table(table, path, compression="zstd")


def load_records(path: str | Path) -> LocalizationEvaluator:
    """The evaluator whose records `save_records` wrote, ready to `compute`.

    Raises:
        ValueError: there is no such file, or it holds something else.
    """
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ValueError(
            f"{path} is not a file of saved records ({type(error).__name__}). scripts/evaluate.py writes one as "
            "records.parquet."
        ) from error
    settings = (table.schema.metadata or {}).get(SETTINGS)
    known = [name for name in SCHEMA.names if name in table.schema.names or name not in NEW_COLUMNS]
    if settings is None or table.schema.names != known:
        raise ValueError(
            f"{path} is a Parquet file, but not one of saved records: its columns are "
            f"{', '.join(table.schema.names[:5])}. scripts/evaluate.py writes one as records.parquet."
        )
    settings = json.loads(settings)
    evaluator = LocalizationEvaluator(
        settings["protocol"],
        View(**settings["view"]),
        settings["thresholds"],
        settings["pixel_thresholds"],
    )
    evaluator.extend(_record(row, evaluator) for row in table.to_pylist())
    return evaluator


def _row(record: LocalizationRecord) -> dict[str, Any]:
    row = {name: record[name] for name in ("image_id", "image_size", "label", "top5", "map_problem")}
    row |= {name: None if record[name] is None else record[name].ravel() for name in ARRAYS}
    return row | {"preview": record["preview"].tobytes(), "preview_size": record["preview"].shape}


def _record(row: dict[str, Any], evaluator: LocalizationEvaluator) -> LocalizationRecord:
    record = {name: row[name] for name in ("image_id", "label", "map_problem")}
    record |= {name: None if row[name] is None else tuple(row[name]) for name in ("image_size", "top5")}
    record |= {
        name: None if row.get(name) is None else np.array(row[name], dtype).reshape(shape)
        for name, (dtype, shape) in ARRAYS.items()
    }
    preview = np.frombuffer(row["preview"], np.uint8).reshape(row["preview_size"])
    return LocalizationRecord(
        **record, protocol=evaluator.protocol.name, view_size=evaluator.view.size, preview=preview
    )
