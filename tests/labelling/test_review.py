import json
import re
from pathlib import Path

import pytest

from modeling_sat.labelling import review
from modeling_sat.labelling.review import write_review


@pytest.fixture
def predictions(tmp_path) -> Path:
    file = tmp_path / "predictions.jsonl"
    images = {"b.jpg": [0.9], "<i>.png": [0.2], "dé é.jpg": [0.5, 0.5], "a.jpg": [0.5]}
    with open(file, "w", encoding="utf-8") as lines:
        for image, scores in images.items():
            objects = [{"label": "R & B", "score": score, "box": [0, 0, 1, 1]} for score in scores]
            lines.write(json.dumps({"image": image, "width": 1, "height": 1, "objects": objects}) + "\n")
    return file


def overlay(path: Path) -> Path:
    return Path("overlays") / path


def pictures(page: Path) -> list[str]:
    return re.findall('<img src="(.*?)"', page.read_text(encoding="utf-8"))


def test_the_least_confident_come_first(predictions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (page,) = write_review(predictions, overlay, Path("."), Path("."))
    assert page == Path("review.html")
    assert pictures(page) == [
        "overlays/%3Ci%3E.png", "overlays/d%C3%A9%20%C3%A9.jpg", "overlays/a.jpg", "overlays/b.jpg"
    ]  # fmt: skip
    text = page.read_text(encoding="utf-8")
    assert "4 images, the least confident first: 20 to 90 %" in text
    assert "R &amp; B" in text and "&lt;i&gt;.png" in text and "<i>" not in text
    assert text.count("2 objects") == 1


def test_pages_of_an_earlier_run_go(predictions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(review, "IMAGES_PER_PAGE", 3)
    pages = write_review(predictions, overlay, Path("."), Path("."))
    assert [len(pictures(page)) for page in pages] == [3, 1]
    predictions.write_text(predictions.read_text().splitlines(keepends=True)[0])
    write_review(predictions, overlay, Path("."), Path("."))
    assert not Path("review-2.html").exists()


def test_pages_lead_to_each_other(predictions, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(review, "IMAGES_PER_PAGE", 3)
    pages = write_review(predictions, overlay, Path("."), Path("."))
    assert 'href="review-2.html"' in pages[0].read_text() and 'href="review.html"' in pages[1].read_text()
