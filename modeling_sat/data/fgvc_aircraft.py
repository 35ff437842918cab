"""`fgvc_aircraft`: FGVC-Aircraft, 100 variants of aircraft with a box each, without the banner below each image."""

import warnings
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import datasets
from PIL import Image

from .lists import image_paths, read_rows, require_known, require_same_keys, unique
from .paths import benchmark_root, require
from .schema import Benchmark, Example, Split, UprightImage
from .wsol_metadata import read_wsol_metadata


BANNER_HEIGHT = 20
PUBLISHED_COUNTS = {"train": 3334, "validation": 3333, "test": 3333}


@dataclass
class BannerlessImage(UprightImage):
    """An image without its lowest 20 pixels, which name its photographer."""

    _type: str = field(default="BannerlessImage", init=False, repr=False)

    def decode_example(self, value: dict, token_per_repo_id: dict | None = None) -> Image.Image:
        image = super().decode_example(value, token_per_repo_id)
        return image.crop((0, 0, image.width, image.height - BANNER_HEIGHT))


with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that this is experimental
    datasets.features.features.register_feature(BannerlessImage, "BannerlessImage")


def read_fgvc_aircraft(
    data_dir: str | Path | None, *, train_on_validation: bool = False, metadata_dir: str | None = None
) -> Benchmark:
    """Reads `images_variant_{train,val,test}.txt`, `variants.txt`, `images_box.txt` and `images/` of the archive.

    Images come without the banner of 20 pixels at their bottom. Boxes have the numbers of the file, by which the
    authors of SAT evaluate (`DataLoader/Fgvc_aircraft_2013b.py:12-19`); there the first pixel is 1.

    Args:
        data_dir: the folder `fgvc-aircraft-2013b`, its `data`, or one that holds it.
        train_on_validation: add the official validation images to train, as the authors of SAT do.
        metadata_dir: read the splits of these list files, in the form of wsolevaluation, instead.

    Raises:
        DatasetError: a file of the layout is absent, a line of it unreadable, or the files do not fit one another.
    """
    root = benchmark_root(
        "fgvc_aircraft", data_dir, marker="images_box.txt", folders=["data", "fgvc-aircraft-2013b/data"]
    )
    variants = [row[0] for row in read_rows(require(root, "variants.txt", "fgvc_aircraft"), root, {"variant": str})]
    if metadata_dir is not None:
        listed = read_wsol_metadata("fgvc_aircraft", root, metadata_dir, ("images", "."), variants)
        return replace(listed, image_feature=BannerlessImage(mode="RGB"))
    read = partial(_read, root, variants)
    if train_on_validation:
        splits = {"train": partial(read, "train", "val"), "test": partial(read, "test")}
        counts = PUBLISHED_COUNTS | {"train": PUBLISHED_COUNTS["train"] + PUBLISHED_COUNTS["validation"]}
    else:
        splits = {"train": partial(read, "train"), "validation": partial(read, "val"), "test": partial(read, "test")}
        counts = PUBLISHED_COUNTS
    return Benchmark(variants, splits, counts, boxes_as_published=True, image_feature=BannerlessImage(mode="RGB"))


def _read(root: Path, variants: list[str], *lists: str) -> Split:
    boxes_file = root / "images_box.txt"
    columns = {"image": str, "x_min": float, "y_min": float, "x_max": float, "y_max": float}
    boxes = unique(read_rows(boxes_file, root, columns), boxes_file, root)
    examples = []
    for name in lists:
        file = require(root, f"images_variant_{name}.txt", "fgvc_aircraft")
        labels = unique(read_rows(file, root, {"image": str, "variant": str}), file, root)
        require_known(labels.values(), variants, file, root, "variants.txt")
        require_same_keys(
            {file.name: labels, boxes_file.name: {image: boxes[image] for image in labels if image in boxes}}
        )
        paths = image_paths(root / "images", [f"{image}.jpg" for image in labels], file)
        examples += [
            Example(path, f"{image}.jpg", variants.index(variant), [boxes[image]])
            for path, (image, variant) in zip(paths, labels.items(), strict=True)
        ]
    return Split(examples)
