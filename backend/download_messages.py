"""What is said to the child that downloads, and by it: a part of ``backend.protocol``."""

from __future__ import annotations

from msgspec import Struct

from modeldeck.backend.text import clean_name


class Download(Struct, frozen=True, tag="download"):
    """Fetch a model from the hub into its cache."""

    request_id: int
    repo_id: str
    revision: str | None = None
    allow_pickles: bool = False
    """Where there are no other weights."""


class DownloadProgress(Struct, frozen=True, tag="download_progress"):
    """Bytes fetched so far; ``total_bytes`` is known from the start."""

    request_id: int
    done_bytes: int
    total_bytes: int
    note: str = ""
    """What it waits for ("waiting 3 s for another download"), or empty."""
    lock_file: str = ""
    """What somebody else holds while it waits; untrusted text."""

    @property
    def advice(self) -> str:
        """What the user may do about the wait, one sentence; empty while there is none."""
        if not self.lock_file:
            return ""
        return (
            f"Another download holds the lock file {clean_name(self.lock_file, 500)}. "
            "If none is running, on any machine that shares this cache, remove that file."
        )


class DownloadFinished(Struct, frozen=True, tag="download_finished"):
    """The snapshot is complete."""

    request_id: int
    path: str
    model_id: str


class DownloadFailed(Struct, frozen=True, tag="download_failed"):
    """The download ended without a snapshot."""

    request_id: int
    message: str
    detail: str = ""
    only_pickles: bool = False
    """Whether it is because there are no other weights, and ``allow_pickles`` would do."""
