"""Trains and evaluates runs, several at once, each as its own processes; what is done is not done again."""

import json
import math
import os
import queue
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers.trainer import TRAINER_STATE_NAME
from transformers.utils import SAFE_WEIGHTS_NAME

from ..checkpoints.evaluated_data import DATA_OPTIONS
from ..checkpoints.run_record import RUN_FILE, RunRecord, SessionRecord
from ..evaluation.result import METRICS_FILE, EvaluationResult
from ..inference.forward_time import seconds_per_image
from ..output.files import read_json
from ..training.arguments import ConfigurationError
from .recipes import Run
from .results import Measure, Outcome


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; the children have ended."""


class RunFailed(RuntimeError):
    """One of a run's commands failed, for the reason that it gave."""


def commands(run: Run, scripts: Path, evaluate_options: Sequence[str] = ()) -> list[list[str]]:
    """What is left of a run: training and evaluation, evaluation alone, or nothing.

    Args:
        scripts: the folder of train.py and evaluate.py.
        evaluate_options: of evaluate.py, besides those that follow from the run's fields.
    """
    if (run.evaluation / METRICS_FILE).is_file():
        return []
    model, fields = run.folder / "model", run.fields
    train = [sys.executable, str(scripts / "train.py"), "--config", str(run.config)]
    evaluate = [
        sys.executable, str(scripts / "evaluate.py"), "--model", str(model), "--output_dir", str(run.evaluation)
    ]  # fmt: skip
    evaluate += [*_evaluation_fields(fields), *evaluate_options]
    return [evaluate] if (model / TRAINER_STATE_NAME).is_file() else [train, evaluate]


def _evaluation_fields(fields: Mapping[str, Any]) -> list[str]:
    names = {
        name: name for name in ("dataset", "data_dir", *DATA_OPTIONS, "protocol", "view") if name != "allow_partial"
    }
    names |= {"per_device_eval_batch_size": "batch_size", "dataloader_num_workers": "num_workers"}
    options = []
    for name, option in names.items():
        value = fields.get(name)
        if value is not None:
            values = value if isinstance(value, list) else [json.dumps(value) if isinstance(value, dict) else value]
            options += [f"--{option}", *map(str, values)]
    if fields.get("allow_partial"):
        options += ["--allow_partial"]
    precision = next((name for name in ("bf16", "fp16") if fields.get(name)), None)
    return options + (["--mixed_precision", precision] if precision else [])


def read_outcome(run: Run, measure: Measure | None = None) -> Outcome:
    """What a finished run measured.

    Raises:
        EvaluationResultError, RunRecordError, ConfigurationError: a file that it left cannot be read.
    """
    result = EvaluationResult.load(run.evaluation)
    model = run.folder / "model"
    record = RunRecord.load(model / RUN_FILE, partial=True) if (model / RUN_FILE).is_file() else RunRecord()
    metrics = dict(result.metrics)
    deltas = [metrics[name] for name in ("box_acc_30", "box_acc_50", "box_acc_70") if name in metrics]
    if deltas:
        metrics["box_acc_mean"] = sum(deltas) / len(deltas)
    further = {"median_iou_of_correct": result.median_iou_of_correct, "frozen_rate": record.frozen_rate}
    metrics |= {name: value for name, value in further.items() if value is not None}
    # One number of a constant box is its accuracy at an overlap of one half.
    constants = {name: {"gt_known_loc": value} for name, value in result.constant_box_baselines.items()}
    for name, values in result.constant_map_baselines.items():
        constants[name] = {metric: values[metric] for metric in ("pxap", "piou")}
    outcome = Outcome(
        metrics, constants, run.evaluation, result.threshold,
        threshold_source=result.threshold_source, protocol=result.protocol,
        cropped=None if result.view is None else result.view["crop"] is not None,
        ten_crop=result.ten_crop, steps=_steps(model), images=record.training_images,
        costs=costs_of(run, record),
    )  # fmt: skip
    return outcome if measure is None else replace(outcome, metrics={**metrics, **measure(outcome)})


def costs_of(run: Run, record: RunRecord) -> dict[str, float]:
    """What is known of `costs.COSTS`; of runs that did not record parameters and steps, what their files say.

    Raises:
        ValueError: a file cannot be read.
    """
    parameters, session = record.parameters, record.session or SessionRecord()
    if parameters is None:
        parameters = _count(run.folder / "model" / SAFE_WEIGHTS_NAME)
    step = session.seconds_per_step
    if step is None and session.seconds is not None and run.fields.get("eval_strategy") == "no":
        step = session.seconds / max(1, (_steps(run.folder / "model") or 0) - session.from_step)
    costs = {
        "parameters": parameters,
        "training_images": record.training_images,
        "seconds_per_step": step,
        "seconds_per_image": seconds_per_image(run.evaluation),
    }
    if None not in (parameters, record.frozen_rate):
        costs["trained_parameters"] = round(parameters * (1 - record.frozen_rate))
    return {name: value for name, value in costs.items() if value is not None}


def _count(weights: Path) -> int | None:
    """The numbers in a file of weights, by its head alone."""
    if not weights.is_file():
        return None
    try:
        with safe_open(weights, "pt") as file:
            return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    except SafetensorError as error:
        raise ConfigurationError(f"{weights} cannot be read ({error}); remove {weights.parent}.") from error


