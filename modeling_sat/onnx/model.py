"""An exported model at work: onnxruntime behind the face of a PyTorch model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedConfig
from transformers.utils import cached_file

from ..checkpoints.load import ONNX_FILE
from ..checkpoints.trust import CheckpointError
from ..methods import METHODS
from ..models.configuration_wsol import pair
from ..models.modeling_wsol import WSOLOutput
from ..sentences import first_line
from .program import OUTPUT_NAMES


if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class ONNXModel(nn.Module):
    """A model of `export_model`'s ONNX file, for pipelines, evaluation and prediction in a PyTorch model's place.

    It computes where its execution providers are, by default on the CPU with as many threads as PyTorch, and has no
    gradients and no class maps.
    """

    device = torch.device("cpu")
    dtype = torch.float32

    def __init__(self, session: "InferenceSession", config: PreTrainedConfig, name_or_path: str = ""):
        super().__init__()
        self.session = session
        self.config = config
        self.name_or_path = name_or_path
        classes = (method.model_class for method in METHODS.values() if type(config) is method.config_class)
        of_the_method = any(model_class.maps_are_of_a_class for model_class in classes)
        self.maps_are_of_a_class = getattr(config, "maps_are_of_a_class", of_the_method)
        self.eval()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | Path, providers: Sequence[str] = ("CPUExecutionProvider",)
    ) -> "ONNXModel":
        """Loads `model.onnx` and its `config.json`.

        Args:
            pretrained_model_name_or_path: a folder that `scripts/export_onnx.py` wrote, or the Hub id of one.
            providers: onnxruntime's execution providers, in order of preference.

        Raises:
            CheckpointError: there is no such file, onnxruntime cannot read it, it is another model's, or onnxruntime
                is not installed.
        """
        name = str(pretrained_model_name_or_path)
        try:
            import onnxruntime
        except ImportError as error:
            raise CheckpointError(
                f'{name} runs on onnxruntime, which is not installed: pip install "modeling_sat[export]".'
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        try:
            config = AutoConfig.from_pretrained(name)
            session = onnxruntime.InferenceSession(cached_file(name, ONNX_FILE), options, providers=list(providers))
        except Exception as error:  # onnxruntime has no common class of errors
            raise CheckpointError(
                f"{name} cannot be used as an exported model: {first_line(error)}. "
                "Give a folder that scripts/export_onnx.py wrote."
            ) from error
        outputs = [output.name for output in session.get_outputs()]
        if outputs != list(OUTPUT_NAMES):
            raise CheckpointError(
                f"{name}/{ONNX_FILE} gives {', '.join(outputs)}, not {' and '.join(OUTPUT_NAMES)}. Give a folder that "
                "scripts/export_onnx.py wrote."
            )
        return cls(session, config, name)

    def forward(
        self,
        pixel_values: torch.Tensor,
        output_class_maps: bool = False,
        interpolate_pos_encoding: bool | None = True,
    ) -> WSOLOutput:
        """
        Args:
            pixel_values: (batch, channels, height, width), normalized; any size in whole patches.
            output_class_maps: only False; an exported model has none.
            interpolate_pos_encoding: of no consequence, since the file always interpolates.

        Returns:
            `logits` and `localization_map`, float32, where `pixel_values` is.

        Raises:
            ValueError: a size that is not in whole patches, or class maps are asked for.
        """
        if output_class_maps:
            raise ValueError(
                "An exported model has no class maps. Take the model in PyTorch, or the exported one's localization map, "
                "which is that of the predicted class: quality fast, map localization."
                if self.maps_are_of_a_class
                else "An exported model has no class maps; use its localization map, or the model in PyTorch."
            )
        self.check_size(*pixel_values.shape[2:])
        found = self.session.run(list(OUTPUT_NAMES), {"pixel_values": pixel_values.float().cpu().numpy()})
        logits, localization_map = (torch.from_numpy(output).to(pixel_values.device) for output in found)
        return WSOLOutput(logits=logits, localization_map=localization_map)

    def check_size(self, height: int, width: int) -> None:
        patches = pair(self.config.patch_size)
        if any(side < patch or side % patch for side, patch in zip((height, width), patches)):
            nearest = "×".join(
                str(max(1, round(side / patch)) * patch) for side, patch in zip((height, width), patches)
            )
            raise ValueError(
                f"The input is {height}×{width} pixels, which is not in whole patches of {patches[0]}×{patches[1]}. "
                f"Resize it to {nearest}; SATImageProcessor does so by its `size`."
            )
