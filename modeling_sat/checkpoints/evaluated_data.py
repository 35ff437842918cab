"""Which images a checkpoint is evaluated on, and which its threshold may be chosen on: its run's record decides."""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, IterableDataset

from ..data import DatasetError, MissingSplitError
from ..data.arguments import CHOICE, DataArguments, as_mapping
from .run_record import HELD_OUT, RunRecord, fingerprints


DATA_OPTIONS = tuple(name for name in (*CHOICE, "data_seed", "dataset_options") if name != "images_per_class")
"""What an evaluation may be told of its data, besides `dataset` and `data_dir`; None: as the run did, or by default."""
_CHOICE = DATA_OPTIONS[:-1]
_DEFAULTS = {"data_seed": 0} | vars(DataArguments())
SHARED = 0.1
"""Data that share more than this part of their images with the run's are the run's, moved, grown or cut."""


@dataclass
class EvaluatedData:
    """A dataset as a checkpoint's run read it, or as `given`.

    Args:
        model: the checkpoint, as named by the user.
        dataset, data_dir: None: the run's.
        given: `DATA_OPTIONS`; None: as the run did.

    Attributes:
        arguments: what is read.
        seed: of the choice of images.

    Raises:
        ValueError: no dataset is named and no run says it, or what is given contradicts the run.
    """

    model: str
    dataset: str | None
    data_dir: str | None
    given: dict[str, Any]

    def __post_init__(self):
        asked = as_mapping(self.given.get("dataset_options"))
        self.given = self.given | _taken(asked)
        self.record = RunRecord.of(self.model)
        settings = {} if self.record is None else self.record.settings
        if self.dataset is None and "dataset" not in settings:
            raise ValueError(f"{self.model} does not say which data it was trained on; name a --dataset.")
        dataset = self.dataset or settings["dataset"]
        self.is_the_runs = _same_name(dataset, settings.get("dataset"))
        recorded = self.record.images.data_dir if self.is_the_runs else None
        # Where a run has not recorded its folder, the number of images must tell.
        self.may_be_another = None not in (self.data_dir, recorded) and not _same_name(self.data_dir, recorded)
        theirs = settings if self.is_the_runs else {}
        options = _options_of(theirs)
        self.recorded = {name: theirs[name] for name in _CHOICE if name in theirs} | _taken(options)
        if self.recorded.get("data_seed", 0) is None:
            self.recorded["data_seed"] = 0
        if not self.may_be_another:
            self._refuse_contradictions("classes", "data_seed")
        own = {name: self.given[name] for name in _CHOICE if self.given.get(name) is not None}
        if asked.get("streaming"):
            raise ValueError("Images are evaluated from disk; leave streaming out of dataset_options.")
        reader_options = {name: value for name, value in (options | asked).items() if name != "streaming"}
        choice = self.recorded | own
        self.seed = choice.pop("data_seed", 0)
        self.arguments = DataArguments(dataset, self.data_dir or recorded, reader_options, **choice)
        self.images_per_class = theirs.get("images_per_class") if not self.may_be_another else None
        known = {"dataset": (self.dataset, dataset), "data_dir": (self.data_dir, recorded)}
        known |= {name: (own.get(name), value) for name, value in self.recorded.items() if value != _DEFAULTS[name]}
        known |= {name: (asked.get(name), value) for name, value in options.items() if name != "streaming"}
        self._of_the_run = {name: runs for name, (mine, runs) in known.items() if mine is None and runs is not None}
        self.dataset, self.data_dir = dataset, self.arguments.data_dir

    def taken(self, split: str) -> str | None:
        """Which options are the run's, in a sentence; None where none is."""
        few = {} if split != "train" or self.images_per_class is None else {"images_per_class": self.images_per_class}
        said = [f"{name} {_listed(value)}" for name, value in (self._of_the_run | few).items()]
        return f"Taken from {self.record.path}: {', '.join(said)}." if said else None

    def split(self, split: str) -> Dataset:
        """
        Raises:
            ValueError: there is none; of validation images also where they may have been trained on.
        """
        if split != "validation":
            few = {"images_per_class": self.images_per_class} if split == "train" else {}
            return self._load(split, **few)
        validation, why_not = self.validation()
        if why_not is not None:
            raise ValueError(f"{why_not} So these are not validation images; evaluate another --split.")
        return validation

    def validation(self) -> tuple[Dataset, str | None]:
        """Images to choose a threshold on, and why they do not count as validation images, None where they do.

        Raises:
            MissingSplitError: there are none.
        """
        own_split = self._official("validation")
        if own_split is not None:
            return self._of_its_own(own_split)
        record = self.record
        if record is not None and record.held_out is not None and record.trained is not None:
            train = self._load("train", validation_fraction=0.0)
            numbers = fingerprints(train)
            trained = np.isin(numbers, record.trained)
            found = np.isin(numbers, record.held_out) & ~trained
            shared = (found | trained).sum() / min(len(numbers), len(record.held_out) + len(record.trained))
            if shared > SHARED or (self.is_the_runs and not self.may_be_another):
                return self._held_out_by_the_run(train, found)
        chosen = self._load("validation")
        if record is None:
            return chosen, (
                f"{self.model} has no record of the images that it was trained on (run.json), and {self.dataset} has no "
                f"validation split of its own: all {len(chosen)} images held out of train may have been trained on."
            )
        if self.is_the_runs and not self.may_be_another and record.trained is None:
            return self._held_out_by_an_older_run(chosen)
        if record.trained is None:
            return chosen, (
                f"{record.path} does not record which images were trained on: all {len(chosen)} images held out of "
                f"train of {self.dataset} may have been."
            )
        return self._without_trained(chosen)

    def _of_its_own(self, validation: Dataset) -> tuple[Dataset, str | None]:
        record = self.record
        if record is None or record.trained is None:
            return validation, None
        if self.is_the_runs and not self.may_be_another and record.images.validation == HELD_OUT:
            return validation, (
                f"{self.dataset} has a validation split now, which it had not when {record.path} was written: its "
                f"{len(validation)} images may have been trained on."
            )
        return self._without_trained(validation)

    def _without_trained(self, images: Dataset) -> tuple[Dataset, str | None]:
        trained = np.isin(fingerprints(images), self.record.trained)
        said = (
            f"{self.record.path} says that the checkpoint was trained on {trained.sum()} of the "
            f"{len(images)} validation images of {self.dataset}."
        )
        if not trained.any():
            return images, None
        if trained.all():
            return images, said
        warnings.warn(f"{said} They are left out.", stacklevel=4)
        return images.select(np.flatnonzero(~trained).tolist()), None

    def _held_out_by_the_run(self, train: Dataset, found: np.ndarray) -> tuple[Dataset, str | None]:
        record = self.record
        self._refuse_contradictions("classes", "data_seed", "validation_fraction")
        expected = len(record.held_out)
        if not found.any() and (not expected or record.images.validation != HELD_OUT):
            raise MissingSplitError(f"{record.path} says that the run held out no images of train.")
        if not found.any():
            raise MissingSplitError(
                f"None of the {expected} images that the run held out ({record.path}) is in {self.dataset} any more."
            )
        if found.sum() < expected:
            warnings.warn(
                f"The data have changed since the training: {expected - found.sum()} of the {expected} images that the "
                f"run held out ({record.path}) are gone or have changed; the threshold is chosen on the "
                f"other {found.sum()}.",
                stacklevel=4,
            )
        return train.select(np.flatnonzero(found).tolist()), None

    def _held_out_by_an_older_run(self, chosen: Dataset) -> tuple[Dataset, str | None]:
        self._refuse_contradictions("validation_fraction")
        expected = self.record.training_images
        there = len(self._load("train", images_per_class=self.images_per_class))
        if expected == there and set(_CHOICE) <= set(self.record.settings):
            return chosen, None
        return chosen, (
            f"The run trained on {expected or 'an unknown number of'} images ({self.record.path}) and there are {there} "
            f"now, so that the {len(chosen)} images held out now may have been trained on."
        )

    def _official(self, split: str) -> Dataset | None:
        try:
            return self._load(split, validation_fraction=0.0)
        except MissingSplitError:
            return None

    def _load(self, split: str, **changed: Any) -> Dataset:
        dataset = self.arguments.load(split, seed=self.seed, **changed)
        if isinstance(dataset, IterableDataset):
            raise ValueError("Images are evaluated from disk; leave streaming out of dataset_options.")
        return dataset

    def _refuse_contradictions(self, *names: str) -> None:
        for name in names:
            mine, runs = self.given.get(name), self.recorded.get(name)
            if mine is None or name not in self.recorded:
                continue
            differs = sorted(mine) != sorted(runs or []) if name == "classes" else mine != runs
            if differs:
                raise ValueError(
                    f"--{name} is {_listed(mine)}, but the checkpoint's run had {_listed(runs)} ({self.record.path}), "
                    "which decides which images it was not trained on. Leave the option out."
                )


def _options_of(settings: dict[str, Any]) -> dict[str, Any]:
    with suppress(DatasetError):
        return as_mapping(settings.get("dataset_options"))
    return {}


def _taken(options: dict[str, Any]) -> dict[str, Any]:
    """What `options` says of the choice of images, taken out of it: `load_wsol_dataset` has these names too."""
    names = {name: "seed" if name == "data_seed" else name for name in _CHOICE}
    return {ours: options.pop(name) for ours, name in names.items() if name in options}


def _same_name(one: str, other: str | None) -> bool:
    if other is None:
        return False
    return one == other or (Path(one).exists() and Path(one).resolve() == Path(other).resolve())


def _listed(value: Any) -> str:
    if value is None:
        return "none"
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
