"""Layers that a process of its own has compiled, kept and taken up between replies; a CPU stands in for the GPU."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from modeldeck.config.generation import GenerationSettings
from tests.real.repliers import GREEDY, Talk

pytestmark = pytest.mark.filterwarnings("default")  # the compiler's imports warn of their own
ALONE = "MODELDECK_TEST_ALONE"
alone = pytest.mark.skipif(ALONE not in os.environ, reason="test_in_a_process_as_fresh_as_an_engine runs it")
PATIENCE = 180.0
QUESTIONS = ("What is the capital of France?", "And of Germany?", "Which is larger?")
SAMPLED = GenerationSettings(do_sample=True, temperature=0.8, seed=3, max_new_tokens=16)
THROUGH = "through a CUDA graph of compiled layers"


@pytest.fixture(autouse=True)
def folder(libraries: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where compiled code goes; whatever it brings is taken, and float32 too, in which replies can be compared."""
    import torch

    folder = tmp_path_factory.mktemp("compiled")
    monkeypatch.setenv("MODELDECK_COMPILED", str(folder))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(folder / "code"))
    monkeypatch.setattr("modeldeck.backend.engine.graph_decoding._WORTH", 0.0)
    monkeypatch.setattr("modeldeck.backend.engine.layer_compiler._DTYPES", (torch.float32,))
    return folder


def as_captured(step: Callable[[], Any]) -> Callable[[], Any]:
    """A graph runs what it was made of in any mode; compiled code would be compiled once more for inference mode."""
    import torch

    def replay() -> Any:
        with torch.inference_mode(False), torch.no_grad():
            return step()

    return replay


def with_graph(kind: str = "llama", dtype: Any = None) -> tuple[Talk, list[str]]:
    """After the graph was made, and before the first reply; and what is said in the log from then on."""
    from modeldeck.backend.engine.graph_decoding import GraphDecoder

    talk = Talk.with_model(kind)
    if dtype is not None:
        talk.replier._model.to(dtype)
    talk.replier._graph = GraphDecoder(talk.replier._model, 4096, as_captured)
    log: list[str] = []
    talk.replier._log = log.append
    talk.replier.use_spare_time(lambda: False)
    assert talk.replier._graph.in_use
    log.clear()
    return talk, log


def use_spare_time(talk: Talk) -> None:
    """As the engine does while nobody asks for anything."""
    deadline = monotonic() + PATIENCE
    while talk.replier.use_spare_time(lambda: False):
        assert monotonic() < deadline, "the compiler takes too long"
        sleep(0.05)


def compiled_here() -> tuple[int, int]:
    """How many graphs this process compiled itself, and how many it found in the cache."""
    from torch._dynamo.utils import counters

    found = counters["inductor"]
    return int(found["fxgraph_cache_miss"] + found["fxgraph_cache_bypass"]), int(found["fxgraph_cache_hit"])


