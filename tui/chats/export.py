"""A conversation for other programs: Markdown of the path on show, or JSON of everything."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from modeldeck.backend.text import clean_name, clean_text
from modeldeck.config.atomic import PRIVATE_FILE
from modeldeck.tui.chats.conversation import Conversation
from modeldeck.tui.chats.records import SCHEMA_VERSION, kept_settings
from modeldeck.tui.chats.turns import Turn


def to_markdown(conversation: Conversation) -> str:
    """The turns on show; control characters are made visible, as on the screen."""
    parts = [f"# {conversation.shown_title or 'Conversation'}"]
    if conversation.system_prompt:
        parts.append(f"## System prompt\n\n{conversation.system_prompt}")
    for turn in conversation.turns:
        parts.append(f"## You\n\n{turn.asks().content}")
        parts += [f"![image](<{path}>)" for path in turn.images]
        parts.append(f"## {clean_name(turn.model_name)}")
        if turn.thought:
            parts.append("\n".join(f"> {line}" for line in turn.thought.strip().splitlines()))
        parts += [turn.reply.strip()] if turn.reply.strip() else []
        parts.append(f"*{turn.summary() or turn.state.value}*")
    return clean_text("\n\n".join(parts) + "\n")


def to_json(conversation: Conversation) -> str:
    """All turns, those of other branches too; ``shown`` names the path. Times are ISO 8601 in UTC."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "title": conversation.shown_title,
        "created": _iso(conversation.created),
        "system_prompt": conversation.system_prompt,
        "shown": [turn.number for turn in conversation.turns],
        "turns": [_turn(turn) for turn in conversation.by_number.values()],
    }
    encoded = msgspec.json.encode(document, enc_hook=str)
    return clean_text(msgspec.json.format(encoded).decode()) + "\n"


def write_export(conversation: Conversation, path: Path) -> None:
    """Write Markdown, or JSON where the name ends so, to a file of mode 0600 that must not exist. Blocking.

    Raises OSError; no half file is left behind then.
    """
    text = to_json(conversation) if path.suffix.lower() == ".json" else to_markdown(conversation)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode(errors="replace"))
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def _turn(turn: Turn) -> dict[str, Any]:
    return {
        "number": turn.number,
        "follows": turn.parent,
        "asked": _iso(turn.asked_at),
        "question": turn.question,
        "files": [{"path": file.path, "text": file.text} for file in turn.files],
        "images": list(turn.images),
        "model": {"id": turn.model_id, "name": turn.model_name},
        "settings": kept_settings(turn.settings),
        "mode": turn.mode.value,
        "thinking": turn.thinking,
        "reasoning": turn.thought,
        "reply": turn.reply,
        "state": turn.state.value,
        "reason": turn.reason,
        "stats": turn.stats,
    }


def _iso(seconds: float) -> str | None:
    """None beyond all calendars."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):  # a damaged file may hold any time
        return None
