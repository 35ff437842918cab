"""What the command lines of studies and comparisons have in common, and their own."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..methods import METHODS
from ..training.arguments import ConfigurationError
from .names import MODEL_TITLES
from .studies import LAPTOP_DATASETS


@dataclass
class RunOptions:
    """Which runs, and where."""

    dataset: str = field(metadata={"help": "shapes, tiny_imagenet, cub, imagenet, folder, …"})
    data_dir: str | None = field(default=None, metadata={"help": "The dataset's folder."})
    model: Literal[tuple(MODEL_TITLES)] | None = field(
        default=None,
        metadata={
            "help": "Default: the paper's; conformer-small after its conversion, see scripts/configs/backbones."
        },
    )
    config: Path | None = field(
        default=None,
        metadata={
            "help": "Recipe; default: scripts/configs/DATASET/MODEL.yaml, laptop.yaml of "
            + " and ".join(LAPTOP_DATASETS)
        },
    )
    seeds: list[int] = field(
        default_factory=lambda: [0, 1, 2], metadata={"help": "Of training, and of the choice of images."}
    )
    protocol: Literal["sat", "wsolevaluation"] | None = field(
        default=None, metadata={"help": "Default: the recipe's, or else sat."}
    )
    jobs: int | None = field(
        default=None, metadata={"help": "Runs at once; default: one for each GPU, or for each CPU core."}
    )
    output_dir: Path = Path("outputs/reproduction")
    dry_run: bool = field(default=False, metadata={"help": "Write the runs' configurations, print the commands."})

    def __post_init__(self):
        """
        Raises:
            ConfigurationError: jobs is not a number of runs.
        """
        if self.jobs is not None and self.jobs < 1:
            raise ConfigurationError(f"jobs is {self.jobs}; a whole number of at least 1 was expected.")
        self.seeds = list(dict.fromkeys(self.seeds))


@dataclass
class ReproductionOptions(RunOptions):
    """How a study is run; `scripts/reproduce.py` has them on its command line."""

    rows: list[str] | None = field(default=None, metadata={"help": "Some of the study's rows, by name or letter."})
    select_on_test: bool = field(default=False, metadata={"help": "The published habit for the threshold."})
    ten_crop: bool = field(default=False, metadata={"help": "Classify by ten crops, as the paper does."})


@dataclass
class ComparisonOptions(RunOptions):
    """How methods are compared; `scripts/compare.py` has them on its command line."""

    dataset: str = field(default="folder", metadata={"help": "folder, or cub, imagenet, shapes, …"})
    methods: list[str] = field(
        default_factory=lambda: list(METHODS),
        metadata={"help": f"Some of {', '.join(METHODS)}; BAS* comes with bas. Default: all."},
    )
    model: Literal[tuple(MODEL_TITLES)] | None = field(
        default=None, metadata={"help": "Default: deit-tiny, the smallest; every method starts from it."}
    )
    seeds: list[int] = field(
        default_factory=lambda: [0], metadata={"help": "Of training. Two or more say how much is chance."}
    )
    output_dir: Path = Path("outputs/comparison")
    images: int = field(default=8, metadata={"help": "Of each kind on the page."})

    def __post_init__(self):
        """
        Raises:
            ConfigurationError: no such method, none, or not a number of images.
        """
        super().__post_init__()
        unknown = [method for method in self.methods if method not in METHODS]
        if unknown or not self.methods:
            came = f"There is no method {unknown[0]!r}" if unknown else "methods is empty"
            raise ConfigurationError(f"{came}; choose some of {', '.join(METHODS)}.")
        if self.images < 1:
            raise ConfigurationError(f"images is {self.images}; a whole number of at least 1 was expected.")
