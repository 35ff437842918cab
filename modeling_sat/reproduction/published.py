"""What the paper prints, in percent: study → dataset → row → column. Figures have no printed values but those of their points in tables."""

from collections.abc import Sequence


Numbers = dict[str, dict[str, float]]
"""Row → column → percent; what the paper leaves out is not there."""


def _printed(columns: Sequence[str], rows: dict[str, Sequence[float | None]]) -> Numbers:
    return {
        row: {column: value for column, value in zip(columns, values, strict=True) if value is not None}
        for row, values in rows.items()
    }


_LOC = ("top1_loc", "top5_loc", "gt_known_loc")
_DELTA = ("box_acc_30", "box_acc_50", "box_acc_70", "box_acc_mean")
_FEW = ("1", "3", "5", "10", "full")

PUBLISHED: dict[str, dict[str, Numbers]] = {
    "table1": {
        "cub": _printed(
            _LOC,
            {
                "CAM, VGG16": (41.06, 50.66, 55.10),
                "ORNet, VGG16": (67.73, 80.77, 86.20),
                "BAS, VGG16": (71.33, 85.33, 91.07),
                "Kim et al., VGG16": (70.83, 88.07, 93.17),
                "CREAM, VGG16": (70.44, 85.67, 90.98),
                "GCNet, InceptionV3": (58.58, 71.00, 75.30),
                "SPA, InceptionV3": (53.59, 66.50, 72.14),
                "FAM, InceptionV3": (70.67, None, 87.25),
                "CREAM, InceptionV3": (71.76, 86.37, 90.43),
                "BAS, InceptionV3": (73.29, 86.31, 92.24),
                "BagCAMs, InceptionV3": (60.07, None, 89.78),
                "SPOL, ResNet50": (80.12, 93.44, 96.46),
                "DA-WSOL, ResNet50": (66.65, None, 81.83),
                "BAS, ResNet50": (77.25, 90.08, 95.13),
                "Kim et al., ResNet50": (73.16, 86.68, 91.60),
                "CREAM, ResNet50": (76.03, None, 89.88),
                "BagCAMs, ResNet50": (69.67, None, 94.01),
                "ISIC, ResNet50": (80.68, 94.08, 97.32),
                "TS-CAM, DeiT-S": (71.30, 83.80, 87.70),
                "LCTR, DeiT-S": (79.20, 89.90, 92.40),
                "SCM, DeiT-S": (76.40, 91.60, 96.60),
                "SAT, DeiT-S": (80.96, 94.13, 98.45),
            },
        ),
        "imagenet": _printed(
            _LOC,
            {
                "CAM, VGG16": (42.80, 54.86, 59.00),
                "ORNet, VGG16": (52.05, 63.94, 68.27),
                "BAS, VGG16": (52.96, 65.41, 69.64),
                "Kim et al., VGG16": (49.94, 63.25, 68.92),
                "CREAM, VGG16": (52.37, 64.20, 68.32),
                "GCNet, InceptionV3": (49.06, 58.09, None),
                "SPA, InceptionV3": (52.73, 64.27, 68.33),
                "FAM, InceptionV3": (55.24, None, 68.62),
                "CREAM, InceptionV3": (56.07, 66.19, 69.03),
                "BAS, InceptionV3": (58.51, 69.00, 71.93),
                "BagCAMs, InceptionV3": (53.87, None, 71.02),
                "SPOL, ResNet50": (59.14, 67.15, 69.02),
                "DA-WSOL, ResNet50": (55.84, None, 70.27),
                "BAS, ResNet50": (57.18, 68.44, 71.77),
                "Kim et al., ResNet50": (53.76, 65.75, 69.89),
                "CREAM, ResNet50": (55.66, None, 69.31),
                "BagCAMs, ResNet50": (44.24, None, 72.08),
                "ISIC, ResNet50": (59.61, 67.84, 70.01),
                "TS-CAM, DeiT-S": (53.40, 64.30, 67.60),
                "LCTR, DeiT-S": (56.10, 65.80, 68.70),
                "SCM, DeiT-S": (56.10, 66.40, 68.80),
                "SAT, DeiT-S": (60.15, 70.52, 73.13),
            },
        ),
    },
    "table2": {
        "imagenet": _printed(
            _LOC,
            {
                "(a) L_cls": (56.86, 66.67, 69.29),
                "(b) + L_ba": (58.21, 68.36, 71.07),
                "(c) + L_norm": (59.86, 70.22, 72.78),
                "(d) + F": (60.15, 70.52, 73.13),
            },
        )
    },
    "table3": {
        "cub": _printed(
            _DELTA,
            {
                "Kim et al., ResNet50": (99.40, 90.40, 38.00, 75.90),
                "BAS, ResNet50": (99.41, 95.13, 71.92, 88.82),
                "TS-CAM, DeiT-S": (98.88, 87.70, 49.93, 78.84),
                "SCM, DeiT-S": (99.64, 96.60, 71.73, 89.32),
                "SAT, DeiT-S": (99.88, 98.45, 79.53, 92.62),
            },
        ),
        "imagenet": _printed(
            _DELTA,
            {
                "Kim et al., ResNet50": (86.70, 71.10, 48.30, 68.70),
                "BAS, ResNet50": (84.80, 71.77, 49.25, 68.61),
                "TS-CAM, DeiT-S": (82.11, 67.60, 44.76, 64.82),
                "SCM, DeiT-S": (83.64, 68.80, 45.30, 65.91),
                "SAT, DeiT-S": (84.42, 73.13, 56.83, 71.46),
            },
        ),
    },
    "table4": {
        "cub": _printed(
            ("piou", "pxap"),
            {
                "BagCAMs, InceptionV3": (60.34, 81.49),
                "DA-WSOL, ResNet50": (56.18, 74.70),
                "BAS, ResNet50": (71.04, 89.20),
                "TS-CAM, DeiT-S": (66.55, 81.49),
                "SCM, DeiT-S": (72.07, 88.15),
                "SAT, DeiT-S": (77.21, 89.87),
            },
        ),
        "openimages30k": _printed(
            ("piou", "pxap"),
            {
                "BagCAMs, InceptionV3": (49.98, 65.91),
                "DA-WSOL, ResNet50": (49.68, 65.42),
                "BAS, ResNet50": (50.72, 66.86),
                "TS-CAM, DeiT-S": (43.65, 54.26),
                "SAT, DeiT-S": (59.54, 74.20),
            },
        ),
    },
    "table5": {
        "imagenet": _printed(
            ("top1_cls", "top5_cls", "top1_loc", "gt_known_loc"),
            {
                "Attention map": (75.89, 92.77, 55.98, 69.74),
                "Spatial token (SAT)": (78.41, 94.46, 60.15, 73.13),
            },
        )
    },
    "table6": {
        "cub": _printed(
            ("top1_cls", "gt_known_loc"),
            {
                "TS-CAM, DeiT-T": (72.9, 86.4),
                "TS-CAM, DeiT-S": (80.3, 87.7),
                "TS-CAM, DeiT-B": (83.2, 83.3),
                "TS-CAM, Conformer-S": (81.0, 94.1),
                "SCM, DeiT-T": (None, 91.8),
                "SCM, DeiT-S": (77.1, 96.6),
                "SCM, DeiT-B": (None, 93.8),
                "SCM, Conformer-S": (None, 96.1),
                "SAT, DeiT-T": (76.2, 95.0),
                "SAT, DeiT-S": (82.1, 98.5),
                "SAT, DeiT-B": (85.3, 98.1),
                "SAT, Conformer-S": (82.4, 97.9),
            },
        )
    },
    "table7": {
        "cub": _printed(
            _LOC,
            {
                "(a) ORNet": (73.39, 84.31, 88.38),
                "(b) BAS": (49.59, 60.68, 63.76),
                "(c) BAS*": (75.18, 88.66, 92.87),
                "(d) SAT": (80.96, 94.13, 98.45),
            },
        )
    },
    "table8": {
        "cub": _printed(
            ("frozen_rate", *_FEW),
            {
                "(a) nothing": (0, 91.3, 95.1, 96.1, 97.3, 98.5),
                "(b) attention": (24, 93.5, 95.9, 96.8, 97.5, 98.1),
                "(c) MLP": (48, 96.4, 96.7, 97.0, 97.4, 98.0),
                "(d) blocks": (71, 93.8, 94.6, 94.9, 95.2, 95.9),
                "(e) all but spatial attention": (91, 92.1, 92.5, 92.8, 93.1, 93.4),
            },
        ),
        "imagenet": _printed(
            ("frozen_rate", *_FEW),
            {
                "(a) nothing": (0, 70.9, 71.9, 72.6, 72.9, 73.1),
                "(b) attention": (21, 71.6, 72.3, 72.6, 72.8, 73.1),
                "(c) MLP": (42, 71.8, 72.1, 72.4, 72.7, 72.9),
                "(d) blocks": (64, 71.3, 71.4, 71.7, 71.9, 72.2),
                "(e) all but spatial attention": (81, 70.9, 71.1, 71.2, 71.3, 71.4),
            },
        ),
    },
    # Figure 1 has no printed values; these are of its points in Table 1, on DeiT-S, and in Table 8 (a) and (e).
    "fig1": {
        "cub": _printed(
            ("gt_known_loc",),
            {
                "TS-CAM": (87.70,),
                "LCTR": (92.40,),
                "SCM": (96.60,),
                "SAT": (98.45,),
                "SAT, 1 image a class": (91.3,),
                "SAT, most of it frozen": (93.4,),
                "SAT, both": (92.1,),
            },
        ),
        "imagenet": _printed(
            ("gt_known_loc",),
            {
                "TS-CAM": (67.60,),
                "LCTR": (68.70,),
                "SCM": (68.80,),
                "SAT": (73.13,),
                "SAT, 1 image a class": (70.9,),
                "SAT, most of it frozen": (71.4,),
                "SAT, both": (70.9,),
            },
        ),
    },
}
