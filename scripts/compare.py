"""Trains several methods on the same images, and shows which finds objects best: one table, one page of pictures.

python scripts/compare.py --data_dir photographs
python scripts/compare.py --methods sat cam ts_cam --dataset folder --data_dir photographs --seeds 0 1 2

Run it again to continue where it was stopped. Any further `--field value` goes to every training.
"""

import sys
from argparse import RawDescriptionHelpFormatter
from pathlib import Path

from transformers import HfArgumentParser

from modeling_sat.processes import continues_alone
from modeling_sat.reproduction import ComparisonOptions, Stopped, compare


def main() -> None:
    if not continues_alone():
        return
    parser = HfArgumentParser(
        ComparisonOptions,
        usage="%(prog)s --data_dir FOLDER [--methods NAME …] [--option value …]",
        description=__doc__,
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    try:
        options, fields = parser.parse_args_into_dataclasses(return_remaining_strings=True, look_for_args_file=False)
        result = compare(options, fields, Path(__file__).resolve().parent)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    except Stopped:
        sys.exit("Stopped; the same command continues from here.")
    if result is not None:
        print(f"\n{result.table}\n{result.winner}\nWritten to {result.folder}: compare.html, table.md, results.json")
        if result.failed:
            logs = ", ".join(str(folder / "log.txt") for folder in result.failed)
            sys.exit(f"error: {len(result.failed)} runs failed; see {logs}. The same command tries them again.")


if __name__ == "__main__":
    main()
