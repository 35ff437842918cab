"""The place on the Hub: found or made, and seen to be ours, before anything is sent there."""

from typing import Literal

from huggingface_hub import DatasetInfo, HfApi, ModelInfo
from huggingface_hub.errors import HFValidationError, HTTPError, RepositoryNotFoundError, RevisionNotFoundError
from huggingface_hub.utils import validate_repo_id

from ..methods import own_types
from .errors import PublishingError, explain


_OF_ANY_REPOSITORY = (".gitattributes", ".gitignore", "README.md", "LICENSE")


def prepare_repository(
    repo_id: str,
    *,
    repo_type: Literal["model", "dataset"] = "model",
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    replace: bool = False,
    model_type: str | None = None,
) -> str:
    """Makes sure that something can be published as `repo_id`, and makes repository and branch if they are new.

    Args:
        repo_id: `name`, which is then the token's owner's, or `owner/name`.
        repo_type: a model may not be written over one of another type, nor share its name with a dataset or Space.
        model_type: of the model that is to be published; None: any of this package's.
        private: whether a new repository is private; None: as the owner's settings say.
        revision: a branch, made from main if there is none of that name.
        token: instead of the one that `hf auth login` or HF_TOKEN gives.
        replace: publish even where another model is, or a dataset or Space has that name.

    Returns:
        `owner/name`.

    Raises:
        PublishingError: no token, a wrong one, no permission, no valid name, or a name that something else has.
    """
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise PublishingError(
            f"{repo_id!r} is not a name on the Hub; give owner/name, of letters, digits, '-', '_' and '.', at most 96 "
            "characters."
        ) from error
    api = HfApi(token=token)
    try:
        user = api.whoami()
        if user.get("auth", {}).get("accessToken", {}).get("role") == "read":
            raise PublishingError(f"The token of {user['name']} may only read; publishing needs one that may write.")
        repo_id = repo_id if "/" in repo_id else f"{user['name']}/{repo_id}"
        existing = _repo_info(api, repo_id, repo_type)
        if existing is None:
            if repo_type == "model" and not replace:
                _check_other_kinds(api, repo_id)
            api.create_repo(repo_id, repo_type=repo_type, private=private)
        else:
            api.auth_check(repo_id, repo_type=repo_type, write=True)
            if private and not existing.private:
                raise PublishingError(
                    f"{repo_id} exists and is public, and what is published there would be public too. Make it private "
                    "in its settings, or choose another name."
                )
            if repo_type == "model" and not replace:
                _check_same_kind(_repo_info(api, repo_id, repo_type, revision) or existing, model_type)
        if revision is not None:
            api.create_branch(repo_id, repo_type=repo_type, branch=revision, exist_ok=True)
    except PublishingError:
        raise
    except (HTTPError, OSError, ValueError) as error:
        raise PublishingError(f"Nothing can be published as {repo_id}: {explain(error)}") from error
    return repo_id


def _repo_info(
    api: HfApi, repo_id: str, repo_type: str, revision: str | None = None
) -> ModelInfo | DatasetInfo | None:
    try:
        return api.repo_info(repo_id, repo_type=repo_type, revision=revision)
    except (RepositoryNotFoundError, RevisionNotFoundError):
        return None


def _check_other_kinds(api: HfApi, repo_id: str) -> None:
    for kind in ("dataset", "space"):
        if api.repo_exists(repo_id, repo_type=kind):
            raise PublishingError(
                f"{repo_id} is the name of a {kind} on the Hub. Choose another, or say --replace to have a model of "
                "the same name beside it."
            )


def _check_same_kind(existing: ModelInfo, model_type: str | None) -> None:
    """A newer version of a checkpoint replaces it; another model is not written over unasked."""
    files = {sibling.rfilename for sibling in existing.siblings or []} - set(_OF_ANY_REPOSITORY)
    there = (existing.config or {}).get("model_type")
    if files and there not in ([model_type] if model_type else own_types()):
        what = f"a model of type {there!r}" if there else f"something else ({', '.join(sorted(files)[:3])})"
        raise PublishingError(
            f"{existing.id} holds {what}. Choose another name, or say --replace to publish this checkpoint over it."
        )
