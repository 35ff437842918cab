"""The parts of the page that are made anew for each result; pictures and files are in it as data, never on a disk."""

import json
from base64 import b64encode
from html import escape
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from ..inference.predictions import Prediction
from ..labelling.formats import Labels, write_coco


EMPTY_RESULT = '<p class="empty">What the model finds appears here.</p>'


def picture_html(image: Image.Image, description: str) -> str:
    """An `img` element; `description` is for people who do not see it."""
    file = BytesIO()
    image.save(file, "JPEG", quality=88)
    source = _as_data(file.getvalue(), "image/jpeg")
    return f'<img src="{source}" alt="{escape(description)}" width="{image.width}" height="{image.height}">'


def status_html(text: str, is_refusal: bool = False) -> str:
    """A line that a screen reader reads out when it changes."""
    role = "alert" if is_refusal else "status"
    return f'<p role="{role}">{escape(text)}</p>'


def result_html(picture: Image.Image, prediction: Prediction, class_names: list[str]) -> str:
    """A drawn picture, the table of its objects, and links that save them as JSON and COCO."""
    objects, name = prediction["objects"], prediction["image"]
    found = ", ".join(f"{found['label']} {found['score']:.2f}" for found in objects)
    cells = (
        [found["label"], f"{found['score']:.2f}", ", ".join(f"{x:.0f}" for x in found["box"])] for found in objects
    )
    rows = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in cells)
    heads = "".join(f'<th scope="col">{head}</th>' for head in ("Class", "Score", "Box"))
    files = {
        "JSON": ("boxes.json", json.dumps(prediction, indent=2)),
        "COCO": ("coco.json", _coco(prediction, class_names)),
    }
    links = " ".join(
        f'<a download="{escape(f"{Path(name).stem}.{suffix}")}" '
        f'href="{_as_data(text.encode(), "application/json")}">Save as {kind}</a>'
        for kind, (suffix, text) in files.items()
    )
    return (
        f"{picture_html(picture, f'{name} with what was found: {found}')}"
        f"<table><caption>Boxes: left, top, right, bottom, in pixels</caption><thead><tr>{heads}</tr></thead>"
        f'<tbody>{rows}</tbody></table><p class="files">{links}</p>'
    )


def _as_data(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"


def _coco(prediction: Prediction, class_names: list[str]) -> str:
    with TemporaryDirectory() as folder:
        predictions = Path(folder, "predictions.jsonl")
        predictions.write_text(json.dumps({**prediction, "image": str(Path(folder, prediction["image"]))}), "utf-8")
        write_coco(Labels(predictions, class_names, Path(folder), Path(folder)))
        return Path(folder, "annotations.json").read_text("utf-8")
