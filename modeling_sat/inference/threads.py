"""How many CPU threads a process takes."""

import os

import torch


def use_idle_cores() -> None:
    """Shares the machine's cores among the processes of `accelerate launch` where it gave each a single thread.

    Its default, OMP_NUM_THREADS=1, is right for processes that feed GPUs; on the CPU it leaves cores idle. Any other
    number, set by `--num_cpu_threads_per_process` or in the environment, stays.
    """
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ
    if launched and os.environ.get("OMP_NUM_THREADS") == "1" and not torch.cuda.is_available():
        # Cores that this process may use, where the system tells; all of the machine's elsewhere.
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
