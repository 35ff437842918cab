from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForObjectDetection,
)

from .methods import METHODS
from .models.configuration_sat import SATConfig
from .models.image_processing_sat import SATImageProcessor, SATImageProcessorPil
from .models.modeling_sat import SATForWeaklySupervisedLocalization, SATModel
from .models.pipeline_sat import WeaklySupervisedLocalizationPipeline


__version__ = "0.1.0"

for _method in METHODS.values():
    AutoConfig.register(_method.config_class.model_type, _method.config_class, exist_ok=True)
    for _auto_class in (AutoModel, AutoModelForImageClassification, AutoModelForObjectDetection):
        _auto_class.register(_method.config_class, _method.model_class, exist_ok=True)
    AutoImageProcessor.register(
        _method.config_class,
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
