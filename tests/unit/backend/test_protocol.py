"""The lines between the processes: everything that is sent is understood, everything else is refused (F15, S16)."""

from __future__ import annotations

import os
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from modeldeck.backend.catalog.places import Places, Skip, Spot
from modeldeck.backend.chat_messages import ChatMessage, FinishReason, GenerationStats, ReplyMode, TokenChoice
from modeldeck.backend.download_messages import Download, DownloadFailed, DownloadFinished, DownloadProgress
from modeldeck.backend.models import LoadedModel, LoadRequest, LoadStage, ModelInfo, ModelSource, Quantization
from modeldeck.backend.protocol import (
    MAX_LINE,
    CopyWritten,
    CountTokens,
    EngineEvent,
    EngineLog,
    EngineReady,
    EngineStarted,
    Generate,
    GenerationFailed,
    GenerationFinished,
    Load,
    LoadFailed,
    LoadFinished,
    LoadProgress,
    LookedInto,
    LookInto,
    Moved,
    MoveFailed,
    Park,
    PrefillProgress,
    ProtocolError,
    Request,
    Shutdown,
    Stop,
    TokensCounted,
    TokensGenerated,
    Wake,
    decode_event,
    decode_request,
    encode,
)
from modeldeck.config.generation import BUILT_IN, GenerationSettings

_ids = st.integers(0, 2**31)
_numbers = st.integers(0, 2**53)
_text = st.text()
_seconds = st.floats(0, 1e9)
_load_requests = st.builds(
    LoadRequest, model_id=_text, path=_text, quantization=st.sampled_from(Quantization), trust_remote_code=st.booleans()
)
_loaded = st.builds(
    LoadedModel,
    model_id=_text,
    device=_text,
    dtype=_text,
    quantization=_text,
    context_length=st.none() | _numbers,
    weight_bytes=_numbers,
    parameters=_numbers,
    has_chat_template=st.booleans(),
    seconds=_seconds,
    notes=st.lists(_text, max_size=3).map(tuple),
)
_stats = st.builds(
    GenerationStats,
    prompt_tokens=_numbers,
    new_tokens=_numbers,
    first_token_seconds=_seconds,
    seconds=_seconds,
    finish_reason=st.sampled_from(FinishReason),
)
_settings = st.sampled_from([BUILT_IN, GenerationSettings(), GenerationSettings(stop=("\n\n", "stop"), seed=2**62)])
_messages = st.lists(st.builds(ChatMessage, _text, _text, st.lists(_text, max_size=2).map(tuple)), max_size=3).map(
    tuple
)
_kinds = st.sampled_from(["load", "memory", "unsupported", "quantization", "remote_code", "pickles"])

_bytes = st.binary()
_texts = st.lists(_text, max_size=3).map(tuple)
_places = st.builds(Places, st.lists(_bytes, max_size=3).map(tuple), _bytes, st.booleans())
_spots = st.builds(Spot, _bytes, st.booleans())
_skipped = st.lists(st.builds(Skip, _spots, _text), max_size=3).map(tuple)
_models = st.builds(
    ModelInfo,
    id=_text,
    name=_text,
    path=_text,
    source=st.sampled_from(ModelSource),
    parameters=st.none() | _numbers,
    problems=st.lists(_text, max_size=2).map(tuple),
)

_asked = st.builds(Generate, _ids, _messages, _settings, st.sampled_from(ReplyMode), st.none() | st.booleans())
_choices = st.builds(
    TokenChoice, _text, st.floats(0, 1), st.lists(st.tuples(_text, st.floats(0, 1)), max_size=3).map(tuple)
)

