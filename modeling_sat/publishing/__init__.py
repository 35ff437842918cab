"""A checkpoint for other people: its model card, and one commit on the Hub that holds all of it."""

from ..lazily import lazily


__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "CardSettings": ".cards",
        "PublishingError": ".errors",
        "prepare_repository": ".repository",
        "publish_checkpoint": ".push",
        "save_card": ".cards",
    },
)
