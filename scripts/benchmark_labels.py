"""Measures auto-labelling from image files to a file of boxes: images per second, end to end, without pictures.

python scripts/benchmark_labels.py --model outputs/deit-tiny --images photographs --num_images 500 --rounds 5

Several `--model`, such as a checkpoint and its ONNX folder, take turns; so does the first of them in bfloat16. `--grad_cam` (needs `pip install grad-cam`) lets GradCAM of pytorch-grad-cam label the same files in turn, with the
plain ViT of the same checkpoint: the model's own class, the normalized input of the last layer as target, batches of
`--peer_batch_size`, and the box of the largest component above a threshold. Every round begins with loading.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from transformers import AutoImageProcessor, ViTForImageClassification

from modeling_sat.checkpoints import CheckpointError
from modeling_sat.labelling.image_files import ImageFiles, PredictionError
from modeling_sat.labelling.predict import predict_images
from modeling_sat.models.image_conversion_sat import read_image


PEER = "grad-cam"


def label_with_sat(
    model: str, paths: Sequence[Path], output_dir: Path, batch_size: int, mixed_precision: str = "no"
) -> None:
    try:
        predict_images(
            model, paths, output_dir, batch_size=batch_size, mixed_precision=mixed_precision, draw_overlays=False
        )
    finally:  # accelerate keeps the precision of the first that asks
        PartialState._reset_state()
        AcceleratorState._reset_state()


class Scores(torch.nn.Module):
    """A ViT that returns its logits (batch, classes), as GradCAM wants them."""

    def __init__(self, vit: ViTForImageClassification):
        super().__init__()
        self.vit = vit

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.vit(pixel_values).logits


def label_with_grad_cam(model: str, paths: Sequence[Path], output_dir: Path, batch_size: int) -> None:
    from pytorch_grad_cam import GradCAM

    device = "cuda" if torch.cuda.is_available() else "cpu"
    processor = AutoImageProcessor.from_pretrained(model)
    vit = ViTForImageClassification.from_pretrained(model).to(device).eval()

    def as_grid(tokens: torch.Tensor) -> torch.Tensor:
        side = math.isqrt(tokens.shape[1] - 1)
        return tokens[:, 1:].unflatten(1, (side, side)).permute(0, 3, 1, 2)  # (batch, hidden, h, w)

    target_layers = [vit.vit.layers[-1].layernorm_before]
    output_dir.mkdir()
    with (
        GradCAM(model=Scores(vit), target_layers=target_layers, reshape_transform=as_grid) as grad_cam,
        open(output_dir / "predictions.jsonl", "w") as lines,
    ):
        for start in range(0, len(paths), batch_size):
            batch = paths[start : start + batch_size]
            images = [read_image(path) for path in batch]
            pixel_values = processor(images=images, return_tensors="pt")["pixel_values"].to(device)
            maps = grad_cam(input_tensor=pixel_values, targets=None)  # (batch, height, width) in [0, 1]
            scores, labels = grad_cam.outputs.detach().cpu().softmax(dim=-1).max(dim=-1)
            for path, image, class_map, label, score in zip(batch, images, maps, labels.tolist(), scores.tolist()):
                found = {"label": label, "score": score, "box": largest_box(class_map, image.size)}
                lines.write(json.dumps({"image": str(path), "objects": [found]}) + "\n")


def largest_box(class_map: np.ndarray, size: tuple[int, int], threshold: float = 0.4) -> list[float]:
    """The box of the largest component of a map (height, width), in pixels of an image of (width, height) `size`."""
    foreground = (class_map > threshold).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(foreground, connectivity=8)
    if len(stats) == 1:
        return [0.0, 0.0, float(size[0]), float(size[1])]
    x, y, width, height = stats[1:][stats[1:, cv2.CC_STAT_AREA].argmax(), :4]
    across, down = size[0] / class_map.shape[1], size[1] / class_map.shape[0]
    return [x * across, y * down, (x + width) * across, (y + height) * down]


def seconds(label: Callable, paths: Sequence[Path]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        label(paths=paths, output_dir=Path(folder) / "boxes")
        ended = time.perf_counter()
        written = len((Path(folder) / "boxes" / "predictions.jsonl").read_text().splitlines())
    if written != len(paths):
        sys.exit(f"error: {written} of {len(paths)} images got boxes; give images that can all be read.")
    return ended - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", required=True, nargs="+", help="SAT checkpoints; GradCAM needs classifier=class_token of the first"
    )
    parser.add_argument("--images", required=True, nargs="+", help="image files, and folders searched at any depth")
    parser.add_argument("--num_images", type=int, default=500, help="the first ones by path; default: 500")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--grad_cam", action="store_true", help="pytorch-grad-cam takes turns")
    parser.add_argument("--peer_batch_size", type=int, default=16)
    arguments = parser.parse_args()

    first = arguments.model[0]
    ours = partial(label_with_sat, batch_size=arguments.batch_size)
    contenders = {model: partial(ours, model) for model in arguments.model}
    contenders[f"{first}, bf16"] = partial(ours, first, mixed_precision="bf16")
    if arguments.grad_cam:
        contenders[PEER] = partial(label_with_grad_cam, first, batch_size=arguments.peer_batch_size)
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    try:
        paths = list(islice(ImageFiles.find(arguments.images).paths, arguments.num_images))
        for label in contenders.values():
            seconds(label, paths[:32])
        for number in range(arguments.rounds):
            for name in list(contenders)[:: 1 if number % 2 else -1]:
                rates[name].append(len(paths) / seconds(contenders[name], paths))
    except (CheckpointError, PredictionError) as error:
        sys.exit(f"error: {error}")
    except ImportError as error:
        sys.exit(f"error: --grad_cam needs pytorch-grad-cam, but {error}. pip install grad-cam brings it.")
    print(
        f"{len(paths)} images, {torch.get_num_threads()} threads, torch {torch.__version__}, {arguments.rounds} rounds"
    )
    for name, each in rates.items():
        text = f"{statistics.median(each):>8.1f} images/s  {name}"
        if arguments.grad_cam and name != PEER:
            ratios = [rate / peer for rate, peer in zip(each, rates[PEER])]
            text += f": {statistics.median(ratios):.2f}x {PEER} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(text)


if __name__ == "__main__":
    main()
