"""A trained checkpoint to the Hub: its card, and the one commit that everything arrives in."""

from .cards import CardSettings, card_files, save_card
from .errors import PublishingError
from .push import push_checkpoint
from .repository import prepare_repository


__all__ = ["CardSettings", "PublishingError", "card_files", "prepare_repository", "push_checkpoint", "save_card"]
