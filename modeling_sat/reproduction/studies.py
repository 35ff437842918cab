"""Every table and figure of the paper that trains something, as rows of training fields. Methods are those of
`modeling_sat.methods.METHODS`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from matplotlib.figure import Figure

from ..evaluation import BOX_METRICS, PIXEL_METRICS, PREDICTED_CLASS_METRICS
from ..evaluation.analysis import ERROR_CAUSES
from ..methods import METHODS
from . import plots
from .claims import Above, AboveConstants, AboveOthers, ChangesLittle, Claim, Measured, Reaches
from .costs import OF_EVERY_TABLE
from .names import error_metric
from .results import Key, Measure, StudyResults, errors_by_cause, iou_by_size, threshold_interval


ERRORS = tuple(map(error_metric, ERROR_CAUSES))
BOX_NEEDS = frozenset(
    (
        *BOX_METRICS, *PREDICTED_CLASS_METRICS, "box_acc_mean", "median_iou_of_correct", "threshold_interval", *ERRORS
    )
)  # fmt: skip
MASK_NEEDS = frozenset((*PIXEL_METRICS, "iou_all", "iou_small", "iou_large"))
"""Metrics of images with boxes, and of images with masks."""
LAPTOP_DATASETS = ("shapes", "tiny_imagenet")
"""Datasets whose default recipe is a laptop's check of a study, with sweeps to fit."""


@dataclass(frozen=True)
class Row:
    """One training run for each seed.

    Args:
        name: in the table; that of `published.PUBLISHED` puts the paper's numbers beside. "(a) …" can be asked for
            by its letter. With a study's `by_model`, ", DeiT-S" and so on follows.
        fields: the training fields that differ from the recipe.
        laptop: only on `LAPTOP_DATASETS` (True), only on others (False), or everywhere (None).
    """

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)
    laptop: bool | None = None

    @property
    def names(self) -> set[str]:
        """What it can be asked for by: "(a) L_cls", "(a)" or "a"; "TS-CAM" or, where nothing else differs, "ts_cam"."""
        letter = self.name.split(" ")[0] if self.name.startswith("(") else self.name
        method = self.fields["method"] if self.fields.keys() == {"method"} else self.name
        return {self.name, letter, letter.strip("()"), method}


@dataclass(frozen=True)
class Study:
    """A table or figure.

    Args:
        title: what the paper's one shows.
        rows: what is trained.
        metrics: shown, names of `metrics.json` or of `measure`; in a study with columns, the one shown in all.
        columns: of a grid, each with the fields that it changes beside those of the row.
        row_metrics: shown once for a row of a grid.
        by_model: whether all rows are trained on every model that has a recipe.
        measure: further metrics from a run's records.
        figure: draws the results, if that makes sense.
        costs: keys of `costs.COSTS`, shown beside the metrics where they are known.
        pictures: whether images are drawn with the rows side by side.
    """

    title: str
    rows: tuple[Row, ...]
    metrics: tuple[str, ...]
    claims: tuple[Claim, ...] = ()
    columns: tuple[Row, ...] = (Row(""),)
    row_metrics: tuple[str, ...] = ()
    by_model: bool = False
    measure: Measure | None = None
    figure: Callable[[StudyResults], Figure] | None = None
    costs: tuple[str, ...] = OF_EVERY_TABLE
    pictures: bool = False

    @property
    def needs(self) -> dict[str, list[str]]:
        """What test images must have, "boxes" or "masks", and the metrics that need it."""
        known = {"boxes": BOX_NEEDS, "masks": MASK_NEEDS}
        needed = {what: [metric for metric in self.metrics if metric in metrics] for what, metrics in known.items()}
        return {what: metrics for what, metrics in needed.items() if metrics}

    @property
    def few_images(self) -> bool:
        """Whether its rows or columns are numbers of training images for each class."""
        return any("images_per_class" in place.fields for place in (*self.rows, *self.columns))


def _batch(size: int, laptop: bool | None = None) -> Row:
    return Row(f"batch {size}", {"per_device_train_batch_size": size, "gradient_accumulation_steps": 1}, laptop)


BAS_BY_SAT = {"method": "bas", "losses": "sat"}
"""BAS*: BAS's generator, taught by SAT's losses (Table 7)."""
METHOD_ROWS = (*(Row(method.title, {"method": name}) for name, method in METHODS.items()), Row("BAS*", BAS_BY_SAT))
"""Of tables 1, 3, 4, 6 and figures 1, 3, 5, 6, 7, 9."""
_MOST_FROZEN = {"method": "sat", "freeze": "all_but_spatial_attention"}
SHOTS = (
    Row("1", {"images_per_class": 1}),
    Row("3", {"images_per_class": 3}),
    Row("5", {"images_per_class": 5}),
    Row("10", {"images_per_class": 10}),
    Row("full", {"images_per_class": None}),
)
LAMBDAS = (0.15, 0.25, 0.35, 0.45, 0.55)

