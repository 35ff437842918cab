"""Trains a SAT on labelled images.

accelerate launch scripts/train.py --config scripts/configs/folder/deit_tiny.yaml --data_dir photographs
"""

import sys

from modeling_sat.training import TrainingStopped, parse_arguments, train


def main() -> None:
    try:
        trainer = train(*parse_arguments(sys.argv[1:]))
    except (OSError, ValueError, TrainingStopped) as error:
        sys.exit(f"error: {error}")
    if trainer.is_world_process_zero():
        print(f"Saved to {trainer.args.output_dir}.")


if __name__ == "__main__":
    main()
