"""What the processes say to each other: one JSON object a line, at most ``MAX_LINE`` bytes, two closed unions.

The UI process sends a ``Request``; the child answers with an ``Event``. Every event that belongs to a request carries
its ``request_id``. Downloads and the look for models run in children of their own and speak the same lines.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from modeldeck.backend.catalog.places import Places, Skip, Spot
from modeldeck.backend.models import (
    ChatMessage,
    GenerationStats,
    LoadedModel,
    LoadRequest,
    LoadStage,
    ModelInfo,
    ModelSource,
)
from modeldeck.config.generation import GenerationSettings

PROTOCOL_VERSION = 1
MAX_LINE = 8 * 2**20
"""Bytes in one line, newline included; a longer one is a protocol error."""


class ProtocolError(Exception):
    """A line that is not a message; whoever sent it is not to be trusted any further."""


class Load(Struct, frozen=True, tag="load"):
    """Load a model. A process loads one model in its life."""

    request_id: int
    request: LoadRequest


class Generate(Struct, frozen=True, tag="generate"):
    """Reply to the conversation, as chat where the model has a template, else as a completion of the last turn."""

    request_id: int
    messages: tuple[ChatMessage, ...]
    settings: GenerationSettings


class Stop(Struct, frozen=True, tag="stop"):
    """End the reply of this request, also while it is still in prefill; it finishes as ``cancelled``."""

    request_id: int


class Download(Struct, frozen=True, tag="download"):
    """Fetch a model from the hub into its cache."""

    request_id: int
    repo_id: str
    revision: str | None = None


class Scan(Struct, frozen=True, tag="scan"):
    """Look for models, then keep looking for changes; sent again, look at once."""

    request_id: int
    places: Places
    index: bytes
    """Path of the index file; empty for none."""
    stamp: str = ""
    """Of the index whose rows are shown already; rows that are still so are not sent then."""
    skipped: tuple[Skip, ...] = ()
    cautious: bool = False
    """Name every spot before it is touched: an earlier child died and nobody knows of what."""


class FindModel(Struct, frozen=True, tag="find_model"):
    """Which model does a person mean by this text?"""

    request_id: int
    places: Places
    index: bytes
    text: bytes
    skipped: tuple[Skip, ...] = ()
    cautious: bool = False


class ReadModel(Struct, frozen=True, tag="read_model"):
    """Read what lies at a path, wherever that is."""

    request_id: int
    path: bytes
    source: ModelSource


class Shutdown(Struct, frozen=True, tag="shutdown"):
    """End the process."""


Request = Load | Generate | Stop | Download | Scan | FindModel | ReadModel | Shutdown


class EngineStarted(Struct, frozen=True, tag="started"):
    """The first event, before anything heavy is imported."""

    protocol_version: int
    pid: int


class EngineReady(Struct, frozen=True, tag="ready"):
    """The libraries are imported; a load would begin at once."""

    versions: dict[str, str]


class LoadProgress(Struct, frozen=True, tag="load_progress"):
    """The load moved on. ``total`` is 0 while nobody can know it."""

    request_id: int
    stage: LoadStage
    done: int = 0
    total: int = 0
    unit: Literal["", "bytes", "tensors"] = ""

    @property
    def fraction(self) -> float | None:
        """0 to 1, or None while it is unknown."""
        return min(1.0, self.done / self.total) if self.total > 0 else None


class LoadFinished(Struct, frozen=True, tag="load_finished"):
    """The model is resident and has produced its warm-up token."""

    request_id: int
    model: LoadedModel


LoadFailure = Literal["load", "memory", "unsupported", "quantization", "remote_code"]
"""Which class of ``backend.errors`` a failed load becomes."""


class LoadFailed(Struct, frozen=True, tag="load_failed"):
    """The load ended without a model; the process is of no more use."""

    request_id: int
    kind: LoadFailure
    message: str
    detail: str = ""


class TokensGenerated(Struct, frozen=True, tag="tokens"):
    """The next piece of the reply: the first token at once, then about ten pieces a second."""

    request_id: int
    text: str
    new_tokens: int
    """How many tokens the reply has by now."""


class GenerationFinished(Struct, frozen=True, tag="generation_finished"):
    """The reply is complete, cut at its limit, or stopped."""

    request_id: int
    stats: GenerationStats


class GenerationFailed(Struct, frozen=True, tag="generation_failed"):
    """The reply ended with an error; the model is still loaded."""

    request_id: int
    message: str
    detail: str = ""


class DownloadProgress(Struct, frozen=True, tag="download_progress"):
    """Bytes fetched so far; ``total_bytes`` is known from the start."""

    request_id: int
    done_bytes: int
    total_bytes: int
    note: str = ""
    """What it waits for ("another download holds the lock"), or empty."""


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


class Reading(Struct, frozen=True, tag="reading"):
    """What the scan is at: told twice a second while that changes, so that a hang is known by its name."""

    request_id: int
    spot: Spot
    """An empty path while it waits for changes."""


class ModelsFound(Struct, frozen=True, tag="models_found"):
    """Models that are new or not as they were told before."""

    request_id: int
    models: tuple[ModelInfo, ...]


class ScanFinished(Struct, frozen=True, tag="scan_finished"):
    """Everything was looked at once more."""

    request_id: int
    gone: tuple[str, ...] = ()
    """Ids that were told, or shown from the index, and are there no more."""
    complete: bool = False
    """Nothing was left out as shown already: what this process never told is not there."""
    looked_in: tuple[str, ...] = ()
    """Where it looked, in words; only when it found nothing."""
    left_alone: tuple[bytes, ...] = ()
    """Folders that it did not look into, since a child hung or died there: nobody knows what is gone from them."""


class ModelRead(Struct, frozen=True, tag="model_read"):
    """The model that was asked for."""

    request_id: int
    model: ModelInfo


class ModelMissing(Struct, frozen=True, tag="model_missing"):
    """There is no such model, or there are several; the message is a sentence for the user."""

    request_id: int
    message: str
    ambiguous: bool = False


class EngineLog(Struct, frozen=True, tag="log"):
    """A line for the log view that the engine itself has to say ("the system prompt went into the first turn")."""

    level: Literal["info", "warning", "error"]
    text: str


class CopyWritten(Struct, frozen=True, tag="copy_written"):
    """The prepared copy of a GGUF model is whole, some time after its load; whoever shows copies looks again."""

    gguf: str
    """The path of the file, as the load asked for it."""


EngineEvent = (
    EngineStarted
    | EngineReady
    | LoadProgress
    | LoadFinished
    | LoadFailed
    | TokensGenerated
    | GenerationFinished
    | GenerationFailed
    | DownloadProgress
    | DownloadFinished
    | DownloadFailed
    | Reading
    | ModelsFound
    | ScanFinished
    | ModelRead
    | ModelMissing
    | EngineLog
    | CopyWritten
)

_encoder = msgspec.json.Encoder()
_requests: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)
_events: msgspec.json.Decoder[EngineEvent] = msgspec.json.Decoder(EngineEvent)


def encode(message: Request | EngineEvent) -> bytes:
    """One line, newline included. Raises ProtocolError when it would be longer than ``MAX_LINE`` or is not text."""
    try:
        line = _encoder.encode(message) + b"\n"
    except UnicodeEncodeError as error:  # a path that is not UTF-8, as os.fsdecode gives it
        raise ProtocolError(f"not text: {error}") from error
    if len(line) > MAX_LINE:
        raise ProtocolError(f"a message of {len(line)} bytes is over the limit of {MAX_LINE}")
    return line


def decode_request(line: bytes) -> Request:
    """Read one line of the UI process. Raises ProtocolError."""
    try:
        return _requests.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not a request: {error}") from error


def decode_event(line: bytes) -> EngineEvent:
    """Read one line of a child. Raises ProtocolError."""
    try:
        return _events.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not an event: {error}") from error
