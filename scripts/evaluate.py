"""Evaluates a checkpoint on a labelled dataset.

accelerate launch scripts/evaluate.py --model outputs/quickstart/model --dataset shapes --output_dir outputs/evaluation
"""

import argparse
import os
import sys

from accelerate import PartialState
from transformers import HfArgumentParser

from modeling_sat.evaluation.report import as_table
from modeling_sat.inference.evaluate import EvaluationSettings, evaluate_checkpoint


def main() -> None:
    parser = HfArgumentParser(
        EvaluationSettings, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments = parser.parse_args()
    try:
        settings = EvaluationSettings(**vars(arguments))
        result = evaluate_checkpoint(settings)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    if PartialState().is_main_process:
        print(as_table(result))
        if result.saved_to_checkpoint:
            print(f"Threshold saved into {settings.model}")
        print(f"Written to {settings.output_dir}: {', '.join(sorted(os.listdir(settings.output_dir)))}")


if __name__ == "__main__":
    main()
