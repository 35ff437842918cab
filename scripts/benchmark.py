"""Methods against a plain ViT in one interleaved run: time of inference and of a training step, and peak memory.

python scripts/benchmark.py --model deit-s --batch_size 16 --rounds 15

`--methods sat cam ts_cam` compares more, `--backbone dinov2_with_registers` builds them on another family. Prints medians, the
ratios to the plain backbone with its classifier, and the share of the GPU's peak; a peer is a Python file with a function `build(num_labels)` that
returns a module and two functions, `infer(module, pixel_values)` and `loss(module, pixel_values, labels)`.

python scripts/benchmark.py --model deit-s --num_labels 200 --activation_memory

computes, without a GPU, the least memory that training SAT takes: what one forward pass keeps for the backward pass.
"""

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    PreTrainedConfig,
    ViTConfig,
    ViTForImageClassification,
)

from modeling_sat.methods import METHODS
from modeling_sat.models.backbone_wsol import FAMILIES


SIZES = {
    "deit-t": {"hidden_size": 192, "num_attention_heads": 3, "intermediate_size": 768},
    "deit-s": {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536},
    "deit-b": {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072},
}
PEAK_TFLOPS = {"H200": 989, "H100 80GB HBM3": 989, "A100": 312}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


class Contender(NamedTuple):
    module: torch.nn.Module
    infer: Callable
    loss: Callable


def backbone_config(arguments: argparse.Namespace) -> PreTrainedConfig:
    settings = {**SIZES[arguments.model], "num_labels": arguments.num_labels, "image_size": arguments.image_size}
    if arguments.backbone == "vit":
        return ViTConfig(**settings, layer_norm_eps=1e-6)
    if arguments.backbone.startswith("dinov2"):
        settings["mlp_ratio"] = settings.pop("intermediate_size") // settings["hidden_size"]
    return AutoConfig.for_model(arguments.backbone, num_hidden_layers=12, **settings)


def build(name: str, arguments: argparse.Namespace) -> Contender:
    torch.manual_seed(0)
    backbone = backbone_config(arguments)
    if name == "peer":
        spec = importlib.util.spec_from_file_location("peer", arguments.peer)
        peer = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(peer)
        contender = Contender(*peer.build(arguments.num_labels))
    else:
        if name == "plain":
            module = AutoModelForImageClassification.from_config(backbone)
        else:
            method = METHODS[name]
            module = method.model_class(method.config_class(backbone_config=backbone, num_labels=arguments.num_labels))
        module.set_attn_implementation("sdpa")
        contender = Contender(
            module,
            lambda module, pixel_values: module(pixel_values=pixel_values).logits,
            lambda module, pixel_values, labels: module(pixel_values=pixel_values, labels=labels).loss,
        )
    module = contender.module.to(arguments.device, DTYPES[arguments.dtype])
    return contender._replace(module=torch.compile(module) if arguments.compile else module)


class Step:
    """One step of a contender on the same random batch, by mode."""

    def __init__(self, contender: Contender, mode: str, arguments: argparse.Namespace):
        generator = torch.Generator().manual_seed(1)
        shape = (arguments.batch_size, 3, arguments.image_size, arguments.image_size)
        pixel_values = torch.randn(shape, generator=generator)
        self.pixel_values = pixel_values.to(arguments.device, DTYPES[arguments.dtype])
        self.labels = torch.randint(arguments.num_labels, (len(pixel_values),), generator=generator).to(
            arguments.device
        )
        self.contender = contender
        self.mode = mode
        self.device = arguments.device
        contender.module.train(mode == "training")
        if mode == "training":
            self.optimizer = torch.optim.AdamW(contender.module.parameters(), lr=1e-4)

    def run(self) -> float:
        """Seconds of one step."""
        started = time.perf_counter()
        module, infer, loss = self.contender
        if self.mode == "inference":
            with torch.inference_mode():
                infer(module, self.pixel_values)
        else:
            loss(module, self.pixel_values, self.labels).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started


