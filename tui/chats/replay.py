"""A conversation from the lines of its file, and the lines that would make the same."""

from __future__ import annotations

from modeldeck.tui.chats.chat_file import NotOurs
from modeldeck.tui.chats.conversation import Conversation, asked
from modeldeck.tui.chats.records import (
    SCHEMA_VERSION,
    Asked,
    Begun,
    Ended,
    Instructed,
    LeftOut,
    Named,
    PutBy,
    Record,
    Resumed,
    Said,
    Shown,
    Ways,
    decode,
    known_settings,
)
from modeldeck.tui.chats.turns import Turn, TurnState

INTERRUPTED = "modeldeck ended before the reply did; C lets it go on"


def replay(data: bytes) -> tuple[Conversation, int]:
    """What was said, and how many lines could not be read: a kill may tear the last one.

    A reply that was still running has failed by now, with the text so far. Raises NotOurs.
    """
    first, *lines = data.split(b"\n")
    conversation = _begun(first)
    unread = 0
    for line in lines:
        if not line.strip():
            continue
        try:
            _apply(conversation, decode(line))
        except (ValueError, KeyError):
            unread += 1
    for turn in conversation.by_number.values():
        if turn.state is TurnState.RUNNING:
            turn.fail(INTERRUPTED)
    return conversation, unread


def records_of(conversation: Conversation) -> list[Record]:
    """The conversation as it is now, for another file."""
    records: list[Record] = [Begun(conversation.id, conversation.created)]
    if conversation.title:
        records.append(Named(conversation.title))
    if conversation.system_prompt is not None:
        records.append(Instructed(conversation.system_prompt))
    if conversation.raw or conversation.thinking is not None:
        records.append(Ways(conversation.raw, conversation.thinking))
    for turn in conversation.by_number.values():
        records.append(asked(turn))
        if turn.reply or turn.thought:
            records.append(Said(turn.number, turn.reply, turn.thought))
        if turn.state is not TurnState.RUNNING:
            records.append(Ended(turn.number, turn.state, turn.stats, turn.reason))
    if conversation.left_out:
        records.append(LeftOut(tuple(sorted(conversation.left_out))))
    if conversation.draft:
        records.append(PutBy(conversation.draft))
    records.append(Shown(conversation.leaf))
    return records


def _begun(line: bytes) -> Conversation:
    if not line.strip():
        raise NotOurs("is empty")
    try:
        begun = decode(line)
    except ValueError:
        begun = None
    if not isinstance(begun, Begun):
        raise NotOurs("is no conversation of modeldeck, or damaged")
    if begun.schema_version > SCHEMA_VERSION:
        raise NotOurs("was written by a newer modeldeck")
    return Conversation(begun.id, begun.created)


def _apply(conversation: Conversation, record: Record) -> None:
    """Raises KeyError for a turn that is not there, ValueError for what cannot be."""
    turns = conversation.by_number
    match record:
        case Asked():
            conversation.add(_turn(conversation, record))
        case Said():
            turns[record.number].add(record.text)
            turns[record.number].think(record.thought)
        case Resumed():
            turns[record.number].resume()
            turns[record.number].without = record.without
            conversation.show(record.number)
        case Ended():
            turn = turns[record.number]
            turn.state, turn.stats, turn.reason = record.state, record.stats, record.reason
        case Named():
            conversation.title = record.title
        case Instructed():
            conversation.system_prompt = record.text
        case Ways():
            conversation.raw, conversation.thinking = record.raw, record.thinking
        case LeftOut():
            conversation.left_out = frozenset(record.numbers)
        case PutBy():
            conversation.draft = record.text
        case Shown():
            if record.leaf is not None and record.leaf not in turns:
                raise KeyError(record.leaf)
            conversation.show(record.leaf)
        case Begun():
            raise ValueError("a second beginning")


def _turn(conversation: Conversation, record: Asked) -> Turn:
    if record.number in conversation.by_number or record.parent == record.number:
        raise ValueError("a turn is there already")
    if record.parent is not None:
        conversation.by_number[record.parent]  # a KeyError, where what it follows was lost
    return Turn(
        record.question,
        record.model_name,
        number=record.number,
        parent=record.parent,
        model_id=record.model_id,
        settings=known_settings(record.settings),
        mode=record.mode,
        thinking=record.thinking,
        files=record.files,
        images=record.images,
        asked_at=record.at,
        without=record.without,
    )
