"""The options of the data, for training, evaluation and whoever else reads a dataset."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any

from ..field_roles import Role
from .errors import DatasetError, OnBadImage


if TYPE_CHECKING:
    import datasets


@dataclass
class DataArguments:
    """Which images, of which dataset."""

    dataset: str = field(
        default="folder",
        metadata={"help": "A name of `modeling_sat.data.READERS`, org/name on the Hub, or a folder of Parquet files."},
    )
    data_dir: Annotated[str | None, Role(steps=False, decides_nothing="known by what it holds")] = field(
        default=None, metadata={"help": "The dataset's folder; none for generated ones."}
    )
    dataset_options: str = field(
        default="{}",
        metadata={"help": "Options of the dataset's reader: a mapping in YAML, JSON on the command line."},
    )
    classes: list[str] | None = field(default=None, metadata={"help": "Names of those to keep; default: all."})
    images_per_class: int | None = field(
        default=None, metadata={"help": "Training images to keep of each class, chosen by data_seed; default: all."}
    )
    allow_partial: bool = field(
        default=False, metadata={"help": "Use a published benchmark although some of its images are missing."}
    )
    validation_fraction: float = field(
        default=0.1,
        metadata={"help": "Share of the training images held out where the dataset has no validation split."},
    )
    on_bad_image: OnBadImage = field(
        default="raise", metadata={"help": "raise or skip, for images that cannot be read."}
    )
    resize_size: int | None = field(
        default=None, metadata={"help": "Images are squashed to this many pixels before the random crop; 256 for 224."}
    )

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "DataArguments":
        """Those among other settings; what is not set has its default."""
        return cls(**{name: settings[name] for name in _NAMES if name in settings})

    @property
    def reader_options(self) -> dict[str, Any]:
        """`dataset_options` as a mapping.

        Raises:
            DatasetError: they are none.
        """
        return as_mapping(self.dataset_options)

    def load(
        self, split: str | Sequence[str] | None = None, *, seed: int | None = 0, **changed: Any
    ) -> "datasets.Dataset | datasets.DatasetDict | datasets.IterableDataset | datasets.IterableDatasetDict":
        """The images, as `load_wsol_dataset` reads them. Of an option given twice, `dataset_options` say the last word.

        Args:
            split: "train", "validation" or "test"; several of them, or None for all that exist, give a `DatasetDict`.
            seed: of the choice of images, and of generated ones; None: 0.
            changed: options to read them by instead of those here.

        Raises:
            MissingSplitError, DatasetError: see `load_wsol_dataset`.
        """
        from .loading import load_wsol_dataset  # whoever only declares the options need not wait for all readers

        own = {name: getattr(self, name) for name in CHOICE}
        options = {**own, "seed": seed or 0, **self.reader_options, **changed}
        return load_wsol_dataset(self.dataset, self.data_dir, split, **options)


_NAMES = [option.name for option in fields(DataArguments)]
CHOICE = [name for name in _NAMES if name not in ("dataset", "data_dir", "dataset_options", "resize_size")]
"""The options of `load_wsol_dataset` for every dataset: which of its images."""


def as_mapping(options: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """The options of a dataset's reader from JSON text, or from the mapping that they are.

    Raises:
        DatasetError: it is not a mapping.
    """
    try:
        return dict(options if isinstance(options, Mapping) else json.loads(options or "{}"))
    except (TypeError, ValueError) as error:
        raise DatasetError(f'dataset_options: {options!r} is not a mapping such as {{"num_classes": 4}}.') from error
