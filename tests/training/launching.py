"""train.py in processes of their own, as a launcher starts them, without the seconds that imports take each time."""

import contextlib
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import torch


TRAIN = Path(__file__).parents[2] / "scripts" / "train.py"
TINY = [
    "--dataset", "shapes", "--dataset_options", '{"num_train": 37, "num_validation": 8}', "--image_size", "64",
    "--patch_size", "16", "--hidden_size", "24", "--intermediate_size", "48", "--num_hidden_layers", "2",
    "--num_attention_heads", "2", "--num_spatial_layers", "1", "--report_to", "none", "--disable_tqdm", "true",
    "--use_cpu", "true",
]  # fmt: skip
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(
    ["modeling_sat.training.run", "modeling_sat.inference.evaluate", "torch.utils.tensorboard"]
)


@dataclass
class Launched:
    """Processes of one training that have been started."""

    processes: list
    log: Path
    exit_codes: list[int | None] = field(default_factory=list)

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def running(self) -> bool:
        return any(process.exitcode is None for process in self.processes)

    def kill(self) -> None:
        """SIGKILL to every process and to those that they started."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for process in self.processes:
            process.join(10)

    def wait(self, seconds: float = 150) -> "Launched":
        deadline = time.monotonic() + seconds
        while self.running and all(process.exitcode in (None, 0) for process in self.processes):
            if time.monotonic() > deadline:
                self.kill()
                raise TimeoutError(f"train.py did not end in {seconds} seconds:\n{self.output[-3000:]}")
            time.sleep(0.02)
        self.processes[0].join(3)  # where one fails, the launcher ends the others
        self.exit_codes = [process.exitcode for process in self.processes]
        self.kill()
        return self


def start(*arguments, processes: int = 1, before: Callable | None = None, environment: dict | None = None) -> Launched:
    """Starts `train.py arguments` in each of so many processes, after calling `before` there.

    Args:
        before: of the top level of a module.
        environment: variables to set besides.
    """
    log = Path(tempfile.mkstemp(suffix=".log", dir=_logs().name)[1])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(processes):
        variables = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **(environment or {})}
        if processes > 1:
            variables |= {
                "RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes,
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port,
            }  # fmt: skip
        variables = {name: str(value) for name, value in variables.items()}
        argv = [str(TRAIN), *(str(argument) for argument in arguments)]
        process = _SERVER.Process(target=_run, args=(argv, str(log), variables, before))
        process.start()
        started.append(process)
    return Launched(started, log)


def train(*arguments, **settings) -> Launched:
    """`start`, and waits for the end."""
    return start(*arguments, **settings).wait()


def trained(*arguments, **settings) -> str:
    """The output of a training that must succeed."""
    finished = train(*arguments, **settings)
    assert set(finished.exit_codes) == {0}, finished.output[-3000:]
    return finished.output


def refused(*arguments, **settings) -> str:
    """The output of a training that must end in a sentence."""
    finished = train(*arguments, **settings)
    assert 1 in finished.exit_codes, finished.output[-3000:]
    assert "Traceback" not in finished.output
    assert "error: " in finished.output
    return finished.output


@cache
def _logs() -> tempfile.TemporaryDirectory:
    return tempfile.TemporaryDirectory()


def _run(argv: list[str], log: str, variables: dict[str, str], before: Callable | None) -> None:
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.environ.update(variables)
    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # as in a process of a user, not this server's
    sys.argv = argv
    if before is not None:
        before()
    runpy.run_path(argv[0], run_name="__main__")
