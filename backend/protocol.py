"""What the processes say to each other: one JSON object a line, at most ``MAX_LINE`` bytes, two closed unions.

The UI process sends a ``Request``; the child answers with an ``Event``. Every event that belongs to a request carries
its ``request_id``. Downloads and the look for models run in children of their own and speak the same lines.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from modeldeck.backend.catalog.messages import (
    FindModel,
    ModelMissing,
    ModelRead,
    ModelsFound,
    Reading,
    ReadModel,
    Scan,
    ScanFinished,
)
from modeldeck.backend.chat_messages import ChatMessage, GenerationStats, ReplyMode, TokenChoice
from modeldeck.backend.download_messages import Download, DownloadFailed, DownloadFinished, DownloadProgress
from modeldeck.backend.json_numbers import has_absurd_number
from modeldeck.backend.models import LoadedModel, LoadRequest, LoadStage
from modeldeck.config.generation import GenerationSettings

PROTOCOL_VERSION = 1
MAX_LINE = 8 * 2**20
"""Bytes in one line, newline included; a longer one is a protocol error."""
IMPORTED = "modeldeck: the libraries are imported"
"""A child says so on stderr: what they said of themselves until then stands behind no error."""
EXIT_DEVICE_LOST = 70
"""The exit status of an engine after an error that leaves its device unusable (EX_SOFTWARE of sysexits)."""


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
    mode: ReplyMode = ReplyMode.CHAT
    thinking: bool | None = None
    """Whether the model shall reason first, where its template asks; None leaves it to the template."""


class Stop(Struct, frozen=True, tag="stop"):
    """End the reply of this request, also while it is still in prefill; it finishes as ``cancelled``."""

    request_id: int


class CountTokens(Struct, frozen=True, tag="count_tokens"):
    """How many tokens is each of these texts?"""

    request_id: int
    texts: tuple[str, ...]


class LookInto(Struct, frozen=True, tag="look_into"):
    """How likely was each token of a reply to this conversation, and what else was?"""

    request_id: int
    asked: Generate
    """As the reply was asked for; its own request id says nothing."""
    token_ids: tuple[int, ...]
    """Of the reply, as ``GenerationStats`` has them."""


class Park(Struct, frozen=True, tag="park"):
    """Move the weights from the GPU to RAM."""

    request_id: int


class Wake(Struct, frozen=True, tag="wake"):
    """Move them back."""

    request_id: int


class Shutdown(Struct, frozen=True, tag="shutdown"):
    """End the process."""


Request = (
    Load | Generate | Stop | CountTokens | LookInto | Park | Wake | Download | Scan | FindModel | ReadModel | Shutdown
)


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


LoadFailure = Literal["load", "memory", "unsupported", "quantization", "remote_code", "pickles"]
"""Which class of ``backend.errors`` a failed load becomes."""


class LoadFailed(Struct, frozen=True, tag="load_failed"):
    """The load ended without a model; the process is of no more use."""

    request_id: int
    kind: LoadFailure
    message: str
    detail: str = ""


class TokensGenerated(Struct, frozen=True, tag="tokens"):
    """The next piece of the reply: the first token at once, then ten pieces a second, five from a model on the CPU."""

    request_id: int
    text: str
    new_tokens: int
    """How many tokens the reply has by now."""
    reasoning: bool = False
    """Whether this is what the model thinks before it answers, and no part of the answer."""


class PrefillProgress(Struct, frozen=True, tag="prefill_progress"):
    """How far the model has read the prompt; told twice a second, so never for a short one."""

    request_id: int
    done: int
    """Tokens."""
    total: int
    """Tokens that are to be read; what was in the cache already is not among them."""


class GenerationFinished(Struct, frozen=True, tag="generation_finished"):
    """The reply is complete, cut at its limit, or stopped."""

    request_id: int
    stats: GenerationStats


class GenerationFailed(Struct, frozen=True, tag="generation_failed"):
    """The reply ended with an error; the model is still loaded."""

    request_id: int
    message: str
    detail: str = ""


class TokensCounted(Struct, frozen=True, tag="tokens_counted"):
    """The number of tokens of each text."""

    request_id: int
    counts: tuple[int, ...]


class LookedInto(Struct, frozen=True, tag="looked_into"):
    """The tokens of a reply with their probabilities."""

    request_id: int
    tokens: tuple[TokenChoice, ...]


class Moved(Struct, frozen=True, tag="moved"):
    """The weights are where they were to go."""

    request_id: int
    moved_bytes: int
    seconds: float


class MoveFailed(Struct, frozen=True, tag="move_failed"):
    """The weights are where they were."""

    request_id: int
    message: str
    detail: str = ""


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
    | PrefillProgress
    | TokensCounted
    | LookedInto
    | Moved
    | MoveFailed
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

_Message = TypeVar("_Message")
_encoder = msgspec.json.Encoder()
# Made for the first line: the first frame does not wait for them, and no process reads both kinds.
_requests: Callable[[], msgspec.json.Decoder[Request]] = cache(lambda: msgspec.json.Decoder(Request))
_events: Callable[[], msgspec.json.Decoder[EngineEvent]] = cache(lambda: msgspec.json.Decoder(EngineEvent))


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
        return _sensible(_requests().decode(line), line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not a request: {error}") from error


def decode_event(line: bytes) -> EngineEvent:
    """Read one line of a child. Raises ProtocolError."""
    try:
        return _sensible(_events().decode(line), line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not an event: {error}") from error


def _sensible(message: _Message, line: bytes) -> _Message:
    """The message, whose figures everybody may reckon with. Raises ProtocolError."""
    if has_absurd_number(line):
        raise ProtocolError("a number of more than 64 bits")
    return message
