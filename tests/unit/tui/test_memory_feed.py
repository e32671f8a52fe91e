"""The one reader of the memory: one reading at a time, and no driver holds up anything."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

import pytest

from modeldeck.backend.memory import DeviceMemory, MemoryReading
from modeldeck.tui.memory_feed import MemoryFeed
from tests.helpers import eventually


class Gated:
    """A reader that waits for its gate."""

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.asked: list[tuple[int, ...]] = []
        self.threads: set[int] = set()

    def read(self, pids: Sequence[int] = ()) -> MemoryReading:
        self.asked.append(tuple(pids))
        self.threads.add(threading.get_ident())
        self.gate.acquire()
        ram = DeviceMemory(name="ram", label="RAM", used_bytes=len(self.asked), total_bytes=100)
        return MemoryReading(devices=(), ram=ram)


@pytest.fixture
def reader() -> Iterator[Gated]:
    made = Gated()
    yield made
    made.gate.release(100)


def used(feed: MemoryFeed) -> int | None:
    return feed.reading.ram.used_bytes if feed.reading is not None else None


async def test_everyone_who_listens_is_told_in_the_event_loop(reader: Gated) -> None:
    feed = MemoryFeed(lambda: (7,), lambda: reader)
    told: list[tuple[int, int | None]] = []
    leave = feed.subscribe(lambda: told.append((threading.get_ident(), used(feed))))
    feed.subscribe(lambda: told.append((threading.get_ident(), used(feed))))
    feed.start()
    reader.gate.release(2)
    feed.poll()
    await eventually(lambda: len(told) == 2)
    leave()
    feed.poll()
    await eventually(lambda: len(told) == 3)
    feed.stop()
    assert told == [(threading.get_ident(), 1)] * 2 + [(threading.get_ident(), 2)]
    assert reader.asked == [(7,), (7,)]
    assert feed.history.used("ram").total == 2


async def test_f27_a_driver_that_hangs_piles_up_nothing_and_what_it_said_is_no_longer_told(reader: Gated) -> None:
    feed = MemoryFeed(tuple, lambda: reader)
    feed.start()
    reader.gate.release()
    feed.poll()
    await eventually(lambda: used(feed) == 1)
    before = threading.active_count()
    for _ in range(4):
        feed.poll()
    assert (used(feed), feed.stalled_seconds) == (1, 0)
    for _ in range(10):
        feed.poll()
    assert (used(feed), feed.stalled_seconds, threading.active_count()) == (None, 13, before)
    reader.gate.release()
    await eventually(lambda: used(feed) == 2)
    assert (feed.stalled_seconds, len(reader.asked), len(reader.threads)) == (0, 2, 1)
    feed.stop()


async def test_an_error_that_nobody_expected_is_in_the_log_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def read(self, pids: Sequence[int] = ()) -> MemoryReading:
            raise ZeroDivisionError("a surprise")

    feed = MemoryFeed(tuple, Broken)
    feed.start()
    for _ in range(10):
        feed.poll()
    await eventually(lambda: "a surprise" in caplog.text)
    assert (feed.reading, feed.stalled_seconds) == (None, 9)
    feed.stop()


async def test_after_the_end_nobody_is_told(reader: Gated) -> None:
    feed = MemoryFeed(tuple, lambda: reader)
    told: list[int] = []
    feed.subscribe(lambda: told.append(1))
    feed.start()
    feed.poll()
    await eventually(lambda: reader.asked)
    feed.stop()
    reader.gate.release()
    await eventually(lambda: feed.reading is not None)
    await asyncio.sleep(0)
    assert told == []


HANGS = """
import asyncio, threading
from modeldeck.tui.memory_feed import MemoryFeed

class Hangs:
    def read(self, pids=()):
        asked.set()
        threading.Event().wait()

async def main():
    feed = MemoryFeed(tuple, Hangs)
    feed.start()
    feed.poll()
    await asyncio.to_thread(asked.wait)
    feed.stop()

asked = threading.Event()
asyncio.run(main())
print("ended")
"""


def test_f27_a_driver_that_never_answers_does_not_hold_up_the_way_out() -> None:
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=20)
    assert (done.stdout, done.stderr, done.returncode) == ("ended\n", "", 0)


async def test_a_fresh_reading_began_after_it_was_asked_for_and_is_no_part_of_the_history(reader: Gated) -> None:
    feed = MemoryFeed(lambda: (7,), lambda: reader)
    assert await feed.fresh() is None  # nobody has started it
    feed.start()
    feed.poll()
    await eventually(lambda: reader.asked)
    asked = asyncio.create_task(feed.fresh(30))
    await asyncio.sleep(0)
    reader.gate.release(2)
    reading = await asked
    assert reading is not None
    assert reading.ram.used_bytes == 2  # not the one that was under way
    assert feed.history.used("ram").total == 1
    assert await feed.fresh(0.01) is None  # the driver hangs
    feed.stop()


async def test_a_round_that_falls_into_a_fresh_reading_is_not_lost_to_the_history(reader: Gated) -> None:
    feed = MemoryFeed(lambda: (7,), lambda: reader)
    feed.start()
    asked = asyncio.create_task(feed.fresh(30))
    await eventually(lambda: reader.asked)
    feed.poll()
    reader.gate.release()
    await asked
    assert feed.history.used("ram").total == 1
    feed.stop()
