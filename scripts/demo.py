"""Opens a page in which a picture goes in and what a checkpoint finds in it comes out: map, mask, boxes, class.

python scripts/demo.py --model outputs/quickstart/model
python scripts/demo.py --model someone/sat-deit-s-cub --export_space space
"""

import argparse
import sys

from modeling_sat.checkpoints import CheckpointError
from modeling_sat.demo.pictures import PictureError
from modeling_sat.processes import continues_alone


try:
    from modeling_sat.demo.server import serve
    from modeling_sat.demo.space import SpaceError, export_space
except ModuleNotFoundError as error:
    sys.exit(f'error: The demo needs {error.name}, which is not installed: pip install "modeling_sat[demo]".')


def main() -> None:
    if not continues_alone():
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, nargs="+", dest="models", help="checkpoint folders or Hub ids")
    parser.add_argument("--examples", nargs="+", default=[], help="pictures of this machine that a visitor may choose")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860")
    parser.add_argument("--export_space", metavar="FOLDER", help="do not open the page; write it as a Space's folder")
    parser.add_argument(
        "--trust_remote_code", action="store_true", help="run code that comes with someone else's model"
    )
    arguments = parser.parse_args()
    try:
        if arguments.export_space:
            export_space(arguments.models, arguments.export_space, arguments.examples)
            print(
                f"The Space is in {arguments.export_space}; publish it by: hf upload ID {arguments.export_space} "
                ". --repo-type space"
            )
        else:
            serve(arguments.models, arguments.examples, arguments.port, arguments.trust_remote_code)
    except (CheckpointError, PictureError, SpaceError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
