"""Benchmarks of weakly supervised localization, each read into the same columns."""

from .loading import READERS, load_wsol_dataset
from .sampling import stratified_split
from .schema import DatasetError, MissingSplitError


__all__ = ["READERS", "DatasetError", "MissingSplitError", "load_wsol_dataset", "stratified_split"]
