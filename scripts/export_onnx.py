"""Exports a checkpoint to a folder with model.onnx, its configuration and its image processor.

python scripts/export_onnx.py --model outputs/quickstart/model --output_dir outputs/quickstart/onnx
python scripts/predict.py --model outputs/quickstart/onnx --images photographs --output_dir outputs/boxes

The file takes pixel_values (batch, 3, height, width), any number of images in whole patches, and gives logits and
localization_map. It is compared with PyTorch before it is kept.
  --precision float16   half the size, for GPUs
  --precision int8      less than a third of the size, for CPUs; evaluate.py tells what it costs
  --format torch        model.pt2, a program for torch.export.load
"""

import argparse
import sys

from modeling_sat.checkpoints import CheckpointError
from modeling_sat.checkpoints.load import load_checkpoint
from modeling_sat.onnx import FORMATS, PRECISIONS, ExportError, export_model
from modeling_sat.output.ownership import FolderInUseError
from modeling_sat.processes import continues_alone


def main() -> None:
    if not continues_alone():
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint folder or Hub id")
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--format", default="onnx", choices=FORMATS)
    parser.add_argument("--precision", default="float32", choices=PRECISIONS)
    parser.add_argument("--opset", type=int, help="version of ONNX's operators; default: PyTorch's")
    parser.add_argument(
        "--trust_remote_code", action="store_true", help="run code that comes with someone else's model"
    )
    arguments = vars(parser.parse_args())
    checkpoint = arguments.pop("model"), arguments.pop("trust_remote_code")
    try:
        print(export_model(*load_checkpoint(*checkpoint), **arguments))
    except (CheckpointError, ExportError, FolderInUseError) as error:
        sys.exit(f"error: {error}")
    print(f"Written to {arguments['output_dir']}.")


if __name__ == "__main__":
    main()
