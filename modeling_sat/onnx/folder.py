"""A checkpoint as a folder that runs without PyTorch's model: the exported file, its configuration and processor."""

import copy
import importlib.util
import logging
import math
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import BaseImageProcessor, PreTrainedModel

from ..checkpoints.load import ONNX_FILE
from ..output.ownership import folder_of_one_run
from ..sentences import first_line
from .file import quantize_linear_layers, write_onnx
from .model import ONNXModel
from .parity import MAP_TOLERANCE, Parity, measure_parity
from .program import export_program


FORMATS = {"onnx": ONNX_FILE, "torch": "model.pt2"}
"""The file that each format writes."""
PRECISIONS = ("float32", "float16", "int8")
ONNX_PACKAGES = ("onnx", "onnxruntime", "onnxscript")


class ExportError(ValueError):
    """A model that cannot be exported as asked; the message says why."""


def export_model(
    model: PreTrainedModel,
    processor: BaseImageProcessor,
    output_dir: str | Path,
    format: str = "onnx",
    precision: str = "float32",
    opset: int | None = None,
) -> Parity:
    """Exports a model, compares what was written with it, and only then puts it into `output_dir`.

    Takes images of any number and of any size in whole patches; gives `logits` and `localization_map`. Beside
    `model.onnx` or `model.pt2` come config.json and preprocessor_config.json, and the code of both.

    Args:
        model: gives `logits` and `localization_map`; exported in evaluation mode, and itself left as it is.
        processor: its image processor, saved with it.
        output_dir: made where it does not exist.
        format: `onnx`, or `torch`: a program that `torch.export.load` reads.
        precision: `float32`; `float16`, weights and all but the map's own arithmetic; or, of `onnx`, `int8`: the linear
            layers, where activations are quantized by the range of their batch, so that its images affect each other.
        opset: version of ONNX's operators; default: PyTorch's.

    Raises:
        ExportError: unknown settings, a model that cannot be exported, packages that are not installed, a folder that
            cannot be written or holds a checkpoint, or a result that is not the model: in float32 a map that differs
            by more than 1e-4 or another box, otherwise numbers that are not finite.
        FolderInUseError: another run is writing to the folder.
    """
    _check_settings(model, format, precision, opset)
    output_dir = Path(output_dir).expanduser()
    if any(output_dir.glob("*.safetensors")):
        raise ExportError(f"{output_dir} holds a checkpoint, whose config.json would be lost. Choose another folder.")
    model = copy.deepcopy(model).to("cpu", torch.float32).eval()
    try:
        with (
            folder_of_one_run(output_dir),
            TemporaryDirectory(dir=output_dir, ignore_cleanup_errors=True) as unfinished,
        ):
            folder = Path(unfinished)
            model.config.save_pretrained(folder)
            processor.save_pretrained(folder)
            with _quietly():
                parity = _write_and_compare(model, processor, folder / FORMATS[format], precision, opset)
            _check_parity(parity, precision)
            for file in folder.iterdir():
                os.replace(file, output_dir / file.name)
    except OSError as error:
        raise ExportError(
            f"{error.filename or output_dir} cannot be written ({error.strerror or error}). Choose a folder that you "
            "may write to."
        ) from error
    return parity


def _check_settings(model: PreTrainedModel, format: str, precision: str, opset: int | None) -> None:
    if isinstance(model, ONNXModel):
        raise ExportError(f"{model.name_or_path} is exported already. Give the checkpoint that it was made of.")
    if format not in FORMATS:
        raise ExportError(f"The format is {format!r}; choose one of {', '.join(FORMATS)}.")
    if precision not in PRECISIONS:
        raise ExportError(f"The precision is {precision!r}; choose one of {', '.join(PRECISIONS)}.")
    if format == "torch" and precision == "int8":
        raise ExportError("int8 exists only for the format onnx; choose that, or float16.")
    if format == "torch" and opset is not None:
        raise ExportError("The format torch has no opset; leave it out, or choose the format onnx.")
    missing = [name for name in ONNX_PACKAGES if importlib.util.find_spec(name) is None]
    if format == "onnx" and missing:
        raise ExportError(f'{" and ".join(missing)} is not installed: pip install "modeling_sat[export]".')


def _write_and_compare(
    model: PreTrainedModel, processor: BaseImageProcessor, file: Path, precision: str, opset: int | None
) -> Parity:
    try:
        program = export_program(copy.deepcopy(model).half() if precision == "float16" else model)
        if file.name == FORMATS["torch"]:
            torch.export.save(program, file)
            return measure_parity(model, torch.export.load(file).module(), processor)
        with TemporaryDirectory(dir=file.parent) as folder:
            exact = Path(folder, ONNX_FILE)
            write_onnx(program, exact, opset)
            if precision == "int8":
                quantize_linear_layers(exact, file)
            else:
                exact.rename(file)
        return measure_parity(model, ONNXModel.from_pretrained(file.parent), processor)
    except OSError:
        raise
    except Exception as error:  # the exporters have no common class of errors
        reason = first_line(error)
        raise ExportError(f"{type(model).__name__} cannot be exported as asked: {reason}.") from error


def _check_parity(parity: Parity, precision: str) -> None:
    if precision == "float32" and not parity.is_exact:
        raise ExportError(
            f"What was exported is not the model, so nothing was kept. {parity} Maps may differ by {MAP_TOLERANCE:.0e} "
            "and boxes not at all; try another opset, or other versions of torch and onnxruntime."
        )
    if not math.isfinite(parity.logits + parity.localization_map):
        raise ExportError(
            f"In {precision} the model gives numbers that are not finite, so nothing was kept. Choose float32."
        )


@contextmanager
def _quietly() -> Iterator[None]:
    """PyTorch's exporter and onnxruntime's quantizer warn of what the user cannot change."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
