"""Recipes by the names of their parts: data sets × backbones × methods, without a file for each product.

A folder of configurations holds `datasets/`, `backbones/` and `methods/`, and runs with settings or notes of their own as
`<dataset>/<name>.yaml`.
"""

import os
from pathlib import Path
from typing import Any

from ..methods import METHODS


def composed(path: Path) -> dict[str, Any] | None:
    """What `<dataset>/<backbone>.yaml` or `<dataset>/<backbone>_<method>.yaml` would hold, were it a file.

    Returns:
        The parts under `extends`, later ones winning, and `output_dir`; None: a part is not there.
    """
    folder = path.absolute().parent
    dataset = folder.parent / "datasets" / f"{folder.name}.yaml"
    if path.suffix != ".yaml" or not dataset.is_file():
        return None
    for backbone in _backbones(folder):
        parts, named = [dataset, backbone], {}
        if path.stem.startswith(f"{backbone.stem}_"):
            method = path.stem.removeprefix(f"{backbone.stem}_")
            named = {"method": method} if method in METHODS else {}
            settings = method_file(path, method)
            if not named and settings is None:
                continue
            parts += [] if settings is None else [settings]
        elif path.stem != backbone.stem:
            continue
        extended = [os.path.relpath(part, folder) for part in parts]
        return {"extends": extended, **named, "output_dir": f"outputs/{folder.name}-{path.stem}"}
    return None


def method_file(recipe: Path, method: str) -> Path | None:
    """The settings of a method for the data set of a recipe, `<dataset>/<method>.yaml`, or for all,
    `methods/<method>.yaml`. None: it needs no more than its name."""
    folder = recipe.absolute().parent
    shared, own = (place / f"{method}.yaml" for place in (folder.parent / "methods", folder))
    is_of_a_dataset = (folder.parent / "datasets" / f"{folder.name}.yaml").is_file()
    if own.is_file() and is_of_a_dataset and (method in METHODS or shared.is_file()):
        return own
    return shared if shared.is_file() else None


def configurations(folder: Path) -> list[Path]:
    """The files of `<dataset>/`, and what is composed there of the data set and each backbone."""
    made = [folder / backbone.name for backbone in _backbones(folder) if composed(folder / backbone.name)]
    return sorted({*folder.glob("*.yaml"), *made})


def _backbones(folder: Path) -> list[Path]:
    return sorted((folder.absolute().parent / "backbones").glob("*.yaml"))
