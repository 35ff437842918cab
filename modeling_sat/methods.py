"""The methods: what SAT is, and what it is compared with. A method is a file in `models/` and a line here."""

from dataclasses import dataclass

from transformers import PreTrainedConfig, PreTrainedModel

from .models.modeling_cam import CAMForWeaklySupervisedLocalization
from .models.modeling_sat import SATForWeaklySupervisedLocalization
from .models.modeling_ts_cam import TSCAMForWeaklySupervisedLocalization


@dataclass(frozen=True)
class Method:
    """
    Args:
        model_class: with the outputs of `WSOLOutput`, and `from_pretrained` on any ViT.
        title: as tables print it.
    """

    model_class: type[PreTrainedModel]
    title: str

    @property
    def config_class(self) -> type[PreTrainedConfig]:
        return self.model_class.config_class


METHODS = {
    "sat": Method(SATForWeaklySupervisedLocalization, "SAT"),
    "cam": Method(CAMForWeaklySupervisedLocalization, "CAM"),
    "ts_cam": Method(TSCAMForWeaklySupervisedLocalization, "TS-CAM"),
}
"""Name -> method. Training, evaluation, reproduction, publishing and the tests read this table."""


def own_types() -> set[str]:
    """The model types of this package."""
    return {method.config_class.model_type for method in METHODS.values()}


__all__ = ["METHODS", "Method", "own_types"]
