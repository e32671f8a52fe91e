"""Whatever lies on the disk, the other models are listed and the row says what is wrong (S8, S9, S13, S23, F24 to F26).

The scanner that hangs, dies or is bombed is a real one whose reader is made to misbehave at one model, or the file
system does it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import struct
import subprocess
import sys
from contextlib import aclosing
from pathlib import Path

import psutil
import pytest

from modeldeck.backend.catalog.index import read_index
from modeldeck.backend.catalog.live_catalog import CatalogSettled
from modeldeck.backend.errors import CatalogError
from modeldeck.backend.models import ModelSource
from tests.fakes.driving import is_alive
from tests.helpers import eventually
from tests.unit.catalog.following import Scanners, followed, live
from tests.unit.catalog.trees import gguf_file, hub_model, hub_repo, model_folder, string

QUICK = 1.5
"""Seconds instead of five, so that the tests need not wait as long as a user would."""
AT_BAD = """
import modeldeck.backend.catalog.scanner.tracked_reader as t
real = t.read_folder
def read(folder, identity, **options):
    if folder.path.endswith("/bad"):
        {}
    return real(folder, identity, **options)
t.read_folder = read
"""
OTHERS = {"a": (), "z": ()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    for name in ("a", "bad", "z"):
        model_folder(folder / name)
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "catalog.jsonl"


async def test_s9_f26_a_header_that_hangs_is_given_up_and_the_others_are_listed(root: Path, index: Path) -> None:
    scanners = Scanners(AT_BAD.format("import time; time.sleep(600)"))
    async with followed(live(root, index, scanners=scanners, stall_seconds=QUICK)) as told:
        await told.until(lambda: told.settled)
        given_up = "Its header took longer than 2 s to read, so it was given up."
        assert told.problems() == {**OTHERS, "bad": (given_up,)}
        assert [is_alive(pid) for pid in scanners.pids] == [False, True]


async def test_f26_many_headers_that_hang_cost_their_own_time_each_and_no_back_off(root: Path, index: Path) -> None:
    hangs = AT_BAD.replace('endswith("/bad")', "endswith(('/a', '/bad', '/c', '/d'))")
    for name in "cd":
        model_folder(root / name)
    scanners = Scanners(hangs.format("import time; time.sleep(600)"))
    async with followed(live(root, index, scanners=scanners, stall_seconds=1.0)) as told:
        await told.until(lambda: told.settled, seconds=30)
        assert told.settled == [CatalogSettled()]
        assert [name for name, problems in told.problems().items() if not problems] == ["z"]
        assert len(scanners.pids) == 5


async def test_f26_a_folder_that_does_not_answer_is_a_row_too(root: Path, index: Path) -> None:
    hangs = """
import time
import modeldeck.backend.catalog.reader as r
real = r.list_folder
r.list_folder = lambda path: time.sleep(600) if path.endswith("/bad") else real(path)
"""
    async with followed(live(root, index, scanners=Scanners(hangs), stall_seconds=QUICK)) as told:
        await told.until(lambda: told.settled)
        listing = "It cannot be read: listing it took longer than 2 s, so it was given up."
        assert told.problems() == {**OTHERS, "bad": (listing,)}


async def test_f26_a_disk_that_hangs_while_it_is_watched_ends_the_scanner_and_not_the_list(
    root: Path, index: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    hangs = f"""
import os, time
import modeldeck.backend.catalog.scanner.watch as w
import modeldeck.backend.catalog.scanner.tracked_reader as t
real = w.look
def look(path):
    while os.path.exists({str(gate)!r}) and "/bad/" in path:
        time.sleep(0.05)
    return real(path)
