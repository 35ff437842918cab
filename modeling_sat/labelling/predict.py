"""Images in; a file of boxes, and pictures of maps and boxes, out.

What is found goes into `unfinished.jsonl` as the images pass, so that memory grows by their names alone and an
interrupted run continues where it stopped; every other file is made from it at the end.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object
from tqdm.auto import tqdm

from ..checkpoints.load import load_checkpoint
from ..inference.localizer import Localizer
from ..inference.threads import use_idle_cores
from ..models.multiscale_sat import SCALES
from ..output.files import as_json, written_aside
from ..output.journal import Journal
from ..output.ownership import folder_of_one_run
from ..processes import start_accelerator
from .formats import LABEL_FORMATS, MASKS, ONE_FILE_PER_IMAGE, WRITERS, Labels
from .image_files import ImageFiles, PredictionError
from .labeller import NO_BOX, Labeller, LoadedImage
from .review import write_review


UNFINISHED_FILE = "unfinished.jsonl"
"""The settings of a run in its first line, then what was found in each image; gone when the run has ended."""


@dataclass
class PredictionSummary:
    """How many images got boxes, and a sentence for each image that did not."""

    num_images: int = 0
    skipped: list[str] = field(default_factory=list)


def predict_images(
    model: str | Path,
    images: Sequence[str | Path],
    output_dir: str | Path,
    format: str = "jsonl",
    threshold: float | None = None,
    multiple_objects: bool = False,
    masks: str | None = None,
    quality: str = "fast",
    batch_size: int = 16,
    mixed_precision: str | None = None,
    draw_overlays: bool = True,
    trust_remote_code: bool = False,
) -> PredictionSummary:
    """Localizes the objects of images with a checkpoint; under `accelerate launch`, with all of its processes.

    Writes `predictions.jsonl` (one `Prediction` a line, in the order of the image paths), `overlays/<name>.jpg` and
    `review.html`, which shows them from the least to the most confident, what `format` adds, and `skipped.txt`
    with a sentence for each image that cannot be read. Called again with the same arguments after an interruption, it
    continues where it stopped; after its end it starts from scratch.

    Args:
        model: folder or Hub id of a checkpoint, see `load_checkpoint`.
        images: image files, and folders whose images are found at any depth.
        output_dir: made where it does not exist.
        format: `jsonl` (nothing more), `coco`, `yolo`, `voc` or `metadata`.
        threshold: where the normalized localization map becomes foreground, in [0, 1); default: the checkpoint's.
        multiple_objects: every component of the map instead of the largest one.
        masks: `rle` or `polygons`, as the format can have them; default: boxes alone.
        quality: `fast`, or `high`: flips and several resolutions averaged, some 15 times the time.
        batch_size: images in one forward pass of each process.
        mixed_precision: `no`, `fp16` or `bf16`; None: what `accelerate launch` says.
        draw_overlays: whether to draw map and boxes over each image.
        trust_remote_code: run code that comes with someone else's model.

    Raises:
        PredictionError: an argument or the output folder cannot be used, or no image gets a box.
        CheckpointError: the checkpoint cannot be used.
        FolderInUseError: another run is writing to the output folder.
        ProcessError: several processes were started that cannot work together.
    """
    output_dir = Path(output_dir).expanduser()
    _check_settings(format, threshold, masks, quality, batch_size)
    files = ImageFiles.find(images, leave_out=output_dir / "overlays")
    sharing_a_stem = files.sharing_a_stem()
    if sharing_a_stem and format in ONE_FILE_PER_IMAGE:
        raise PredictionError(
            f"{format} has one file of boxes for all images that differ by their suffix alone, as "
            f"{' and '.join(map(str, sorted(sharing_a_stem)[:2]))} do; rename one, or choose jsonl or coco."
        )
    _make_folder(output_dir)

    use_idle_cores()
    accelerator = start_accelerator(mixed_precision)
    with folder_of_one_run(output_dir):
        with accelerator.main_process_first():
            network, processor = load_checkpoint(model, trust_remote_code)
        localizer = Localizer(network.to(accelerator.device).eval(), processor, quality, accelerator)
        labeller = Labeller(localizer, threshold, multiple_objects, masks is not None)

        def overlay_file(path: Path) -> Path | None:
            if not draw_overlays:
                return None
            name = files.name(path)
            name = f"{name}.jpg" if name in sharing_a_stem else name.with_suffix(".jpg")
            return output_dir / "overlays" / name

        settings = {
            "model": str(model), "checkpoint": _state_of(model, network), "threshold": threshold, "quality": quality,
            "multiple_objects": multiple_objects, "masks": masks is not None, "overlays": draw_overlays,
            "mixed_precision": accelerator.mixed_precision,
        }  # fmt: skip
        journal = Journal(output_dir / UNFINISHED_FILE, settings, name="image")
        summary = PredictionSummary()
        try:
            _label_all(files, labeller, overlay_file, journal, batch_size, accelerator)
            if accelerator.is_main_process:
                summary = _conclude(files, journal, output_dir)
                predictions = output_dir / "predictions.jsonl"
                if summary.num_images and format in WRITERS:
                    WRITERS[format](Labels(predictions, localizer.class_names, files.root, output_dir, masks))
                if summary.num_images and draw_overlays:
                    write_review(predictions, overlay_file, files.root, output_dir)
                journal.file.unlink()
            (summary,) = broadcast_object_list([summary])
        except OSError as error:
            raise PredictionError(
                f"{error.filename2 or error.filename or output_dir} cannot be written ({error.strerror or error}). Free "
                "the disk or choose another output folder; the same command then continues where this one stopped."
            ) from error
        finally:
            accelerator.end_training()
    if not summary.num_images:
        does = "gets a box" if any(NO_BOX in sentence for sentence in summary.skipped) else "can be read"
        raise PredictionError(
            f"None of the {len(files.paths)} images {does}. The first: {summary.skipped[0]} All are listed in "
            f"{output_dir / 'skipped.txt'}."
        )
    return summary


def _label_all(
    files: ImageFiles,
    labeller: Labeller,
    overlay_file: Callable[[Path], Path | None],
    journal: Journal,
    batch_size: int,
    accelerator: Accelerator,
) -> None:
    """Every process takes its part of a batch after the other; the main one writes what all have found, in order."""
    is_main = accelerator.is_main_process
    with accelerator.main_process_first():
        done = journal.resume() if is_main else journal.offsets()
    paths = [path for path in files.paths if str(path) not in done]
    threads = max(2, min(8, (os.cpu_count() or 1) // accelerator.num_processes))
    batches = _batches_of_process(paths, batch_size, accelerator.num_processes, accelerator.process_index)
    accelerator.wait_for_everyone()
    with (
        journal.opened() if is_main else nullcontext() as lines,
        tqdm(
            initial=len(files.paths) - len(paths), total=len(files.paths), desc="Predicting", unit="image",
            disable=not is_main,
        ) as progress,
        ThreadPoolExecutor(threads) as pool,
    ):  # fmt: skip

        def read(path: Path) -> LoadedImage | str:
            return labeller.read(path, with_picture=overlay_file(path) is not None)

        for paths_of_batch, batch in _read_ahead(batches, read, pool):
            images = [item for item in batch if isinstance(item, LoadedImage)]
            outputs = labeller.localize(images)
            described = pool.map(labeller.describe, images, outputs, [overlay_file(image.path) for image in images])
            found = [
                {"image": str(path), "skipped": item} if isinstance(item, str) else next(described)
                for path, item in zip(paths_of_batch, batch)
            ]
            for entry in gather_object(found):
                if is_main:
                    journal.append(lines, entry)
                progress.update()


def _conclude(files: ImageFiles, journal: Journal, output_dir: Path) -> PredictionSummary:
    """Divides the entries of all images, in the order of their paths, into `predictions.jsonl` and `skipped.txt`.

    Raises:
        PredictionError: an image no longer has a complete entry.
    """
    summary = PredictionSummary()
    offsets = journal.offsets()
    missing = sum(str(path) not in offsets for path in files.paths)
    if missing:
        raise PredictionError(
            f"{journal.file} was changed by something else while this run wrote it: {missing} of the {len(files.paths)} "
            "images have no complete entry there. The results were not written; the same command processes them again."
        )
    with written_aside(output_dir / "predictions.jsonl") as predictions:
        for entry in journal.entries(offsets[str(path)] for path in files.paths):
            if "skipped" in entry:
                summary.skipped.append(entry["skipped"])
            else:
                summary.num_images += 1
                predictions.write(as_json(entry) + "\n")
    skipped_file = output_dir / "skipped.txt"
    if summary.skipped:
        with written_aside(skipped_file) as skipped:
            skipped.writelines(f"{sentence}\n" for sentence in summary.skipped)
    else:
        skipped_file.unlink(missing_ok=True)
    return summary


def _state_of(model: str | Path, network: Any) -> Any:
    """What changes when the checkpoint does."""
    folder = Path(model)
    if not folder.is_dir():
        return getattr(network.config, "_commit_hash", None)
    states = ((file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file())
    return [[name, state.st_size, state.st_mtime_ns] for name, state in states]


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
) -> Iterator[tuple[Sequence[Path], list[LoadedImage | str]]]:
    """Reads a batch in the threads of `pool` while the one before it is being used."""
    pending: deque[tuple[Sequence[Path], list[Future]]] = deque()
    for batch in batches:
        pending.append((batch, [pool.submit(read, path) for path in batch]))
        if len(pending) == 2:
            paths, futures = pending.popleft()
            yield paths, [future.result() for future in futures]
    for paths, futures in pending:
        yield paths, [future.result() for future in futures]


def _check_settings(format: str, threshold: float | None, masks: str | None, quality: str, batch_size: int) -> None:
    if format not in LABEL_FORMATS:
        raise PredictionError(f"The format is {format!r}; choose one of {', '.join(LABEL_FORMATS)}.")
    if masks is not None and masks not in MASKS[format]:
        can = [name for name in LABEL_FORMATS if masks in MASKS[name]]
        raise PredictionError(
            f"{format} has no masks as {masks}; choose {' or '.join(MASKS[format]) or 'boxes alone'}"
            + (f", or another format: {', '.join(can)} has them." if can else ".")
        )
    if quality not in SCALES:
        raise PredictionError(f"The quality is {quality!r}; choose one of {', '.join(SCALES)}.")
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
