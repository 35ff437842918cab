from .conversion import Conversion, convert_checkpoint
from .trust import CheckpointError, check_code, check_finite


__all__ = ["CheckpointError", "Conversion", "check_code", "check_finite", "convert_checkpoint"]
