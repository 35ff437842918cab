"""How long a model takes for an image, from its forward passes alone; beside `metrics.json`, which is equal each time."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..output.files import read_json, write_json


SPEED_FILE = "speed.json"


@dataclass
class ForwardTime:
    """A clock of forward passes, of one process.

    Attributes:
        batches: images and seconds of each pass.
        device: where the last one ran, in words.
    """

    batches: list[tuple[int, float]] = field(default_factory=list)
    device: str | None = None

    @contextmanager
    def of(self, images: int, device: torch.device) -> Iterator[None]:
        """Times the block, which passes so many images through a model."""
        _wait_for(device)
        start = time.perf_counter()
        yield
        _wait_for(device)
        self.batches.append((images, time.perf_counter() - start))
        is_gpu = device.type == "cuda"
        self.device = torch.cuda.get_device_name(device) if is_gpu else f"{device.type}, {_threads()}"

    @property
    def seconds_per_image(self) -> float | None:
        """Of all passes but the first, which pays for what is set up once; of that one where there is no other."""
        counted = self.batches[1:] or self.batches
        return sum(seconds for _, seconds in counted) / sum(images for images, _ in counted) if counted else None

    def save(self, folder: str | Path) -> None:
        """Writes `speed.json`."""
        largest = max((images for images, _ in self.batches), default=None)
        content = {"seconds_per_image": self.seconds_per_image, "images_in_a_batch": largest, "device": self.device}
        write_json(Path(folder, SPEED_FILE), content)


def seconds_per_image(folder: str | Path) -> float | None:
    """What an evaluation's folder says; None where it says nothing, as those of earlier versions.

    Raises:
        ValueError: the file cannot be read.
    """
    file = Path(folder, SPEED_FILE)
    if not file.is_file():
        return None
    try:
        return read_json(file).get("seconds_per_image")
    except ValueError as error:
        raise ValueError(f"{file} cannot be read ({error}); remove it, and the table does without.") from error


def _wait_for(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def _threads() -> str:
    count = torch.get_num_threads()
    return "1 thread" if count == 1 else f"{count} threads"