w.look = t.look = look
"""
    scanners = Scanners(hangs)
    async with followed(live(root, index, scanners=scanners, stall_seconds=QUICK)) as told:
        await told.until(lambda: told.settled)
        hold(gate)
        await eventually(lambda: len(scanners.pids) > 1)
        gate.unlink()
        await told.until(lambda: len(told.settled) > 1)
        assert set(told.names) == {"a", "bad", "z"}
        assert told.removed == []


def hold(gate: Path) -> None:
    gate.write_text("")


@pytest.mark.parametrize(
    "death", ["import os; os.abort()", "import os; os.kill(os.getpid(), 9)", "import os; os._exit(3)"]
)
async def test_s9_a_header_that_crashes_the_scanner_costs_its_own_row_only(root: Path, index: Path, death: str) -> None:
    async with followed(live(root, index, scanners=Scanners(AT_BAD.format(death)))) as told:
        await told.until(lambda: told.settled)
        assert told.problems() == {**OTHERS, "bad": ("Reading it crashed the reader, so it was given up.",)}


async def test_s8_s9_s23_a_memory_bomb_meets_the_limit_and_not_the_machine(root: Path, index: Path) -> None:
    bomb = Scanners(AT_BAD.format("return [bytes(2**24) for _ in range(2**8)]"))  # 4 GiB
    async with followed(live(root, index, scanners=bomb)) as told:
        await told.until(lambda: told.settled)
        needs = "Its header needs more than 1 GiB of memory to read, so it was given up."
        assert told.problems() == {**OTHERS, "bad": (needs,)}
        assert len(bomb.pids) == 1


async def test_s8_a_fault_of_a_reader_is_a_row(root: Path, index: Path) -> None:
    async with followed(live(root, index, scanners=Scanners(AT_BAD.format("raise KeyError('x')")))) as told:
        await told.until(lambda: told.settled)
        assert told.problems() == {**OTHERS, "bad": ("It cannot be read: KeyError: 'x'.",)}


async def test_s8_text_that_cannot_be_sent_is_a_row(root: Path, index: Path) -> None:
    odd = "from msgspec import structs; return structs.replace(real(folder, identity), licence=chr(0xd800))"
    async with followed(live(root, index, scanners=Scanners(AT_BAD.format(odd)))) as told:
        await told.until(lambda: told.settled)
        assert told.problems() == {**OTHERS, "bad": ("Its files hold text that is not valid Unicode.",)}


async def test_s9_a_gguf_that_names_2_to_the_50_strings_is_a_row(root: Path, index: Path) -> None:
    head = struct.pack("<4sIQQ", b"GGUF", 3, 0, 1)
    gguf_file(root / "lies.gguf", head + string("a") + struct.pack("<IIQ", 9, 8, 2**50))
    models, _ = await live(root, index).models()
    assert next(model for model in models if model.name == "lies").problems


async def test_s13_a_pipe_a_device_and_links_in_a_circle_are_not_read(root: Path, index: Path) -> None:
    for path in ("bad/config.json", "bad/model.safetensors"):
        (root / path).unlink()
    os.mkfifo(root / "bad" / "config.json")
    (root / "bad" / "model.safetensors").symlink_to("/dev/zero")
    (root / "round").symlink_to(root)
    (root / "a" / "up").symlink_to("..")
    (root / "b").symlink_to("c")
    (root / "c").symlink_to("b")
    scanners = Scanners()
    async with followed(live(root, index, scanners=scanners)) as told:
        await told.until(lambda: told.settled)
        assert {name: problems for name, problems in told.problems().items() if not problems} == OTHERS
        assert "config.json is not a regular file." in told.problems()["bad"]
        assert len(scanners.pids) == 1


async def test_s12_a_scan_makes_no_file_but_the_index(root: Path, index: Path, tmp_path: Path) -> None:
    hub_repo(tmp_path / "hub", "..--..--evil", hub_model())
    before = everything(tmp_path)
    await live(root, index).models()
    assert everything(tmp_path) - before == {index.parent, index}


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "home" not in path.parts}


async def test_f26_rows_do_not_wait_for_a_model_that_takes_long(root: Path, index: Path) -> None:
    slow = Scanners(AT_BAD.format("import time; time.sleep(600)"))
    async with followed(live(root, index, scanners=slow)) as told:
        await told.until(lambda: "a" in told.names, seconds=3)  # which is before anything is given up
        assert not told.settled


async def test_f24_a_repository_deleted_during_the_scan_is_gone_and_the_others_stay(
    root: Path, index: Path, tmp_path: Path
) -> None:
    for number in range(30):
        hub_repo(tmp_path / "hub", f"org/m{number:02}", hub_model())
    slow = "import time\n" + AT_BAD.format("pass").replace("return real", "time.sleep(0.02); return real")
    async with followed(live(root, index, scanners=Scanners(slow))) as told:
        await told.until(lambda: "org/m03" in told.names)
        shutil.rmtree(tmp_path / "hub" / "models--org--m20")
        await told.until(lambda: told.settled and "org/m20" not in told.names)
        assert len(told.names) == 3 + 29


async def test_f25_an_unreadable_repository_is_one_row(root: Path, index: Path, tmp_path: Path) -> None:
    for name in "ab":
        hub_repo(tmp_path / "hub", f"org/{name}", hub_model())
    refused = """
