"""Pages of overlays from the least to the most confident, for a person who checks labels before using them."""

import html
import json
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ..inference.predictions import Prediction
from ..output.files import written_aside


IMAGES_PER_PAGE = 200
STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff }
h1 { font-size: 1.3rem } nav { margin: 1rem 0 } nav > * { margin-right: .4rem }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 1rem }
figure { margin: 0 } img { width: 100%; height: 220px; object-fit: contain; background: #f2f2f2 }
figcaption { overflow-wrap: anywhere } small { color: #666 }
"""


def write_review(
    predictions: Path, overlay_file: Callable[[Path], Path], image_root: Path, output_dir: Path
) -> list[Path]:
    """Writes `review.html` and, of more than `IMAGES_PER_PAGE` images, `review-2.html` and so on.

    Args:
        predictions: the `predictions.jsonl` of the run; in memory are its scores alone.
        overlay_file: where the overlay of an image is.
        image_root: the folder that images are named relative to.
        output_dir: for the pages, whose pictures are the overlays themselves.

    Returns:
        the pages.
    """
    scores, offsets = [], []
    with open(predictions, "rb") as lines:
        offset = 0
        for line in lines:
            scores.append(min((found["score"] for found in json.loads(line)["objects"]), default=0.0))
            offsets.append(offset)
            offset += len(line)
    order = np.argsort(scores, kind="stable")
    pages = [order[start : start + IMAGES_PER_PAGE] for start in range(0, len(order), IMAGES_PER_PAGE)]
    for earlier in output_dir.glob("review-*.html"):
        earlier.unlink()
    names = ["review.html" if number == 1 else f"review-{number}.html" for number in range(1, len(pages) + 1)]
    with open(predictions, "rb") as lines:
        for page, page_name in zip(pages, names):
            figures = []
            for index in page:
                lines.seek(offsets[index])
                prediction = json.loads(lines.readline())
                overlay = overlay_file(Path(prediction["image"]))
                name = os.path.relpath(prediction["image"], image_root)
                figures.append(_figure(prediction, name, Path(os.path.relpath(overlay, output_dir))))
            first, last = (round(100 * scores[page[end]]) for end in (0, -1))
            title = f"{len(order)} images, the least confident first: {first} to {last} %"
            _write_page(output_dir / page_name, title, figures, [(other, other == page_name) for other in names])
    return [output_dir / name for name in names]


def _figure(prediction: Prediction, name: str, overlay: Path) -> str:
    picture = quote(overlay.as_posix())
    objects = prediction["objects"]
    found = html.escape(objects[0]["label"]) + f" {100 * objects[0]['score']:.0f} %" if objects else "nothing"
    more = f", {len(objects)} objects" if len(objects) > 1 else ""
    caption = f"<b>{found}</b>{more}<br><small>{html.escape(name)}</small>"
    alt = html.escape(f"Localization map and boxes over {name}")
    return (
        f'<figure><a href="{picture}"><img src="{picture}" alt="{alt}" loading="lazy"></a>'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _write_page(file: Path, title: str, figures: list[str], pages: list[tuple[str, bool]]) -> None:
    links = "".join(
        f"<b>{number}</b>" if here else f'<a href="{name}">{number}</a>'
        for number, (name, here) in enumerate(pages, start=1)
    )
    navigation = f"<nav>Page {links}</nav>" if len(pages) > 1 else ""
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style>'
        f"<h1>{title}</h1>{navigation}<main>{''.join(figures)}</main>{navigation}</html>\n"
    )
    with written_aside(file) as page:
        page.write(text)