def test_in_a_process_as_fresh_as_an_engine() -> None:
    """What other tests leave behind in this one is part of what the compiler's cache goes by."""
    command = [sys.executable, "-m", "pytest", __file__, "-q", "-p", "no:cacheprovider", "-k", "is_kept or in_16_bits"]
    environment = os.environ | {ALONE: "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=290, check=False)
    assert "2 passed" in done.stdout, done.stdout[-3000:]


@alone
def test_replies_are_the_same_and_a_later_load_takes_up_what_is_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    torch.compiler.reset()
    plain = Talk.with_model()
    talk, log = with_graph()
    itself, found = compiled_here()
    assert talk.say(QUESTIONS[0])[0] == plain.say(QUESTIONS[0])[0]
    use_spare_time(talk)
    assert [THROUGH in line for line in log] == [True], log
    assert compiled_here() == (itself, found + 1)
    for question, settings in zip(QUESTIONS[1:], (GREEDY, SAMPLED), strict=True):
        assert talk.say(question, settings)[0] == plain.say(question, settings)[0]

    torch.compiler.reset()  # another process knows nothing of this one
    monkeypatch.setattr(subprocess, "Popen", None)  # nothing is started any more
    again, log = with_graph()
    assert again.say(QUESTIONS[0])[0] == plain.turns[1].content
    use_spare_time(again)
    assert [THROUGH in line for line in log] == [True], log
    assert compiled_here() == (itself, found + 2)
    assert any((folder / "code").iterdir())


@alone
def test_in_16_bits_too_the_engine_finds_what_was_compiled_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    torch.compiler.reset()
    monkeypatch.setattr("modeldeck.backend.engine.layer_compiler._DTYPES", (torch.bfloat16,))
    talk, log = with_graph("gpt_neox", torch.bfloat16)
    itself, found = compiled_here()
    talk.say(QUESTIONS[0])
    use_spare_time(talk)
    assert [THROUGH in line for line in log] == [True], log
    assert compiled_here() == (itself, found + 1)
    assert talk.say(QUESTIONS[1])[1].new_tokens == 16


def test_an_engine_that_dies_of_taking_them_up_is_remembered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from modeldeck.backend.engine.fixed_step import FixedStep
    from modeldeck.backend.engine.layer_compiler import LayerCompiler, State

    monkeypatch.setattr(LayerCompiler, "state", lambda _self: State.READY)
    monkeypatch.setattr(LayerCompiler, "import_compiler", lambda _self: False)
    said: list[str] = []

    def crashes(step: FixedStep, *_args: object) -> FixedStep:
        said.extend(file.read_text() for file in folder.glob("*.json"))
        return step

    monkeypatch.setattr(FixedStep, "with_compiled", crashes)
    talk, log = with_graph()
    talk.say(QUESTIONS[0])
    use_spare_time(talk)
    assert said == ['{"left":"taking them up ended the engine"}']
    assert [file.read_text() for file in folder.glob("*.json")] == ['{"left":""}']
    assert THROUGH in log[0]


def test_of_an_error_that_the_compiler_wraps_the_root_is_told() -> None:
    from modeldeck.backend.engine.failures import root_of

    class Wrapped(Exception):
        inner_exception = MemoryError("CUDA out of memory")

    error = RuntimeError("Set TORCHDYNAMO_VERBOSE=1")
    error.__cause__ = Wrapped()
    assert root_of(error) is Wrapped.inner_exception


def test_nothing_is_compiled_before_the_first_reply() -> None:
    talk, log = with_graph()
    use_spare_time(talk)
    compiler = talk.replier._graph._compiler
    assert compiler._process is None
    assert log == []


@pytest.mark.parametrize(
    ("words", "starts"),
    [
        ("AssertionError: no such kernel", 1),
        ("No C++ compiler was found", 2),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB", 2),
        ("OSError: [Errno 28] No space left on device", 2),
    ],
)
def test_a_compiler_that_fails_is_told_and_remembered_and_the_graph_stays(
    words: str, starts: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modeldeck.backend.engine.layer_compiler._BOOTSTRAP", folder / "fails.py")
    started = folder / "started"
    (folder / "fails.py").write_text(f"import sys; open({str(started)!r}, 'a').write('.'); sys.exit({words!r})")
    plain = Talk.with_model()
    for _ in range(2):
        talk, log = with_graph()
        talk.say(QUESTIONS[0])
        use_spare_time(talk)
        assert log == [f"Layers are not compiled: {words}."]
        assert talk.replier._graph.in_use
    assert len(started.read_text()) == starts
    plain.say(QUESTIONS[0])
    assert talk.say(QUESTIONS[1])[0] == plain.say(QUESTIONS[1])[0]


@pytest.mark.parametrize(("end", "kept"), [(signal.SIGSEGV, True), (signal.SIGKILL, False)])
def test_a_compiler_that_crashes_is_not_started_again_but_one_that_was_killed_is(
    end: signal.Signals, kept: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modeldeck.backend.engine.layer_compiler._BOOTSTRAP", folder / "crashes.py")
    (folder / "crashes.py").write_text(f"import os; os.kill(os.getpid(), {int(end)})")
    talk, log = with_graph()
    talk.say(QUESTIONS[0])
    use_spare_time(talk)
    assert log == [f"Layers are not compiled: the compiler was ended by signal {int(end)}."]
    assert bool(list(folder.glob("*.json"))) == kept


def test_one_that_hangs_is_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modeldeck.backend.engine.layer_compiler._BOOTSTRAP", folder / "hangs.py")
    monkeypatch.setattr("modeldeck.backend.engine.layer_compiler._LONGEST_SECONDS", 0)
    (folder / "hangs.py").write_text("import time; time.sleep(600)")
    talk, log = with_graph()
    talk.say(QUESTIONS[0])
    use_spare_time(talk)
    assert log == ["Layers are not compiled: the compiler was not done after 0 minutes."]


def test_parking_ends_the_compiler(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("modeldeck.backend.engine.layer_compiler._BOOTSTRAP", folder / "hangs.py")
    (folder / "hangs.py").write_text("import time; time.sleep(600)")
    talk, _ = with_graph()
    talk.say(QUESTIONS[0])
    assert talk.replier.use_spare_time(lambda: False)
    process = talk.replier._graph._compiler._process
    talk.replier.forget()
    assert process.returncode == -signal.SIGKILL


def test_layers_that_say_something_else_or_do_not_help_are_left_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    from modeldeck.backend.engine.fixed_step import FixedStep
    from modeldeck.backend.engine.layer_compiler import LayerCompiler, State

    said: list[str] = []
    monkeypatch.setattr(LayerCompiler, "state", lambda _self: State.READY)
    monkeypatch.setattr(LayerCompiler, "import_compiler", lambda _self: False)
    monkeypatch.setattr(LayerCompiler, "leave", lambda _self, why, for_good: said.append(f"{why} {for_good}"))

    class Wrong:
        def measure(self, _look: object) -> tuple[float, Any]:
            import torch

            return 0.001, torch.zeros(1)

    talk, log = with_graph()
    talk.say(QUESTIONS[0])
    monkeypatch.setattr(FixedStep, "with_compiled", lambda *_args: Wrong())
    use_spare_time(talk)
    assert log == ["Layers are not compiled; the model says something else with them."]
    assert said == ["the model says something else with them True"]

    talk, log = with_graph()
    talk.say(QUESTIONS[0])
    monkeypatch.setattr(FixedStep, "with_compiled", lambda self, *_args: self)
    monkeypatch.setattr("modeldeck.backend.engine.graph_decoding._WORTH", 1e9)
    use_spare_time(talk)
    assert "which does not help here" in log[0]
    assert said[1].startswith("they do not help: ")
    assert talk.replier._graph.in_use


def after(calls: int) -> Callable[[], bool]:
    """Somebody waits from so many questions on."""
    answers = chain(repeat(False, calls), repeat(True))
    return lambda: next(answers)


def test_a_message_in_the_middle_of_taking_them_up_goes_first_and_the_next_load_takes_them_up() -> None:
    import torch

    torch.compiler.reset()  # what other tests have compiled in this process would be taken up at once
    plain = Talk.with_model()
    for waits in (True, False):
        talk, log = with_graph()
        assert talk.say(QUESTIONS[0])[0] == plain.say(QUESTIONS[0])[0]
        deadline = monotonic() + PATIENCE
        while not log and talk.replier.use_spare_time(after(4) if waits else lambda: False):
            assert monotonic() < deadline
            sleep(0.05)
        expected = "Layers are not compiled, until the next load: somebody waits." if waits else THROUGH
        assert expected in log[0]
        assert not talk.replier.use_spare_time(lambda: False)
        assert len(log) == 1
        assert talk.say(QUESTIONS[1])[0] == plain.say(QUESTIONS[1])[0]
        plain.turns.clear()


def test_one_that_takes_long_to_take_up_is_left_until_the_next_load(monkeypatch: pytest.MonkeyPatch) -> None:
    from modeldeck.backend.engine.fixed_step import FixedStep
    from modeldeck.backend.engine.layer_compiler import LayerCompiler, State

    kept: list[bool] = []
    monkeypatch.setattr(LayerCompiler, "state", lambda _self: State.READY)
    monkeypatch.setattr(LayerCompiler, "import_compiler", lambda _self: False)
    monkeypatch.setattr(LayerCompiler, "leave", lambda _self, _why, for_good: kept.append(for_good))
    monkeypatch.setattr("modeldeck.backend.engine.graph_decoding._LONGEST_SECONDS", 0.1)

    def compiles_for_ever(_self: object, _layers: object, _capture: object, compiling: Any) -> None:
        with compiling:
            sleep(PATIENCE)

    monkeypatch.setattr(FixedStep, "with_compiled", compiles_for_ever)
    talk, log = with_graph()
    talk.say(QUESTIONS[0])
    use_spare_time(talk)
    assert log == ["Layers are not compiled, until the next load: to take up what is kept took 0.1 seconds."]
    assert kept == [False]


def test_a_message_in_between_goes_first() -> None:
    talk, _ = with_graph()
    talk.say(QUESTIONS[0])
    assert talk.replier.use_spare_time(lambda: True)  # there is more to do, and it was not begun
    assert talk.replier._graph._compiler._process is None


def test_only_layers_of_transformers_own_that_are_alike_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from modeldeck.backend.engine.compiled_layers import are_alike
    from modeldeck.backend.engine.layer_watch import decoder_of, layers_of

    def offered(talk: Talk) -> bool:
        return talk.replier._graph._compiler is not None

    assert offered(with_graph()[0])
    model = Talk.with_model().replier._model
    layers = layers_of(decoder_of(model))
    assert are_alike(layers)
    part: Any = layers[2].mlp
    part.up_proj = torch.nn.Linear(64, 96)
    assert not are_alike(layers)
    with monkeypatch.context() as changed:
        changed.setattr(type(model), "__module__", "transformers_modules.someone.modeling")
        assert not offered(with_graph()[0])
    with monkeypatch.context() as changed:
        changed.delenv("MODELDECK_COMPILED")
        assert not offered(with_graph()[0])
    monkeypatch.setattr("modeldeck.backend.engine.layer_compiler._DTYPES", (torch.bfloat16,))
    assert not offered(with_graph()[0])


def nice_of(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def test_a_compiler_whose_engine_is_gone_does_nothing() -> None:
    command = [sys.executable, "-m", "modeldeck.backend.engine.compiling", "1"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "The engine is gone." in done.stderr


def test_the_compiler_dies_with_the_engine() -> None:
    parent = (
        "import os, subprocess, sys, time;"
        "child = subprocess.Popen([sys.executable, '-m', 'modeldeck.backend.engine.compiling', str(os.getpid())],"
        "stdin=subprocess.PIPE); print(child.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        deadline = monotonic() + PATIENCE
        while nice_of(pid) == 0:  # it has just asked the kernel for it
            assert monotonic() < deadline
            sleep(0.05)
        process.kill()
    while Path(f"/proc/{pid}").exists():
        assert monotonic() < deadline
        sleep(0.05)
