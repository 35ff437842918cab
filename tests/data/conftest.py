import json
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def no_tables_of_other_tests(monkeypatch, tmp_path_factory):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))


@pytest.fixture
def write_image():
    """Writes a random RGB image of `width` × `height` pixels, and the folders above it."""

    def write(path: Path, width: int = 20, height: int = 10, **save_options) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path, **save_options)
        return path

    return write


@pytest.fixture
def class_folders(tmp_path, write_image):
    """Two classes, three training images and one test image each, 20×10 pixels."""
    for name in ("cat", "dog"):
        for number in range(3):
            write_image(tmp_path / "train" / name / f"{number}.png")
        write_image(tmp_path / "test" / name / "9.png")
    return tmp_path


@pytest.fixture
def write_jsonl():
    def write(path: Path, *records: dict) -> None:
        path.write_text("\n".join(json.dumps(record) for record in records))

    return write


@pytest.fixture
def write_voc():
    """Writes Pascal VOC XML; objects are `(name, xmin, ymin, xmax, ymax)`."""

    def write(path: Path, *objects: tuple) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        items = "".join(
            f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax>"
            f"<ymax>{y1}</ymax></bndbox></object>"
            for name, x0, y0, x1, y1 in objects
        )
        path.write_text(f"<annotation><filename>stale name.jpg</filename>{items}</annotation>")

    return write


@pytest.fixture
def write_coco():
    """Writes a COCO JSON; `images` maps a file name to its objects `(category, [x, y, width, height])`."""

    def write(path: Path, images: dict[str, list]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        names = sorted({name for objects in images.values() for name, _ in objects})
        content = {
            "images": [{"id": number, "file_name": name} for number, name in enumerate(images)],
            "categories": [{"id": 10 + number, "name": name} for number, name in enumerate(names)],
            "annotations": [
                {"image_id": number, "category_id": 10 + names.index(name), "bbox": box}
                for number, objects in enumerate(images.values())
                for name, box in objects
            ],
        }
        path.write_text(json.dumps(content))

    return write


@pytest.fixture
def save(tmp_path):
    """Saves each split's rows as `push_to_hub` does, and gives the name of the folder."""

    def write(features, **splits):
        for name, rows in splits.items():
            table = datasets.Dataset.from_list(
                rows, features=datasets.Features({"image": datasets.Image(), **features})
            )
            table.to_parquet(tmp_path / f"birds/data/{name}-00000-of-00001.parquet")
        return str(tmp_path / "birds")

    return write
