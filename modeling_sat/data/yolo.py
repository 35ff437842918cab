"""YOLO's text files: an object a line, its class by number, in fractions of the image."""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

import yaml

from .box_units import ROUNDING
from .encodings import read_text
from .paths import IMAGE_SUFFIXES
from .records import IN_FRACTIONS, Annotation, text
from .schema import Box


LABEL_FOLDERS = ("labels", "obj_train_data", "obj_valid_data", "obj_test_data")
NAME_LISTS = ("classes.txt", "obj.names", "_darknet.labels", "predefined_classes.txt")
NAME_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")


def is_yolo_file(root: Path, file: PurePosixPath) -> bool:
    """Whether a text file is where YOLO's lie: below a folder `labels`, or beside the image of its name."""
    if file.name.lower() in NAME_LISTS:
        return False
    if _is_in_labels(file):
        return True
    stem = (root / file).with_suffix("")
    return any(stem.with_name(stem.name + suffix).is_file() for suffix in IMAGE_SUFFIXES)


def read_yolo(root: Path, file: PurePosixPath) -> Iterator[Annotation | str]:
    """The image of the file's own name; nothing of other text.

    A line is `class x y width height`, the centre and size of a box, and perhaps a confidence; or `class x y x y x y …`,
    a polygon, whose box is taken. The names of the classes come from the nearest `classes.txt`, `obj.names` or
    `data.yaml`, beside the file or in a folder above it; without one, a class is called by its number.
    """
    if not is_yolo_file(root, file):
        return
    try:
        lines = [line.split() for line in read_text(root / file).splitlines()]
    except ValueError as error:
        yield f"{file}: {error}"
        return
    lines = [(number, cells) for number, cells in enumerate(lines, start=1) if cells]
    if not lines or not (_is_object(lines[0][1]) or (_is_in_labels(file) and _is_number(lines[0][1][0]))):
        return
    try:
        names, has_keypoints = _names(root, file.parent)
    except ValueError as error:
        yield f"{file}: {error}"
        return
    objects = []
    for number, cells in lines:
        try:
            objects.append((_name(cells[0], names), _box([float(cell) for cell in cells[1:]], has_keypoints)))
        except ValueError as error:
            yield (
                f"{file}, line {number}: YOLO's class and x, y, width, height of the box as fractions of the image, or a "
                f"polygon, were expected, but {error}: {' '.join(cells)[:80]}"
            )
            return
    yield Annotation(str(file), file, file.stem, objects=objects, annotated_size=IN_FRACTIONS, by_stem=True)


def _is_in_labels(file: PurePosixPath) -> bool:
    return any(part.lower() in LABEL_FOLDERS for part in file.parent.parts)


def _is_object(cells: list[str]) -> bool:
    return len(cells) >= 5 and cells[0].isdecimal() and all(map(_is_number, cells[1:]))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _name(cell: str, names: dict[int, str] | None) -> str:
    number = float(cell)
    if number % 1 or number < 0:
        raise ValueError(f"{cell!r} is not a class number")
    if names is None:
        return str(int(number))
    if int(number) not in names:
        raise ValueError(f"class {int(number)} has no name; there are {len(names)}")
    return names[int(number)]


def _box(numbers: list[float], has_keypoints: bool) -> Box:
    if not all(-ROUNDING <= number <= 1 + ROUNDING for number in numbers[:4]):
        raise ValueError("some number is not in 0 to 1")
    if len(numbers) in (4, 5) or (has_keypoints and len(numbers) > 5):
        x, y, width, height = numbers[:4]
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    if len(numbers) < 6 or len(numbers) % 2:
        raise ValueError(f"there are {len(numbers)} numbers after the class")
    if not all(-ROUNDING <= number <= 1 + ROUNDING for number in numbers):
        raise ValueError("some number is not in 0 to 1")
    return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])


def _names(root: Path, folder: PurePosixPath) -> tuple[dict[int, str] | None, bool]:
    """Number → name from the nearest file that has them, and whether its objects have key points.

    Raises:
        ValueError: that file cannot be read.
    """
    for place in (folder, *folder.parents):
        for name in (*NAME_LISTS, *NAME_YAMLS):
            file = root / place / name
            if file.is_file():
                names = _names_in(file, file.stat().st_mtime_ns)
                if names is not None:
                    return names
    return None, False


@lru_cache(maxsize=64)
def _names_in(file: Path, time: int) -> tuple[dict[int, str], bool] | None:
    content = read_text(file)
    if file.name in NAME_LISTS:
        return dict(enumerate(line.strip() for line in content.strip().splitlines())), False
    try:
        described = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ValueError(f"{file.name} is not YAML ({error})") from error
    names = described.get("names") if isinstance(described, dict) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict):
        return None
    try:
        return {int(number): text(name) for number, name in names.items()}, "kpt_shape" in described
    except TypeError as error:
        raise ValueError(f"{file.name}: names of the classes were expected, but {error}") from error
