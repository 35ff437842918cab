"""What a training ran on, for its card."""

import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch


def describe_hardware(num_processes: int, device: torch.device) -> str:
    """`4 × NVIDIA H200`, or `2 cores of a CPU (its name)`: what this process runs on, and as many as there are processes."""
    if device.type == "cuda":
        return f"{num_processes} × {torch.cuda.get_device_name(device)}"
    if device.type != "cpu":
        return f"{num_processes} × {device.type}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores of a CPU ({_cpu_name()})"


def software_versions() -> dict[str, str]:
    """Of what decides how a training goes."""
    names = ("modeling_sat", "torch", "transformers", "datasets")
    return {"Python": platform.python_version()} | {name: version(name) for name in names}


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
