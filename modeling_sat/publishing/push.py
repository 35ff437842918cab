"""A checkpoint to the Hub, all of it in one commit."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HTTPError
from transformers.utils import logging

from .cards import CardSettings, card_files
from .checkpoint_files import checkpoint_files
from .errors import PublishingError, explain, may_pass
from .repository import prepare_repository


logger = logging.get_logger(__name__)

ATTEMPTS = 4
FIRST_WAIT = 2.0
"""Seconds before the second attempt; each wait is twice the one before."""
KEPT_FILES = (".gitattributes", ".gitignore", "LICENSE")
"""What a checkpoint's files do not replace."""

Answer = TypeVar("Answer")


def push_checkpoint(
    folder: str | Path,
    repo_id: str,
    private: bool | None = None,
    revision: str | None = None,
    commit_message: str = "SAT checkpoint",
    card: CardSettings | None = None,
    token: str | None = None,
    replace: bool = False,
) -> str:
    """Publishes model, image processor with its threshold, the code that loads them, and the card, in one commit.

    Nothing else of the folder is sent. A connection that is lost is tried again; until the commit, which is the last
    step, nothing of the checkpoint can be seen. What an earlier commit has and this checkpoint has not is removed.

    Args:
        folder: as `scripts/train.py` or `scripts/convert_checkpoint.py` wrote it.
        repo_id, private, revision, token, replace: see `prepare_repository`.
        commit_message: of the commit.
        card: what the card says besides what the folder says.

    Returns:
        the address of the commit.

    Raises:
        PublishingError: the folder is no whole checkpoint, its card cannot be made, the Hub refuses, or the network is
            gone; nothing has been published then.
    """
    files: dict[str, str | bytes] = {path.name: str(path) for path in checkpoint_files(folder)}
    repo_id = _patiently(
        lambda: prepare_repository(repo_id, private=private, revision=revision, token=token, replace=replace)
    )
    files |= card_files(folder, repo_id, revision, card)
    api = HfApi(token=token)
    try:
        return _patiently(lambda: _commit(api, repo_id, files, revision, commit_message))
    except (HTTPError, OSError, RuntimeError, ValueError) as error:
        raise PublishingError(f"Nothing was published as {repo_id}: {explain(error)}") from error


def _commit(api: HfApi, repo_id: str, files: dict[str, str | bytes], revision: str | None, commit_message: str) -> str:
    there: Sequence[str] = api.list_repo_files(repo_id, revision=revision)
    operations = [CommitOperationAdd(name, content) for name, content in files.items()]
    operations += [CommitOperationDelete(name) for name in there if name not in files and name not in KEPT_FILES]
    commit = api.create_commit(repo_id, operations, commit_message=commit_message, revision=revision)
    return commit.commit_url


def _patiently(ask: Callable[[], Answer]) -> Answer:
    """Asks again, after a growing wait, where the network failed or the Hub was overloaded."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return ask()
        except Exception as error:
            cause = error.__cause__ if isinstance(error, PublishingError) and error.__cause__ else error
            if attempt == ATTEMPTS or not may_pass(cause):
                raise
            wait = FIRST_WAIT * 2 ** (attempt - 1)
            logger.warning(f"{explain(cause)} Trying again in {wait:g} seconds ({attempt} of {ATTEMPTS} attempts).")
            time.sleep(wait)
    raise AssertionError("an attempt returns or raises")
