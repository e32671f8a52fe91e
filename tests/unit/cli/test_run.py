"""``run``: one reply on stdout, from a child that speaks the protocol."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from modeldeck.backend.memory import DeviceMemory, MemoryMonitor, MemoryReading
from modeldeck.backend.nvml import Nvml
from modeldeck.config.declaration import settings_of
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.store import GenerationStore
from tests.fakes.engine_python import use_scripted_engine
from tests.fakes.gpu_drivers import GB, FakePynvml
from tests.fakes.hub_server import COMMIT, Hub, Slow, hub_server
from tests.unit.cli.conftest import Modeldeck, write_model


@pytest.fixture
def engine(home: Path, model_folder: Path) -> Path:
    """``engine_python`` is a program that runs the script in this file, so tests write there what the engine does."""
    return use_scripted_engine(home)


class TestReply:
    def test_it_goes_to_stdout_and_all_else_to_stderr(self, modeldeck: Modeldeck, engine: Path) -> None:
        engine.write_text("reply You said: {prompt}\nserve")
        ended = modeldeck("run", "tiny-llama", "good morning")
        assert (ended.code, ended.out) == (0, "You said: good morning\n")
        assert "reading weights" in ended.err
        assert "tokens" in ended.err

    def test_quiet_says_nothing_else(self, modeldeck: Modeldeck, engine: Path) -> None:
        assert modeldeck("run", "-q", "tiny-llama", "hello").err == ""

    def test_what_it_took_is_kept_for_the_next_estimate(self, modeldeck: Modeldeck, engine: Path) -> None:
        assert modeldeck("run", "-q", "tiny-llama", "hello").code == 0
        shown = modeldeck("show", "tiny-llama", "--estimate", "--device", "cpu", "--context", "1")
        assert "measured here" in shown.out.casefold()

    def test_a_model_that_does_not_fit_is_refused_with_its_figures_unless_it_is_forced(
        self, modeldeck: Modeldeck, engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ram = DeviceMemory(name="ram", label="RAM", used_bytes=7_990_000_000, total_bytes=8_000_000_000)
        reading = MemoryReading(devices=(), ram=ram)
        monkeypatch.setattr(MemoryMonitor, "read", lambda self, pids=(): reading)
        ended = modeldeck("run", "-q", "tiny-llama", "hello", "--device", "cpu")
        assert ended.code == 4
        assert ended.out == ""
        assert "tiny-llama does not fit: it needs about" in ended.err
        assert "10.0 MB is free on ram" in ended.err
        assert modeldeck("run", "-q", "tiny-llama", "hello", "--device", "cpu", "--force").code == 0

    def test_a_model_that_does_not_fit_on_its_gpu_is_refused_before_an_engine_starts(
        self, modeldeck: Modeldeck, engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        engine.write_text("exit 9")
        ml = FakePynvml(count=1)
        ml.used[ml.devices[0]] = 80 * GB - 10_000_000
        reading = MemoryMonitor([Nvml(lambda: ml)], environ={}).read()
        monkeypatch.setattr(MemoryMonitor, "read", lambda self, pids=(): reading)
        ended = modeldeck("run", "tiny-llama", "hello", "--device", "cuda:0")
        assert (ended.code, ended.out) == (4, "")
        assert "tiny-llama does not fit: it needs about" in ended.err
        assert "10.0 MB is free on cuda:0" in ended.err

    def test_the_prompt_comes_from_stdin(self, engine: Path) -> None:
        engine.write_text("reply <{prompt}>\nserve")
        for arguments in (("run", "-q", "tiny-llama"), ("run", "-q", "tiny-llama", "-")):
            ended = subprocess.run([*_command(), *arguments], input="from a pipe", capture_output=True, text=True)
            assert (ended.returncode, ended.stdout) == (0, "<from a pipe>\n")

    @pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
    def test_a_prompt_that_is_no_text_is_wrong_usage_before_anything_is_loaded(
        self, modeldeck: Modeldeck, engine: Path, monkeypatch: pytest.MonkeyPatch, errors: str
    ) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9"), "utf-8", errors=errors))
        for ended in (modeldeck("run", "tiny-llama", "-"), modeldeck("run", "tiny-llama", "caf\udce9")):
            assert ended.code == 2
            assert "it is not UTF-8 text" in ended.err
            assert "loaded in" not in ended.err

    def test_an_empty_prompt_is_wrong_usage(self, modeldeck: Modeldeck, engine: Path) -> None:
        ended = modeldeck("run", "tiny-llama", "  ")
        assert ended.code == 2
        assert "PROMPT" in ended.err

    def test_options_go_before_stored_settings_and_those_before_built_in(
        self, modeldeck: Modeldeck, engine: Path, home: Path
    ) -> None:
        store = GenerationStore(home / ".config" / "modeldeck" / "generation.toml")
        store.save(None, GenerationSettings(temperature=0.25, seed=5))
        engine.write_text("reply {temperature} {max_new_tokens} {seed} {system}\nserve")
        out = modeldeck("run", "tiny-llama", "hello", "--seed", "7", "--system", "Be brief.").out
        assert out == "0.25 512 7 Be brief.\n"

    def test_a_preset_and_the_models_own_file_hold_and_conflicts_are_told(
        self, modeldeck: Modeldeck, engine: Path, model_folder: Path
    ) -> None:
        (model_folder / "generation_config.json").write_text('{"max_new_tokens": 33, "temperature": 1.5}')
        engine.write_text("reply {temperature} {max_new_tokens}\nserve")
        assert modeldeck("run", "tiny-llama", "hello").out == "1.5 33\n"
        ended = modeldeck("run", "tiny-llama", "hello", "--preset", "precise", "--num-beams", "2")
        assert ended.out == "0.2 33\n"
        assert "With 2 Beams the reply comes at its end" in ended.err
        wrong = modeldeck("run", "tiny-llama", "hello", "--preset", "precis")
        assert (wrong.code, wrong.out) == (2, "")
        assert "did you mean precise?" in wrong.err

    def test_a_model_that_is_stored_quantized_is_loaded_as_the_app_loads_it(
        self, modeldeck: Modeldeck, engine: Path, home: Path, model_folder: Path
    ) -> None:
        config = json.loads((model_folder / "config.json").read_text())
        config["quantization_config"] = {"quant_method": "awq", "bits": 4}
        (model_folder / "config.json").write_text(json.dumps(config))
        with (home / ".config" / "modeldeck" / "config.toml").open("a") as file:
            file.write('quantization = "8bit"\n')
        engine.write_text("reply {quantization}\nserve")
        assert modeldeck("run", "-q", "tiny-llama", "hello").out == "none\n"
        assert modeldeck("run", "-q", "tiny-llama", "hello", "--quantization", "4bit").out == "4bit\n"

    def test_control_characters_of_a_model_reach_no_terminal(self, modeldeck: Modeldeck, engine: Path) -> None:
        engine.write_text("reply \x1b]52;c;aGk=\x07 done\nserve")
        out = modeldeck("run", "tiny-llama", "hello").out
        assert out.endswith("done\n")
        assert "\x1b" not in out


class TestOptions:
    def test_there_is_one_for_every_generation_setting(self, modeldeck: Modeldeck) -> None:
        text = modeldeck("run", "--help").out
        for setting in settings_of(GenerationSettings):
            assert f"--{setting.name.replace('_', '-')}" in text

    @pytest.mark.parametrize(
        ("option", "value", "allowed"),
        [
            ("--temperature", "3", "0 to 2"),
            ("--temperature", "warm", "a number"),
            ("--max-new-tokens", "0", "1 to"),
            ("--seed", "1.5", "whole number"),
            ("--device", "tpu", "cuda"),
            ("--quantization", "2bit", "4bit"),
            ("--dtype", "int3", "bfloat16"),
        ],
    )
    def test_a_wrong_value_says_what_is_allowed_before_anything_starts(
        self, modeldeck: Modeldeck, option: str, value: str, allowed: str
    ) -> None:
        ended = modeldeck("run", "no-such-model", "hello", option, value)
        assert (ended.code, ended.out) == (2, "")
        assert option in ended.err
        assert allowed in ended.err


class TestFailures:
    def test_an_unknown_model_ends_with_3(self, modeldeck: Modeldeck) -> None:
        assert modeldeck("run", "no-such-model", "hello").code == 3

    def test_a_broken_model_says_why_without_an_engine(
        self, modeldeck: Modeldeck, engine: Path, model_folder: Path
    ) -> None:
        (model_folder / "config.json").write_text("{")
        engine.write_text("exit 9")
        ended = modeldeck("run", str(model_folder), "hello")
        assert ended.code == 1
        assert "cannot be loaded" in ended.err

    @pytest.mark.parametrize(
        ("kind", "code"),
        [("memory", 4), ("load", 1), ("unsupported", 1), ("quantization", 1), ("remote_code", 1), ("pickles", 1)],
    )
    def test_a_failed_load_is_a_sentence_and_a_code(
        self, modeldeck: Modeldeck, engine: Path, kind: str, code: int
    ) -> None:
        engine.write_text(f"fail-load {kind} There is a reason.\nserve")
        ended = modeldeck("run", "tiny-llama", "hello")
        assert (ended.code, ended.out) == (code, "")
        assert "There is a reason." in ended.err
        assert "Traceback" not in ended.err

    def test_an_engine_that_dies_mid_reply_ends_the_line_it_was_in(self, modeldeck: Modeldeck, engine: Path) -> None:
        engine.write_text("ready\nwait load\nfinished\nwait generate\ntokens half a\nexit 9")
        ended = modeldeck("run", "tiny-llama", "hello")
        assert (ended.code, ended.out) == (1, "half a\n")
        assert "Traceback" not in ended.err


class TestDownloads:
    @pytest.fixture
    def hub(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
        with hub_server() as running:
            monkeypatch.setenv("HF_ENDPOINT", running.url)
            monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
            yield running

    def test_a_hub_id_that_is_not_here_is_downloaded_first(
        self, modeldeck: Modeldeck, engine: Path, hub: Hub, model_folder: Path
    ) -> None:
        hub.repos["org/tiny"] = {file.name: file.read_bytes() for file in model_folder.iterdir()}
        engine.write_text("reply You said: {prompt}\nserve")
        ended = modeldeck("run", "org/tiny", "hello")
        assert (ended.code, ended.out) == (0, "You said: hello\n")
        assert "downloading org/tiny" in ended.err
        assert "100 %" in ended.err
        asked = len(hub.requests)
        again = modeldeck("run", "-q", "org/tiny", "hello")
        assert (again.code, again.err) == (0, "")
        assert len(hub.requests) == asked

    def test_s6_nothing_but_pickles_is_downloaded_only_where_it_is_allowed(
        self, modeldeck: Modeldeck, engine: Path, hub: Hub, model_folder: Path
    ) -> None:
        config = (model_folder / "config.json").read_bytes()
        hub.repos["org/old"] = {"config.json": config, "pytorch_model.bin": b"pickle"}
        ended = modeldeck("run", "-q", "org/old", "hello")
        assert (ended.code, ended.out) == (1, "")
        assert "org/old has pickled weights only" in ended.err
        assert "Allow it with --allow-pickles." in ended.err
        engine.write_text("reply pickles {pickles}\nserve")
        ended = modeldeck("run", "-q", "--allow-pickles", "--force", "org/old", "hello")
        assert (ended.code, ended.out) == (0, "pickles True\n"), ended.err
        assert modeldeck("run", "-q", "--force", "org/old", "hello").out == "pickles False\n"

    def test_one_that_was_broken_off_is_completed(
        self, modeldeck: Modeldeck, engine: Path, hub: Hub, home: Path, model_folder: Path
    ) -> None:
        hub.repos["org/tiny"] = {file.name: file.read_bytes() for file in model_folder.iterdir()}
        part = home / ".cache/huggingface/hub/models--org--tiny/snapshots" / COMMIT
        part.mkdir(parents=True)
        (part / "config.json").write_bytes((model_folder / "config.json").read_bytes())
        assert modeldeck("run", "-q", "org/tiny@main", "hello").code == 0
        assert modeldeck("run", "-q", "org/tiny", "hello").code == 0

    def test_a_refusal_is_the_hubs_sentence(self, modeldeck: Modeldeck, engine: Path, hub: Hub) -> None:
        hub.answers["org/gated"] = (401, "GatedRepo")
        ended = modeldeck("run", "-q", "org/gated", "hello")
        assert (ended.code, ended.out) == (1, "")
        assert "org/gated is gated: accept its terms" in ended.err
        assert len(ended.err.splitlines()) == 1

    def test_without_a_network_one_sentence_says_so(
        self, modeldeck: Modeldeck, engine: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
        ended = modeldeck("run", "-q", "org/tiny", "hello")
        assert (ended.code, ended.out) == (1, "")
        assert "cannot be reached; check the network" in ended.err
        assert len(ended.err.splitlines()) == 1

    def test_a_name_that_fits_two_models_asks_nobody(
        self, modeldeck: Modeldeck, engine: Path, hub: Hub, home: Path
    ) -> None:
        for name in ("one", "two"):
            write_model(home / "models" / "org" / f"model-{name}")
        assert modeldeck("run", "org/model", "hello").code == 3
        assert hub.requests == []

    def test_a_signal_ends_the_download(self, engine: Path, hub: Hub, model_folder: Path) -> None:
        slow = Slow(bytes(100_000))
        hub.repos["org/tiny"] = {"config.json": (model_folder / "config.json").read_bytes(), "model.safetensors": slow}
        with _started("run", "-q", "org/tiny", "hello") as process:
            assert slow.started.wait(30)
            process.terminate()
            assert process.wait(20) == 143
            assert _rest(process) == ""


class TestSignals:
    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda n: str(n)
    )
    def test_a_signal_stops_the_reply_and_leaves_no_engine(self, engine: Path, number: int, code: int) -> None:
        engine.write_text("reply one two three four\nreply-gate /never\nserve")
        with _started("run", "-q", "tiny-llama", "hello") as process:
            assert process.stdout is not None
            assert process.stdout.read(3) == "one"
            engines = psutil.Process(process.pid).children(recursive=True)
            process.send_signal(number)
            assert process.wait(20) == code
            assert engines
            assert not any(engine.is_running() and engine.status() != "zombie" for engine in engines)
            assert "Traceback" not in _rest(process)

    def test_a_signal_while_loading_does_too(self, engine: Path) -> None:
        engine.write_text("load-gate /never\nserve")
        with _started("run", "tiny-llama", "hello") as process:
            assert process.stderr is not None
            assert process.stderr.readline()
            process.terminate()
            assert process.wait(20) == 143

    def test_a_closed_pipe_ends_it_without_a_word(self, engine: Path) -> None:
        engine.write_text(f"reply {'word ' * 200}\nserve")
        with _started("run", "-q", "tiny-llama", "hello", "--max-new-tokens", "300") as process:
            assert process.stdout is not None
            process.stdout.read(4)
            process.stdout.close()
            assert process.wait(20) == 1
            assert _rest(process) == ""


def _command() -> tuple[str, ...]:
    return (str(Path(sys.executable).with_name("modeldeck")),)


@contextmanager
def _started(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The installed command with pipes; killed if the test fails."""
    with subprocess.Popen(
        [*_command(), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _rest(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    return process.stderr.read()
