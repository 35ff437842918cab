"""Benchmarks of weakly supervised localization, each read into the same columns."""

from ..lazily import lazily


__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "READERS": ".loading",
        "DatasetError": ".errors",
        "MissingSplitError": ".errors",
        "load_wsol_dataset": ".loading",
        "stratified_split": ".sampling",
    },
)
