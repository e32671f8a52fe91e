"""The list is there at once, is completed by the scanner, and follows the disk."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from contextlib import aclosing
from pathlib import Path
from time import monotonic

import psutil
import pytest

from modeldeck.backend.catalog.finding import ModelAmbiguous, ModelNotFound
from modeldeck.backend.catalog.index import read_index
from modeldeck.backend.catalog.live_catalog import CatalogChanged
from modeldeck.backend.models import ModelSource
from tests.helpers import eventually
from tests.unit.catalog.following import Follower, Scanners, followed, live
from tests.unit.catalog.trees import CONFIG, gguf_file, hub_model, hub_repo, model_folder

PROMISED_SECONDS = 5.0
"""In which a change on the disk is told."""
LONG_AGO = 1_600_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "catalog.jsonl"


def settle(root: Path) -> None:
    """Make everything so old that a change would show in the times."""
    for path in [root, *root.rglob("*")]:
        os.utime(path, (LONG_AGO, LONG_AGO), follow_symlinks=False)


def spoil(index: Path, data: bytes) -> None:
    index.write_bytes(data)


def index_lines(index: Path) -> list[bytes]:
    return index.read_bytes().splitlines()


async def test_every_model_is_told_once_and_then_that_all_were_seen(root: Path, index: Path) -> None:
    for name in "abc":
        model_folder(root / name)
    hub_repo(root.parent / "hub", "org/d", hub_model())
    async with followed(live(root, index)) as told:
        await told.until(lambda: told.settled)
        assert told.names == ["a", "b", "c", "org/d"]
        assert sorted(told.added) == ["a", "b", "c", "org/d"]
        assert all(model.parameters == 44 for model in told.rows.values())


async def test_without_models_it_says_where_it_looked(root: Path, index: Path) -> None:
    async with followed(live(root, index)) as told:
        await told.until(lambda: told.settled)
        assert told.settled[0].looked_in == (f"{root} (empty)", f"{root.parent / 'hub'} (not there)")


async def first_rows(root: Path, index: Path) -> tuple[str, ...]:
    """What is told before any process was asked."""

    async def never() -> None:
        raise AssertionError("a process was started")

    catalog = live(root, index, scanners=never)  # type: ignore[arg-type]  # it is no scanner, which is the point
    events = catalog.follow()
    try:
        event = await anext(events)
    except AssertionError:
        return ()
    finally:
        await events.aclose()
    assert isinstance(event, CatalogChanged)
    return tuple(model.name for model in event.added)


async def test_the_second_start_shows_the_index_before_any_process_is_asked(root: Path, index: Path) -> None:
    for name in "ab":
        model_folder(root / name)
    settle(root)
    await live(root, index).models()
    assert await first_rows(root, index) == ("a", "b")


async def test_what_changed_between_two_starts_is_told_and_the_rest_is_not_read_again(root: Path, index: Path) -> None:
    for name in "abc":
        model_folder(root / name)
    settle(root)
    await live(root, index).models()
    shutil.rmtree(root / "b")
    model_folder(root / "c", {**CONFIG, "max_position_embeddings": 99})
    model_folder(root / "d")
    # A scanner that cannot read a folder: what it still tells, it has from the index.
    blind = Scanners(
        "import modeldeck.backend.catalog.scanner.tracked_reader as t\n"
        "real = t.read_folder\n"
        "t.read_folder = lambda f, i, **k: 1 / 0 if f.path.endswith('/a') else real(f, i, **k)"
    )
    async with followed(live(root, index, scanners=blind)) as told:
        await told.until(lambda: told.settled)
        assert told.names == ["a", "c", "d"]
        assert (told.removed, set(told.changed)) == (["b"], {"c"})
        assert told.problems() == {"a": (), "c": (), "d": ()}
        assert told.rows[str(root / "c")].context_length == 99


BLIND = "import modeldeck.backend.catalog.reader as r, time\nr.list_folder = lambda path: time.sleep(600)"
"""A scanner that can list no folder, and so can only ask whether anything has changed."""


async def test_where_nothing_changed_the_second_start_lists_no_folder(root: Path, index: Path) -> None:
    for name in "ab":
        model_folder(root / name)
    settle(root)
    await live(root, index).models()
    async with followed(live(root, index, scanners=Scanners(BLIND))) as told:
        await told.until(lambda: told.settled)
        assert told.names == ["a", "b"]


@pytest.mark.parametrize("change", ["rewritten", "added", "deleted", "no witness"])
async def test_what_changed_makes_the_second_start_look_at_everything(root: Path, index: Path, change: str) -> None:
    for name in "ab":
        model_folder(root / name)
    settle(root)
    await live(root, index).models()
    match change:
        case "rewritten":
            model_folder(root / "b", {**CONFIG, "max_position_embeddings": 99})
        case "added":
            model_folder(root / "c")
        case "deleted":
            shutil.rmtree(root / "b")
        case _:
            spoil(index.with_suffix(".seen.json"), b'{"stamp": 1}')
    async with followed(live(root, index)) as told:
        await told.until(lambda: told.settled)
        expected = {"rewritten": ["a", "b"], "added": ["a", "b", "c"], "deleted": ["a"], "no witness": ["a", "b"]}
        assert told.names == expected[change]
        assert [model.context_length for model in told.rows.values()][-1] == (99 if change == "rewritten" else 2048)


async def test_an_index_of_other_places_is_not_shown(root: Path, index: Path) -> None:
    model_folder(root / "a")
    await live(root, index).models()
    other = root.parent / "other"
    model_folder(other / "b")
    assert await first_rows(other, index) == ()
    models, _ = await live(other, index).models()
    assert [model.name for model in models] == ["b"]


@pytest.mark.parametrize(
    "spoilt",
    [
        b"",
        b"\xff\xfe\0",
        b"{}\n",
        b"[" * 100_000,
        b'{"version":"0","stamp":"x","places":{"folders":[],"hub_cache":""}}\n{"key":"","model":{}}\n',
    ],
    ids=["empty", "binary", "no head", "deep", "old"],
)
async def test_an_index_that_is_none_is_no_error_and_is_replaced(root: Path, index: Path, spoilt: bytes) -> None:
    model_folder(root / "a")
    index.parent.mkdir()
    spoil(index, spoilt)
    async with followed(live(root, index)) as told:
        await told.until(lambda: told.settled)
        assert told.names == ["a"]
    models, _ = await live(root, index).models()
    assert [model.name for model in models] == ["a"]
    assert read_index(index) is not None


async def test_an_entry_that_cannot_be_read_costs_nothing_but_itself(root: Path, index: Path) -> None:
    for name in "ab":
        model_folder(root / name)
    await live(root, index).models()
    whole = index_lines(index)
    spoil(index, b"\n".join([*whole[:2], b'{"key": 5}']))
    models, _ = await live(root, index).models()
    assert [model.name for model in models] == ["a", "b"]


def test_an_index_is_private_and_the_folder_that_it_lies_in_is_not_shared(root: Path, index: Path) -> None:
    model_folder(root / "a")
    asyncio.run(live(root, index).models())
    assert index.stat().st_mode & 0o777 == 0o600


async def test_a_cache_folder_that_cannot_be_written_costs_only_the_index(root: Path, tmp_path: Path) -> None:
    model_folder(root / "a")
    (tmp_path / "file").write_text("")
    models, _ = await live(root, tmp_path / "file" / "catalog.jsonl").models()
    assert [model.name for model in models] == ["a"]


class TestChangesOnDisk:
    """Told within five seconds, by polling, while the order of the rows stays."""

    async def told_in_time(self, told: Follower, condition: object) -> None:
        assert callable(condition)
        started = monotonic()
        await told.until(condition)
        assert monotonic() - started < PROMISED_SECONDS

    async def test_a_new_model(self, root: Path, index: Path) -> None:
        model_folder(root / "b")
        settle(root)
        async with followed(live(root, index)) as told:
            await told.until(lambda: told.settled)
            model_folder(root / "org" / "a")
            await self.told_in_time(told, lambda: told.names == ["b", "org/a"])

    async def test_the_first_model_of_a_folder_that_was_not_there(self, root: Path, index: Path) -> None:
        async with followed(live(root / "later", index)) as told:
            await told.until(lambda: told.settled)
            model_folder(root / "later" / "a")
            await self.told_in_time(told, lambda: told.names == ["a"])

    async def test_f24_a_deleted_model(self, root: Path, index: Path) -> None:
        for name in "abc":
            model_folder(root / name)
        settle(root)
        async with followed(live(root, index)) as told:
            await told.until(lambda: told.settled)
            shutil.rmtree(root / "b")
            await self.told_in_time(told, lambda: told.names == ["a", "c"])
            assert told.removed == ["b"]

    async def test_f24_a_repository_deleted_from_the_cache_in_another_shell(self, root: Path, index: Path) -> None:
        cache = root.parent / "hub"
        for name in "ab":
            hub_repo(cache, f"org/{name}", hub_model())
        settle(cache)
        async with followed(live(root, index)) as told:
            await told.until(lambda: told.settled)
            shutil.rmtree(cache / "models--org--a")
            await self.told_in_time(told, lambda: told.names == ["org/b"])

    async def test_a_file_rewritten_in_place(self, root: Path, index: Path) -> None:
        model_folder(root / "a")
        settle(root)
        async with followed(live(root, index)) as told:
            await told.until(lambda: told.settled)
            (root / "a" / "config.json").write_text(json.dumps({**CONFIG, "max_position_embeddings": 4096}))
            await self.told_in_time(told, lambda: told.rows[str(root / "a")].context_length == 4096)
            assert told.added == ["a"]

    async def test_a_gguf_file(self, root: Path, index: Path) -> None:
        async with followed(live(root, index)) as told:
            await told.until(lambda: told.settled)
            gguf_file(root / "x.gguf")
            await self.told_in_time(told, lambda: told.names == ["x"])

    async def test_a_new_revision_and_what_main_means(self, root: Path, index: Path) -> None:
        cache = root.parent / "hub"
        hub_repo(cache, "org/a", hub_model(), "0" * 40)
        settle(cache)
        async with followed(live(root, index)) as told:
            await told.until(lambda: told.settled)
            hub_repo(cache, "org/a", hub_model(), "f" * 40)
            await self.told_in_time(told, lambda: len(told.rows) == 2)
            await self.told_in_time(told, lambda: [model.refs for model in told.rows.values()] == [(), ("main",)])

    async def test_a_download_that_becomes_complete(self, root: Path, index: Path) -> None:
        cache = root.parent / "hub"
        files = hub_model()
        weights = files.pop("model.safetensors")
        hub_repo(cache, "org/a", files)
        settle(cache)
        async with followed(live(root, index)) as told:
            await told.until(lambda: told.settled)
            assert told.problems()["org/a"][0].startswith("Download incomplete")
            hub_repo(cache, "org/a", {"model.safetensors": weights})
            await self.told_in_time(told, lambda: told.problems()["org/a"] == ())


async def test_a_rescan_looks_at_once(root: Path, index: Path) -> None:
    catalog = live(root, index)
    async with followed(catalog) as told:
        await told.until(lambda: told.settled)
        model_folder(root / "a")
        await catalog.rescan()
        await told.until(lambda: len(told.settled) == 2, seconds=1.5)  # polling alone would take 2 s
        assert told.names == ["a"]


class TestAsking:
    """One model, in a scanner of its own."""

    async def test_a_model_is_found_by_what_people_type(self, root: Path, index: Path) -> None:
        for name in ("Llama-1B", "Qwen-1B"):
            model_folder(root / "org" / name)
        catalog = live(root, index)
        assert (await catalog.find("llama")).name == "org/Llama-1B"
        assert (await catalog.find(str(root / "org" / "Qwen-1B"))).name == "org/Qwen-1B"
        with pytest.raises(ModelAmbiguous):
            await catalog.find("1b")
        with pytest.raises(ModelNotFound, match="There is nothing at"):
            await catalog.find("/no/such/place")

    async def test_a_model_anywhere_is_read(self, root: Path, index: Path, tmp_path: Path) -> None:
        model = model_folder(tmp_path / "elsewhere" / "x")
        assert (await live(root, index).read(model, ModelSource.FOLDER)).parameters == 44

    async def test_names_that_are_not_text_go_to_the_scanner_and_back(self, root: Path, index: Path) -> None:
        odd = os.fsdecode(b"odd-\xff")
        model_folder(root / odd)
        models, _ = await live(root, index).models()
        assert models[0].problems == ("Its path is not valid UTF-8: rename it.",)
        with pytest.raises(ModelNotFound):
            await live(root, index).find(odd + "x")


@pytest.mark.parametrize("cancels", [0, 1, 2])
async def test_closing_waits_for_the_child_also_while_its_reader_is_being_cancelled(
    root: Path, index: Path, cancels: int
) -> None:
    """As when the app quits, which cancels whoever reads, sometimes twice, and then closes."""
    scanners = Scanners()
    catalog = live(root, index, scanners=scanners)

    async def read() -> None:
        async with aclosing(catalog.follow()) as events:
            async for _ in events:
                pass

    reader = asyncio.create_task(read())
    await eventually(lambda: scanners.pids)
    for _ in range(cancels):
        reader.cancel()
        await asyncio.sleep(0)
    await catalog.close()
    assert not psutil.pid_exists(scanners.pids[0])  # reaped, too
    reader.cancel()
    await asyncio.wait({reader})
