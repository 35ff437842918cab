"""The parts of the page that are rebuilt for each result; pictures and files are in it as data, never on a disk."""

import json
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from ..inference.drawing import object_texts
from ..inference.predictions import Prediction
from ..labelling.formats import Labels, write_coco
from ..output.html import render


EMPTY_RESULT = '<p class="empty">What the model finds appears here.</p>'


def picture_html(image: Image.Image, description: str) -> str:
    """An `img` element; `description` is for people who do not see it."""
    return render("demo_picture.html", image=image, source=_jpeg(image), description=description)


def status_html(text: str, is_refusal: bool = False, id: str | None = None) -> str:
    """A line that a screen reader reads out when it changes; with an `id` it is hidden until the page shows it."""
    return render("demo_status.html", text=text, is_refusal=is_refusal, id=id)


def result_html(picture: Image.Image, prediction: Prediction, class_names: list[str]) -> str:
    """A drawn picture, the table of its objects, and links that save them as JSON and COCO."""
    objects, name = prediction["objects"], prediction["image"]
    found = ", ".join(object_texts(objects))
    files = {"JSON": ("boxes", json.dumps(prediction, indent=2)), "COCO": ("coco", _coco(prediction, class_names))}
    return render(
        "demo_result.html",
        image=picture,
        source=_jpeg(picture),
        description=f"{name} with what was found: {found}",
        objects=objects,
        files=[
            (kind, f"{Path(name).stem}.{suffix}.json", _as_data(text.encode(), "application/json"))
            for kind, (suffix, text) in files.items()
        ],
    )


def _jpeg(image: Image.Image) -> str:
    file = BytesIO()
    image.save(file, "JPEG", quality=88)
    return _as_data(file.getvalue(), "image/jpeg")


def _as_data(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"


def _coco(prediction: Prediction, class_names: list[str]) -> str:
    with TemporaryDirectory() as folder:
        predictions = Path(folder, "predictions.jsonl")
        predictions.write_text(json.dumps({**prediction, "image": str(Path(folder, prediction["image"]))}), "utf-8")
        write_coco(Labels(predictions, class_names, Path(folder), Path(folder)))
        return Path(folder, "annotations.json").read_text("utf-8")
