"""Downloads against a hub on this machine: progress, refusals, cancelling (F19, F20, S12)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import aclosing, suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modeldeck.backend.catalog.catalog import Catalog
from modeldeck.backend.download_messages import DownloadFinished, DownloadProgress
from modeldeck.backend.embedded import embedded_downloader
from modeldeck.backend.errors import DownloadError, OnlyPickles
from modeldeck.backend.hub_download import download
from modeldeck.backend.pipeline_manager import EngineStarter
from modeldeck.config.paths import Paths
from modeldeck.config.settings import Settings
from tests.fakes.driving import children
from tests.fakes.hub_server import COMMIT, Hub, Huge, Slow, hub_server
from tests.fakes.scripted_engine import scripted_starter
from tests.helpers import eventually

WEIGHTS = bytes(range(256)) * 8000


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_server() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        yield running


@pytest.fixture
def start(paths: Paths) -> EngineStarter:
    return embedded_downloader(Settings(), paths, lambda _line: None)


async def fetch(
    start: EngineStarter, repo_id: str, revision: str | None = None
) -> list[DownloadProgress | DownloadFinished]:
    async with aclosing(download(repo_id, revision, start)) as events:
        return [event async for event in events]


async def test_a_model_comes_with_progress_into_the_cache_that_the_catalog_reads(
    hub: Hub, start: EngineStarter, paths: Paths
) -> None:
    hub.repos["org/tiny"] = {
        "config.json": b'{"model_type": "llama"}',
        "model.safetensors": WEIGHTS,
        "pytorch_model.bin": b"pickle",
        "onnx/model.onnx": b"onnx",
        "original/consolidated.00.pth": b"pickle",
    }
    *progress, finished = await fetch(start, "org/tiny")
    assert isinstance(finished, DownloadFinished)
    assert finished.model_id == f"org/tiny@{COMMIT}"
    snapshot = paths.hub_cache / "models--org--tiny" / "snapshots" / COMMIT
    assert Path(finished.path) == snapshot
    assert sorted(path.name for path in snapshot.iterdir()) == ["config.json", "model.safetensors"]
    assert (snapshot / "model.safetensors").read_bytes() == WEIGHTS
    assert (snapshot.parents[1] / "refs" / "main").read_text() == COMMIT
    steps = [step for step in progress if isinstance(step, DownloadProgress)]
    assert steps[0].done_bytes == 0
    assert {step.total_bytes for step in steps} == {len(WEIGHTS) + 23}
    assert [step.done_bytes for step in steps] == sorted(step.done_bytes for step in steps)
    assert steps[-1].done_bytes == steps[-1].total_bytes
    assert children() == []

    *again, finished = await fetch(start, "org/tiny", "main")
    assert isinstance(finished, DownloadFinished)
    assert {(step.done_bytes, step.total_bytes) for step in again if isinstance(step, DownloadProgress)} == {(0, 0)}


async def test_s20_what_was_examined_is_downloaded_even_when_main_moves_on_meanwhile(
    hub: Hub, start: EngineStarter, paths: Paths
) -> None:
    hub.repos["org/tiny"] = {"config.json": b'{"model_type": "llama"}', "model.safetensors": WEIGHTS}
    hub.next_commit = "b" * 40
    *_, finished = await fetch(start, "org/tiny")
    assert isinstance(finished, DownloadFinished)
    assert finished.model_id == f"org/tiny@{COMMIT}"
    refs = paths.hub_cache / "models--org--tiny" / "refs"
    assert [(ref.name, ref.read_text()) for ref in refs.iterdir()] == [("main", COMMIT)]
    assert [model.id for model in Catalog((), paths.hub_cache, starter=False).scan()] == [f"org/tiny@{COMMIT}"]


async def test_s14_the_token_is_sent_by_the_downloader_alone(
    hub: Hub, start: EngineStarter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_canary")
    hub.repos["org/tiny"] = {"config.json": b"{}", "model.safetensors": b"weights"}
    await fetch(start, "org/tiny")
    assert ("GET", "/api/models/org/tiny", "Bearer hf_canary") in hub.requests


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((401, "RepoNotFound"), "is not on the hub, or is private: check the spelling"),
        ((404, "RepoNotFound"), "is not on the hub, or is private: check the spelling"),
        ((401, "GatedRepo"), "is gated: accept its terms at http://.*/org/model, then log in with: hf auth login"),
        ((403, "GatedRepo"), "is gated"),
        ((403, ""), "refuses org/model with the token it got"),
        ((400, ""), r"answered with an error \(400\); try again later"),
    ],
)
async def test_a_refusal_is_one_sentence_that_says_what_to_do(
    hub: Hub, start: EngineStarter, answer: tuple[int, str], message: str
) -> None:
    hub.answers["org/model"] = answer
    with pytest.raises(DownloadError, match=message):
        await fetch(start, "org/model")
    assert children() == []


async def test_a_revision_that_is_not_there(hub: Hub, start: EngineStarter) -> None:
    hub.repos["org/tiny"] = {"model.safetensors": b"weights"}
    with pytest.raises(DownloadError, match="has no such revision"):
        await fetch(start, "org/tiny", "v9")


async def test_f20_a_model_that_does_not_fit_the_disk_is_refused_with_the_figures(
    hub: Hub, start: EngineStarter, paths: Paths
) -> None:
    hub.repos["org/huge"] = {"config.json": b"{}", "model.safetensors": Huge(2**60)}
    with pytest.raises(DownloadError, match=r"takes 1073741824\.0 GiB and /.* has [\d.]+ GiB free"):
        await fetch(start, "org/huge")
    assert not list(paths.hub_cache.rglob("*.incomplete"))


@pytest.mark.parametrize("repo_id", ["../../etc/passwd", "a/b/c", "org/na me", "org--x/y", "", "-x", "org/..", "é/b"])
async def test_s12_a_name_that_no_hub_has_is_refused_without_asking(
    hub: Hub, start: EngineStarter, paths: Paths, repo_id: str
) -> None:
    with pytest.raises(DownloadError, match="is not a Hub id"):
        await fetch(start, repo_id)
    assert not [path for _, path, _ in hub.requests if "harness" not in path]
    assert not paths.hub_cache.exists() or not list(paths.hub_cache.iterdir())


async def test_s12_a_revision_that_is_a_path_is_refused(hub: Hub, start: EngineStarter) -> None:
    with pytest.raises(DownloadError, match="is not a revision"):
        await fetch(start, "org/tiny", "../../x")


async def test_f19_a_cancelled_download_leaves_no_process_and_the_next_try_completes_it(
    hub: Hub, start: EngineStarter
) -> None:
    slow = Slow(WEIGHTS)
    hub.repos["org/tiny"] = {"config.json": b"{}", "model.safetensors": slow}
    task = asyncio.create_task(fetch(start, "org/tiny"))
    await eventually(slow.started.is_set, 30, "the download")
    assert children()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert children() == []
    slow.gate.set()
    *_, finished = await fetch(start, "org/tiny")
    assert isinstance(finished, DownloadFinished)
    assert (Path(finished.path) / "model.safetensors").read_bytes() == WEIGHTS


async def test_a_hub_that_cannot_be_reached(start: EngineStarter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(DownloadError, match="cannot be reached; check the network"):
        await fetch(start, "org/tiny")


async def test_downloads_that_are_switched_off(start: EngineStarter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE"):
        await fetch(start, "org/tiny")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("silent\nexit 1", "could not be started"),
        ("sleep 0.1\nstderr out of luck\nexit 1", "broke off; try again.*out of luck"),
        (
            'event {"type":"tokens","request_id":1,"text":"","new_tokens":1}\nhang',
            "something else",
        ),
    ],
)
async def test_a_child_that_misbehaves_fails_the_download(script: str, message: str) -> None:
    with pytest.raises(DownloadError, match=message):
        await fetch(scripted_starter(script), "org/tiny")
    assert children() == []


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["config.json", "a.safetensors", "b.bin", "q.gguf"], ["config.json", "a.safetensors"]),
        (["q.gguf", "README.md"], ["q.gguf", "README.md"]),
        (["b.bin", "q.gguf"], ["q.gguf"]),
    ],
)
def test_s6_pickles_are_left_out_where_there_are_other_weights(files: list[str], wanted: list[str]) -> None:
    from modeldeck.backend.downloader.fetching import wanted_files

    assert wanted_files("org/tiny", files) == wanted


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        (["config.json", "b.bin", "tf_model.h5"], ["config.json", "b.bin"]),
        (["b.bin", "q1.gguf", "q2.gguf"], ["b.bin"]),
    ],
)
def test_s6_nothing_but_pickles_comes_only_where_it_is_allowed(files: list[str], wanted: list[str]) -> None:
    from modeldeck.backend.downloader.fetching import wanted_files

    with pytest.raises(OnlyPickles, match="org/tiny has pickled weights only"):
        wanted_files("org/tiny", files)
    assert wanted_files("org/tiny", files, allow_pickles=True) == wanted


async def test_s6_the_consent_to_pickles_reaches_the_downloader_and_its_refusal_the_user(
    hub: Hub, start: EngineStarter
) -> None:
    hub.repos["org/old"] = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    with pytest.raises(OnlyPickles):
        await fetch(start, "org/old")
    async with aclosing(download("org/old", None, start, allow_pickles=True)) as events:
        *_, finished = [event async for event in events]
    assert isinstance(finished, DownloadFinished)
    assert (Path(finished.path) / "pytorch_model.bin").read_bytes() == b"pickle"


@settings(max_examples=300, deadline=None)
@given(
    st.text(st.sampled_from("ab/.-~\\ \n\0:@é") | st.characters(), max_size=30),
    st.none() | st.text(st.sampled_from("ab/.-~\\ \n\0") | st.characters(), max_size=30),
)
def test_s12_no_name_that_leads_out_of_the_cache_gets_through(repo_id: str, revision: str | None) -> None:
    from modeldeck.backend.downloader.fetching import check_names

    with suppress(DownloadError):
        check_names(repo_id, revision)
        for name in (repo_id, revision or "main"):
            assert ".." not in name
            assert not name.startswith(("/", ".", "-", "~"))
            assert re.fullmatch(r"[\w./-]+", name, re.ASCII)
        assert repo_id.count("/") <= 1


@pytest.mark.parametrize(
    ("files", "message"), [(["q1.gguf", "q2.gguf"], "2 GGUF files; fetch the one"), (["README.md"], "no weights")]
)
def test_a_repository_without_one_model_is_refused(files: list[str], message: str) -> None:
    from modeldeck.backend.downloader.fetching import wanted_files

    with pytest.raises(DownloadError, match=message):
        wanted_files("org/tiny", files)
