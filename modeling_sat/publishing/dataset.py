"""A prepared dataset to the Hub."""

from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HTTPError

from .errors import PublishingError, explain
from .repository import prepare_repository


def publish_dataset(folder: str | Path, repository: str, private: bool = False) -> str:
    """Uploads a prepared folder to the Hub; shards that are there already are not sent again. Gives the address.

    Raises:
        PublishingError: the Hub refuses it, or the network fails.
    """
    repository = prepare_repository(repository, repo_type="dataset", private=private or None)
    api = HfApi()
    try:
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            repo_type="dataset",
            allow_patterns=["data/*.parquet", "README.md"],
            delete_patterns="data/*.parquet",  # of an earlier preparation, if it had other shards
            commit_message="Upload a prepared dataset",
        )
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        raise PublishingError(f"{folder} is not uploaded as {repository}: {explain(error)}") from error
    return f"{api.endpoint}/datasets/{repository}"
