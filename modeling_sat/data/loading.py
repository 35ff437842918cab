"""`load_wsol_dataset`, through which every benchmark is read."""

import inspect
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import datasets
from accelerate import PartialState
from datasets.utils import tqdm

from ..sentences import counted, did_you_mean, some
from .cache import MIN_ROWS, cached_table, state_of
from .caltech101 import read_caltech101
from .checks import check_classes, check_count, check_unique, checked_examples, report_problems
from .cub import read_cub
from .errors import DatasetError, MissingSplitError, OnBadImage
from .fgvc_aircraft import read_fgvc_aircraft
from .folder import read_folder
from .hub import read_hub
from .imagenet import read_imagenet
from .openimages30k import read_openimages30k
from .sampling import few_per_class, labels_of, stratified_split, with_classes
from .schema import Benchmark, Example, Split, to_dataset
from .shapes import read_shapes
from .stanford_cars import read_stanford_cars
from .stanford_dogs import read_stanford_dogs
from .tiny_imagenet import read_tiny_imagenet


logger = logging.getLogger(__name__)

READERS: dict[str, Callable[..., Benchmark]] = {
    "cub": read_cub,
    "imagenet": read_imagenet,
    "openimages30k": read_openimages30k,
    "stanford_cars": read_stanford_cars,
    "stanford_dogs": read_stanford_dogs,
    "fgvc_aircraft": read_fgvc_aircraft,
    "tiny_imagenet": read_tiny_imagenet,
    "caltech101": read_caltech101,
    "folder": read_folder,
    "shapes": read_shapes,
}
"""Dataset name → function `(data_dir, **options) -> Benchmark`. One that draws random numbers has the option `seed`, one
that can do with a part of its files `allow_partial`, one that checks its rows itself `on_bad_image`; `load_wsol_dataset`
gives them."""

SPLITS = ("train", "validation", "test")


