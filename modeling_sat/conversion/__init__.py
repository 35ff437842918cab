from .checkpoints import CheckpointError, Conversion, convert_checkpoint


__all__ = ["CheckpointError", "Conversion", "convert_checkpoint"]
