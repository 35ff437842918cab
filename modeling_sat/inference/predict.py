"""Images in; a file of boxes, and pictures of maps and boxes, out.

`predictions.jsonl` is written as the images pass, so that memory does not grow with their number and an interrupted
run keeps what it has found; every other format is made from it at the end.
"""

import json
import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import TextIO

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from PIL import Image
from tqdm.auto import tqdm
from transformers import BaseImageProcessor, PreTrainedModel

from ..data.folder import IMAGE_SUFFIXES
from ..data.paths import contents
from ..image_conversion_sat import to_upright_rgb
from .checkpoint import load_checkpoint
from .drawing import draw_localization
from .exports import EXPORTERS, ONE_FILE_PER_IMAGE, Prediction, unique_class_names
from .threads import use_idle_cores


FORMATS = ("jsonl", *EXPORTERS)
MAX_OVERLAY_SIDE = 1280
"""Pixels of an overlay's longer side; a larger image is drawn reduced, its boxes in the file are not."""


class PredictionError(ValueError):
    """A run that cannot give any box, said in a sentence."""


@dataclass
class PredictionSummary:
    """How many images got boxes, and a sentence for each image that did not."""

    num_images: int = 0
    skipped: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class ImageFiles:
    """The images of a run.

    Attributes:
        root: the absolute folder that holds all of them; their names are relative to it.
        paths: as they were asked for, sorted, each image once.
    """

    root: Path
    paths: list[Path]

    @classmethod
    def find(cls, inputs: Sequence[str | Path], leave_out: Path | None = None) -> "ImageFiles":
        """Finds the images of folders, at any depth, by suffix; hidden ones are left out. Files are taken as they are.

        Args:
            inputs: image files and folders.
            leave_out: a folder whose images are none, such as the overlays of the run before.

        Raises:
            PredictionError: an input does not exist, or there is no image.
        """
        inputs = [Path(path).expanduser() for path in inputs]
        for path in inputs:
            if not path.exists():
                raise PredictionError(f"{path} does not exist. Give image files or folders of images.")
        found = {}
        for path in inputs:
            for file in _images_below(path, leave_out) if path.is_dir() else [path]:
                found.setdefault(_absolute(file), file)
        if not found:
            folders = "; ".join(f"{path} holds {contents(path)}" for path in inputs)
            raise PredictionError(f"There are no image files ({', '.join(sorted(IMAGE_SUFFIXES))}): {folders}.")
        root = os.path.commonpath([_absolute(path if path.is_dir() else path.parent) for path in inputs])
        return cls(Path(root), [found[path] for path in sorted(found)])

    def name(self, path: Path) -> Path:
        """The path of an image relative to `root`."""
        return _absolute(path).relative_to(self.root)

    def sharing_a_stem(self) -> set[Path]:
        """The names of the images that differ from another by their suffix alone."""
        names = [self.name(path) for path in self.paths]
        times = Counter(name.with_suffix("") for name in names)
        return {name for name in names if times[name.with_suffix("")] > 1}


def predict_images(
    model: str | Path,
    images: Sequence[str | Path],
    output_dir: str | Path,
    export_format: str = "jsonl",
    threshold: float | None = None,
    multiple_objects: bool = False,
    batch_size: int = 16,
    draw_overlays: bool = True,
) -> PredictionSummary:
    """Localizes the objects of images with a checkpoint; under `accelerate launch`, with all of its processes.

    Writes `predictions.jsonl` (one `Prediction` a line, in the order of the image paths), `overlays/<name>.jpg`,
    what `export_format` adds, and `skipped.txt` with a sentence for each image that cannot be read.

    Args:
        model: folder or Hub id of a checkpoint, see `load_checkpoint`.
        images: image files, and folders whose images are found at any depth.
        output_dir: made where it does not exist.
        export_format: `jsonl` (nothing more), `coco`, `yolo` or `voc`.
        threshold: where the normalized localization map becomes foreground, in [0, 1); default: the checkpoint's.
        multiple_objects: every component of the map instead of the largest one.
        batch_size: images in one forward pass of each process.
        draw_overlays: whether to draw map and boxes over each image.

    Raises:
        PredictionError: an argument or the output folder cannot be used, or no image can be read.
        CheckpointError: the checkpoint cannot be used.
    """
    output_dir = Path(output_dir).expanduser()
    _check_settings(export_format, threshold, batch_size)
    files = ImageFiles.find(images, leave_out=output_dir / "overlays")
    sharing_a_stem = files.sharing_a_stem()
    if sharing_a_stem and export_format in ONE_FILE_PER_IMAGE:
        raise PredictionError(
            f"{export_format} has one file of boxes for all images that differ by their suffix alone, as "
            f"{' and '.join(map(str, sorted(sharing_a_stem)[:2]))} do; rename one, or choose jsonl or coco."
        )
    _make_folder(output_dir)

    use_idle_cores()
    accelerator = Accelerator()
    with accelerator.main_process_first():
        network, processor = load_checkpoint(model)
    class_names = unique_class_names(network.config.id2label)
    network = network.to(accelerator.device).eval()
    localizer = Localizer(network, processor, class_names, threshold, multiple_objects)

    def overlay_file(path: Path) -> Path | None:
        if not draw_overlays:
            return None
        name = files.name(path)
        name = f"{name}.jpg" if name in sharing_a_stem else name.with_suffix(".jpg")
        return output_dir / "overlays" / name

    try:
        summary = _write_predictions(files, localizer, overlay_file, output_dir, batch_size, accelerator)
        if accelerator.is_main_process and export_format in EXPORTERS and summary.num_images:
            EXPORTERS[export_format](output_dir / "predictions.jsonl", class_names, files.root, output_dir)
    except OSError as error:
        raise PredictionError(
            f"{error.filename or output_dir} cannot be written ({error.strerror or error}). Choose another output "
            "folder; the boxes written before stay."
        ) from error
    finally:
        accelerator.end_training()
    if not summary.num_images:
        raise PredictionError(
            f"None of the {len(files.paths)} images can be read. The first: {summary.skipped[0]} "
            f"All are listed in {output_dir / 'skipped.txt'}."
        )
    return summary


