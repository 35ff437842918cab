"""The annotation files of a user's folder, each in its format."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from .coco import read_coco
from .encodings import read_text
from .labelme import read_labelme
from .metadata_files import read_metadata_csv, read_metadata_jsonl
from .records import Annotation
from .voc import read_voc
from .yolo import read_yolo


METADATA_FILES = ("metadata.jsonl", "metadata.csv")


def read_annotations(root: Path, file: PurePosixPath) -> Iterator[Annotation | str]:
    """Yields the records of an annotation file, and a sentence for each that cannot be read.

    Files that only share a suffix with annotations (some other JSON, XML or text) yield nothing.
    """
    suffix = file.suffix.lower()
    if file.name.lower() == "metadata.jsonl":
        yield from read_metadata_jsonl(root, file)
    elif file.name.lower() == "metadata.csv":
        yield from read_metadata_csv(root, file)
    elif suffix == ".xml":
        yield from read_voc(root, file)
    elif suffix == ".txt":
        yield from read_yolo(root, file)
    elif suffix == ".json":
        try:
            content = json.loads(read_text(root / file))
        except (ValueError, RecursionError) as error:
            yield f"{file}: COCO or LabelMe annotations were expected, but {error}"
            return
        if isinstance(content, dict):
            yield from read_coco(file, content)
            yield from read_labelme(file, content)
