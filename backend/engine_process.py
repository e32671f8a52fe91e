"""One child process: start, speak lines, keep its last words, stop, kill the whole group, reap."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import SubprocessStreamProtocol
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Self

from modeldeck.backend.cgroups import Cgroups
from modeldeck.backend.errors import EngineDied, EngineStalled
from modeldeck.backend.last_words import LastWords
from modeldeck.backend.protocol import (
    EXIT_DEVICE_LOST,
    MAX_LINE,
    PROTOCOL_VERSION,
    EngineEvent,
    EngineStarted,
    ProtocolError,
    Request,
    Shutdown,
    decode_event,
    encode,
)
from modeldeck.backend.stall import Stalled, StallWatch
from modeldeck.backend.text import clean_name

START_SECONDS = 120.0
"""How long a child may take to say that it started; it imports nothing heavy before."""
DRAIN_SECONDS = 1.0
"""How long the pipes may stay open once the process is gone (a grandchild may hold them), and the other way round."""

_LINES_A_TURN = 64
"""After so many lines the event loop gets its turn, however much is still buffered."""
_LONGEST_CAUSE = 400
"""Characters; the line that installs what is missing stands at its end."""
_STOPPED = "The engine was stopped."
_NO_MEMORY = "was killed (SIGKILL) by the system, which had run out of memory; load a smaller model or quantize it"
_FROM_OUTSIDE = "was killed (SIGKILL) from outside, by a person or a memory watcher: the kernel counts no kill"
_SIGNALS: dict[int, str] = {
    signal.SIGKILL: "was killed (SIGKILL), most likely by the system for lack of memory",
    signal.SIGBUS: "crashed (SIGBUS), most likely because a model file shrank or its disk failed; "
    "copy a model that lies on a network disk to a local one",
    signal.SIGTERM: "was ended from outside (SIGTERM)",
    signal.SIGHUP: "was ended from outside (SIGHUP)",
    signal.SIGINT: "was ended from outside (SIGINT)",
}
_DEVICE_LOST = "The GPU does not answer any more after an error, so the engine ended; load the model again."


def _silent(_line: str) -> None:
    """Nobody reads the log."""


def _signal_name(number: int) -> str:
    """``SIGSEGV``, or its number where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class _Protocol(SubprocessStreamProtocol):
    """asyncio's own pipe protocol, which also tells of the exit and of the pipes' end."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=MAX_LINE - 1, loop=loop)  # asyncio does not count the newline
        self.exited = asyncio.Event()
        self.output_ended = asyncio.Event()
        self.pipes_closed = asyncio.Event()
        self._open_pipes = {0, 1, 2}

    def process_exited(self) -> None:
        super().process_exited()
        self.exited.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        """Called by asyncio: the child has closed a pipe, or is gone."""
        super().pipe_connection_lost(fd, exc)
        self._open_pipes.discard(fd)
        if not self._open_pipes & {1, 2}:
            self.output_ended.set()
        if not self._open_pipes:
            self.pipes_closed.set()


class EngineProcess:
    """A child in a session of its own, so that it has no terminal and its whole group can be killed.

    ``start`` is the only way to make one. However it ends, a task of its own reaps it, ends what is left of its
    group and closes the pipes; ``wait``, ``stop`` and ``kill`` return when that is done.
    """

    def __init__(
        self, transport: asyncio.SubprocessTransport, protocol: _Protocol, on_log: Callable[[str], None]
    ) -> None:
        self._transport = transport
        self._protocol = protocol
        self._last_words = LastWords(on_log)
        self._reason = ""
        self._lines_this_turn = 0
        self._kills_before = Cgroups().out_of_memory_kills()
        self.pid: int = transport.get_pid()
        """Of the process and of its group."""
        self._reaper = asyncio.create_task(self._drain_and_reap(), name=f"reaper of engine {self.pid}")

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        *,
        on_log: Callable[[str], None] = _silent,
        start_seconds: float = START_SECONDS,
    ) -> Self:
        """Start the command and wait until it says that it started.

        ``environment`` is the whole environment (None: this process's own); ``on_log`` gets every line of its
        stderr, cleaned. Raises EngineDied when it cannot be started, dies, or speaks another protocol, EngineStalled
        when it says nothing for ``start_seconds``; no child is left then, nor after a cancel.
        """
        process = await cls._spawn(command, environment, on_log)
        try:
            await process._expect_started(start_seconds)
        except BaseException:  # a cancel too: a half-started child never escapes
            await process.kill()
            raise
        return process

    @classmethod
    async def _spawn(
        cls, command: Sequence[str], environment: Mapping[str, str] | None, on_log: Callable[[str], None]
    ) -> Self:
        loop = asyncio.get_running_loop()
        try:
            transport, protocol = await loop.subprocess_exec(
                lambda: _Protocol(loop),
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                env=None if environment is None else dict(environment),
            )
        except OSError as error:
            raise EngineDied(
                f"The engine's Python cannot be started ({clean_name(command[0])}: {error.strerror}); "
                "check engine_python in config.toml."
            ) from error
        return cls(transport, protocol, on_log)

    async def _expect_started(self, seconds: float) -> None:
        try:
            event = await StallWatch(seconds).wait(self.read)
        except ProtocolError as error:
            raise await self.break_off(error) from error
        except Stalled:
            raise EngineStalled(f"The engine did not start within {seconds:.0f} seconds.", self.last_words()) from None
        if event is None:
            raise await self.ended()
        if not isinstance(event, EngineStarted) or event.protocol_version != PROTOCOL_VERSION:
            raise EngineDied(
                "The engine speaks another version of the protocol; install the same modeldeck for engine_python.",
                self.last_words(),
            )

    @property
    def alive(self) -> bool:
        """Whether the process has not ended yet, as far as we have been told."""
        return not self._protocol.exited.is_set()

    def last_words(self) -> str:
        """The last lines of stderr, cleaned, at most 8 KB."""
        return self._last_words.text()

    async def send(self, message: Request) -> None:
        """Write one message. Raises EngineDied when nobody reads any more, ProtocolError when it is too long."""
        line = encode(message)
        stdin = self._protocol.stdin
        try:
            if stdin is None or stdin.is_closing():
                raise BrokenPipeError
            stdin.write(line)
            await stdin.drain()
        except ConnectionError as error:
            raise await self.ended() from error

    async def read(self) -> EngineEvent | None:
        """The next event, or None at the end of the pipe. Safe to cancel. Raises ProtocolError."""
        stdout = self._protocol.stdout
        self._lines_this_turn += 1
        if self._lines_this_turn >= _LINES_A_TURN:
            self._lines_this_turn = 0
            await asyncio.sleep(0)
        try:
            line = await stdout.readline() if stdout is not None else b""
        except ValueError as error:
            raise ProtocolError(f"a line is longer than {MAX_LINE} bytes") from error
        return decode_event(line) if line else None

    async def wait(self) -> EngineDied:
        """Wait until the process is gone and reaped; returns how it ended."""
        await asyncio.shield(self._reaper)
        return self.death()

    async def ended(self) -> EngineDied:
        """A pipe has ended: wait for the process, which is of no use without it and is ended if it lingers."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                return await self.wait()
        await self.kill("The engine closed its pipes, and was ended; load the model again.")
        return self.death()

    async def break_off(self, error: ProtocolError) -> EngineDied:
        """End a process that sent something that is not a message."""
        message = "The engine sent something that is not a message, and was ended; load the model again."
        await self.kill(message)
        return EngineDied(message, f"{clean_name(str(error))}\n{self.last_words()}".strip())

    async def stop(self, grace: float = 1.0) -> None:
        """Ask, then SIGTERM, then SIGKILL to the group, ``grace`` seconds apart; returns when it is reaped."""
        if self.alive:
            self._reason = self._reason or _STOPPED
        try:
            with suppress(TimeoutError, EngineDied):
                async with asyncio.timeout(grace):
                    await self.send(Shutdown())
                    await self._protocol.exited.wait()
            if self.alive:
                self._signal(signal.SIGTERM)
                with suppress(TimeoutError):
                    async with asyncio.timeout(grace):
                        await self._protocol.exited.wait()
        finally:
            await self.kill()

    async def kill(self, reason: str = _STOPPED) -> None:
        """SIGKILL to the whole group; returns when it is reaped. ``reason`` is what everyone who waits is told."""
        if self.alive:
            self._reason = self._reason or reason
            self._signal(signal.SIGKILL)
        await asyncio.shield(self._reaper)

    def death(self) -> EngineDied:
        """How the process ended: our own reason if we ended it, else its signal or exit code and its last line."""
        code = self._transport.get_returncode() or 0
        if self._reason:
            message = self._reason
        elif code < 0:
            message = f"The engine {self._of_signal(-code)}."
        elif code == EXIT_DEVICE_LOST:
            message = _DEVICE_LOST
        else:
            cause = clean_name(self._last_words.last_line(), _LONGEST_CAUSE)
            message = f"The engine ended by itself with exit code {code}{': ' + cause if cause else '.'}"
        return EngineDied(message, self.last_words())

    def _of_signal(self, number: int) -> str:
        """What a signal did to it, and why, as far as that can be known."""
        if number == signal.SIGKILL and self._kills_before is not None:
            kills = Cgroups().out_of_memory_kills()
            if kills is not None:
                return _NO_MEMORY if kills > self._kills_before else _FROM_OUTSIDE
        return _SIGNALS.get(number) or f"crashed ({_signal_name(number)})"

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def _drain_and_reap(self) -> None:
        """Drain stderr; once the process is gone, end what is left of its group and close the pipes."""
        drain = asyncio.create_task(self._drain(), name=f"stderr of engine {self.pid}")
        await self._protocol.exited.wait()
        self._signal(signal.SIGKILL)
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._protocol.output_ended.wait()
        self._transport.close()
        await self._protocol.pipes_closed.wait()
        await drain

    async def _drain(self) -> None:
        if self._protocol.stderr is not None:
            await self._last_words.drain(self._protocol.stderr)
