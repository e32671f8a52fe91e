"""The manager tells what engines measured, for whoever keeps it."""

from __future__ import annotations

from modeldeck.backend.measurements import MeasuredLoad, Measurement
from tests.fakes.driving import a_request, load, managing, reply
from tests.fakes.scripted_engine import scripted_starter


async def test_a_load_and_each_reply_are_told_with_their_conversation() -> None:
    told: list[Measurement] = []
    async with managing(scripted_starter("reply one two three\nserve")) as manager:
        manager.on_measured = told.append
        await load(manager)
        _, stats = await reply(manager)
    load_id = MeasuredLoad.of(a_request(), "cpu")
    assert told == [
        Measurement(load=load_id, peaks={"ram": 700_000_000}, context_tokens=0),
        Measurement(
            load=load_id,
            peaks={"ram": 750_000_000},
            context_tokens=stats.prompt_tokens + stats.new_tokens,
            cache_bytes=1_000_000,
        ),
    ]


async def test_an_engine_that_measures_nothing_is_no_measurement() -> None:
    told: list[Measurement] = []
    finished = (
        '{"type":"load_finished","request_id":1,"model":{"model_id":"a","device":"cpu","dtype":"bfloat16",'
        '"quantization":"none","context_length":null,"weight_bytes":1,"parameters":1,"has_chat_template":false,'
        '"seconds":1.0}}'
    )
    async with managing(scripted_starter(f"ready\nwait load\nevent {finished}\nserve")) as manager:
        manager.on_measured = told.append
        await load(manager)
    assert told == []