def _steps(model: Path) -> int | None:
    state = model / TRAINER_STATE_NAME
    try:
        return read_json(state).get("global_step") if state.is_file() else None
    except ValueError as error:
        raise ConfigurationError(f"{state} cannot be read ({error}); remove {model.parent}.") from error


def print_line(line: str) -> None:
    """In one piece: `print` writes a line and its end apart, between which another thread's line can come."""
    print(f"{line}\n", end="", flush=True)


class Runner:
    """Trains and evaluates runs.

    Args:
        scripts: the folder of train.py and evaluate.py.
        jobs: runs at once; None: one for each GPU, or else for each CPU core.
        evaluate_options: see `commands`.
    """

    def __init__(self, scripts: Path, jobs: int | None = None, evaluate_options: Sequence[str] = ()):
        self.scripts, self.evaluate_options = scripts, evaluate_options
        self.gpus = visible_gpus()
        self.jobs = jobs or len(self.gpus) or _cores()
        self._children: set[subprocess.Popen] = set()
        self._lock, self._stopping = threading.Lock(), threading.Event()

    def run(self, runs: Sequence[Run], say: Callable[[str], None] = print_line) -> dict[Path, str]:
        """Trains and evaluates what is left; a run that fails does not stop the others.

        Returns:
            Folder of each failed run → why.

        Raises:
            Stopped: by Ctrl-C or SIGTERM; the same command continues later.
        """
        todo = [run for run in runs if commands(run, self.scripts)]
        done, failed, begun = len(runs) - len(todo), {}, time.monotonic()
        if done:
            say(f"{done} of {len(runs)} runs are there already.")
        devices: queue.Queue[str | None] = queue.Queue()
        for index in range(self.jobs):
            devices.put(self.gpus[index % len(self.gpus)] if self.gpus else None)
        earlier = _on_terminate(_interrupt)
        pool = ThreadPoolExecutor(self.jobs)
        try:
            running = {pool.submit(self._run_on, devices, run, say): run for run in todo}
            for count, future in enumerate(as_completed(running), 1):
                run, error = running[future], future.exception()
                if error is not None:
                    failed[run.folder] = f"{error}" if isinstance(error, RunFailed) else f"{error!r}"
                seconds = (time.monotonic() - begun) / count * (len(todo) - count)
                left = f", {_duration(seconds)} left" if count < len(todo) else ""
                word = f"failed: {failed[run.folder]}" if error else "done"
                say(f"[{done + count}/{len(runs)}{left}] {_name(run)} {word}")
        except KeyboardInterrupt as interrupt:
            self._stop()
            raise Stopped from interrupt
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
            if earlier is not None:
                signal.signal(signal.SIGTERM, earlier)
        return failed

    def _run_on(self, devices: queue.Queue, run: Run, say: Callable[[str], None]) -> None:
        device = devices.get()
        try:
            if self._stopping.is_set():
                return
            say(f"{_name(run)} starts" + ("" if device is None else f" on GPU {device}"))
            environment = dict(os.environ)
            if device is None:
                environment["OMP_NUM_THREADS"] = "1"
            else:
                environment["CUDA_VISIBLE_DEVICES"] = device
            for command in commands(run, self.scripts, self.evaluate_options):
                self._call(command, run.folder / "log.txt", environment)
            for checkpoint in (run.folder / "model").glob("checkpoint-*"):
                shutil.rmtree(checkpoint)
        finally:
            devices.put(device)

    def _call(self, command: list[str], log: Path, environment: dict[str, str]) -> None:
        with log.open("a") as file:
            file.write(f"$ {shlex.join(command)}\n")
            file.flush()
            start = file.tell()
            with self._lock:
                if self._stopping.is_set():
                    raise RunFailed("stopped")
                child = subprocess.Popen(
                    command, stdout=file, stderr=subprocess.STDOUT, env=environment, start_new_session=True
                )
                self._children.add(child)
            status = child.wait()
        with self._lock:
            self._children.discard(child)
        if status:
            with log.open(errors="replace") as file:
                file.seek(start)
                lines = [line.strip() for line in file if line.strip()]
            errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
            raise RunFailed((errors or lines or [f"exit status {status}"])[-1])

    def _stop(self) -> None:
        """Ends the children with their own children; after ten seconds by force."""
        with self._lock:
            self._stopping.set()
            children = list(self._children)
        for number in (signal.SIGTERM, signal.SIGKILL):
            for child in children:
                if child.poll() is None:
                    with suppress(ProcessLookupError):
                        os.killpg(child.pid, number)
            deadline = time.monotonic() + 10
            while any(child.poll() is None for child in children) and time.monotonic() < deadline:
                time.sleep(0.1)


def visible_gpus() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    return named.split(",")[:count] if named else [str(index) for index in range(count)]


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _on_terminate(handler: Callable) -> Any:
    """Sets the handler of SIGTERM where that is possible, in the main thread; gives the earlier one."""
    in_main = threading.current_thread() is threading.main_thread()
    return signal.signal(signal.SIGTERM, handler) if in_main else None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _name(run: Run) -> str:
    return "/".join(run.folder.parts[-3:])


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 90 else f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
