"""The paper's tables and figures, run again: studies are data, runs are shared, claims are judged by the numbers."""

from .command import Reproduction, ReproductionOptions, reproduce
from .runner import Stopped
from .studies import STUDIES, Row, Study


__all__ = ["STUDIES", "Reproduction", "ReproductionOptions", "Row", "Stopped", "Study", "reproduce"]
