"""Class activation maps (Zhou et al., CVPR 2016) of a ViT: what the head of SAT and TS-CAM finds without their maps."""

from huggingface_hub.dataclasses import strict

from .configuration_wsol import WSOLConfig
from .modeling_wsol import ClassMapModel


@strict
class CAMConfig(WSOLConfig):
    model_type = "wsol_cam"


class CAMForWeaklySupervisedLocalization(ClassMapModel):
    """A plain ViT with the 3×3-convolution-and-pool head on patch tokens; a class's map is that of the convolution."""

    config: CAMConfig
    config_class = CAMConfig
    starts_from = ("sat",)


__all__ = ["CAMConfig", "CAMForWeaklySupervisedLocalization"]
