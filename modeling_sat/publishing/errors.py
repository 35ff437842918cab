"""What can go wrong on the way to the Hub, as messages."""

from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)

from ..sentences import first_line


class PublishingError(ValueError):
    """A checkpoint that cannot be published; the message says why."""


_TOKEN = "Make one with write permission at https://huggingface.co/settings/tokens and give it by `hf auth login` or HF_TOKEN."
_STATUS = {
    401: f"the Hub does not accept the token. {_TOKEN}",
    402: "the account's plan does not allow it.",
    403: "the token's owner may not write there. Give a name of your own, or a token with write permission for it.",
    409: "the Hub is holding something else under that name or is still busy with it. Choose another name, or try again.",
    413: "the Hub finds it too large. Save the weights in smaller parts: save_pretrained(…, max_shard_size='5GB').",
}


def may_pass(error: BaseException) -> bool:
    """Whether trying again may help: the network failed or the Hub was overloaded, rather than refused."""
    error = _cause(error)
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in (408, 429) or error.response.status_code >= 500
    is_refusal = isinstance(error, (LocalTokenNotFoundError, OfflineModeIsEnabled))
    return isinstance(error, (HTTPError, ConnectionError, TimeoutError)) and not is_refusal


def explain(error: BaseException) -> str:
    """Why the Hub does not do something: what follows "…: "."""
    error = _cause(error)
    if isinstance(error, LocalTokenNotFoundError):
        return f"there is no token for the Hub. {_TOKEN}"
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it to reach the Hub."
    if isinstance(error, RevisionNotFoundError):
        return "it has no such branch."
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        said = f" (The Hub says: {error.server_message.strip()})" if error.server_message else ""
        return _STATUS.get(status, f"the Hub answers with status {status}.") + said
    reason = first_line(error)
    if isinstance(error, (HTTPError, ConnectionError, TimeoutError)):
        return f"the connection to the Hub failed ({reason})."
    return f"{reason}."


def _cause(error: BaseException) -> BaseException:
    """huggingface_hub wraps what ends an upload in a RuntimeError."""
    return error.__cause__ if type(error) is RuntimeError and error.__cause__ is not None else error
