"""An exported program as an ONNX file, in its own precision or with its linear layers in int8."""

from pathlib import Path

import torch
from torch.export import ExportedProgram

from .program import OUTPUT_NAMES


AXES = {
    "pixel_values": {0: "batch", 2: "height", 3: "width"},
    "logits": {0: "batch"},
    "localization_map": {0: "batch", 1: "rows", 2: "columns"},
}


def write_onnx(program: ExportedProgram, file: Path, opset: int | None = None) -> None:
    """Writes one file with the input `pixel_values` (batch, channels, height, width), all but channels dynamic.

    Args:
        opset: version of ONNX's operators; default: PyTorch's.

    Raises:
        ValueError: an opset that PyTorch does not write.
    """
    model = torch.onnx.export(
        program, input_names=["pixel_values"], output_names=list(OUTPUT_NAMES), opset_version=opset, verbose=False
    ).model_proto
    (written,) = (operators.version for operators in model.opset_import if operators.domain == "")
    if opset not in (None, written):
        raise ValueError(
            f"opset {opset} is not one that PyTorch writes; leave it out, or choose {written} or a later one"
        )
    graph = model.graph
    # PyTorch leaves stack traces, which name folders of this machine, and calls the free axes `s99` and `16*s30`.
    for entry in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del entry.metadata_props[:]
    del graph.value_info[:]  # the shapes between, which runtimes infer
    for value in (*graph.input, *graph.output):
        for axis, name in AXES[value.name].items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    file.write_bytes(model.SerializeToString())


def quantize_linear_layers(source: Path, target: Path) -> None:
    """Rewrites the linear layers of an ONNX file to int8 weights and, by the range of each batch, int8 activations."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(
        source, target, op_types_to_quantize=["MatMul", "Gemm"], per_channel=True, weight_type=QuantType.QInt8,
        reduce_range=True,  # 7 bits: in 8, products overflow on processors without VNNI instructions
    )  # fmt: skip
