"""Trains and evaluates what a table or figure of the paper needs, and puts the numbers beside the paper's.

python scripts/reproduce.py table2 --dataset shapes
python scripts/reproduce.py table8 --dataset imagenet --data_dir ILSVRC --model deit-small

Run it again to continue where it was stopped; tables share their runs. Any further `--field value` goes to every training.
"""

import sys
from argparse import RawDescriptionHelpFormatter
from pathlib import Path

from transformers import HfArgumentParser

from modeling_sat.processes import continues_alone
from modeling_sat.reproduction import STUDIES, ReproductionOptions, Stopped, reproduce


def main() -> None:
    if not continues_alone():
        return
    parser = HfArgumentParser(
        ReproductionOptions,
        usage="%(prog)s STUDY --dataset NAME [--option value …]",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("study", choices=list(STUDIES))
    try:
        options, others, fields = parser.parse_args_into_dataclasses(
            return_remaining_strings=True, look_for_args_file=False
        )
        result = reproduce(others.study, options, fields, Path(__file__).resolve().parent)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    except Stopped:
        sys.exit("Stopped; the same command continues from here.")
    if result is not None:
        print(f"\n{result.table}\nWritten to {result.folder}")
        if result.failed:
            logs = ", ".join(str(folder / "log.txt") for folder in result.failed)
            sys.exit(f"error: {len(result.failed)} runs failed; see {logs}. The same command tries them again.")


if __name__ == "__main__":
    main()