def median_seconds(names: list[str], mode: str, arguments: argparse.Namespace) -> dict[str, float]:
    steps = {name: Step(build(name, arguments), mode, arguments) for name in names}
    for step in steps.values():
        step.run()
    seconds = {name: [] for name in names}
    for round_number in range(arguments.rounds):
        first = round_number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(steps[name].run())
        print(f"\r{mode}: round {round_number + 1} of {arguments.rounds}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_megabytes(name: str, mode: str, arguments: argparse.Namespace) -> float:
    """Peak memory of three steps in a process of its own: resident on the CPU, allocated on a GPU."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only_memory_of", name, mode]
    # glibc keeps freed tensors in its heap, a twentieth more or less by chance; mapped, they are given back.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    run = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return float(run.stdout.split()[-1])


def print_peak(name: str, mode: str, arguments: argparse.Namespace) -> None:
    step = Step(build(name, arguments), mode, arguments)
    for _ in range(3):
        step.run()
    if arguments.device == "cuda":
        print(torch.cuda.max_memory_allocated() / 2**20)
    else:
        print(peak_resident_megabytes())


def peak_resident_megabytes() -> float:
    """Of this process alone: what getrusage tells can be the peak of the process that started it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**10
    raise RuntimeError("/proc/self/status has no VmHWM; peak memory is measured on Linux only.")


def forward_tflop(arguments: argparse.Namespace) -> float:
    """TFLOP of a plain ViT's forward pass on one image, the work that every contender is credited with."""
    with torch.device("meta"):
        settings = {**SIZES[arguments.model], "num_labels": arguments.num_labels, "image_size": arguments.image_size}
        vit = ViTForImageClassification(ViTConfig(**settings))
        with FlopCounterMode(display=False) as counter:
            vit(torch.empty(1, 3, arguments.image_size, arguments.image_size))
    return counter.get_total_flops() / 1e12


def peak_tflops(arguments: argparse.Namespace) -> float | None:
    """The GPU's dense bfloat16 peak by its data sheet, where it is known and that is what is measured."""
    if arguments.device != "cuda" or arguments.dtype != "bfloat16":
        return None
    name = torch.cuda.get_device_name()
    return next((peak for known, peak in PEAK_TFLOPS.items() if known in name), None)


def saved_bytes(contender: Contender, batch_size: int, arguments: argparse.Namespace) -> int:
    """Bytes that a training step's forward pass keeps for its backward pass, each storage once, weights left out."""
    module, _, loss = contender
    weights = {tensor.untyped_storage().data_ptr() for tensor in (*module.parameters(), *module.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = tensor  # held, lest its address be given to another
        return tensor

    pixel_values = torch.randn(batch_size, 3, arguments.image_size, arguments.image_size, device=arguments.device)
    labels = torch.zeros(batch_size, dtype=torch.long, device=arguments.device)
    autocast = torch.autocast(arguments.device, torch.bfloat16, enabled=arguments.dtype == "bfloat16")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast:
        loss(module, pixel_values, labels)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def print_activation_memory(arguments: argparse.Namespace) -> None:
    """Of float32 weights; bfloat16 is autocast, as by train.py --bf16 true."""
    contender = build(
        arguments.methods[0], argparse.Namespace(**{**vars(arguments), "dtype": "float32", "compile": False})
    )
    contender.module.train()
    two, four = (saved_bytes(contender, images, arguments) for images in (2, 4))
    image = (four - two) / 2
    fixed = two - 2 * image
    weights = 16 * sum(parameter.numel() for parameter in contender.module.parameters())
    print(
        f"{arguments.methods[0]}, {arguments.model}, {arguments.num_labels} classes, {arguments.image_size} px, {arguments.dtype}:"
    )
    print(f"{image / 2**20:8.1f} MiB per image, saved for the backward pass")
    print(f"{weights / 2**20:8.1f} MiB of weights, gradients and AdamW's two moments")
    print(f"{fixed / 2**20:8.1f} MiB of what does not depend on the batch, such as weights in bfloat16")
    for images in (32, 64, 128, 256):
        print(f"{(fixed + weights + images * image) / 2**30:8.1f} GiB for {images} images")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="deit-s", choices=SIZES)
    parser.add_argument("--methods", nargs="+", default=["sat"], choices=METHODS)
    parser.add_argument("--backbone", default="vit", choices=[name for name in FAMILIES if name != "dinov3_vit"])
    parser.add_argument("--num_labels", type=int, default=1000)
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--dtype", default="float32", choices=DTYPES)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--peer", type=Path, help="Python file of a third model")
    parser.add_argument("--output", type=Path, help="also write the figures here as JSON")
    parser.add_argument("--activation_memory", action="store_true", help="compute what training keeps, and stop")
    parser.add_argument("--only_memory_of", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.activation_memory:
        print_activation_memory(arguments)
        return
    if arguments.only_memory_of:
        print_peak(*arguments.only_memory_of, arguments)
        return

    names = ["plain", *arguments.methods] + (["peer"] if arguments.peer else [])
    print(
        f"{arguments.backbone}, {arguments.model}, {arguments.num_labels} classes, {arguments.image_size} px, batch {arguments.batch_size}, "
        f"{arguments.dtype}, {arguments.device}, {'compiled' if arguments.compile else 'eager'}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, {arguments.rounds} interleaved rounds"
    )
    print(
        f"{'':<10}{'':<8}{'median s':>10}{'to plain':>9}{'images/s':>10}{'TFLOP/s':>9}{'of peak':>9}"
        f"{'peak MB':>10}{'to plain':>9}"
    )
    forward = forward_tflop(arguments)
    peak = peak_tflops(arguments)
    figures = {}
    for mode in ("inference", "training"):
        seconds = median_seconds(names, mode, arguments)
        memory = {name: peak_megabytes(name, mode, arguments) for name in names}
        for name in names:
            rate = arguments.batch_size / seconds[name]
            reached = rate * forward * (1 if mode == "inference" else 3)  # a backward pass is two forward passes
            share = f"{reached / peak:>9.1%}" if peak else f"{'–':>9}"
            print(
                f"{mode:<10}{name:<8}{seconds[name]:>10.4f}{seconds[name] / seconds['plain']:>9.3f}{rate:>10.1f}"
                f"{reached:>9.2f}{share}{memory[name]:>10.0f}{memory[name] / memory['plain']:>9.3f}"
            )
        if arguments.peer:
            first = arguments.methods[0]
            print(f"{mode:<10}{first} to peer: time {seconds[first] / seconds['peer']:.3f}")
        figures[mode] = {"seconds": seconds, "peak_megabytes": memory}
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
