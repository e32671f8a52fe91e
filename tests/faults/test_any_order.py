"""Whatever is asked for in whatever order, every engine has one owner and everybody is answered (F13)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from itertools import cycle
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from modeldeck.backend.errors import BackendError
from modeldeck.backend.manager_state import Unloaded
from modeldeck.backend.memory_reading import DeviceMemory, EngineMemory, MemoryReading
from modeldeck.backend.models import HOLDING, ModelStatus
from modeldeck.backend.pipeline_manager import EngineStarter, PipelineManager
from tests.fakes.driving import a_request, children, held, is_alive, kill, reply
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import eventually

GB = 10**9
PATIENCE = 40.0
NAMES = ("a", "b", "c", "d")
SCRIPTS = {
    "works": "pace 0.01\nserve",
    "has no room": "fail-load memory no room\nserve",
    "breaks": "ready\nwait load\nprogress reading_weights 1 2\nsignal SEGV",
    "is deaf": "ignore shutdown\npace 0.01\nserve",
    "dies replying": "ready\nwait load\nfinished\nwait generate\ntokens so\nexit 3",
    "never moves": "ready\nwait load\nprogress reading_weights 1 2\nhang",
    "dies parking": "ready\nwait load\nfinished\nwait park\nexit 3",
    "finds no way back": "ready\nwait load\nfinished\nwait park\nmoved\nwait wake\nmove-failed no room\nserve",
}
models = st.sampled_from(NAMES)


class AnyOrder(RuleBasedStateMachine):
    """Begins things without waiting for what it began; between them the loop turns as often as hypothesis says."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.tasks: list[asyncio.Task[None]] = []
        self.gone: list[Unloaded] = []
        self.scripts = cycle(["works"])

    @initialize(scripts=st.lists(st.sampled_from(sorted(SCRIPTS)), min_size=1, max_size=6), spare=st.booleans())
    def begin(self, scripts: list[str], spare: bool) -> None:
        self.scripts = cycle([*scripts, "works"])

        async def open_manager() -> PipelineManager:
            manager = PipelineManager(self.starter(), keep_spare=spare, stall_seconds=0.6)
            manager.on_unloaded = self.gone.append
            manager.read_memory = self.read_memory
            return manager

        self.manager = self.runner.run(open_manager())

    def starter(self) -> EngineStarter:
        async def start() -> Any:
            return await scripted_starter(SCRIPTS[next(self.scripts)])()

        return start

    async def read_memory(self) -> MemoryReading:
        """Every engine holds a gigabyte and some bytes that tell it from the others."""
        engines = tuple(EngineMemory(pid, GB + pid) for pid in self.manager.model_pids)
        ram = DeviceMemory(name="ram", label="RAM", used_bytes=len(engines) * GB, total_bytes=99 * GB)
        return MemoryReading(devices=(), ram=ram, engines=engines)

    def run(self, work: Coroutine[Any, Any, Any]) -> None:
        self.runner.run(work)

    def start(self, work: Callable[[], Awaitable[object]]) -> None:
        """Errors of the backend are answers; anything else fails the test."""

        async def outcome() -> None:
            with suppress(BackendError):
                await work()

        async def begin() -> None:
            self.tasks.append(asyncio.create_task(outcome()))
            await asyncio.sleep(0)

        self.run(begin())

    @rule(name=models, unload=st.sets(models), replace=st.booleans(), idle=st.sampled_from([0.0, 0.0, 0.0003]))
    def load(self, name: str, unload: set[str], replace: bool, idle: float) -> None:
        async def whole() -> None:
            request = a_request(name, idle_minutes=idle, device="cuda:0")
            steps = self.manager.load(request, unload=sorted(unload), replace=replace)
            async for _ in steps:
                pass

        self.start(whole)

    @rule(name=models)
    def load_to_its_end(self, name: str) -> None:
        self.load(name, set(), False, 0.0)
        self.run(asyncio.wait_for(asyncio.wait({self.tasks[-1]}), PATIENCE))

    @rule()
    def cancel(self) -> None:
        self.start(self.manager.cancel_load)

    @rule(which=st.integers(0, 9))
    def abandon(self, which: int) -> None:
        for task in self.tasks[which : which + 1]:
            task.cancel()
        self.turn(1)

    @rule(name=st.none() | models)
    def unload(self, name: str | None) -> None:
        self.start(lambda: self.manager.unload(name))

    @rule(name=models)
    def switch(self, name: str) -> None:
        async def switching() -> None:
            with suppress(BackendError):
                self.manager.switch(name)
                current = self.manager.residents.current
                assert current is not None
                assert current.model_id == name

        self.run(switching())

    @rule(name=models, pinned=st.booleans())
    def pin(self, name: str, pinned: bool) -> None:
        async def pinning() -> None:
            with suppress(BackendError):
                self.manager.pin(name, pinned)

        self.run(pinning())

    @rule(name=models, parks=st.booleans())
    def move(self, name: str, parks: bool) -> None:
        self.start(lambda: self.manager.park(name) if parks else self.manager.wake(name))

    @rule()
    def generate(self) -> None:
        self.start(lambda: reply(self.manager))

    @rule()
    def stop(self) -> None:
        self.start(self.manager.stop_reply)

    @rule()
    def warm(self) -> None:
        self.start(self.manager.warm)

    @rule(which=st.integers(0, 5), how=st.sampled_from([signal.SIGKILL, signal.SIGTERM]))
    def kill_an_engine(self, which: int, how: signal.Signals) -> None:
        pids = self.manager.engine_pids  # how many there are is a matter of time, which no draw may depend on
        if pids:
            kill(pids[which % len(pids)], how)
        self.turn(1)

    @rule(turns=st.integers(1, 30))
    def turn(self, turns: int) -> None:
        async def turning() -> None:
            for _ in range(turns):
                await asyncio.sleep(0.001)

        self.run(turning())

    @rule()
    def settle(self) -> None:
        """Everybody who waits is answered, and only engines that have an owner are left."""

        async def settling() -> None:
            outcomes = await asyncio.wait_for(asyncio.gather(*self.tasks, return_exceptions=True), PATIENCE)
            self.tasks.clear()
            unexpected = [one for one in outcomes if one is not None and not isinstance(one, asyncio.CancelledError)]
            assert not unexpected, unexpected
            manager = self.manager
            await eventually(lambda: not manager.load_running, PATIENCE, "the end of the load")
            await eventually(
                lambda: all(one.ended is None for one in manager.residents), PATIENCE, "the end of the unloads"
            )
            await asyncio.wait_for(manager.warm(), PATIENCE)
            await eventually(lambda: set(children()) == set(manager.engine_pids), PATIENCE, "engines with an owner")

        self.run(settling())
        manager = self.manager
        assert manager.status is not ModelStatus.LOADING
        assert (manager.error is not None) == (manager.status is ModelStatus.FAILED)
        assert manager.progress is None
        assert not manager.generating
        assert all(one.moving is None for one in manager.residents)

    @invariant()
    def every_engine_has_one_owner(self) -> None:
        if not hasattr(self, "manager"):
            return
        manager, residents = self.manager, tuple(self.manager.residents)
        assert len(set(manager.engine_pids)) == len(manager.engine_pids)
        for one in residents:
            assert one.status in HOLDING | {ModelStatus.UNLOADING}
            assert one.loaded is not None
            assert one.loaded.model_id == one.model_id
        assert len(set(held(manager))) == len(residents)
        assert [one.number for one in residents] == sorted({one.number for one in residents})
        current = manager.residents.current
        assert current is None or current in residents
        assert (manager.loaded is not None) == (current is not None and current.holds)
        if manager.status is ModelStatus.NOT_LOADED and not manager.load_running:
            assert not residents  # whoever is held can be talked to

    @invariant()
    def memory_is_counted_by_engine(self) -> None:
        """What an unload says is what that one engine held; one that died meanwhile held nothing any more."""
        freed = [one for gone in self.gone for one in gone.freed]
        assert all(one.held_bytes == one.freed_bytes > GB for one in freed)
        assert len({one.held_bytes for one in freed}) == len(freed)

    def teardown(self) -> None:
        if hasattr(self, "manager"):
            pids = self.manager.engine_pids
            self.run(self.manager.close())
            self.settle_closed()
            assert not [pid for pid in pids if is_alive(pid)]
            assert children() == []
        self.runner.close()

    def settle_closed(self) -> None:
        async def settling() -> None:
            await asyncio.wait_for(asyncio.gather(*self.tasks, return_exceptions=True), PATIENCE)

        self.run(settling())
        assert self.manager.engine_pids == ()
        assert held(self.manager) == []


def test_f13_whatever_is_asked_for_in_whatever_order_every_engine_has_one_owner() -> None:
    run_state_machine_as_test(
        AnyOrder,
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
