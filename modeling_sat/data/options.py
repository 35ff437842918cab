"""Options of a dataset's reader, from the command line."""

import argparse
import json
from typing import Any


def dataset_options(text: str) -> dict[str, Any]:
    """A mapping from JSON text, as the type of an argument of `argparse`.

    Raises:
        argparse.ArgumentTypeError: it is no mapping.
    """
    try:
        return dict(json.loads(text))
    except (TypeError, ValueError) as error:
        raise argparse.ArgumentTypeError(f'{text!r} is not a mapping such as {{"num_classes": 4}}') from error
