"""Models outside PyTorch: ONNX files and what runs them, and `torch.export` programs."""

from .folder import FORMATS, PRECISIONS, ExportError, export_model
from .model import ONNXModel
from .program import export_program


__all__ = ["FORMATS", "PRECISIONS", "ExportError", "ONNXModel", "export_model", "export_program"]
