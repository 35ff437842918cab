"""Recipes by the names of their parts: data sets × backbones × methods, without a file for each product.

A folder of configurations holds `datasets/`, `backbones/` and `methods/`, and runs with settings or notes of their own as
`<dataset>/<name>.yaml`.
"""

import os
from pathlib import Path
from typing import Any


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
        parts = [dataset, backbone]
        if path.stem.startswith(f"{backbone.stem}_"):
            parts.append(method_file(path, path.stem.removeprefix(f"{backbone.stem}_")))
        elif path.stem != backbone.stem:
            continue
        if None not in parts:
            extended = [os.path.relpath(part, folder) for part in parts]
            return {"extends": extended, "output_dir": f"outputs/{folder.name}-{path.stem}"}
    return None


def method_file(recipe: Path, method: str) -> Path | None:
    """The settings of a method for the data set of a recipe, `<dataset>/<method>.yaml`, or for all, `methods/<method>.yaml`."""
    folder = recipe.absolute().parent
    shared, own = (place / f"{method}.yaml" for place in (folder.parent / "methods", folder))
    return None if not shared.is_file() else own if own.is_file() else shared


def configurations(folder: Path) -> list[Path]:
    """The files of `<dataset>/`, and what is composed there of the data set and each backbone."""
    made = [folder / backbone.name for backbone in _backbones(folder) if composed(folder / backbone.name)]
    return sorted({*folder.glob("*.yaml"), *made})


def _backbones(folder: Path) -> list[Path]:
    return sorted((folder.absolute().parent / "backbones").glob("*.yaml"))
