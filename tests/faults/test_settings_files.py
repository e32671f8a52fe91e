"""Files of settings that are damaged, of another version or read-only, and disks that are full (F20, F22)."""

from __future__ import annotations

import json
import logging
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from modeldeck.config.consents import Consents
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.profiles import Profiles
from modeldeck.config.remembered import LoadOptions, RememberedLoads
from modeldeck.config.remembered_list import RememberedList
from modeldeck.config.settings import Settings
from modeldeck.config.store import GenerationStore, SaveError, load_settings
from modeldeck.tui.program_log import start_logging
from tests.fakes.full_disk import room_for
from tests.fakes.plain_user import like_a_plain_user

MODEL = "org/name@abc"
OLD, NEW = GenerationSettings(temperature=0.2), GenerationSettings(temperature=0.9)
NF4 = LoadOptions(device="auto", dtype="auto", quantization="4bit")
CODE = "0" * 64
DAMAGED = [b"", b"\n", b"\0" * 100, b"[all_models\nseed = 1", b"# caf\xe9", b"#" * (2 * 2**20 + 1)]
DAMAGES = ["0 bytes", "blank", "zeros", "torn", "latin-1", "huge"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deck" / "generation.toml"


def aside(file: Path) -> list[bytes]:
    """What was kept of damaged files."""
    return [path.read_bytes() for path in sorted(file.parent.glob(f"{file.name}.corrupt-*"))]


@pytest.mark.parametrize("data", DAMAGED, ids=DAMAGES)
def test_f22_a_damaged_file_of_settings_is_said_kept_and_replaced_by_the_copy_of_its_last_save(
    data: bytes, file: Path
) -> None:
    GenerationStore(file).save(MODEL, OLD)
    GenerationStore(file).save("other", NEW)
    file.write_bytes(data)
    store = GenerationStore(file)
    (problem,) = store.load()
    assert (store.overrides(MODEL), store.overrides("other")) == (OLD, NEW)
    assert "what the last save left in generation.toml.bak is used instead; the next save keeps it aside" in str(
        problem
    )
    assert file.read_bytes() == data
    GenerationStore(file).save(None, NEW)  # by an instance that has not even read it
    again = GenerationStore(file)
    assert again.load() == ()
    assert [again.overrides(model) for model in (MODEL, "other", None)] == [OLD, NEW, NEW]
    assert aside(file) == [data]


def test_f22_the_copy_is_private_and_one_that_is_damaged_too_or_cannot_be_written_is_no_harm(file: Path) -> None:
    copy = file.with_name("generation.toml.bak")
    GenerationStore(file).save(MODEL, OLD)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    file.write_bytes(b"")
    copy.write_bytes(b"torn [")
    store = GenerationStore(file)
    (problem,) = store.load()
    assert "generation.toml.bak" not in problem.message
    assert store.overrides(MODEL) == GenerationSettings()
    copy.unlink()
    copy.mkdir()
    store.save(MODEL, NEW)
    assert (store.problems, store.overrides(MODEL)) == ((), NEW)


def test_f22_a_file_that_was_removed_stays_so(file: Path) -> None:
    GenerationStore(file).save(MODEL, OLD)
    file.unlink()
    store = GenerationStore(file)
    assert store.load() == ()
    assert store.overrides(MODEL) == GenerationSettings()


def test_f22_a_damaged_file_of_profiles_comes_back_from_its_copy(tmp_path: Path) -> None:
    file = tmp_path / "profiles.toml"
    Profiles(file).save("small", NF4)
    file.write_bytes(b"")
    profiles = Profiles(file)
    assert len(profiles.load()) == 1
    assert profiles.get("small") == NF4


@pytest.mark.parametrize("data", [*DAMAGED[:-1], b"temperature = {", b"a" * 5000], ids=[*DAMAGES[:-1], "cut", "word"])
def test_f22_the_users_own_file_is_never_touched_and_the_program_starts_with_defaults(
    data: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(data)
    settings, problems = load_settings(file)
    assert settings == Settings()
    assert bool(problems) == bool(data.strip())
    assert file.read_bytes() == data
    assert list(tmp_path.glob("config*")) == [file]


def test_f22_loads_that_a_newer_version_remembers_are_not_used_and_stay(tmp_path: Path) -> None:
    file = tmp_path / "loads.json"
    newer = {"device": "auto", "dtype": "fp4", "quantization": "none", "of_a_newer_version": [1, 2.5, None, 2**70]}
    RememberedLoads(file).put("old", NF4)
    file.write_text(json.dumps({"newer": newer, **json.loads(file.read_text())}))
    loads = RememberedLoads(file)
    assert (loads.get("newer"), loads.get("old")) == (None, NF4)
    loads.put("mine", NF4)
    assert json.loads(file.read_text())["newer"] == newer
    assert list(json.loads(file.read_text())) == ["newer", "old", "mine"]
    assert aside(file) == []


def test_f22_what_a_newer_version_keeps_of_the_list_stays(tmp_path: Path) -> None:
    file = tmp_path / "list.json"
    file.write_text('{"favourites": ["a"], "columns": {"name": 3}}')
    RememberedList(file).set_favourite("b", True)
    kept = json.loads(file.read_text())
    assert (kept["favourites"], kept["columns"]) == (["a", "b"], {"name": 3})


REMEMBERED: dict[str, Callable[[Path, str], object]] = {
    "list.json": lambda file, word: RememberedList(file).set_favourite(word, True),
    "loads.json": lambda file, word: RememberedLoads(file).put(word, NF4),
    "consents.json": lambda file, word: Consents(file).put(word, CODE),
}
WRITTEN: dict[str, Callable[[Path, str], object]] = {
    "generation.toml": lambda file, word: GenerationStore(file).save(word, NEW),
    "profiles.toml": lambda file, word: Profiles(file).save(word, NF4),
    **REMEMBERED,
}


@pytest.mark.parametrize("name", REMEMBERED)
@pytest.mark.parametrize(
    "data", [b"", b'{"favourites": ["a"', b"[1]", b"\xff"], ids=["0 bytes", "torn", "list", "bytes"]
)
def test_f22_what_is_remembered_in_a_damaged_file_is_kept_aside(name: str, data: bytes, tmp_path: Path) -> None:
    file = tmp_path / name
    file.write_bytes(data)
    REMEMBERED[name](file, "new")
    assert b'"new"' in file.read_bytes()
    assert aside(file) == [data]


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("gone", ["the folder", "the file"])
def test_f22_what_may_not_be_written_is_told_and_what_is_there_holds(name: str, gone: str, tmp_path: Path) -> None:
    file = tmp_path / "deck" / name
    WRITTEN[name](file, "old")
    before = contents(file.parent)
    refused = file.parent if gone == "the folder" else file.parent / f".{name}.lock"
    mode = stat.S_IMODE(refused.stat().st_mode)
    refused.chmod(0o500 if gone == "the folder" else 0o400)
    try:
        with like_a_plain_user(), pytest.raises((SaveError, OSError), match="Permission denied"):
            WRITTEN[name](file, "new")
    finally:
        refused.chmod(mode)
    assert contents(file.parent) == before
    WRITTEN[name](file, "new")
    assert b"new" in file.read_bytes()


@pytest.mark.parametrize("name", WRITTEN)
def test_f20_a_full_disk_is_told_and_what_was_saved_holds(name: str, tmp_path: Path) -> None:
    file = tmp_path / "deck" / name
    WRITTEN[name](file, "old")
    before = contents(file.parent)
    with room_for(10), pytest.raises((SaveError, OSError), match="File too large"):
        WRITTEN[name](file, "new")
    assert contents(file.parent) == before
    WRITTEN[name](file, "new")
    assert b"old" in file.read_bytes()
    assert b"new" in file.read_bytes()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the locks."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".lock"}


def test_f20_a_full_disk_takes_lines_from_the_log_and_nothing_else(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, log = logging.getLogger(), tmp_path / "modeldeck.log"
    before = list(root.handlers)
    start_logging(log)
    (handler,) = set(root.handlers) - set(before)
    try:
        with room_for(2000):
            for number in range(200):
                logging.getLogger("modeldeck").info("line %d", number)
            handler.flush()
        assert 0 < log.stat().st_size <= 2000
        logging.getLogger("modeldeck").info("there is room again")
        handler.flush()
        assert "there is room again" in log.read_text()
    finally:
        root.removeHandler(handler)
        handler.close()
    assert capfd.readouterr() == ("", "")