REQUESTS = {
    Load: st.builds(Load, _ids, _load_requests),
    Generate: _asked,
    CountTokens: st.builds(CountTokens, _ids, _texts),
    LookInto: st.builds(LookInto, _ids, _asked, st.lists(_numbers, max_size=4).map(tuple)),
    Park: st.builds(Park, _ids),
    Wake: st.builds(Wake, _ids),
    Stop: st.builds(Stop, _ids),
    Download: st.builds(Download, _ids, _text, st.none() | _text),
    Scan: st.builds(Scan, _ids, _places, _bytes, _text, _skipped, st.booleans()),
    FindModel: st.builds(FindModel, _ids, _places, _bytes, _bytes, _skipped, st.booleans()),
    ReadModel: st.builds(ReadModel, _ids, _bytes, st.sampled_from(ModelSource)),
    Shutdown: st.builds(Shutdown),
}
EVENTS = {
    EngineStarted: st.builds(EngineStarted, _ids, _ids),
    EngineReady: st.builds(EngineReady, st.dictionaries(_text, _text, max_size=3)),
    LoadProgress: st.builds(LoadProgress, _ids, st.sampled_from(LoadStage), _numbers, _numbers),
    LoadFinished: st.builds(LoadFinished, _ids, _loaded),
    LoadFailed: st.builds(LoadFailed, _ids, _kinds, _text, _text),
    TokensGenerated: st.builds(TokensGenerated, _ids, _text, _numbers, st.booleans()),
    PrefillProgress: st.builds(PrefillProgress, _ids, _numbers, _numbers),
    TokensCounted: st.builds(TokensCounted, _ids, st.lists(_numbers, max_size=3).map(tuple)),
    LookedInto: st.builds(LookedInto, _ids, st.lists(_choices, max_size=3).map(tuple)),
    Moved: st.builds(Moved, _ids, _numbers, _seconds),
    MoveFailed: st.builds(MoveFailed, _ids, _text, _text),
    GenerationFinished: st.builds(GenerationFinished, _ids, _stats),
    GenerationFailed: st.builds(GenerationFailed, _ids, _text, _text),
    DownloadProgress: st.builds(DownloadProgress, _ids, _numbers, _numbers, _text),
    DownloadFinished: st.builds(DownloadFinished, _ids, _text, _text),
    DownloadFailed: st.builds(DownloadFailed, _ids, _text, _text),
    CopyWritten: st.builds(CopyWritten, _text),
    Reading: st.builds(Reading, _ids, _spots),
    ModelsFound: st.builds(ModelsFound, _ids, st.lists(_models, max_size=3).map(tuple)),
    ScanFinished: st.builds(
        ScanFinished,
        _ids,
        st.lists(_text, max_size=3).map(tuple),
        st.booleans(),
        st.lists(_text, max_size=3).map(tuple),
        st.lists(st.binary(max_size=9), max_size=3).map(tuple),
    ),
    ModelRead: st.builds(ModelRead, _ids, _models),
    ModelMissing: st.builds(ModelMissing, _ids, _text, st.booleans()),
    EngineLog: st.builds(EngineLog, st.sampled_from(["info", "warning", "error"]), _text),
}


def test_every_message_of_the_unions_is_tested_here() -> None:
    assert set(REQUESTS) == set(get_args(Request))
    assert set(EVENTS) == set(get_args(EngineEvent))


@given(st.one_of(*REQUESTS.values()))
def test_a_request_arrives_as_it_was_sent(request: Request) -> None:
    line = encode(request)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_request(line) == request


@given(st.one_of(*EVENTS.values()))
def test_an_event_arrives_as_it_was_sent(event: EngineEvent) -> None:
    line = encode(event)
    assert line.count(b"\n") == 1
    assert decode_event(line) == event


@given(st.binary(max_size=200))
def test_f15_s16_bytes_that_are_no_message_are_a_protocol_error_and_nothing_else(line: bytes) -> None:
    for decode in (decode_event, decode_request):
        with pytest.raises(ProtocolError):
            decode(line)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null\n",
        b"[]\n",
        b'{"type":"no such kind"}\n',
        b'{"type":"tokens","request_id":1,"text":"a"}\n',
        b'{"type":"tokens","request_id":"1","text":"a","new_tokens":1}\n',
        b'{"type":"started","protocol_version":1,"pid":1',
        b"[" * 100_000,
        b'{"type":"log","level":"fatal","text":""}\n',
        b'{"type":"log","level":"info","text":"\xff"}\n',
    ],
    ids=[
        "empty",
        "blank",
        "null",
        "list",
        "unknown kind",
        "missing",
        "wrong type",
        "partial",
        "deep",
        "level",
        "utf-8",
    ],
)
def test_f15_a_hostile_line_is_refused(line: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_event(line)


def test_s16_a_line_of_a_megabyte_is_fine_and_one_over_the_limit_is_refused_before_it_is_sent() -> None:
    long = TokensGenerated(1, "x" * 2**20, 1)
    assert decode_event(encode(long)) == long
    with pytest.raises(ProtocolError, match="over the limit"):
        encode(TokensGenerated(1, "x" * MAX_LINE, 1))


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**64, 10**400])
def test_f15_a_number_of_more_than_64_bits_is_refused(number: int) -> None:
    with pytest.raises(ProtocolError, match="more than 64 bits"):
        decode_event(encode(LoadProgress(1, LoadStage.READING_WEIGHTS, number, 1)))
    with pytest.raises(ProtocolError, match="more than 64 bits"):
        decode_request(encode(LookInto(1, Generate(1, (), BUILT_IN), (number,))))


def test_long_numbers_in_texts_and_small_ones_are_fine() -> None:
    for event in (TokensGenerated(1, "9" * 400, 1), TokensCounted(1, (2**63 - 1, -(2**63)))):
        assert decode_event(encode(event)) == event


def test_a_path_that_is_not_utf8_is_refused_before_it_is_sent() -> None:
    with pytest.raises(ProtocolError, match="not text"):
        encode(Load(1, LoadRequest(model_id="a", path=os.fsdecode(b"/models/\xff"))))


def test_progress_has_a_fraction_only_while_the_total_is_known() -> None:
    assert LoadProgress(1, LoadStage.READING_WEIGHTS, 1, 4).fraction == 0.25
    assert LoadProgress(1, LoadStage.READING_WEIGHTS, 9, 4).fraction == 1.0
    assert LoadProgress(1, LoadStage.STARTING).fraction is None
