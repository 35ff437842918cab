"""Trackers (TensorBoard, Weights & Biases, …) that may fail without ending a training, and pictures for them."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from PIL import Image
from transformers.integrations import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations
from transformers.trainer_callback import CallbackHandler

from ..sentences import did_you_mean


class UnknownTrackerError(ValueError):
    """`report_to` names a tracker that transformers does not know."""


def usable_trackers(report_to: str | list[str] | None) -> list[str]:
    """The trackers of `report_to` that can be used here; a warning says why another cannot.

    Args:
        report_to: names, "all" for those that are installed, or "none".

    Raises:
        UnknownTrackerError: no such tracker, with the nearest that there is.
    """
    names = [report_to] if isinstance(report_to, str) else list(report_to or [])
    if names in (["all"], ["none"]):
        names = get_available_reporting_integrations() if names == ["all"] else []
    usable = []
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            hint = did_you_mean(name, INTEGRATION_TO_CALLBACK, f"There are {', '.join(INTEGRATION_TO_CALLBACK)}.")
            raise UnknownTrackerError(f"report_to has {name!r}, which is not a tracker. {hint}")
        try:
            INTEGRATION_TO_CALLBACK[name]()
            usable.append(name)
        except Exception as error:  # each tracker fails in its own way
            warnings.warn(f"Nothing is reported to {name}: {error}", stacklevel=2)
    return usable


class TolerantTracker:
    """A tracker's callback whose first failure is a warning and its last call."""

    def __init__(self, name: str, tracker: Any):
        self.name = name
        self.tracker = tracker
        self.failed = False

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self.tracker, attribute)
        return partial(self.attempt, value) if attribute.startswith("on_") else value

    def attempt(self, event: Callable, *args, **kwargs) -> Any:
        if self.failed:
            return None
        try:
            return event(*args, **kwargs)
        except Exception as error:  # each tracker fails in its own way
            self.failed = True
            warnings.warn(
                f"{self.name} cannot be reached ({type(error).__name__}: {error}). Training continues without it; the "
                "log is in trainer_state.json.",
                stacklevel=2,
            )
            return None

    def show(self, picture: Image.Image, step: int) -> None:
        if self.name in _SHOW:
            self.attempt(_SHOW[self.name], self.tracker, picture, step)


def tolerate_failures(handler: CallbackHandler, names: list[str]) -> list[TolerantTracker]:
    """Wraps the callbacks of the trackers `names`, and returns them."""
    of_class = {INTEGRATION_TO_CALLBACK[name]: name for name in names}
    handler.callbacks = [
        TolerantTracker(of_class[type(callback)], callback) if type(callback) in of_class else callback
        for callback in handler.callbacks
    ]
    return [callback for callback in handler.callbacks if isinstance(callback, TolerantTracker)]


def _show_in_tensorboard(tracker: Any, picture: Image.Image, step: int) -> None:
    if tracker.tb_writer is not None:
        tracker.tb_writer.add_image("eval/maps", np.asarray(picture), step, dataformats="HWC")


def _show_in_wandb(tracker: Any, picture: Image.Image, step: int) -> None:
    tracker._wandb.log({"eval/maps": tracker._wandb.Image(picture), "train/global_step": step})


def _show_in_trackio(tracker: Any, picture: Image.Image, step: int) -> None:
    tracker._trackio.log({"eval/maps": tracker._trackio.Image(picture), "train/global_step": step})


_SHOW = {"tensorboard": _show_in_tensorboard, "wandb": _show_in_wandb, "trackio": _show_in_trackio}
"""How a tracker is shown a picture; one is a function and a line. Pictures are in the run's folder in any case."""
