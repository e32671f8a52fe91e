"""What the program keeps for itself, damaged: it counts as lost, in part or whole, and no more comes of it."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.catalog.index import IndexEntry, read_index, write_index
from modeldeck.backend.catalog.places import Places
from modeldeck.backend.estimate.estimating import estimate
from modeldeck.backend.load_times import PastLoads
from modeldeck.backend.measurements import Measurements
from modeldeck.backend.models import LoadRequest, ModelInfo, ModelSource
from modeldeck.config.consents import Consents
from modeldeck.config.remembered import RememberedLoads
from modeldeck.config.remembered_list import RememberedList
from modeldeck.tui.chats.chat_file import NotOurs
from modeldeck.tui.chats.export import to_json, to_markdown
from modeldeck.tui.chats.replay import replay
from modeldeck.tui.cli_commands.model_lines import model_lines
from modeldeck.tui.details_text import groups
from modeldeck.tui.format import moment
from tests.fuzz.broken import broken_json
from tests.fuzz.profiles import fuzzed
from tests.fuzz.reading import modest
from tests.unit.estimate.samples import LLAMA_8B, asked, machine

_LOAD = {
    "model_id": LLAMA_8B.id, "dtype": "auto", "quantization": "none", "device_kind": "cpu", "size_bytes": None,
    "attention": "auto", "other": "",
}  # fmt: skip
MEASURED = [{"load": _LOAD, "peaks": {"ram": 2**34}, "context_tokens": 100, "cache_bytes": 1000}]
TIMES = [{"load": {**_LOAD, "device_kind": "auto"}, "stages": {"reading weights": {"seconds": 3.0, "total": 5}}}]
LOADS = {LLAMA_8B.id: {"device": "cpu", "dtype": "auto", "quantization": "4bit", "memory_limits": {"cpu": 5}}}
LIST = {"favourites": ["a"], "recents": ["b", "a"], "sort": "size", "reverse": True, "newer": {"a": 1}}
CONSENTS = {"a": "0" * 64, "b": "f" * 64}
RECORDS: list[dict[str, Any]] = [
    {"type": "asked", "number": 1, "parent": None, "question": "Hello?", "model_id": "m", "model_name": "m", "at": 1.5,
     "settings": {"temperature": 0.5, "stop": ["x"]}, "files": [{"path": "/a", "text": "b"}], "images": ["/c.png"]},
    {"type": "said", "number": 1, "text": "Well.", "thought": "Hm."},
    {"type": "ended", "number": 1, "state": "finished", "reason": "", "stats": {
        "prompt_tokens": 3, "new_tokens": 2, "first_token_seconds": 0.1, "seconds": 0.2, "finish_reason": "stop",
        "peaks": {"ram": 5}, "token_ids": [1, 2]}},
    {"type": "resumed", "number": 1}, {"type": "named", "title": "x"},
    {"type": "system_prompt", "text": "Be brief"}, {"type": "ways", "raw": True, "thinking": None},
    {"type": "left_out", "numbers": [1]}, {"type": "shown", "leaf": 1},
]  # fmt: skip
_BEGUN = {"type": "conversation", "id": "a", "created": 1.5, "schema_version": 1}


@given(
    begun=st.just(json.dumps(_BEGUN).encode()) | broken_json(_BEGUN), lines=st.lists(broken_json(*RECORDS), max_size=4)
)
@fuzzed
def test_a_damaged_conversation_can_be_shown_and_exported(begun: bytes, lines: list[bytes]) -> None:
    sound = [json.dumps(record).encode() for record in RECORDS[:3]]
    with suppress(NotOurs), modest():
        conversation, unread = replay(b"\n".join([begun, *sound, *lines]))
        assert unread <= sum(line.count(b"\n") + 1 for line in lines) + 3
        assert to_markdown(conversation)
        assert json.loads(to_json(conversation))
        assert moment(conversation.created)


@given(name=st.sampled_from(["loads", "list", "consents", "measured", "times"]), data=st.data())
@fuzzed
def test_damaged_memories_count_as_none(name: str, data: st.DataObject, tmp_path: Path) -> None:
    document: Any = {"loads": LOADS, "list": LIST, "consents": CONSENTS, "measured": MEASURED, "times": TIMES}[name]
    file = tmp_path / name
    file.write_bytes(data.draw(broken_json(document)))
    request = asked("cpu")
    match name:
        case "loads":
            RememberedLoads(file).get(LLAMA_8B.id)
        case "list":
            assert isinstance(RememberedList(file).memory.recents, tuple)
            assert all(str(problem).isprintable() for problem in RememberedList(file).problems)
        case "consents":
            assert not Consents(file).allows("a", "")
        case "measured":
            measured = Measurements(file).find(request, "cpu")
            assert estimate(LLAMA_8B, request, machine(), measured=measured).needed_bytes > 0
        case _:
            assert all(time.seconds >= 0 for time in PastLoads(file).find(request).values())


_ROW = ModelInfo(id="m", name="m", path="/m", source=ModelSource.FOLDER, parameters=5, last_used=1.5, context_length=9)


@given(data=st.data())
@fuzzed
def test_a_damaged_index_is_read_as_far_as_it_is_whole(data: st.DataObject, tmp_path: Path) -> None:
    file = tmp_path / "catalog.jsonl"
    if not file.exists():
        write_index(file, Places((b"/m",), b"/hub", False), [IndexEntry("k", _ROW)] * 2)
        (tmp_path / "sound").write_bytes(file.read_bytes())
    head, row, _ = (tmp_path / "sound").read_bytes().split(b"\n")
    broken = data.draw(broken_json(json.loads(row)))
    file.write_bytes(b"\n".join(data.draw(st.permutations([head, broken, row]) | st.just([head, broken, row]))))
    index = read_index(file)
    for entry in index.entries() if index is not None else ():
        assert list(model_lines(entry.model))
        assert groups(entry.model)
        estimate(entry.model, LoadRequest(model_id="m", path="/m"), machine())
