"""A localization checkpoint, from a folder or the Hub."""

from pathlib import Path
from typing import TYPE_CHECKING

from transformers import AutoImageProcessor, AutoModel, BaseImageProcessor, PreTrainedModel

from ..data.paths import contents
from ..sentences import first_line
from .trust import CheckpointError, check_code, check_finite


if TYPE_CHECKING:
    from ..onnx import ONNXModel

ONNX_FILE = "model.onnx"


def load_checkpoint(
    name: str | Path, trust_remote_code: bool = False
) -> tuple["PreTrainedModel | ONNXModel", BaseImageProcessor]:
    """Loads model and image processor of a localization checkpoint, on the CPU.

    Args:
        name: a folder that `save_pretrained` wrote, or a Hub id. A model of this package runs by the installed code,
            whatever code lies beside it. Of a folder with an ONNX file and no weights, the model is an `ONNXModel`.
        trust_remote_code: run the code that another model brings.

    Raises:
        CheckpointError: there is none, it cannot be read, lacks weights, has some that are NaN or infinite, is not one
            that localizes, or brings code that nobody has said may run.
    """
    remedy = "Give a folder that scripts/train.py or scripts/convert_checkpoint.py wrote, or the id of one on the Hub."
    folder = Path(name)
    if folder.exists() and not (folder / "config.json").is_file():
        there = f"it has no config.json; it holds {contents(folder)}" if folder.is_dir() else "it is a file"
        raise CheckpointError(f"{name} is not a checkpoint: {there}. {remedy}")
    check_code(name, trust_remote_code)
    try:
        processor = AutoImageProcessor.from_pretrained(name, trust_remote_code=trust_remote_code)
        if not hasattr(processor, "post_process_localization"):
            raise CheckpointError(f"its {type(processor).__name__} does not make boxes of localization maps")
        is_exported = (folder / ONNX_FILE).is_file() and not any(folder.glob("*.safetensors"))
        if not is_exported:
            model, loading = AutoModel.from_pretrained(
                name, trust_remote_code=trust_remote_code, output_loading_info=True
            )
    except Exception as error:  # a checkpoint's files and its own code fail in ways of their own
        reason = first_line(error)
        where = "" if folder.exists() else "there is no such folder, and the Hub does not have it: "
        raise CheckpointError(f"{name} cannot be used: {where}{reason}. {remedy}") from error
    if is_exported:
        from ..onnx import ONNXModel

        return ONNXModel.from_pretrained(folder), processor
    if loading["missing_keys"]:
        raise CheckpointError(
            f"{name} lacks weights of its model: {', '.join(sorted(loading['missing_keys'])[:4])}, … {remedy}"
        )
    check_finite(model, name)
    return model, processor