STUDIES: dict[str, Study] = {
    "table1": Study(
        title="Comparison with other methods",
        rows=METHOD_ROWS,
        metrics=("top1_loc", "top5_loc", "gt_known_loc"),
        claims=(
            AboveConstants("SAT", "gt_known_loc"),
            AboveOthers("SAT", "top1_loc"),
            AboveOthers("SAT", "gt_known_loc"),
        ),
        by_model=True,
        figure=plots.bars("gt_known_loc"),
    ),
    "table2": Study(
        title="Ablation of the losses",
        rows=(
            Row("(a) L_cls", {"area_loss_weight": 0.0, "normalization_loss_weight": 0.0}),
            Row("(b) + L_ba", {"normalization_loss_weight": 0.0}),
            Row("(c) + L_norm", {"smoothing_kernel_size": 1}),
            Row("(d) + F"),
        ),
        metrics=("top1_loc", "top5_loc", "gt_known_loc"),
        claims=(
            Above(Key("(b) + L_ba"), Key("(a) L_cls"), note="the paper: 1.78"),
            Above(Key("(c) + L_norm"), Key("(b) + L_ba"), note="the paper: 1.71"),
            Above(Key("(d) + F"), Key("(c) + L_norm"), note="the paper: 0.35"),
            Above(Key("(d) + F"), Key("(a) L_cls"), note="the paper: 3.84"),
        ),
        figure=plots.bars("gt_known_loc"),
    ),
    "table3": Study(
        title="Localization quality at three overlaps",
        rows=METHOD_ROWS,
        metrics=("box_acc_30", "box_acc_50", "box_acc_70", "box_acc_mean"),
        claims=(AboveOthers("SAT", "box_acc_70"), AboveOthers("SAT", "box_acc_mean")),
        by_model=True,
        figure=plots.bars("box_acc_30", "box_acc_50", "box_acc_70"),
    ),
    "table4": Study(
        title="Segmentation quality of the localization map",
        rows=METHOD_ROWS,
        metrics=("piou", "pxap"),
        claims=(
            AboveConstants("SAT", "piou"),
            AboveConstants("SAT", "pxap"),
            AboveOthers("SAT", "piou"),
            AboveOthers("SAT", "pxap"),
        ),
        by_model=True,
        figure=plots.bars("piou", "pxap"),
    ),
    "table5": Study(
        title="A spatial token or the class token's attention map, by the same losses",
        rows=(Row("Attention map", {"method": "attention_map"}), Row("Spatial token (SAT)", {"method": "sat"})),
        metrics=("top1_cls", "top5_cls", "top1_loc", "gt_known_loc"),
        claims=tuple(
            Above(Key("Spatial token (SAT)"), Key("Attention map"), metric, f"the paper: {points} on ImageNet")
            for metric, points in {"top1_cls": 2.52, "top5_cls": 1.69, "top1_loc": 4.17, "gt_known_loc": 3.39}.items()
        ),
        figure=plots.bars("top1_cls", "gt_known_loc"),
    ),
    "table6": Study(
        title="Generalizability over backbones",
        rows=METHOD_ROWS,
        metrics=("top1_cls", "gt_known_loc"),
        claims=(
            AboveConstants("SAT", "gt_known_loc"),
            AboveOthers("SAT", "top1_cls"),
            AboveOthers("SAT", "gt_known_loc"),
        ),
        by_model=True,
        figure=plots.bars("top1_cls", "gt_known_loc"),
    ),
    "table7": Study(
        title="SAT and methods that predict a foreground map",
        rows=(
            Row("(a) ORNet", {"method": "ornet"}),
            Row("(b) BAS", {"method": "bas"}),
            Row("(c) BAS*", BAS_BY_SAT),
            Row("(d) SAT", {"method": "sat"}),
        ),
        metrics=("top1_loc", "top5_loc", "gt_known_loc"),
        claims=(
            AboveOthers("(d) SAT", "top1_loc"),
            AboveOthers("(d) SAT", "gt_known_loc"),
            Above(Key("(c) BAS*"), Key("(b) BAS"), note="the paper: 29.11 on CUB-200"),
        ),
        figure=plots.bars("top1_loc", "gt_known_loc"),
    ),
    "table8": Study(
        title="Frozen parts and few images per class",
        rows=(
            Row("(a) nothing"),
            Row("(b) attention", {"freeze": "attention"}),
            Row("(c) MLP", {"freeze": "mlp"}),
            Row("(d) blocks", {"freeze": "blocks"}),
            Row("(e) all but spatial attention", {"freeze": "all_but_spatial_attention"}),
        ),
        columns=SHOTS,
        metrics=("gt_known_loc",),
        row_metrics=("frozen_rate",),
        claims=(
            Above(Key("(c) MLP", "1"), Key("(a) nothing", "1"), note="the paper: 5.1 on CUB-200, 0.9 on ImageNet"),
            Above(
                Key("(a) nothing", "full"),
                Key("(e) all but spatial attention", "full"),
                note="the paper: 5.1 on CUB-200, 1.7 on ImageNet",
            ),
            Reaches(
                Key("(e) all but spatial attention", "1"),
                Key("(a) nothing", "full"),
                "the paper: 93.5 % on CUB-200, 97.0 % on ImageNet",
            ),
        ),
        figure=plots.lines("gt_known_loc", "training images per class"),
    ),
    "fig1": Study(
        title="Accuracy by trained parameters and by training images",
        rows=(
            *METHOD_ROWS,
            Row("SAT, 1 image a class", {"method": "sat", "images_per_class": 1}),
            Row("SAT, most of it frozen", _MOST_FROZEN),
            Row("SAT, both", {**_MOST_FROZEN, "images_per_class": 1}),
        ),
        metrics=("gt_known_loc",),
        claims=(
            AboveConstants("SAT, both", "gt_known_loc"),
            Above(Key("SAT, both"), Key("SCM"), note="the paper: 2.1 on ImageNet"),
        ),
        costs=("parameters", "trained_parameters", "training_images", *OF_EVERY_TABLE[1:]),
        figure=plots.accuracy_by_cost("gt_known_loc", "trained_parameters", "training_images"),
    ),
    "fig3": Study(
        title="Maps and boxes side by side",
        rows=METHOD_ROWS,
        metrics=("gt_known_loc",),
        claims=(AboveConstants("SAT", "gt_known_loc"),),
        pictures=True,
    ),
    "fig4": Study(
        title="Sensitivity to λ and to the batch size",
        rows=(
            *(Row(f"λ {value}", {"area_target": value}) for value in LAMBDAS),
            *(_batch(size, laptop=True) for size in (8,)),
            *(_batch(size) for size in (16, 32, 64)),
            *(_batch(size, laptop=False) for size in (128, 256)),
        ),
        metrics=("gt_known_loc",),
        claims=(
            ChangesLittle(tuple(f"λ {value}" for value in LAMBDAS), "λ"),
            ChangesLittle(("batch 64", "batch 128", "batch 256"), "batches of 64 and more", limit=0.5),
            ChangesLittle(("batch 8", "batch 16", "batch 32", "batch 64"), "batches of up to 64"),
        ),
        figure=plots.sweeps("gt_known_loc"),
    ),
    "fig5": Study(
        title="How well correct boxes fit",
        rows=METHOD_ROWS,
        metrics=("median_iou_of_correct", "gt_known_loc"),
        claims=(AboveOthers("SAT", "median_iou_of_correct"),),
        by_model=True,
        figure=plots.overlap_distribution,
    ),
    "fig6": Study(
        title="Overlap with masks by object size",
        rows=METHOD_ROWS,
        metrics=("iou_all", "iou_small", "iou_large"),
        claims=(
            AboveOthers("SAT", "iou_all"),
            Measured("iou_small", "mean IoU of the smallest third of the objects {}; the paper: sizes are unequal"),
            Measured("iou_large", "mean IoU of the largest third {}"),
        ),
        by_model=True,
        measure=iou_by_size,
        figure=plots.overlap_by_size,
    ),
    "fig7": Study(
        title="Sensitivity to the threshold",
        rows=METHOD_ROWS,
        metrics=("gt_known_loc", "max_box_acc", "threshold_interval"),
        claims=(
            Measured("threshold_interval", "{} % of [0, 1] is within 2 points of the best threshold"),
            AboveOthers("SAT", "threshold_interval"),
            AboveOthers("SAT", "max_box_acc"),
        ),
        by_model=True,
        measure=threshold_interval,
        figure=plots.accuracy_by_threshold,
    ),
    "fig8": Study(
        title="Few-shot learning",
        rows=(Row("SAT", {"method": "sat"}), Row("TS-CAM", {"method": "ts_cam"})),
        columns=SHOTS,
        metrics=("gt_known_loc",),
        claims=(
            AboveConstants("SAT", "gt_known_loc"),
            Reaches(
                Key("SAT", "1"), Key("SAT", "full"), "the paper: 92.7 % on CUB-200, 97.0 % on ImageNet (Table 8 (a))"
            ),
            Above(Key("SAT", "1"), Key("TS-CAM", "full"), note="the paper: 3.6 on CUB-200, 3.3 on ImageNet"),
        ),
        figure=plots.boxes("gt_known_loc"),
    ),
    "fig9": Study(
        title="Errors by cause",
        rows=METHOD_ROWS,
        metrics=("top1_loc", *ERRORS),
        claims=(AboveOthers("SAT", "top1_loc"),),
        measure=errors_by_cause,
        figure=plots.stacked(*ERRORS),
    ),
}  # fmt: skip
"""Name on the command line → study."""
