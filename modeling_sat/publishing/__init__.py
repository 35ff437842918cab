"""A checkpoint for other people: its model card, and one commit on the Hub that holds all of it."""

from .cards import CardSettings, save_card
from .errors import PublishingError
from .push import publish_checkpoint
from .repository import prepare_repository


__all__ = ["CardSettings", "PublishingError", "prepare_repository", "publish_checkpoint", "save_card"]
