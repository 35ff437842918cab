"""Publishes a checkpoint on the Hub in one commit, with a card made of what its training and its evaluations left.

python scripts/push_to_hub.py --model outputs/quickstart/model --repo_id YOU/sat-shapes --evaluation outputs/quickstart

Sent are configuration, weights, image processor with its threshold, the code that loads them, the card and its picture;
nothing else of the folder. The token is that of `hf auth login` or HF_TOKEN. `--card_only FILE` writes the card there, and
its picture beside it, and publishes nothing.
"""

import argparse
import sys

from modeling_sat.publishing import CardSettings, PublishingError, push_checkpoint, save_card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint folder")
    parser.add_argument("--repo_id", required=True, help="OWNER/NAME, or NAME for one of your own")
    parser.add_argument(
        "--evaluation", nargs="+", default=[], help="output folders of scripts/evaluate.py, for the card"
    )
    parser.add_argument("--picture", help="of the card; default: that of the evaluation, or the training's last")
    parser.add_argument("--base_model", help="Hub id of what training started from, where the run does not know it")
    parser.add_argument("--license", default="apache-2.0", help="default: apache-2.0")
    parser.add_argument("--private", action="store_true", default=None, help="a new repository is private")
    parser.add_argument("--revision", help="branch, made where there is none; default: main")
    parser.add_argument("--commit_message", default="SAT checkpoint")
    parser.add_argument("--replace", action="store_true", help="even if the repository holds another model")
    parser.add_argument("--card_only", metavar="FILE", help="write the card there, and publish nothing")
    arguments = parser.parse_args()
    card = CardSettings(arguments.evaluation, arguments.picture, arguments.license, arguments.base_model)
    try:
        if arguments.card_only:
            save_card(arguments.card_only, arguments.model, arguments.repo_id, card)
            print(f"The card is in {arguments.card_only}.")
            return
        address = push_checkpoint(
            arguments.model, arguments.repo_id, arguments.private, arguments.revision, arguments.commit_message, card,
            replace=arguments.replace,
        )  # fmt: skip
    except PublishingError as error:
        sys.exit(f"error: {error}")
    print(f"Published: {address}")


if __name__ == "__main__":
    main()
