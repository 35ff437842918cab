"""Evaluates a SAT checkpoint on a labelled dataset.

accelerate launch scripts/evaluate.py --model outputs/quickstart/model --dataset shapes --output_dir outputs/evaluation
"""

import argparse
import os
import sys

from accelerate import PartialState

from modeling_sat.data.options import dataset_options
from modeling_sat.evaluation.report import as_table
from modeling_sat.inference.evaluate import EvaluationSettings, evaluate_checkpoint
from modeling_sat.models.multiscale_sat import SCALES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a SAT checkpoint, folder or Hub id")
    parser.add_argument(
        "--dataset",
        help="cub, folder, shapes, …, org/name, or a folder of Parquet files; default: that of the checkpoint's run, as "
        "for all options of the data",
    )
    parser.add_argument("--data_dir", help="the dataset's folder")
    parser.add_argument("--output_dir", required=True, help="for metrics.json, records, pictures and report.html")
    parser.add_argument("--split", default="test", choices=["train", "validation", "test"])
    parser.add_argument("--protocol", default="sat", choices=["sat", "wsolevaluation"])
    parser.add_argument("--view", choices=["crop", "whole"], help="default: the protocol's own, the crop for sat")
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--threshold", type=float, help="fixed; default: chosen on the validation split")
    choice.add_argument("--select_on_test", action="store_true", help="choose the threshold on the evaluated split")
    parser.add_argument("--validation_fraction", type=float, help="of train, where there is no validation")
    parser.add_argument("--data_seed", type=int, help="of that choice")
    parser.add_argument(
        "--map", choices=["localization", "class"], help="default: the method's own, one map per image"
    )
    parser.add_argument("--ten_crop", action="store_true", help="classify by ten crops, as the paper does")
    parser.add_argument(
        "--quality", default="fast", choices=list(SCALES), help="high: flips and larger sizes averaged"
    )
    parser.add_argument("--classes", nargs="+", help="names of those to keep")
    parser.add_argument(
        "--allow_partial", action="store_true", default=None, help="although some of the published images are missing"
    )
    parser.add_argument("--on_bad_image", choices=["raise", "skip"], help="images that cannot be read")
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--num_workers", type=int, default=0)
    parser.add_argument(
        "--mixed_precision", choices=["no", "fp16", "bf16"], help="default: what accelerate launch says"
    )
    parser.add_argument("--dataset_options", type=dataset_options, help="JSON, options of the dataset's reader")
    parser.add_argument("--trust_remote_code", action="store_true", help="run the code that a model of others brings")
    settings = EvaluationSettings(**vars(parser.parse_args()))
    try:
        result = evaluate_checkpoint(settings)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    if PartialState().is_main_process:
        print(as_table(result))
        if result["saved_to_checkpoint"]:
            print(f"Threshold saved into {settings.model}")
        print(f"Written to {settings.output_dir}: {', '.join(sorted(os.listdir(settings.output_dir)))}")


if __name__ == "__main__":
    main()
