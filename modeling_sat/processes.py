"""The processes that a launcher started: they work together, or one works, or it is said why they cannot."""

import os

import torch
from accelerate import Accelerator
from accelerate.utils import get_int_from_env

from .sentences import first_line


_WORLD_SIZE = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
_RANK = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK", "LOCAL_RANK")
_HERE = ("LOCAL_WORLD_SIZE", "MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE")
"""What torchrun, `accelerate launch` and the implementations of MPI set, as accelerate reads it."""
_MEETING_POINT = ("MASTER_ADDR", "MASTER_PORT", "GROUP_RANK", "GROUP_WORLD_SIZE")


class ProcessError(ValueError):
    """The processes that were started cannot work together; the message says why."""


def start_accelerator(mixed_precision: str | None = None) -> Accelerator:
    """An accelerator of all processes that were started; where there is no GPU they meet on the CPU.

    Args:
        mixed_precision: `no`, `fp16` or `bf16`; None: what `accelerate launch` says.

    Raises:
        ProcessError: they do not find each other, or this machine does not have what was asked for.
    """
    try:
        accelerator = Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision=mixed_precision)
    except (ValueError, RuntimeError, ImportError, KeyError) as error:
        reason = first_line(error)
        raise ProcessError(
            f"This machine does not have what accelerate's configuration or command line asks for: {reason}. `accelerate "
            "config` changes the first, --mixed_precision and --num_processes the second."
        ) from error
    check_processes(accelerator.num_processes, accelerator.device)
    return accelerator


def check_processes(connected: int, device: torch.device) -> None:
    """Makes sure that the processes that were started are one run, and do not share a GPU.

    Args:
        connected: how many know of each other.
        device: that this one works on.

    Raises:
        ProcessError: there are more, or more than GPUs.
    """
    started = started_processes()
    here = get_int_from_env(_HERE, started)
    remedy = "Start one process (accelerate launch --num_processes 1, or python alone)"
    if device.type != "cpu" and here > torch.accelerator.device_count():
        count = torch.accelerator.device_count()
        raise ProcessError(
            f"{here} processes were started on a machine that shows {count} GPU{'s' * (count != 1)}, and each needs one "
            f"of its own. {remedy}, as many as there are GPUs, or let them use the CPU (ACCELERATE_USE_CPU=true)."
        )
    if started > connected:
        raise ProcessError(f"{started} processes were started, and they do not know of each other. {remedy}.")


def started_processes() -> int:
    """How many processes the launcher says that it started, 1 without one."""
    return max(1, get_int_from_env(_WORLD_SIZE, 1))


def continues_alone() -> bool:
    """For a script whose work is that of one process: whether this one is to do it; the others of a launcher end.

    The launcher's variables go, or what this one starts or calls would wait for the others.
    """
    is_the_one = get_int_from_env(_RANK, 0) == 0 or started_processes() == 1
    for name in list(os.environ):
        if name in (*_WORLD_SIZE, *_RANK, *_HERE, *_MEETING_POINT) or name.startswith(
            ("TORCHELASTIC_", "ROLE_", "OMPI_COMM_WORLD_")
        ):
            del os.environ[name]
    return is_the_one


def are_connected() -> bool:
    """Whether this process is one of several that know of each other."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def is_first() -> bool:
    """Whether it is the one of them that writes, or the only one."""
    return not are_connected() or torch.distributed.get_rank() == 0
