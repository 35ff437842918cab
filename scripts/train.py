"""Trains SAT, or another method, on labelled images.

accelerate launch scripts/train.py --config scripts/configs/folder/deit_tiny.yaml --data_dir photographs
"""

import sys

from modeling_sat import training


def main() -> None:
    try:
        arguments = training.parse_arguments(sys.argv[1:])  # --help ends here, before what training needs is imported
        trainer = training.train(*arguments)
    except (OSError, ValueError, training.TrainingStopped) as error:
        sys.exit(f"error: {error}")
    if trainer.is_world_process_zero():
        print(f"Saved to {trainer.args.output_dir}.")


if __name__ == "__main__":
    main()
