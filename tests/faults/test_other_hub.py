"""Another hub than Hugging Face's: who it is is told, and it gets no token that others could read (S15)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modeldeck.backend.download_messages import DownloadFinished
from modeldeck.backend.embedded import embedded_downloader
from modeldeck.backend.errors import DownloadError
from modeldeck.backend.hub_endpoint import is_in_the_clear, other_hub
from modeldeck.backend.pipeline_manager import EngineStarter
from modeldeck.config.paths import Paths
from modeldeck.config.settings import Settings
from modeldeck.tui.cli import main
from modeldeck.tui.screens.add_dialog import AddDialog
from tests.fakes.engine_python import use_scripted_engine
from tests.fakes.hub_server import Hub, hub_server
from tests.helpers import screen_text, wait_until
from tests.tui.deck import NARROW, deck, opened
from tests.unit.backend.test_hub_download import fetch
from tests.unit.cli.conftest import write_model

TOKEN = "hf_canarycanarycanarycanary"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub without TLS at an address that is not the loopback one, though this machine answers there."""
    with hub_server() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url.replace("127.0.0.1", "0.0.0.0"))
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        running.repos["org/tiny"] = {"config.json": b"{}", "model.safetensors": b"weights"}
        yield running


@pytest.fixture
def start(paths: Paths) -> EngineStarter:
    return embedded_downloader(Settings(), paths, lambda _line: None)


async def test_s15_no_token_goes_over_the_network_in_the_clear(hub: Hub, start: EngineStarter) -> None:
    with pytest.raises(DownloadError, match=r"token would be sent in the clear to http://0\.0\.0\.0:.* https"):
        await fetch(start, "org/tiny")
    assert hub.requests == []


async def test_s15_whoever_wants_no_token_to_be_sent_gets_the_model_without_it(
    hub: Hub, start: EngineStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    *_, finished = await fetch(start, "org/tiny")
    assert isinstance(finished, DownloadFinished)
    assert {authorization for _, _, authorization in hub.requests} == {""}


@pytest.mark.parametrize(
    ("endpoint", "told", "clear"),
    [
        ("https://huggingface.co", "", False),
        ("https://huggingface.co/", "", False),
        ("https://hub.example.com", "hub.example.com", False),
        ("https://me:secret@hub.example.com", "hub.example.com", False),
        ("https://huggingface.co.evil.example", "huggingface.co.evil.example", False),
        ("http://huggingface.co", "http://huggingface.co", True),
        ("http://10.0.0.7:8080", "http://10.0.0.7:8080", True),
        ("http://localhost:8080", "http://localhost:8080", False),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", False),
        ("http://[::1]:8080", "http://[::1]:8080", False),
        ("http://localhost.evil.example", "http://localhost.evil.example", True),
        ("http://127.0.0.1@evil.example", "evil.example", True),
        ("https://a\x9b31m\x1b\x07", "a\ufffd31m\u241b\u2407", False),
        ("nonsense", "nonsense", True),
    ],
)
def test_s15_which_hub_it_is_and_whether_others_can_read_what_is_sent(endpoint: str, told: str, clear: bool) -> None:
    assert other_hub({"HF_ENDPOINT": endpoint}) == told
    assert is_in_the_clear(endpoint) is clear


async def test_s15_the_dialog_names_the_hub_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example.com")
    app = deck()
    async with app.run_test(size=NARROW) as pilot:
        await opened(pilot)
        await pilot.press("a")
        await wait_until(pilot, lambda: isinstance(app.screen, AddDialog))
        await wait_until(pilot, lambda: "downloads come from hub.example.com, and" in screen_text(app))


@pytest.mark.parametrize("arguments", [("doctor",), ("run", "org/tiny", "hello")], ids=["doctor", "run"])
def test_s15_the_commands_name_it_too(
    home: Path, hub: Hub, capfd: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    use_scripted_engine(home)
    write_model(home / "models" / "tiny-llama")
    main(arguments)
    said = " ".join("".join(capfd.readouterr()).split())
    assert f"from {hub.url.replace('127.0.0.1', '0.0.0.0')}" in said
    assert TOKEN not in said