def load_wsol_dataset(
    name: str,
    data_dir: str | Path | None = None,
    split: str | Sequence[str] | None = None,
    *,
    classes: Sequence[str] | None = None,
    images_per_class: int | None = None,
    validation_fraction: float = 0.0,
    seed: int = 0,
    on_bad_image: OnBadImage = "raise",
    allow_partial: bool = False,
    **reader_options: Any,
) -> datasets.Dataset | datasets.DatasetDict | datasets.IterableDataset | datasets.IterableDatasetDict:
    """Reads a benchmark into the same columns as every other, having checked all its images and boxes.

    Of published benchmarks, also the number of images is checked. Images of ImageNet's training split and of Parquet
    files, too many to decode beforehand, are only listed. What was checked is kept in the cache of 🤗 Datasets and not
    checked again until a file changes.

    Columns:
        image: `datasets.Image`, decoded when a row is read: upright, mode RGB, original size.
        image_id: str, unique, the same on every machine: the name that a published benchmark lists the image by, or the
            path relative to `data_dir`.
        label: `datasets.ClassLabel`.
        boxes: float32 `[x_min, y_min, x_max, y_max]` in pixels of the upright original image, half-open; empty where
            the image is not annotated. Published benchmarks keep the numbers of their files, as the methods compared
            on them do.
        mask: `datasets.Image`, mode L (0 background, 1 foreground, 255 ignore); only where the benchmark has masks.

    Args:
        name: one of `READERS`; or a dataset of the Hub, `org/name`, or a local folder of Parquet files, read by
            `read_hub`.
        data_dir: the folder of the benchmark; None for generated ones and those of the Hub.
        split: "train", "validation" or "test"; several of them, or None for all that exist, give a `DatasetDict`.
        classes: names of the classes to keep; labels are counted anew, in the benchmark's order.
        images_per_class: training images to keep of each class, chosen as `few_per_class` says, after the validation
            images were taken.
        validation_fraction: in [0, 1): the part of each class that moves from train to validation where the benchmark
            has no validation split of its own. At 0, train is the whole official training set.
        seed: of both choices, and of generated data.
        on_bad_image: "raise", or "skip" to leave out, with one warning, images that are missing or unreadable or have
            an impossible box or, in Parquet files, no label. With "skip" the images of Parquet files are decoded
            beforehand.
        allow_partial: use a published benchmark of which some images are missing.
        reader_options: options of the dataset's reader, such as `num_classes` of `shapes`.

    Raises:
        MissingSplitError: the dataset has no such split, here.
        DatasetError: of which it is one: an unknown name or option; a folder of another layout; bad images or
            annotations; another number of images than was published; fewer than two classes to train on, or fewer
            images of one than asked for.

    Example:

    ```python
    >>> from modeling_sat.data import load_wsol_dataset

    >>> shapes = load_wsol_dataset("shapes", num_classes=2, num_train=4, num_validation=0, num_test=2)
    >>> {split: len(table) for split, table in shapes.items()}
    {'train': 4, 'test': 2}
    >>> row = shapes["train"][0]
    >>> list(row), row["image"].size
    (['image', 'image_id', 'label', 'boxes', 'mask'], (64, 64))

    ```
    """
    reader = _reader(name)
    if not 0 <= validation_fraction < 1:
        raise DatasetError(f"validation_fraction is {validation_fraction}; a number in [0, 1) was expected.")
    if on_bad_image not in ("raise", "skip"):
        raise DatasetError(f'on_bad_image is {on_bad_image!r}; "raise" or "skip" was expected.')
    wanted = [split] if isinstance(split, str) else split
    for split_name in wanted or ():
        if split_name not in SPLITS:
            raise DatasetError(f"There is no split {split_name!r}.{_hint(split_name, SPLITS)}")

    shared_options = {"seed": seed, "allow_partial": allow_partial, "on_bad_image": on_bad_image}
    benchmark = reader(data_dir, **_options(name, reader, shared_options, reader_options))
    is_stream = bool(reader_options.get("streaming"))
    if is_stream and (classes is not None or images_per_class is not None):
        raise DatasetError("With streaming, classes and images_per_class have no effect; leave them or streaming out.")
    held_out = (
        validation_fraction > 0
        and not is_stream
        and "train" in benchmark.splits
        and "validation" not in benchmark.splits
    )
    available = [known for known in SPLITS if known in benchmark.splits or (held_out and known == "validation")]
    wanted = available if wanted is None else wanted
    for split_name in wanted:
        if split_name not in available:
            why = benchmark.unusable.get(split_name)
            raise MissingSplitError(_missing_split(name, split_name, available, is_stream, why))

    def read(official: str) -> datasets.Dataset:
        folder = data_dir and Path(data_dir).absolute()
        request = f"{name} {folder} {official} {sorted(reader_options.items())} {on_bad_image} {allow_partial}"
        table = benchmark.splits[official]()
        if isinstance(table, Split):
            table = _table_of(table, benchmark, official, name, request, on_bad_image, allow_partial)
        if isinstance(table, datasets.IterableDataset):
            return table
        table = table if classes is None else with_classes(table, classes, name)
        check_classes(labels_of(table), official, table.features["label"].names, allow_absent=allow_partial)
        return table

    tables = {}
    if held_out and not {"train", "validation"}.isdisjoint(wanted):
        tables["train"], tables["validation"] = _with_validation(read("train"), name, validation_fraction, seed)
    for split_name in wanted:
        if split_name not in tables:
            tables[split_name] = read(split_name)
    if images_per_class is not None and "train" in wanted:
        tables["train"] = few_per_class(tables["train"], images_per_class, seed)
    tables = {split_name: tables[split_name] for split_name in wanted}
    for sentence in what_was_found(tables):
        logger.info("%s: %s", name, sentence)
    if isinstance(split, str):
        return tables[split]
    collection = datasets.IterableDatasetDict if is_stream else datasets.DatasetDict
    return collection(tables)


def what_was_found(tables: Mapping[str, datasets.Dataset | datasets.IterableDataset]) -> list[str]:
    """A sentence for each split: `train: 2 classes (cat, dog), 12 images, 6 of them with boxes`."""
    sentences = []
    for split, table in tables.items():
        names = table.features["label"].names
        if isinstance(table, datasets.IterableDataset):
            images = "images read as they come"
        else:
            present = set(labels_of(table))
            names = [name for label, name in enumerate(names) if label in present]
            boxed = sum(map(bool, table["boxes"][:]))
            images = counted(len(table), "image") + f", {boxed:,} of them with boxes" * (boxed > 0)
        sentences.append(f"{split}: {counted(len(names), 'class', 'classes')} ({some(names)}), {images}")
    return sentences


