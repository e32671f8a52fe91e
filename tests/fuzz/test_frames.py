"""The lines between the processes, both ways: a message that everybody can go on with, or a ProtocolError."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.catalog.messages import ModelsFound
from modeldeck.backend.download_messages import DownloadProgress
from modeldeck.backend.event_stream import EventStream
from modeldeck.backend.load_pace import LoadPace
from modeldeck.backend.models import ModelStatus
from modeldeck.backend.protocol import (
    CopyWritten,
    EngineEvent,
    EngineLog,
    EngineReady,
    EngineStarted,
    GenerationFinished,
    LoadProgress,
    PrefillProgress,
    ProtocolError,
    TokensGenerated,
    decode_event,
    decode_request,
    encode,
)
from modeldeck.tui.chats.figures import ReplyClock, context_words, figures
from modeldeck.tui.cli_commands.model_lines import model_lines
from modeldeck.tui.details_text import groups
from modeldeck.tui.engine_view import EngineView
from modeldeck.tui.status_line import StatusFacts, status_line
from tests.fuzz.broken import broken_json, garbled, renumbered
from tests.fuzz.profiles import fuzzed
from tests.unit.backend.test_protocol import EVENTS, REQUESTS


def _lines(messages: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    """Lines that were messages, and some that still are."""
    sent = messages.map(encode)
    return sent.flatmap(lambda line: broken_json(json.loads(line))) | sent.flatmap(garbled) | st.binary(max_size=200)


@given(line=_lines(st.one_of(*REQUESTS.values())))
@fuzzed
def test_a_line_is_a_request_or_a_protocol_error(line: bytes) -> None:
    with suppress(ProtocolError):
        request = decode_request(line)
        assert decode_request(encode(request)) == request


@given(lines=st.lists(_lines(st.one_of(*EVENTS.values())), min_size=1, max_size=3))
@fuzzed
def test_a_line_is_an_event_that_can_be_shown_or_a_protocol_error(lines: list[bytes]) -> None:
    stream = EventStream(1)
    for line in lines:
        with suppress(ProtocolError):
            event = decode_event(line)
            assert decode_event(encode(event)) == event
            if not isinstance(event, EngineStarted | EngineReady | EngineLog | CopyWritten):
                stream.put(event)
            _show(event)


_SHOWN = (LoadProgress, DownloadProgress, PrefillProgress, TokensGenerated, GenerationFinished, ModelsFound)
_events: st.SearchStrategy[Any] = st.sampled_from(_SHOWN).flatmap(EVENTS.__getitem__)
_renumbered = _events.map(encode).map(json.loads).flatmap(renumbered)


@given(document=_renumbered)
@fuzzed
def test_no_figure_is_beyond_words(document: Any) -> None:
    with suppress(ProtocolError):
        _show(decode_event(json.dumps(document).encode()))


def _show(event: EngineEvent) -> None:
    """Everything that puts the figures of a child into words."""
    match event:
        case LoadProgress():
            pace = LoadPace({}, 0.0)
            pace.see(event, 1.0)
            pace.see(LoadProgress(1, event.stage, event.done + 1, event.total, event.unit), 4.0)
            left, rate = pace.seconds_left(5.0), pace.bytes_per_second(5.0)
            view = EngineView(ModelStatus.LOADING, "m", "m")
            facts = StatusFacts(view, event, rate, None if left is None else round(left))
            assert status_line(facts, 120).cell_length <= 120
        case DownloadProgress():
            assert status_line(StatusFacts(EngineView(), download=event, download_name="m"), 120).cell_length <= 120
        case PrefillProgress():
            assert ReplyClock(0.0, read=(event.done, event.total)).line(2.0)
        case TokensGenerated():
            clock = ReplyClock(0.0)
            clock.saw(event.new_tokens, 1.0)
            assert clock.line(2.0)
        case GenerationFinished():
            assert figures(event.stats)
            assert isinstance(context_words(event.stats.prompt_tokens + event.stats.new_tokens, 4096), str)
        case ModelsFound():
            for model in event.models:
                assert list(model_lines(model))
                assert groups(model)
