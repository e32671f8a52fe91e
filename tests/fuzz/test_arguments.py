"""Command-line arguments: whatever it is given, a command ends with one of our codes and never with a traceback."""

from __future__ import annotations

import asyncio
import io
import os
import sys
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.catalog.catalog import Catalog
from modeldeck.backend.errors import EngineDied
from modeldeck.backend.memory import MemoryMonitor
from modeldeck.config.declaration import settings_of
from modeldeck.config.generation import GenerationSettings
from modeldeck.tui.cli import main
from modeldeck.tui.cli_commands import doctor, estimator, looking, obtaining, reply
from modeldeck.tui.exit_codes import ExitCode
from tests.fuzz.broken import WORDS
from tests.fuzz.profiles import fuzzed
from tests.unit.cli.conftest import write_model

_COMMANDS = ("ls", "show", "run", "doctor", "paths", "config", "lss", "")
_FLAGS = (
    "--json", "--quiet", "-q", "--estimate", "--version", "--help", "-h", "--force", "--trust-remote-code", "--", "-",
    "--clear-gguf-copies", "-qq", "--no-do-sample", "--do-sample", "---", "-\udcff", "--\u202e", "--install-completion",
)  # fmt: skip
_OPTIONS = (
    "--device", "--dtype", "--quantization", "--context", "--preset", "--system",
    *(f"--{setting.name.replace('_', '-')}" for setting in settings_of(GenerationSettings)),
)  # fmt: skip
_VALUES = (
    "tiny-llama", "tiny", "starter", "~/models/tiny-llama", "./x", "~nobody/x", "/dev/zero", "/", "a/b@main", "a/b/c",
    "0", "1", "-1", "0.5", "1e400", "nan", "inf", "-inf", "99999999999999999999", "9" * 5000, "0x10", "1_000", "cpu",
    "cuda:99", "cuda:0+cuda:1", "4bit", "hqq-4bit", "float16", "auto", "precise", "\udcff\udcfe", "x.gguf", "Hello",
    *(word for word in WORDS if "\0" not in word and "\ud800" not in word),
)  # fmt: skip
_values = st.sampled_from(_VALUES) | st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9
)
_arguments = st.lists(
    st.sampled_from(_FLAGS).map(lambda flag: (flag,))
    | _values.map(lambda value: (value,))
    | st.tuples(st.sampled_from(_OPTIONS), _values)
    | st.builds("{}={}".format, st.sampled_from([*_OPTIONS, "--json", "-q"]), _values).map(lambda both: (both,)),
    max_size=5,
).map(lambda groups: [each for group in groups for each in group])


@pytest.fixture
def no_children(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model to find; the look at the disk happens in this process, and no engine and no download can be started."""
    write_model(home / "models" / "tiny-llama")

    class HereAndNow:
        """In place of the child that looks for models."""

        def __init__(self, workspace: Any, **_options: object) -> None:
            self._catalog = Catalog(workspace.model_folders, workspace.paths.hub_cache, starter=False)

        async def find(self, text: str) -> Any:
            return self._catalog.find(text)

        async def models(self) -> Any:
            return list(self._catalog.scan()), self

        looked_in = ("nowhere",)

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run(work)

    async def refused() -> NoReturn:
        raise EngineDied("There is no engine in this test.")

    reading = MemoryMonitor([], environ={}).read()
    monkeypatch.setattr(looking, "_catalog", HereAndNow)
    monkeypatch.setattr(looking, "_run", run)
    monkeypatch.setattr(reply, "embedded_engine", lambda *_: refused)
    monkeypatch.setattr(obtaining, "embedded_downloader", lambda *_: refused)
    for place in (doctor, estimator):
        monkeypatch.setattr(place, "MemoryMonitor", lambda: _Read(reading))
    monkeypatch.setattr(doctor, "available_devices", lambda: ("auto", "cpu"))


class _Read:
    """The memory as it was read once; asking the drivers again takes long."""

    def __init__(self, reading: Any) -> None:
        self._reading = reading

    def read(self) -> Any:
        return self._reading


@pytest.fixture
def same_umask() -> Iterator[None]:
    """The command sets the process's own."""
    umask = os.umask(0o077)
    yield
    os.umask(umask)


def _ended(arguments: Sequence[str]) -> tuple[int, str]:
    """The exit code, and all that was printed; as in a process, surrogates cannot be written to standard output."""
    out, err = io.BytesIO(), io.BytesIO()
    with (
        io.TextIOWrapper(out, "utf-8", errors="strict", write_through=True) as stdout,
        io.TextIOWrapper(err, "utf-8", errors="backslashreplace", write_through=True) as stderr,
        redirect_stdout(stdout),
        redirect_stderr(stderr),
    ):
        code = main(arguments)
        return code, (out.getvalue() + err.getvalue()).decode()


@given(command=st.sampled_from(_COMMANDS), rest=_arguments, stdin=st.just(b"Hello") | st.binary(max_size=9))
@fuzzed
@pytest.mark.usefixtures("no_children", "same_umask")
def test_every_command_ends_with_a_code_of_ours(
    command: str, rest: Sequence[str], stdin: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), "utf-8"))
    code, printed = _ended([command, *rest])
    assert code in set(ExitCode)
    assert "Traceback" not in printed
    assert "\x1b" not in printed
