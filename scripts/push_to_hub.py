"""Publishes a checkpoint on the Hub in one commit: weights, config, image processor, code, pipeline and a model card.

python scripts/push_to_hub.py --model outputs/run --repo_id someone/sat-birds --evaluation outputs/evaluation

A repository of that name is made, or updated if it holds a checkpoint of the same method. The token is that of `hf auth login` or of
HF_TOKEN. With --card_only FILE nothing is sent: the card is written to FILE, and its picture beside it.
"""

import argparse
import sys

from modeling_sat.checkpoints import check_code
from modeling_sat.processes import continues_alone
from modeling_sat.publishing import CardSettings, publish_checkpoint, save_card


def main() -> None:
    if not continues_alone():
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="checkpoint folder, as scripts/train.py wrote it")
    parser.add_argument("--repo_id", metavar="OWNER/NAME", help="needed unless --card_only")
    parser.add_argument("--private", action="store_true", default=None, help="make a new repository private")
    parser.add_argument(
        "--revision", metavar="BRANCH", help="publish on this branch, made if it is new; default: main"
    )
    parser.add_argument("--commit_message", default="Publish a checkpoint")
    parser.add_argument("--replace", action="store_true", help="publish over another model of that name")
    parser.add_argument(
        "--evaluation", nargs="+", default=[], metavar="DIR", help="output_dir of scripts/evaluate.py, for the card"
    )
    parser.add_argument("--picture", help="for the card; default: of the evaluation, or of the training")
    parser.add_argument("--license", default="apache-2.0", help="of the weights, as the Hub names licences")
    parser.add_argument("--base_model", metavar="ID", help="that training started from; default: as the run recorded")
    parser.add_argument("--card_only", metavar="FILE", help="write the card there and publish nothing")
    parser.add_argument(
        "--trust_remote_code", action="store_true", help="publish code that is not of this package too"
    )
    arguments = parser.parse_args()
    if not arguments.repo_id and not arguments.card_only:
        parser.error("--repo_id says where to publish")
    card = CardSettings(arguments.evaluation, arguments.picture, arguments.license, arguments.base_model)
    try:
        check_code(arguments.model, arguments.trust_remote_code)
        if arguments.card_only:
            save_card(arguments.card_only, arguments.model, arguments.repo_id, card)
            print(f"Written to {arguments.card_only}.")
            return
        address = publish_checkpoint(
            arguments.model, arguments.repo_id, private=arguments.private, revision=arguments.revision,
            commit_message=arguments.commit_message, card=card, replace=arguments.replace,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(f"Published: {address}")


if __name__ == "__main__":
    main()
