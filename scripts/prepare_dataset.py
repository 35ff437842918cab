"""Writes a benchmark as Parquet shards with a dataset card, which load_wsol_dataset reads from a folder or the Hub.

python scripts/prepare_dataset.py --dataset cub --data_dir CUB_200_2011 --output_dir outputs/cub
"""

import argparse
import sys

from modeling_sat.data.arguments import as_mapping
from modeling_sat.data.preparation import PreparationSettings, prepare_dataset
from modeling_sat.processes import continues_alone
from modeling_sat.publishing.dataset import publish_dataset


def main() -> None:
    if not continues_alone():
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="cub, imagenet, openimages30k, …")
    parser.add_argument("--data_dir", help="the dataset's folder")
    parser.add_argument("--output_dir", required=True, help="for data/*.parquet and README.md")
    parser.add_argument("--splits", nargs="+", choices=["train", "validation", "test"], help="default: all there are")
    parser.add_argument("--resize_shorter", type=int, help="pixels; makes larger images smaller, for fast training")
    parser.add_argument("--images_per_shard", type=int, default=2000)
    parser.add_argument(
        "--on_bad_image", default="raise", choices=["raise", "skip"], help="images that cannot be read"
    )
    parser.add_argument(
        "--allow_partial", action="store_true", help="although some of the published images are missing"
    )
    parser.add_argument("--dataset_options", default="{}", help="JSON, options of the dataset's reader")
    parser.add_argument("--push_to_hub", metavar="ORG/NAME", help="upload it there")
    parser.add_argument("--private", action="store_true", help="as a private dataset")
    arguments = vars(parser.parse_args())
    repository, private = arguments.pop("push_to_hub"), arguments.pop("private")
    try:
        arguments["dataset_options"] = as_mapping(arguments["dataset_options"])
        settings = PreparationSettings(**arguments)
        tables = prepare_dataset(settings)
        print(
            f"Written to {settings.output_dir}: {', '.join(f'{name} {len(table):,}' for name, table in tables.items())}"
        )
        if repository:
            print(f"Uploaded to {publish_dataset(settings.output_dir, repository, private)}")
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