@dataclass(frozen=True)
class LoadedImage:
    """An image file, ready for the model.

    Attributes:
        path: of the file.
        size: (height, width) of the upright image in pixels.
        pixel_values: (channels, height, width) of the view.
        picture: what the overlay is drawn on, at most `MAX_OVERLAY_SIDE` pixels wide and high; None for no overlay.
    """

    path: Path
    size: tuple[int, int]
    pixel_values: torch.Tensor
    picture: Image.Image | None


@dataclass(frozen=True)
class Localizer:
    """A checkpoint with the settings of a run; `read` and `describe` may be called from several threads."""

    model: PreTrainedModel
    processor: BaseImageProcessor
    class_names: list[str]
    threshold: float | None = None
    multiple_objects: bool = False

    def read(self, path: Path, with_picture: bool) -> LoadedImage | str:
        """Reads and prepares an image file; of one that cannot be read, a sentence that says so."""
        try:
            with Image.open(path) as opened:
                image = to_upright_rgb(opened)
        except Exception as error:  # each of Pillow's decoders fails in its own way
            return f"{path} cannot be read as an image ({error})."
        pixel_values = self.processor(images=image, return_tensors="pt")["pixel_values"][0]
        size = (image.height, image.width)
        if with_picture:
            image.thumbnail((MAX_OVERLAY_SIDE, MAX_OVERLAY_SIDE))
        return LoadedImage(path, size, pixel_values, image if with_picture else None)

    @torch.inference_mode()
    def localize(self, images: Sequence[LoadedImage], accelerator: Accelerator) -> list[SimpleNamespace]:
        """Each image's `logits` (1, classes) and `localization_map` (1, h, w), float32 on the CPU.

        Raises:
            PredictionError: the model has no localization map.
        """
        outputs = []
        for _, batch in groupby(images, key=lambda image: image.pixel_values.shape):
            pixel_values = torch.stack([image.pixel_values for image in batch]).to(accelerator.device)
            with accelerator.autocast():
                found = self.model(pixel_values=pixel_values, interpolate_pos_encoding=True)
            if "localization_map" not in found:
                raise PredictionError(
                    f"{self.model.name_or_path} holds a {type(self.model).__name__}, which gives no localization map. "
                    "Give a checkpoint of a model that does."
                )
            logits, maps = (output.float().cpu().split(1) for output in (found.logits, found.localization_map))
            outputs += [SimpleNamespace(logits=row, localization_map=map) for row, map in zip(logits, maps)]
        return outputs

    def describe(self, image: LoadedImage, outputs: SimpleNamespace, overlay: Path | None) -> Prediction:
        """The objects of an image from what `localize` gave for it; draws them to the file `overlay`."""
        (found,) = self.processor.post_process_localization(
            outputs,
            self.threshold,
            [image.size],
            multiple_objects=self.multiple_objects,
            return_localization_maps=overlay is not None,
        )
        columns = (found[key].tolist() for key in ("labels", "scores", "boxes"))
        objects = [
            {"label": self.class_names[label], "score": score, "box": box} for label, score, box in zip(*columns)
        ]
        height, width = image.size
        if overlay is not None:
            boxes = found["boxes"].numpy() * (np.array(image.picture.size * 2) / [width, height, width, height])
            texts = [f"{found['label']} {found['score']:.2f}" for found in objects]
            overlay.parent.mkdir(parents=True, exist_ok=True)
            draw_localization(image.picture, found["localization_map"].numpy(), boxes, texts).save(overlay, quality=90)
        return {"image": str(image.path), "width": width, "height": height, "objects": objects}


