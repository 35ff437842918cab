"""Finds the objects of images with a trained checkpoint: a file of boxes, and overlays of map and box to look at.

python scripts/predict.py --model outputs/quickstart/model --images photographs --output_dir outputs/boxes --format coco

Runs on all processes of `accelerate launch`; after an interruption, the same command continues. In the output folder:
predictions.jsonl (always: one line an image, boxes [x_min, y_min, x_max, y_max] in pixels of the upright image),
overlays/ and review.html (the least confident first), skipped.txt (images without a box, and why), and
  --format coco       annotations.json
  --format yolo       data.yaml and labels/
  --format voc        annotations/
  --format metadata   metadata.jsonl, for the folder of the images: load_dataset("imagefolder")
"""

import argparse
import sys

from accelerate import PartialState

from modeling_sat.checkpoints import CheckpointError
from modeling_sat.labelling.formats import LABEL_FORMATS
from modeling_sat.labelling.predict import PredictionError, predict_images
from modeling_sat.models.multiscale_sat import SCALES
from modeling_sat.output.ownership import FolderInUseError
from modeling_sat.processes import ProcessError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint folder or Hub id")
    parser.add_argument("--images", required=True, nargs="+", help="image files, and folders searched at any depth")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--format", default="jsonl", choices=LABEL_FORMATS)
    parser.add_argument(
        "--threshold", type=float, help="of the localization map, in [0, 1); default: the checkpoint's"
    )
    parser.add_argument("--multiple_objects", action="store_true", help="every object, not the largest one alone")
    parser.add_argument(
        "--masks", choices=["rle", "polygons"], help="also masks: coco, metadata either, yolo polygons"
    )
    parser.add_argument(
        "--quality",
        default="fast",
        choices=list(SCALES),
        help="high: flips and larger sizes too, some 15 times slower",
    )
    parser.add_argument("--batch_size", type=int, default=16, help="of each process; default: 16")
    parser.add_argument(
        "--mixed_precision", choices=["no", "fp16", "bf16"], help="default: what accelerate launch says"
    )
    parser.add_argument("--no_overlays", action="store_false", dest="draw_overlays", help="boxes alone, no pictures")
    parser.add_argument(
        "--trust_remote_code", action="store_true", help="run code that comes with someone else's model"
    )
    arguments = vars(parser.parse_args())
    try:
        summary = predict_images(**arguments)
    except (CheckpointError, FolderInUseError, PredictionError, ProcessError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("Interrupted. The same command continues where this one stopped.")
    if not PartialState().is_main_process:
        return
    output_dir = arguments["output_dir"]
    if summary.skipped:
        print(f"Skipped {len(summary.skipped)} images, listed in {output_dir}/skipped.txt.", file=sys.stderr)
    print(f"Boxes of {summary.num_images} images are in {output_dir}.")


if __name__ == "__main__":
    main()
