"""The paper's tables and figures, run again: studies are data, runs are shared, claims are judged by the numbers."""

from .command import Reproduction, add_options, reproduce
from .runner import Stopped
from .studies import STUDIES, Row, Study


__all__ = ["STUDIES", "Reproduction", "Row", "Stopped", "Study", "add_options", "reproduce"]
