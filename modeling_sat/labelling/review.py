"""Pages of overlays from the least to the most confident, for a person who checks labels before using them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ..output.files import written_aside
from ..output.html import render


IMAGES_PER_PAGE = 200


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
            images = []
            for index in page:
                lines.seek(offsets[index])
                prediction = json.loads(lines.readline())
                name = os.path.relpath(prediction["image"], image_root)
                overlay = Path(os.path.relpath(overlay_file(Path(prediction["image"])), output_dir))
                images.append((prediction, name, quote(overlay.as_posix())))
            first, last = (round(100 * scores[page[end]]) for end in (0, -1))
            title = f"{len(order)} images, the least confident first: {first} to {last} %"
            with written_aside(output_dir / page_name) as file:
                file.write(render("review.html", title=title, images=images, pages=names, this_page=page_name))
    return [output_dir / name for name in names]
