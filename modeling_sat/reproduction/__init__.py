"""The paper's tables and figures, run again, and methods compared on one's own images: studies are data, runs are shared,
claims are judged by the numbers."""

from .command import Reproduction, reproduce
from .comparison import Comparison, compare
from .options import ComparisonOptions, ReproductionOptions
from .runner import Stopped
from .studies import STUDIES, Row, Study


__all__ = [
    "STUDIES", "Comparison", "ComparisonOptions", "Reproduction", "ReproductionOptions", "Row", "Stopped", "Study",
    "compare", "reproduce",
]  # fmt: skip
