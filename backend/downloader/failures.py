"""What went wrong with a download, as one sentence that says what to do."""

from __future__ import annotations

import errno

import httpx2
from huggingface_hub import constants
from huggingface_hub.errors import (
    DisabledRepoError,
    DryRunError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from modeldeck.backend.errors import DownloadError

_WRAPPERS = (DryRunError, LocalEntryNotFoundError)
"""They hide what really happened in their cause."""


def sentence(error: BaseException, repo_id: str) -> str:
    """One sentence for the user."""
    if isinstance(error, _WRAPPERS) and error.__cause__ is not None:
        return sentence(error.__cause__, repo_id)
    match error:
        case DownloadError():
            return str(error)
        case GatedRepoError():
            return f"{repo_id} is gated: accept its terms at {_page(repo_id)}, then log in with: hf auth login"
        case DisabledRepoError():
            return f"{repo_id} was disabled by the hub; choose another model."
        case RepositoryNotFoundError():
            return f"{repo_id} is not on the hub, or is private: check the spelling, or log in with: hf auth login"
        case RevisionNotFoundError():
            return f"{repo_id} has no such revision; leave it out to get the newest."
        case OfflineModeIsEnabled():
            return "Downloads are switched off by HF_HUB_OFFLINE; unset it to download."
        case HfHubHTTPError():
            return _of_status(error.response.status_code, repo_id)
        case httpx2.HTTPError():
            return f"The hub ({constants.ENDPOINT}) cannot be reached; check the network and try again."
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return f"The disk of {constants.HF_HUB_CACHE} is full; make room and try again."
        case OSError(errno=errno.EACCES | errno.EROFS):
            return f"{constants.HF_HUB_CACHE} cannot be written; set HF_HOME to a folder of your own."
        case _:
            return f"The download failed ({type(error).__name__}); try again, the log has more."


def _of_status(status: int, repo_id: str) -> str:
    if status in {401, 403}:
        return f"The hub refuses {repo_id} with the token it got; log in with: hf auth login"
    if status == 429:
        return "The hub gets too many requests from here; wait a few minutes and try again."
    return f"The hub answered with an error ({status}); try again later."


def _page(repo_id: str) -> str:
    return f"{constants.ENDPOINT}/{repo_id}"
