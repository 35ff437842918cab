"""`load_wsol_dataset`: the one way into every benchmark."""

import difflib
import inspect
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import datasets

from .caltech101 import read_caltech101
from .checks import OnBadImage, check_classes, checked_examples
from .examples import Benchmark, DatasetError, Example, MissingSplitError, to_dataset
from .folder import read_folder
from .shapes import read_shapes
from .splits import stratified_split
from .tiny_imagenet import read_tiny_imagenet


READERS: dict[str, Callable[..., Benchmark]] = {
    "shapes": read_shapes,
    "folder": read_folder,
    "tiny_imagenet": read_tiny_imagenet,
    "caltech101": read_caltech101,
}
"""Dataset name → function `(data_dir, **options) -> Benchmark`. One that draws random numbers has the option `seed`."""

SPLITS = ("train", "validation", "test")


def load_wsol_dataset(
    name: str,
    data_dir: str | Path | None = None,
    split: str | Sequence[str] | None = None,
    *,
    validation_fraction: float = 0.0,
    seed: int = 0,
    on_bad_image: OnBadImage = "raise",
    **reader_options: Any,
) -> datasets.Dataset | datasets.DatasetDict:
    """Reads a benchmark into the same columns as every other, having checked all its images and boxes.

    Columns:
        image: `datasets.Image`, decoded when a row is read: upright, mode RGB, original size.
        image_id: str, unique; the path relative to `data_dir` where there is one.
        label: `datasets.ClassLabel`.
        boxes: float32 `[x_min, y_min, x_max, y_max]` in pixels of the upright original image, half-open; empty where
            the image is not annotated.
        mask: `datasets.Image`, mode L (0 background, 1 foreground, 255 ignore); only where the benchmark has masks.

    Args:
        name: one of `READERS`.
        data_dir: the folder of the benchmark; None for generated ones.
        split: "train", "validation" or "test"; several of them, or None for all that exist, give a `DatasetDict`.
        validation_fraction: in [0, 1): the part of each class that moves from train to validation where the benchmark
            has no validation split of its own. At 0, train is the whole official training set.
        seed: of that choice, and of generated data.
        on_bad_image: "raise", or "skip" to leave out, with one warning, images that are missing or unreadable or have
            an impossible box.
        reader_options: options of the dataset's reader, such as `num_classes` of `shapes`.

    Raises:
        MissingSplitError: the dataset has no such split, here.
        DatasetError: of which it is one: an unknown name or option; a folder of another layout; bad images or
            annotations; fewer than two classes to train on.
    """
    reader = READERS.get(name)
    if reader is None:
        raise DatasetError(f"There is no dataset {name!r}.{_hint(name, READERS)}")
    if not 0 <= validation_fraction < 1:
        raise DatasetError(f"validation_fraction is {validation_fraction}; a number in [0, 1) was expected.")
    if on_bad_image not in ("raise", "skip"):
        raise DatasetError(f'on_bad_image is {on_bad_image!r}; "raise" or "skip" was expected.')
    wanted = [split] if isinstance(split, str) else split
    for split_name in wanted or ():
        if split_name not in SPLITS:
            raise DatasetError(f"There is no split {split_name!r}.{_hint(split_name, SPLITS)}")

    benchmark = reader(data_dir, **_options(name, reader, seed, reader_options))
    held_out = validation_fraction > 0 and "train" in benchmark.splits and "validation" not in benchmark.splits
    available = [known for known in SPLITS if known in benchmark.splits or (held_out and known == "validation")]
    wanted = available if wanted is None else wanted
    for split_name in wanted:
        if split_name not in available:
            raise MissingSplitError(_missing_split(name, split_name, available))

    def read(official: str) -> list[Example]:
        examples = checked_examples(benchmark.splits[official](), official, on_bad_image)
        check_classes(examples, official, benchmark.class_names)
        return examples

    examples = {}
    if held_out and not {"train", "validation"}.isdisjoint(wanted):
        examples["train"], examples["validation"] = _with_validation(read("train"), name, validation_fraction, seed)
    for split_name in wanted:
        if split_name not in examples:
            examples[split_name] = read(split_name)

    tables = {split_name: to_dataset(examples[split_name], benchmark.class_names) for split_name in wanted}
    return tables[split] if isinstance(split, str) else datasets.DatasetDict(tables)


def _missing_split(name: str, split: str, available: list[str]) -> str:
    sentence = f"{name} has no {split} split here, only {', '.join(available)}."
    if split == "validation":
        sentence += " Pass validation_fraction, for example 0.1, to take one from train."
    return sentence


def _with_validation(
    train: list[Example], name: str, fraction: float, seed: int
) -> tuple[list[Example], list[Example]]:
    stay, chosen = stratified_split(
        [example.image_id for example in train], [example.label for example in train], fraction, seed
    )
    if not chosen:
        raise MissingSplitError(
            f"No class of {name} has two training images, so validation_fraction={fraction} finds none to spare. "
            "Set it to 0."
        )
    return [train[position] for position in stay], [train[position] for position in chosen]


def _options(name: str, reader: Callable[..., Benchmark], seed: int, reader_options: dict[str, Any]) -> dict[str, Any]:
    _, *known = inspect.signature(reader).parameters
    unknown = sorted(set(reader_options).difference(known))
    if unknown:
        raise DatasetError(f"The dataset {name} has no option {unknown[0]!r}.{_hint(unknown[0], known)}")
    return reader_options | ({"seed": seed} if "seed" in known else {})


def _hint(word: str, known: Iterable[str]) -> str:
    known = list(known)
    nearest = difflib.get_close_matches(str(word), known, n=1)
    guess = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"{guess} There {'are ' + ', '.join(known) if known else 'are none'}."
