"""Puts evaluations side by side in one report, without running a model again.

python scripts/report.py outputs/evaluation --output_dir outputs/report
"""

import argparse
import sys

from modeling_sat.evaluation.report import EvaluatedRun, write_report
from modeling_sat.processes import continues_alone


def main() -> None:
    if not continues_alone():
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", help="folders that scripts/evaluate.py wrote")
    parser.add_argument("--names", nargs="+", help="what to call them; default: the folders' names")
    parser.add_argument("--output_dir", required=True, help="for report.md, report.html and the figures")
    arguments = parser.parse_args()
    names = arguments.names or [None] * len(arguments.runs)
    try:
        if len(names) != len(arguments.runs):
            raise ValueError(f"There are {len(names)} names for {len(arguments.runs)} runs; give one for each.")
        write_report([EvaluatedRun.load(run, name) for run, name in zip(arguments.runs, names)], arguments.output_dir)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"Written to {arguments.output_dir}: report.html, report.md and figures")


if __name__ == "__main__":
    main()
