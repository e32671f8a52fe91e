"""What the load dialog says about an estimate."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from modeldeck.backend.estimate.figures import DeviceNeed, Estimate, Suggestion, Verdict
from modeldeck.backend.estimate.planning import Holder, Room
from modeldeck.backend.memory_reading import DeviceMemory, DeviceProcess, MemoryReading
from modeldeck.backend.models import LoadRequest, ModelInfo, ModelSource, Quantization
from modeldeck.tui.fit_words import fit_lines, plan_lines, replacing_words
from modeldeck.tui.fitting import Fit

GB = 10**9
REQUEST = LoadRequest(model_id="org/model", path="/models/model")
GPU = DeviceNeed(
    device="cuda:0",
    weights_bytes=15_300_000_000,
    cache_bytes=1_100_000_000,
    working_bytes=500_000_000,
    engine_bytes=1 * GB,
    free_bytes=61_600_000_000,
    total_bytes=80 * GB,
)
FITS = Estimate(verdict=Verdict.FITS, context_tokens=8192, devices=(GPU,))
QWEN = Holder(model_id="qwen", held={"cuda:0": 14_200_000_000, "ram": 1_500_000_000})
LLAMA = Holder(model_id="llama", held={"ram": 2 * GB})
RAM = DeviceMemory(name="ram", label="RAM", used_bytes=0, total_bytes=64 * GB)


def said(told: Estimate, suggestion: Suggestion | None = None, room: Room | None = None, **memory: Any) -> str:
    reading = MemoryReading(**{"devices": (), "ram": RAM, **memory})
    fit = Fit(told, suggestion or Suggestion(), reading, room or Room())
    return "\n".join(line.plain for line in fit_lines(fit, REQUEST, str.upper))


def test_the_sum_and_what_it_is_held_against() -> None:
    assert said(FITS).splitlines() == [
        "✓ fits on cuda:0  for 8,192 tokens",
        "Needs about 17.9 GB: weights 15.3, cache 1.1, working 0.5, engine 1.0",
        "Free  61.6 of 80.0 GB on cuda:0",
    ]


ENGINE_IN_RAM = DeviceNeed(device="ram", engine_bytes=370_000_000, free_bytes=50 * GB, total_bytes=64 * GB)


def test_ram_that_holds_no_weights_is_told_only_where_it_matters() -> None:
    quiet = replace(FITS, devices=(GPU, ENGINE_IN_RAM))
    assert said(quiet) == said(FITS)
    unpacked = replace(quiet, devices=(GPU, replace(ENGINE_IN_RAM, working_bytes=32 * GB)))
    assert said(unpacked).splitlines() == [
        "✓ fits on cuda:0  for 8,192 tokens",
        "Needs about 17.9 GB: weights 15.3, cache 1.1, working 0.5, engine 1.0",
        "Needs about 32.4 GB in RAM, too",
        "Free  61.6 of 80.0 GB on cuda:0",
        "Free  50.0 of 64.0 GB in RAM",
    ]
    short = replace(unpacked, verdict=Verdict.DOES_NOT_FIT, devices=(GPU, replace(unpacked.devices[1], free_bytes=GB)))
    assert said(short).startswith("✗ does not fit in RAM  for")
    assert "Free  1.0 of 64.0 GB in RAM, 31.4 GB short" in said(short)


def test_what_unloading_gives_back_is_counted_and_named() -> None:
    told = replace(FITS, devices=(replace(GPU, credit_bytes=14_200_000_000),))
    lines = said(told, room=Room(unload=(QWEN,))).splitlines()
    assert "Free  61.6 of 80.0 GB on cuda:0 + 14.2 from unloading" in lines
    assert lines[-1] == "Unloads QWEN (14.2 GB) first, and loads it again if this load fails."


class TestThePlan:
    """What goes for a load and what stays is said before."""

    def lines(self, *unload: Holder, keeps: tuple[Holder, ...] = ()) -> list[str]:
        return plan_lines(Room(unload=unload, keeps=keeps), REQUEST.model_id, str.upper)

    def test_where_nothing_else_is_held_nothing_is_said(self) -> None:
        assert self.lines() == []

    def test_what_stays_is_said_with_what_may_happen_to_it(self) -> None:
        assert self.lines(keeps=(QWEN,)) == ["Keeps QWEN, unless memory runs out in the load."]
        assert self.lines(keeps=(replace(QWEN, pinned=True),)) == ["Keeps QWEN."]

    def test_several_are_told_in_the_order_in_which_they_go(self) -> None:
        assert self.lines(QWEN, LLAMA) == [
            "Unloads QWEN (14.2 GB) and LLAMA (2.0 GB) first, and loads them again if this load fails."
        ]

    def test_a_reply_that_would_end_is_told_first(self) -> None:
        (line,) = self.lines(replace(QWEN, generating=True))
        assert line.startswith("Ends the reply of QWEN, and unloads QWEN (14.2 GB) first")

    def test_the_same_model_is_loaded_anew(self) -> None:
        (line,) = self.lines(replace(QWEN, model_id=REQUEST.model_id))
        assert line == "Loads it anew: what is loaded now goes first, and comes back if this load fails."

    def test_the_question_says_the_whole_plan_in_figures(self) -> None:
        model = ModelInfo(id="m", name="Llama-70B", path="/m", source=ModelSource.FOLDER)
        room = Room(unload=(QWEN,))
        assert replacing_words(model, "", room, FITS, str.upper) == (
            "Unloads QWEN (14.2 GB). Then loads Llama-70B (about 17.9 GB): fits."
        )
        assert replacing_words(model, "phi", Room(), None, str.upper) == (
            "phi is still loading, and stops. Then loads Llama-70B."
        )


def test_what_was_measured_here_is_told_with_its_conversation() -> None:
    ground = "Measured here: 17.2 GB at the peak of a conversation of 65 tokens."
    assert ground in said(replace(FITS, measured_bytes=17_200_000_000, grounds=(ground,)))


def test_pages_that_the_system_may_take_back_are_told_and_do_not_count() -> None:
    lines = said(replace(FITS, devices=(replace(GPU, device="ram", reclaimable_bytes=59 * GB),)))
    assert "More will show as used: 59.0 GB of the file, until others need the room" in lines
    assert "Needs about 17.9 GB" in lines
    assert "short" not in lines


def test_what_is_short_and_what_would_fit() -> None:
    full = replace(FITS, verdict=Verdict.DOES_NOT_FIT, devices=(replace(GPU, free_bytes=10 * GB),))
    other = Suggestion(longest_context=2048, dtype="auto", quantization=Quantization.NF4)
    lines = said(full, other)
    assert "✗ does not fit on cuda:0" in lines
    assert "7.9 GB short" in lines
    assert "Would fit: 2,048 tokens with these options; 4bit for 8,192 tokens" in lines
    assert "Nothing that can be chosen here would fit." in said(full)


def test_who_else_holds_the_device_is_named_and_ours_is_not() -> None:
    processes = (
        DeviceProcess(pid=4312, user="uid 1004", name="python", used_bytes=17_900_000_000),
        DeviceProcess(pid=1, user="\x1bme", name="x", used_bytes=None),
        DeviceProcess(pid=77, user="ann", name="python", used_bytes=GB),
        DeviceProcess(pid=78, user="ann", name="engine", used_bytes=GB, ours=True),
    )
    gpu = DeviceMemory(name="cuda:0", label="H100", used_bytes=GB, total_bytes=80 * GB, processes=processes)
    lines = said(FITS, devices=(gpu, replace(gpu, name="cuda:1")))
    assert "Held by others on cuda:0: pid 4312 (uid 1004) 17.9 GB, pid 1 (␛me) ?, 1 more" in lines
    assert "cuda:1" not in lines


def test_the_unknown_says_why() -> None:
    told = Estimate(verdict=Verdict.UNKNOWN, context_tokens=8192, grounds=("The files do not tell.",))
    assert said(told).splitlines() == [
        "? It is not known whether this fits  for 8,192 tokens",
        "The files do not tell.",
    ]
