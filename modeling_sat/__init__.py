from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForObjectDetection,
)

from .configuration_sat import SATConfig
from .image_processing_sat import SATImageProcessor, SATImageProcessorPil
from .modeling_sat import SATForWeaklySupervisedLocalization, SATModel
from .pipeline_sat import WeaklySupervisedLocalizationPipeline


__version__ = "0.1.0"

AutoConfig.register("sat", SATConfig, exist_ok=True)
for _auto_class in (AutoModel, AutoModelForImageClassification, AutoModelForObjectDetection):
    _auto_class.register(SATConfig, SATForWeaklySupervisedLocalization, exist_ok=True)
AutoImageProcessor.register(
    SATConfig,
    image_processor_classes={"pil": SATImageProcessorPil, "torchvision": SATImageProcessor},
    exist_ok=True,
)

__all__ = [
    "SATConfig",
    "SATForWeaklySupervisedLocalization",
    "SATImageProcessor",
    "SATImageProcessorPil",
    "SATModel",
    "WeaklySupervisedLocalizationPipeline",
]
