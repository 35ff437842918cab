"""The methods: what SAT is, and what it is compared with. A method is a file in `models/` and a line here."""

from dataclasses import dataclass

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForObjectDetection,
    PreTrainedConfig,
    PreTrainedModel,
)

from .models.image_processing_sat import SATImageProcessor, SATImageProcessorPil
from .models.modeling_attention_map import AttentionMapForWeaklySupervisedLocalization
from .models.modeling_bas import BASForWeaklySupervisedLocalization
from .models.modeling_cam import CAMForWeaklySupervisedLocalization
from .models.modeling_lctr import LCTRForWeaklySupervisedLocalization
from .models.modeling_ornet import ORNetForWeaklySupervisedLocalization
from .models.modeling_sat import SATForWeaklySupervisedLocalization
from .models.modeling_scm import SCMForWeaklySupervisedLocalization
from .models.modeling_ts_cam import TSCAMForWeaklySupervisedLocalization


@dataclass(frozen=True)
class Method:
    """
    Args:
        model_class: with the outputs of `WSOLOutput`, and `from_pretrained` on any ViT.
        title: as tables print it.
        paper: how it learns from labels, in a phrase that ends with where it was published.
    """

    model_class: type[PreTrainedModel]
    title: str
    paper: str

    @property
    def config_class(self) -> type[PreTrainedConfig]:
        return self.model_class.config_class


METHODS = {
    "sat": Method(SATForWeaklySupervisedLocalization, "SAT", "a Spatial-Aware Token (SAT, ICCV 2023)"),
    "cam": Method(CAMForWeaklySupervisedLocalization, "CAM", "class activation maps (CAM, CVPR 2016)"),
    "ts_cam": Method(
        TSCAMForWeaklySupervisedLocalization, "TS-CAM", "token semantic coupled attention maps (TS-CAM, ICCV 2021)"
    ),
    "lctr": Method(LCTRForWeaklySupervisedLocalization, "LCTR", "a local continuity transformer (LCTR, AAAI 2022)"),
    "scm": Method(
        SCMForWeaklySupervisedLocalization, "SCM", "class maps with a spatial calibration module (SCM, ECCV 2022)"
    ),
    "attention_map": Method(
        AttentionMapForWeaklySupervisedLocalization,
        "Attention map",
        "the class token's attention map with SAT's losses (Table 5 of SAT, ICCV 2023)",
    ),
    "bas": Method(BASForWeaklySupervisedLocalization, "BAS", "background activation suppression (BAS, CVPR 2022)"),
    "ornet": Method(
        ORNetForWeaklySupervisedLocalization, "ORNet", "online refinement of an activation map (ORNet, ICCV 2021)"
    ),
}
"""Name -> method. Training, evaluation, reproduction, publishing and the tests read this table."""


def own_types() -> dict[str, str]:
    """Model type -> name of the method, of this package's."""
    return {method.config_class.model_type: name for name, method in METHODS.items()}


for _method in METHODS.values():
    AutoConfig.register(_method.config_class.model_type, _method.config_class, exist_ok=True)
    for _auto_class in (AutoModel, AutoModelForImageClassification, AutoModelForObjectDetection):
        _auto_class.register(_method.config_class, _method.model_class, exist_ok=True)
    AutoImageProcessor.register(
        _method.config_class,
        image_processor_classes={"pil": SATImageProcessorPil, "torchvision": SATImageProcessor},
        exist_ok=True,
    )

__all__ = ["METHODS", "Method", "own_types"]
