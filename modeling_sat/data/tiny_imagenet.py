"""`tiny_imagenet`: 200 classes of ImageNet at 64×64 pixels, one box per image, in the original layout."""

from pathlib import Path

from .lists import distinct_names, read_rows, require_known, whole_number
from .paths import benchmark_root, require
from .schema import Benchmark, Box, Example, Split


EDGES = ("x_min", "y_min", "x_max", "y_max")


def read_tiny_imagenet(data_dir: str | Path | None) -> Benchmark:
    """Reads `wnids.txt`, `words.txt`, `train/<wnid>/` and `val/` of the archive `tiny-imagenet-200.zip`.

    Splits are train and test; test is the official `val`, because the official test images have no labels.
    Labels follow the order of `wnids.txt`. A class is named by its first synonym in `words.txt`, with the WordNet id
    in brackets where two classes share that word: "goldfish", "crane (n02012849)".

    Raises:
        DatasetError: a file of the layout is absent or a line of it cannot be read.
    """
    root = benchmark_root("tiny_imagenet", data_dir)
    wnids = require(root, "wnids.txt", "tiny_imagenet").read_text().split()
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    return Benchmark(
        class_names=_class_names(require(root, "words.txt", "tiny_imagenet"), wnids),
        splits={"train": lambda: _read_train(root, labels), "test": lambda: _read_val(root, labels)},
    )


def _class_names(words_file: Path, wnids: list[str]) -> list[str]:
    synonyms = dict(line.split("\t", 1) for line in words_file.read_text().splitlines() if "\t" in line)
    return distinct_names({wnid: synonyms.get(wnid, wnid).split(",")[0].strip() for wnid in wnids})


def _read_train(root: Path, labels: dict[str, int]) -> Split:
    examples = []
    for wnid, label in labels.items():
        boxes_file = require(root, f"train/{wnid}/{wnid}_boxes.txt", "tiny_imagenet")
        for name, *edges in _rows(boxes_file, root):
            path = boxes_file.parent / "images" / name
            examples.append(Example(path, path.relative_to(root).as_posix(), label, [_half_open(*edges)]))
    return Split(examples)


def _read_val(root: Path, labels: dict[str, int]) -> Split:
    annotations = require(root, "val/val_annotations.txt", "tiny_imagenet")
    rows = _rows(annotations, root, "wnid")
    require_known([wnid for _, wnid, *_ in rows], labels, annotations, root, "wnids.txt")
    return Split(
        [
            Example(root / "val/images" / name, f"val/images/{name}", labels[wnid], [_half_open(*edges)])
            for name, wnid, *edges in rows
        ]
    )


def _rows(file: Path, root: Path, *before: str) -> list[tuple]:
    """The lines of a tab-separated file: some columns of text, the first a file name, and the four edges of a box."""
    columns = {"file": _file_name, **dict.fromkeys(before, str), **dict.fromkeys(EDGES, whole_number)}
    return read_rows(file, root, columns, "\t")


def _file_name(text: str) -> str:
    if Path(text).name != text:
        raise ValueError(f"{text!r} is not a file name")
    return text


def _half_open(x_min: int, y_min: int, x_max: int, y_max: int) -> Box:
    return x_min, y_min, x_max + 1, y_max + 1
