"""What a conversation's file holds: one JSON object a line, each a thing that was said or done."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Struct, structs

from modeldeck.backend.chat_messages import GenerationStats, ReplyMode
from modeldeck.backend.json_numbers import has_absurd_number
from modeldeck.config.declaration import InvalidValue, convert, settings_of
from modeldeck.config.generation import GenerationSettings
from modeldeck.tui.chats.turns import TextFile, TurnState

SCHEMA_VERSION = 1


class Begun(Struct, frozen=True, tag="conversation"):
    """The first line."""

    id: str
    created: float
    """Seconds since 1970."""
    schema_version: int = SCHEMA_VERSION


class Asked(Struct, frozen=True, tag="asked", omit_defaults=True):
    """A question was sent."""

    number: int
    parent: int | None
    question: str
    model_id: str
    model_name: str
    at: float
    settings: dict[str, Any] = {}
    """Only what was set, so that another version can read what it knows."""
    mode: ReplyMode = ReplyMode.CHAT
    thinking: bool | None = None
    files: tuple[TextFile, ...] = ()
    images: tuple[str, ...] = ()
    without: tuple[int, ...] = ()


class Said(Struct, frozen=True, tag="said", omit_defaults=True):
    """The next piece of a reply."""

    number: int
    text: str = ""
    thought: str = ""


class Resumed(Struct, frozen=True, tag="resumed", omit_defaults=True):
    """A reply that was cut goes on."""

    number: int
    without: tuple[int, ...] = ()


class Ended(Struct, frozen=True, tag="ended", omit_defaults=True):
    """A reply is complete, was cut, stopped, or failed."""

    number: int
    state: TurnState
    stats: GenerationStats | None = None
    """Of the whole reply, with what it was continued by."""
    reason: str = ""


class Named(Struct, frozen=True, tag="named"):
    """The conversation has a title."""

    title: str


class Instructed(Struct, frozen=True, tag="system_prompt"):
    """The conversation has a system prompt of its own, or none any more."""

    text: str | None


class Ways(Struct, frozen=True, tag="ways"):
    """How replies are asked for from now on."""

    raw: bool = False
    thinking: bool | None = None


class LeftOut(Struct, frozen=True, tag="left_out"):
    """These turns are not sent any more."""

    numbers: tuple[int, ...]


class PutBy(Struct, frozen=True, tag="put_by"):
    """This stood in the prompt, not sent yet, when the conversation was left; empty where nothing does any more."""

    text: str


class Shown(Struct, frozen=True, tag="shown"):
    """The turn that the conversation goes on from."""

    leaf: int | None


Record = Begun | Asked | Said | Resumed | Ended | Named | Instructed | Ways | LeftOut | PutBy | Shown
_decoder: msgspec.json.Decoder[Record] = msgspec.json.Decoder(Record)
_SETTINGS = {setting.name: setting for setting in settings_of(GenerationSettings)}


def encode(record: Record) -> bytes:
    """The record as a line. What is no valid Unicode (half of a surrogate pair) becomes a question mark."""
    try:
        return msgspec.json.encode(record) + b"\n"
    except UnicodeEncodeError:
        return msgspec.json.encode(_storable(msgspec.to_builtins(record))) + b"\n"


def decode(line: bytes) -> Record:
    """Raises ValueError (of which msgspec's errors are kinds) for what is none of ours, RecursionError included."""
    try:
        record = _decoder.decode(line)
        if has_absurd_number(line):
            raise ValueError("a number of more than 64 bits")
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return record


def kept_settings(settings: GenerationSettings) -> dict[str, Any]:
    """What was set."""
    return {name: value for name, value in structs.asdict(settings).items() if value is not UNSET}


def known_settings(kept: dict[str, Any]) -> GenerationSettings:
    """What this version knows of it; anything else says nothing."""
    values: dict[str, Any] = {}
    for name, value in kept.items():
        if name in _SETTINGS:
            try:
                values[name] = convert(_SETTINGS[name], value)
            except InvalidValue:
                continue
    return GenerationSettings(**values)


def _storable(value: Any) -> Any:
    match value:
        case str():
            return value.encode(errors="replace").decode()
        case dict():
            return {_storable(key): _storable(each) for key, each in value.items()}
        case list() | tuple():
            return [_storable(each) for each in value]
        case _:
            return value
