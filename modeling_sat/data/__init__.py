"""Benchmarks of weakly supervised localization, each read into the same columns."""

from .examples import DatasetError
from .loading import READERS, load_wsol_dataset
from .splits import stratified_split


__all__ = ["READERS", "DatasetError", "load_wsol_dataset", "stratified_split"]
