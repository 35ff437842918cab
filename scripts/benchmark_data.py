"""Measures how fast data come in: images per second of the training input, and the listing of a tree of ImageNet's shape.

python scripts/benchmark_data.py input
python scripts/benchmark_data.py listing
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import datasets
import numpy as np
import torch
from PIL import Image, ImageFilter
from torch.utils.data import DataLoader
from transformers import ViTImageProcessor

from modeling_sat import SATImageProcessor
from modeling_sat.data import load_wsol_dataset
from modeling_sat.data.views import PixelScaling, TrainingView
from modeling_sat.training import SATTrainingArguments
from modeling_sat.training.batches import TrainingBatches
from modeling_sat.training.run import collate


IMAGENET_CLASSES, IMAGENET_IMAGES = 1000, 1_281_167


def write_photographs(folder: Path, count: int) -> None:
    """Smooth colours with some grain as JPEGs of 500×375 pixels, about 60 kB each, in two class folders."""
    generator = np.random.default_rng(0)
    for number in range(count):
        coarse = Image.fromarray(generator.integers(0, 256, (47, 63, 3), dtype=np.uint8)).resize((500, 375))
        grain = Image.fromarray(generator.integers(0, 256, (375, 500, 3), dtype=np.uint8))
        image = Image.blend(coarse, grain.filter(ImageFilter.GaussianBlur(1)), 0.3)
        path = folder / f"class{number % 2}" / f"{number:05}.jpg"
        path.parent.mkdir(exist_ok=True)
        image.save(path, quality=90)


def loaders(folder: Path, num_workers: int, batch_size: int) -> dict[str, DataLoader]:
    """Our training input, and 🤗 Datasets with ViT's own image processor, which neither crops nor flips."""
    table = load_wsol_dataset("folder", folder, "train")
    vit = ViTImageProcessor()

    def processed(batch):
        return {**vit(batch["image"], return_tensors="pt"), "labels": batch["label"]}

    def collate_vit(rows):
        return {
            "pixel_values": torch.stack([row["pixel_values"] for row in rows]),
            "labels": torch.tensor([row["labels"] for row in rows]),
        }

    settings = {"num_workers": num_workers, "persistent_workers": True}
    plain = table.select_columns(["image", "label"]).with_transform(processed)
    ours = TrainingView((256, 256), (224, 224)).of(table)
    return {
        "SAT training view": DataLoader(
            ours, batch_sampler=TrainingBatches(len(ours), batch_size), collate_fn=collate, **settings
        ),
        "datasets + ViTImageProcessor": DataLoader(plain, batch_size, collate_fn=collate_vit, **settings),
    }


def measure_input(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(1)
    scaling = PixelScaling(SATImageProcessor())

    def scale(pixels: torch.Tensor) -> torch.Tensor:
        return scaling(pixels) if pixels.dtype == torch.uint8 else pixels

    with tempfile.TemporaryDirectory() as folder:
        write_photographs(Path(folder), arguments.images)
        rates: dict[str, list[float]] = {}
        sources = loaders(Path(folder), arguments.workers, SATTrainingArguments.per_device_train_batch_size)
        for round_number in range(arguments.rounds + 1):
            for name, loader in sources.items():
                started = time.perf_counter()
                seen = sum(len(scale(batch["pixel_values"])) for batch in loader)
                if round_number:  # the first starts the workers
                    rates.setdefault(name, []).append(seen / (time.perf_counter() - started))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        print(
            f"{name:32} {rate:8.1f} images/s  (median of {arguments.rounds} interleaved rounds, {arguments.workers} workers)"
        )
    ours, plain = medians.values()
    print(f"ratio {ours / plain:.2f}")


def write_tree(folder: Path, images: int) -> None:
    """Empty files in as many class folders as ImageNet has."""
    for number in range(IMAGENET_CLASSES):
        wnid = f"n{10_000_000 + number}"
        (folder / "train" / wnid).mkdir(parents=True)
        for index in range(number, images, IMAGENET_CLASSES):
            os.close(os.open(folder / "train" / wnid / f"{wnid}_{index}.JPEG", os.O_CREAT | os.O_WRONLY))


def list_once(folder: str) -> None:
    started = time.perf_counter()
    table = load_wsol_dataset("imagenet", folder, "train", allow_partial=True)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(table):,} images, {seconds:.1f} s, peak memory {peak:.2f} GiB", flush=True)


def measure_listing(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as cache:
        write_tree(Path(folder), arguments.images)
        environment = os.environ | {"HF_DATASETS_CACHE": cache}
        for name in ("first time", "from cache"):
            print(f"{name}: ", end="", flush=True)
            subprocess.run([sys.executable, __file__, "list-once", folder], env=environment, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("input", help="images per second against datasets with ViT's processor")
    command.add_argument("--images", type=int, default=2048)
    command.add_argument("--workers", type=int, default=2)
    command.add_argument("--rounds", type=int, default=5)
    command.set_defaults(run=measure_input)
    command = commands.add_parser("listing", help="seconds and memory to open a tree of empty files")
    command.add_argument("--images", type=int, default=IMAGENET_IMAGES)
    command.set_defaults(run=measure_listing)
    command = commands.add_parser("list-once")
    command.add_argument("folder")
    command.set_defaults(run=lambda arguments: list_once(arguments.folder))
    arguments = parser.parse_args()
    datasets.disable_progress_bars()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
