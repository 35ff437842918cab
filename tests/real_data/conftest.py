import json
import shutil
from pathlib import Path

import pytest
from PIL import Image


@pytest.fixture(scope="session")
def imagenet_one_per_class(real_data, tmp_path_factory) -> Path:
    """One ImageNet photograph per class to train on, as a folder dataset.

    Of the 300 validation images the first 100 by name are the split to choose on, the others are the test split.
    """
    source, target = real_data / "imagenet-one-per-class", tmp_path_factory.mktemp("imagenet")
    shutil.copytree(source / "train", target / "train")
    wnids = [line.split()[0] for line in (source / "synset_words.txt").read_text().splitlines()]
    labels, sizes, boxes = {}, {}, {}
    lists = source / "metadata" / "ILSVRC" / "val"
    for line in (lists / "class_labels.txt").read_text().splitlines():
        name, label = line.split(",")
        labels[name] = wnids[int(label)]
    for line in (lists / "image_sizes.txt").read_text().splitlines():
        name, width, height = line.split(",")
        sizes[name] = int(width), int(height)
    for line in (lists / "localization.txt").read_text().splitlines():
        name, *corners = line.split(",")
        # The boxes are of the original image, the file is that image squashed.
        with Image.open(source / name) as image:
            scale = [now / then for now, then in zip(image.size * 2, sizes[name] * 2)]
        x0, y0, x1, y1 = (int(corner) * factor for corner, factor in zip(corners, scale))
        boxes.setdefault(name, []).append([x0, y0, x1 - x0, y1 - y0])
    for position, name in enumerate(sorted(labels)):
        folder = target / ("validation" if position < 100 else "test")
        folder.mkdir(exist_ok=True)
        shutil.copy(source / name, folder)
        with open(folder / "metadata.jsonl", "a") as metadata:
            row = {"file_name": Path(name).name, "label": labels[name], "objects": {"bbox": boxes[name]}}
            metadata.write(json.dumps(row) + "\n")
    return target