def print_what_was_found(tables: Mapping[str, datasets.Dataset | datasets.IterableDataset]) -> None:
    """Prints `what_was_found`, in the main process alone."""
    for sentence in what_was_found(tables):
        PartialState().print(sentence)


def _reader(name: str) -> Callable[..., Benchmark]:
    name = str(name)
    if name in READERS:
        return READERS[name]
    if "/" in name or Path(name).is_dir():
        return partial(read_hub, name)
    raise DatasetError(f"There is no dataset {name!r}.{_hint(name, READERS)} A dataset of the Hub is org/name.")


def _table_of(
    split: Split,
    benchmark: Benchmark,
    split_name: str,
    name: str,
    request: str,
    on_bad_image: OnBadImage,
    allow_partial: bool,
) -> datasets.Dataset:
    """The table of an official split, its images checked unless there are too many."""
    published = None if allow_partial else benchmark.published_counts.get(split_name)

    def table_of(examples: Iterable[Example], file: Path | None) -> datasets.Dataset:
        return to_dataset(examples, benchmark.class_names, benchmark.image_feature, file)

    def stored(key: str, make: Callable[[Path | None], tuple[datasets.Dataset, bool]]) -> datasets.Dataset:
        table = cached_table(request, key, make)
        if type(table.features["image"]) is not type(benchmark.image_feature):  # which a stored table has forgotten
            table = table.cast_column("image", benchmark.image_feature)
        return table

    if split.state is not None:

        def listed(file: Path | None) -> tuple[datasets.Dataset, bool]:
            counter = tqdm(split.examples, desc=f"Listing the {split_name} images", unit=" images", leave=False)
            table = table_of(counter, file)
            report_problems(split.problems, split_name, on_bad_image)
            return table, not split.problems

        table = stored(f"{split.state} {benchmark.class_names}", listed)
        check_count(len(table) + len(split.problems), split_name, name, published)
        return table

    check_unique([example.image_id for example in split.examples], split_name, name)
    check_count(len(split.examples) + len(split.problems), split_name, name, published)

    def checked(file: Path | None) -> tuple[datasets.Dataset, bool]:
        examples = checked_examples(
            split, split_name, on_bad_image,
            boxes_as_published=benchmark.boxes_as_published, upright=benchmark.upright, allow_missing=allow_partial,
        )  # fmt: skip
        return table_of(examples, file), len(examples) == len(split.examples)

    if len(split.examples) < MIN_ROWS or isinstance(split.examples[0].image, bytes) or split.problems:
        return checked(None)[0]
    return stored(state_of(split.examples, benchmark.class_names), checked)


def _missing_split(name: str, split: str, available: list[str], is_stream: bool, why: str | None) -> str:
    sentence = f"{name} has no {split} split here, only {', '.join(available)}."
    if why:
        sentence = f"{sentence[:-1]}: {why}"
    elif split == "test":
        other = available[-1]
        sentence += f' Pass split="{other}" (--split {other} of evaluate.py) to evaluate on that.'
    if split == "validation" and not is_stream:
        sentence += " Pass validation_fraction, for example 0.1, to take one from train."
    return sentence


def _with_validation(
    train: datasets.Dataset, name: str, fraction: float, seed: int
) -> tuple[datasets.Dataset, datasets.Dataset]:
    stay, chosen = stratified_split(train["image_id"], labels_of(train), fraction, seed)
    if not chosen:
        raise MissingSplitError(
            f"No class of {name} has two training images, so validation_fraction={fraction} finds none to spare. "
            "Set it to 0."
        )
    return train.select(stay), train.select(chosen)


def _options(
    name: str, reader: Callable[..., Benchmark], shared: dict[str, Any], reader_options: dict[str, Any]
) -> dict[str, Any]:
    _, *parameters = inspect.signature(reader).parameters
    known = [parameter for parameter in parameters if parameter not in ("allow_partial", "on_bad_image")]
    unknown = sorted(set(reader_options).difference(known))
    if unknown:
        raise DatasetError(f"The dataset {name} has no option {unknown[0]!r}.{_hint(unknown[0], known)}")
    return reader_options | {option: value for option, value in shared.items() if option in parameters}


def _hint(word: str, known: Iterable[str]) -> str:
    known = list(known)
    guess = did_you_mean(word, known)
    return f"{' ' if guess else ''}{guess} There {'are ' + ', '.join(known) if known else 'are none'}."