import modeldeck.backend.catalog.reader as r
real = r.list_folder
def refuse(path):
    if "models--org--a" in path:
        raise PermissionError(13, "Permission denied", path)
    return real(path)
r.list_folder = refuse
"""
    models, _ = await live(root, index, scanners=Scanners(refused)).models()
    problems = {model.name: model.problems for model in models}
    assert problems["org/b"] == ()
    assert problems["org/a"] == ("It cannot be read: permission denied.",)


async def test_a_scanner_killed_while_it_waits_is_replaced_and_nothing_is_blamed(root: Path, index: Path) -> None:
    scanners = Scanners()
    async with followed(live(root, index, scanners=scanners)) as told:
        await told.until(lambda: told.settled)
        os.kill(scanners.pids[0], signal.SIGKILL)
        await told.until(lambda: len(told.settled) == 2)
        assert (told.removed, told.problems()) == ([], {**OTHERS, "bad": ()})
        shutil.rmtree(root / "bad")  # and the new one watches
        await told.until(lambda: told.names == ["a", "z"])


async def test_a_scanner_that_cannot_start_is_said_and_tried_again(root: Path, index: Path) -> None:
    scanners = Scanners("raise SystemExit('no such library')")
    async with followed(live(root, index, scanners=scanners)) as told:
        await told.until(lambda: told.settled, seconds=30)
        assert "no such library" in told.settled[0].problem
        scanners.before = ""
        await told.until(lambda: told.settled[-1] == CatalogSettled(), seconds=30)
        assert len(told.names) == 3


async def test_a_rescan_tries_again_what_was_given_up(root: Path, index: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    gate.write_text("")
    hang = f"import os, time\n        while os.path.exists({str(gate)!r}): time.sleep(0.05)"
    catalog = live(root, index, scanners=Scanners(AT_BAD.format(hang)), stall_seconds=QUICK)
    async with followed(catalog) as told:
        await told.until(lambda: told.settled)
        assert told.problems()["bad"]
        gate.unlink()
        await catalog.rescan()
        await told.until(lambda: told.problems()["bad"] == ())


def hung_while(gate: Path, place: Path) -> Scanners:
    """Scanners to which a place does not answer while there is a gate."""
    return Scanners(f"""
import os, time
import modeldeck.backend.catalog.reader as r
real = r.list_folder
def list_folder(path):
    while os.path.exists({str(gate)!r}) and path == {str(place)!r}:
        time.sleep(0.05)
    return real(path)
