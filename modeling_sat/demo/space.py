"""The page as a folder for a Hugging Face Space: all that is missing is the upload."""

import shutil
from collections.abc import Sequence
from importlib.metadata import requires
from pathlib import Path

import gradio as gr
from huggingface_hub import SpaceCard, SpaceCardData

from .page import TITLE
from .pictures import read_example


PACKAGE = Path(__file__).parents[1]
APP = '''\
"""Made by scripts/demo.py --export_space."""

from pathlib import Path

from modeling_sat.demo.server import serve


serve({models!r}, examples=sorted(Path(__file__).parent.glob("examples/*")))
'''


class SpaceError(ValueError):
    """A folder that would not be a working Space; the message says why."""


def export_space(models: Sequence[str], folder: str | Path, examples: Sequence[str | Path] = ()) -> None:
    """Writes `app.py`, `requirements.txt`, `README.md`, this package, and the examples.

    Args:
        models: Hub ids of checkpoints, which the Space loads when it starts.
        folder: new or empty.
        examples: picture files to choose from on the page.

    Raises:
        SpaceError: a checkpoint is a folder of this machine, or `folder` holds something.
        PictureError: an example is not a picture.
    """
    folder = Path(folder)
    for model in models:
        if Path(model).exists() or model.count("/") != 1:
            raise SpaceError(
                f"A Space loads its checkpoints from the Hub, and {model} is not the id of one. Publish it by "
                "scripts/push_to_hub.py and give its id, such as someone/sat-deit-s-cub."
            )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpaceError(f"{folder} holds something already. Give a folder that is new or empty.")
    for path in examples:
        read_example(path)

    shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "app.py").write_text(APP.format(models=list(models)), "utf-8")
    needed = [requirement for requirement in requires(PACKAGE.name) or [] if "extra ==" not in requirement]
    (folder / "requirements.txt").write_text("\n".join([*needed, ""]), "utf-8")
    card = SpaceCardData(
        title=TITLE,
        sdk="gradio",
        sdk_version=gr.__version__,
        app_file="app.py",
        license="apache-2.0",
        models=[*models],
    )
    SpaceCard(f"---\n{card}\n---\n\nShows what {', '.join(models)} finds in a picture.\n").save(folder / "README.md")
    for path in examples:
        (folder / "examples").mkdir(exist_ok=True)
        shutil.copy(path, folder / "examples")
