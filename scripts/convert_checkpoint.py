"""Converts a checkpoint of a method's or Conformer's authors, timm or transformers into a folder that `from_pretrained` loads.

python scripts/convert_checkpoint.py --checkpoint deit_tiny.safetensors --source timm --output_dir outputs/deit-tiny

timm makes a SAT of a file under timm's names; timm_vit leaves it a ViT, from which every method starts.
"""

import argparse
import sys

from modeling_sat.checkpoints import CheckpointError, convert_checkpoint
from modeling_sat.checkpoints.pixel_statistics import CHOICES
from modeling_sat.checkpoints.sources import SOURCES
from modeling_sat.processes import continues_alone


def main() -> None:
    if not continues_alone():
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--checkpoint", required=True, help="a .safetensors, .pth or .pth.tar file; for vit a folder or Hub id"
    )
    parser.add_argument("--source", required=True, choices=[*SOURCES, "vit"])
    parser.add_argument("--output_dir", required=True)
    parser.add_argument("--num_labels", type=int, help="classes of the new head; default: the checkpoint's own number")
    parser.add_argument(
        "--classifier", choices=["patch_tokens", "class_token"], help="default: patch_tokens, the paper's head"
    )
    parser.add_argument("--num_attention_heads", type=int, help="default: hidden size / 64, as in every DeiT")
    parser.add_argument(
        "--pixel_statistics", choices=CHOICES, help="default: those it was trained with, as far as they are known"
    )
    parser.add_argument(
        "--trust_remote_code", action="store_true", help="run code that comes with someone else's model"
    )
    arguments = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    try:
        print(convert_checkpoint(**arguments))
    except CheckpointError as error:
        sys.exit(f"error: {error}")
    print(f"Saved to {arguments['output_dir']}.")


if __name__ == "__main__":
    main()
