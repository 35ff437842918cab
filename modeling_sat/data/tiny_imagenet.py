"""`tiny_imagenet`: 200 classes of ImageNet at 64×64 pixels, one box per image, in the original layout."""

from collections import Counter
from pathlib import Path

from .checks import listed
from .examples import Benchmark, Box, DatasetError, Example, Split
from .paths import benchmark_root, require


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
    names = [synonyms.get(wnid, wnid).split(",")[0].strip() for wnid in wnids]
    uses = Counter(names)
    return [name if uses[name] == 1 else f"{name} ({wnid})" for name, wnid in zip(names, wnids, strict=True)]


def _read_train(root: Path, labels: dict[str, int]) -> Split:
    examples = []
    for wnid, label in labels.items():
        boxes_file = require(root, f"train/{wnid}/{wnid}_boxes.txt", "tiny_imagenet")
        for name, *edges in _rows(boxes_file, root, num_columns=5):
            path = boxes_file.parent / "images" / name
            examples.append(Example(path, path.relative_to(root).as_posix(), label, [_half_open(edges)]))
    return Split(examples)


def _read_val(root: Path, labels: dict[str, int]) -> Split:
    annotations = require(root, "val/val_annotations.txt", "tiny_imagenet")
    rows = _rows(annotations, root, num_columns=6)
    unknown = [f"{name}: {wnid}" for name, wnid, *_ in rows if wnid not in labels]
    if unknown:
        raise DatasetError(
            f"{annotations} has classes that wnids.txt lacks:\n{listed(unknown)}\nAdd them there or remove the lines."
        )
    return Split(
        [
            Example(root / "val/images" / name, f"val/images/{name}", labels[wnid], [_half_open(edges)])
            for name, wnid, *edges in rows
        ]
    )


def _rows(file: Path, root: Path, num_columns: int) -> list[list[str]]:
    """The lines of a tab-separated file, the last four columns of which are whole numbers, the first a file name."""
    rows, bad = [], []
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        row = line.split("\t")
        if len(row) != num_columns or Path(row[0]).name != row[0] or not all(_is_integer(edge) for edge in row[-4:]):
            bad.append(f"line {number}: {line[:80]!r}")
        rows.append(row)
    if bad:
        columns = "file, wnid" if num_columns == 6 else "file"
        raise DatasetError(
            f"{file.relative_to(root)} has unreadable lines; {columns}, x_min, y_min, x_max, y_max were expected, "
            f"separated by tabs:\n{listed(bad)}\nCorrect or remove them."
        )
    return rows


def _is_integer(text: str) -> bool:
    return text.strip().lstrip("-").isdecimal()


def _half_open(edges: list[str]) -> Box:
    x_min, y_min, x_max, y_max = map(float, edges)
    return x_min, y_min, x_max + 1, y_max + 1
