"""One commit on the Hub that holds a checkpoint: weights, config, image processor, code, pipeline and card."""

import time
import warnings
from fnmatch import fnmatch
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HTTPError
from transformers.utils import CONFIG_NAME

from .cards import CardSettings, card_files
from .checkpoint_files import WEIGHTS_PATTERNS, checkpoint_files, read_if_there
from .errors import PublishingError, explain, may_pass
from .repository import prepare_repository


ATTEMPTS = 3
"""Each of which huggingface_hub itself repeats several times where the network fails."""
PAUSE = 5.0
"""Seconds before the second attempt; twice as many before the third."""


def publish_checkpoint(
    folder: str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str = "Publish a checkpoint",
    card: CardSettings | None = None,
    token: str | None = None,
    replace: bool = False,
) -> str:
    """Publishes a checkpoint folder and its model card in one commit; what is not of a checkpoint stays at home.

    Weights of an earlier version that are not replaced are deleted in the same commit. The folder is not changed.

    Args:
        folder: as `scripts/train.py` or `save_pretrained` wrote it.
        repo_id, private, revision, token, replace: see `prepare_repository`.
        card: what the card says besides what the folder says.

    Returns:
        the address of the checkpoint on the Hub.

    Raises:
        PublishingError: the folder is not a checkpoint, the Hub refuses, or the network fails for good. The repository
            then holds what it held before.
    """
    folder = Path(folder)
    files = {file.name: file for file in checkpoint_files(folder)}
    card_files(folder, repo_id, revision, card)  # what is wrong with the card shows before a repository is made
    model_type = (read_if_there(folder / CONFIG_NAME) or {}).get("model_type")
    repo_id = prepare_repository(
        repo_id, private=private, revision=revision, token=token, replace=replace, model_type=model_type
    )
    content: dict[str, Path | bytes] = {**files, **card_files(folder, repo_id, revision, card)}
    api = HfApi(token=token)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _commit(api, repo_id, revision, content, commit_message)
            break
        except (HTTPError, OSError, ValueError, RuntimeError) as error:
            if not may_pass(error) or attempt == ATTEMPTS:
                tried = f" It was tried {attempt} times." if attempt > 1 else ""
                raise PublishingError(
                    f"{folder} is not published as {repo_id}: {explain(error)}{tried} Nothing of it can be seen there; "
                    "the same command tries again."
                ) from error
            warnings.warn(f"{repo_id}: {explain(error)} Trying again.", stacklevel=2)
            time.sleep(PAUSE * attempt)
    return f"{api.endpoint}/{repo_id}" + (f"/tree/{revision}" if revision else "")


def _commit(
    api: HfApi, repo_id: str, revision: str | None, content: dict[str, Path | bytes], commit_message: str
) -> None:
    """Not by `upload_folder`, which may make several commits, and a reader may come between them."""
    there = api.list_repo_files(repo_id, revision=revision)
    stale = [name for name in there if name not in content and any(fnmatch(name, p) for p in WEIGHTS_PATTERNS)]
    additions = [CommitOperationAdd(name, file) for name, file in content.items()]
    deletions = [CommitOperationDelete(name, is_folder=False) for name in stale]
    api.create_commit(repo_id, [*additions, *deletions], commit_message=commit_message, revision=revision)