def _write_predictions(
    files: ImageFiles,
    localizer: Localizer,
    overlay_file: Callable[[Path], Path | None],
    output_dir: Path,
    batch_size: int,
    accelerator: Accelerator,
) -> PredictionSummary:
    """Every process takes its part of a batch after the other, and all of them get the results of all in order."""
    is_main = accelerator.is_main_process
    threads = max(2, min(8, (os.cpu_count() or 1) // accelerator.num_processes))
    summary = PredictionSummary()
    batches = _batches_of_process(files.paths, batch_size, accelerator.num_processes, accelerator.process_index)
    with (
        _lines_of(output_dir / "predictions.jsonl" if is_main else os.devnull) as predictions,
        _lines_of(output_dir / "skipped.txt" if is_main else os.devnull) as skipped,
        tqdm(total=len(files.paths), desc="Predicting", unit="image", disable=not is_main) as progress,
        ThreadPoolExecutor(threads) as pool,
    ):

        def read(path: Path) -> LoadedImage | str:
            return localizer.read(path, with_picture=overlay_file(path) is not None)

        for batch in _read_ahead(batches, read, pool):
            images = [item for item in batch if isinstance(item, LoadedImage)]
            outputs = localizer.localize(images, accelerator)
            found = pool.map(localizer.describe, images, outputs, [overlay_file(image.path) for image in images])
            results = gather_object([item if isinstance(item, str) else next(found) for item in batch])
            for result in results:
                if isinstance(result, str):
                    summary.skipped.append(result)
                    skipped.write(result + "\n")
                else:
                    summary.num_images += 1
                    predictions.write(json.dumps(result) + "\n")
            progress.update(len(results))
    if is_main and not summary.skipped:
        (output_dir / "skipped.txt").unlink()
    return summary


def _lines_of(file: str | Path) -> TextIO:
    """A text file to write, line by line to the disk, that takes any file name."""
    return open(file, "w", encoding="utf-8", errors="backslashreplace", buffering=1)


def _batches_of_process(
    paths: Sequence[Path], batch_size: int, num_processes: int, process_index: int
) -> Iterator[Sequence[Path]]:
    """One process's consecutive part, perhaps empty, of each stretch of `batch_size` paths for every process."""
    stretch = batch_size * num_processes
    for start in range(0, len(paths), stretch):
        together = paths[start : start + stretch]
        share = -(-len(together) // num_processes)
        yield together[process_index * share : (process_index + 1) * share]


def _read_ahead(
    batches: Iterator[Sequence[Path]], read: Callable[[Path], LoadedImage | str], pool: ThreadPoolExecutor
) -> Iterator[list[LoadedImage | str]]:
    """Reads a batch in the threads of `pool` while the one before it is being used."""
    pending: deque[list[Future]] = deque()
    for batch in batches:
        pending.append([pool.submit(read, path) for path in batch])
        if len(pending) == 2:
            yield [future.result() for future in pending.popleft()]
    for futures in pending:
        yield [future.result() for future in futures]


def _check_settings(export_format: str, threshold: float | None, batch_size: int) -> None:
    if export_format not in FORMATS:
        raise PredictionError(f"The format is {export_format!r}; choose one of {', '.join(FORMATS)}.")
    if threshold is not None and not 0 <= threshold < 1:
        raise PredictionError(
            f"The threshold is {threshold}; choose one from 0 to below 1, or leave it to the checkpoint."
        )
    if batch_size < 1:
        raise PredictionError(f"The batch size is {batch_size}; choose 1 or more.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PredictionError(
            f"The output folder {folder} cannot be made ({error.strerror}). Choose a folder that you may write to."
        ) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PredictionError(f"The output folder {folder} cannot be written to. Choose one that you may write to.")


def _images_below(folder: Path, leave_out: Path | None) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and (leave_out is None or _absolute(Path(parent, name)) != _absolute(leave_out))
        ]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in IMAGE_SUFFIXES:
                yield Path(parent, name)


def _absolute(path: Path) -> Path:
    """Without `..`, which `Path.absolute` leaves, and with symbolic links, which `Path.resolve` follows."""
    return Path(os.path.abspath(path))
