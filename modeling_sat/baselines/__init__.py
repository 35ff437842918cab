"""The methods that SAT is compared with: same outputs, same training, same evaluation. A method is a file and a line."""

from transformers import AutoConfig, AutoImageProcessor, AutoModel

from ..image_processing_sat import SATImageProcessor, SATImageProcessorPil
from ..modeling_sat import SATForWeaklySupervisedLocalization
from .cam import CAMForWeaklySupervisedLocalization


METHODS = {
    "sat": SATForWeaklySupervisedLocalization,
    "cam": CAMForWeaklySupervisedLocalization,
}
"""What `train.py --method` trains. A class with `from_pretrained` on a SAT or ViT checkpoint and SAT's output."""

for _method in METHODS.values():
    AutoConfig.register(_method.config_class.model_type, _method.config_class, exist_ok=True)
    AutoModel.register(_method.config_class, _method, exist_ok=True)
    AutoImageProcessor.register(
        _method.config_class,
        image_processor_classes={"pil": SATImageProcessorPil, "torchvision": SATImageProcessor},
        exist_ok=True,
    )

__all__ = ["METHODS", "CAMForWeaklySupervisedLocalization"]