r.list_folder = list_folder
""")


@pytest.mark.parametrize("place", ["models", "hub"])
async def test_f26_a_place_that_hangs_once_keeps_its_models_and_is_soon_looked_at_again(
    root: Path, index: Path, tmp_path: Path, place: str
) -> None:
    gate = tmp_path / "gate"
    hub_repo(tmp_path / "hub", "org/d", hub_model())
    catalog = live(root, index, scanners=hung_while(gate, tmp_path / place), stall_seconds=QUICK, retry_seconds=QUICK)
    everything_there = {"a", "bad", "z", "org/d"}
    async with followed(catalog) as told:
        await told.until(lambda: told.settled)
        hold(gate)
        await catalog.rescan()
        hung = str(tmp_path / place)
        await told.until(lambda: len(told.settled) > 1)
        assert told.problems()[hung] == ("It cannot be read: listing it took longer than 2 s, so it was given up.",)
        assert (set(told.names), told.removed) == ({*everything_there, hung}, [])
        kept = read_index(index)
        assert kept is not None
        assert {entry.model.name for entry in kept.entries()} >= everything_there
        gate.unlink()
        shutil.rmtree(root / "bad")
        await told.until(lambda: set(told.names) == everything_there - {"bad"})
        assert not any(told.problems().values())


async def test_f26_a_place_that_hangs_at_the_start_leaves_the_index_as_it_was(
    root: Path, index: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    await live(root, index).models()
    hold(gate)
    async with followed(live(root, index, scanners=hung_while(gate, root), stall_seconds=QUICK)) as told:
        await told.until(lambda: told.settled)
        assert set(told.names) == {"a", "bad", "z", str(root)}
    gate.unlink()
    kept = read_index(index)
    assert kept is not None
    assert {entry.model.name for entry in kept.entries()} >= {"a", "bad", "z"}
    models, _ = await live(root, index).models()
    assert [model.name for model in models] == ["a", "bad", "z"]


async def test_f26_a_place_behind_a_link_that_hangs_keeps_its_models(root: Path, index: Path, tmp_path: Path) -> None:
    gate, link = tmp_path / "gate", tmp_path / "link"
    link.symlink_to(root)
    hub_repo(tmp_path / "hub", "org/d", hub_model())
    scanners = Scanners(f"""
import os, time
real = os.path.realpath
def realpath(path, **options):
    while os.path.exists({str(gate)!r}) and path == {str(link)!r}:
        time.sleep(0.05)
    return real(path, **options)
os.path.realpath = realpath
""")
    catalog = live(link, index, scanners=scanners, stall_seconds=QUICK, retry_seconds=QUICK)
    async with followed(catalog) as told:
        await told.until(lambda: told.settled)
        hold(gate)
        shutil.rmtree(tmp_path / "hub" / "models--org--d")
        await catalog.rescan()
        await told.until(lambda: len(told.settled) > 1)
        assert (set(told.names), told.removed) == ({"a", "bad", "z", str(link)}, ["org/d"])
        gate.unlink()
        await told.until(lambda: set(told.names) == {"a", "bad", "z"})


async def test_f26_one_model_that_hangs_is_told_to_who_asked_for_it(root: Path, index: Path) -> None:
    hangs = "import time, modeldeck.backend.catalog.catalog as c\nc.read_folder = lambda *a, **k: time.sleep(600)"
    catalog = live(root, index, scanners=Scanners(hangs), stall_seconds=QUICK)
    with pytest.raises(CatalogError, match="hung for 2 s"):
        await catalog.read(root / "a", ModelSource.FOLDER)


async def test_closing_leaves_no_process_even_of_a_scanner_that_hangs(root: Path, index: Path) -> None:
    scanners = Scanners(
        "import signal; signal.signal(15, signal.SIG_IGN)\n" + AT_BAD.format("import time; time.sleep(600)")
    )
    catalog = live(root, index, scanners=scanners)
    async with aclosing(catalog.follow()) as events:
        await anext(events)
    assert not is_alive(scanners.pids[0])


PARENT = """
import asyncio, sys
from pathlib import Path
from tests.unit.catalog.following import followed, live

async def main():
    async with followed(live(Path(sys.argv[1]), Path(sys.argv[2]))) as told:
        await told.until(lambda: told.settled)
        print("there", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_f1_a_killed_program_leaves_no_scanner(root: Path, index: Path) -> None:
    command = [sys.executable, "-c", PARENT, str(root), str(index)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE) as parent:  # noqa: ASYNC220
        assert parent.stdout is not None
        assert await asyncio.to_thread(parent.stdout.readline) == b"there\n"
        scanners = [child.pid for child in psutil.Process(parent.pid).children()]
        assert scanners
        parent.kill()
    await eventually(lambda: not any(is_alive(pid) for pid in scanners), 2, "the end of the scanner")
