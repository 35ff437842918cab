"""A model as one `torch.export` program for any number of images at any resolution."""

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from ..models.configuration_wsol import pair


OUTPUT_NAMES = ("logits", "localization_map")


class LogitsAndMap(nn.Module):
    """What of a model's outputs an exported model keeps, in float32 whatever the model computes in."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> dict[str, torch.Tensor]:
        outputs = self.model(pixel_values, interpolate_pos_encoding=True)
        return {name: outputs[name].float() for name in OUTPUT_NAMES}


def export_program(model: nn.Module) -> ExportedProgram:
    """Exports a model in evaluation mode; position embeddings are interpolated inside the program.

    Args:
        model: `SATForWeaklySupervisedLocalization`, or anything with its config, `logits` and `localization_map`.

    Returns:
        a program whose `module()(pixel_values)` takes float32 (batch, channels, height, width) of at least two patches
        each way and gives a dict of `logits` (batch, num_labels) and `localization_map` (batch, h, w) in [0, 1], both
        float32. Its guards do not see a size that is not a multiple of the patch: the pixels beyond are left out.
    """
    patch_height, patch_width = pair(model.config.patch_size)
    parameter = next(model.parameters())
    # No size of this example may equal another or the model's own, lest the program take that for a rule.
    rows, columns = (side // patch for side, patch in zip(pair(model.config.image_size), (patch_height, patch_width)))
    example = torch.zeros(
        2, model.config.num_channels, (rows + 3) * patch_height, (columns + 5) * patch_width, device=parameter.device
    )
    sizes = {
        0: Dim("batch"),
        2: patch_height * Dim("rows", min=2),
        3: patch_width * Dim("columns", min=2),
    }
    was_training = model.training
    try:
        return torch.export.export(
            LogitsAndMap(model).eval(), (example,), dynamic_shapes={"pixel_values": sizes}, strict=False
        )
    finally:
        model.train(was_training)
