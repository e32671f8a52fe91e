"""No save loses anything, whenever the program is killed: by SIGKILL between any two system calls (F22)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from modeldeck.config.consents import Consents
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.profiles import Profiles
from modeldeck.config.remembered import LoadOptions, RememberedLoads
from modeldeck.config.remembered_list import RememberedList
from modeldeck.config.store import GenerationStore
from modeldeck.tui.chats.chat_file import ChatFile
from modeldeck.tui.chats.records import Asked, Begun, Said, encode
from modeldeck.tui.chats.store import ChatStore
from tests.fakes.killed import killed_at_every_call

MODEL = "org/name@abc"
OLD, NEW = GenerationSettings(temperature=0.2), GenerationSettings(temperature=0.9, seed=7)
NF4 = LoadOptions(device="auto", dtype="auto", quantization="4bit")
CODE = "0" * 64
BROKEN = b'[models."org/name@abc"]\ntemperature = 0.'
LINES = [
    encode(record)
    for record in (Begun("x", 1.0), Asked(1, None, "q", "/m", "M", 2.0), Said(1, "What was "), Said(1, "said."))
]


class Save(NamedTuple):
    """A change of a file, what was there before, and what the next start reads in it."""

    prepare: Callable[[Path], None]
    work: Callable[[Path], None]
    read: Callable[[Path], object]


def nothing_yet(_folder: Path) -> None:
    """The very first start."""


def old_settings(folder: Path) -> None:
    settings(folder).save(MODEL, OLD)
    settings(folder).save("other", OLD)


def save_a_setting(folder: Path) -> None:
    settings(folder).save(MODEL, NEW)


def settings(folder: Path) -> GenerationStore:
    return GenerationStore(folder / "deck" / "generation.toml")


def settings_of(folder: Path) -> object:
    store = settings(folder)
    return store.load(), store.overrides(MODEL), store.overrides("other")


def old_profile(folder: Path) -> None:
    Profiles(folder / "profiles.toml").save("old", NF4)


def save_a_profile(folder: Path) -> None:
    Profiles(folder / "profiles.toml").save("new", NF4)


def profiles_of(folder: Path) -> object:
    profiles = Profiles(folder / "profiles.toml")
    return profiles.load(), [(name, profiles.values(name)) for name in profiles.names]


def old_favourite(folder: Path) -> None:
    RememberedList(folder / "list.json").set_favourite("old", True)


def remember_a_favourite(folder: Path) -> None:
    RememberedList(folder / "list.json").set_favourite("new", True)


def list_of(folder: Path) -> object:
    remembered = RememberedList(folder / "list.json")
    return remembered.problems, remembered.memory


def old_load(folder: Path) -> None:
    RememberedLoads(folder / "loads.json").put("old", NF4)


def remember_a_load(folder: Path) -> None:
    RememberedLoads(folder / "loads.json").put("new", NF4)


def loads_of(folder: Path) -> object:
    return [RememberedLoads(folder / "loads.json").get(name) for name in ("old", "new")]


def old_consent(folder: Path) -> None:
    Consents(folder / "consents.json").put("old", CODE)


def allow_code(folder: Path) -> None:
    Consents(folder / "consents.json").put("new", CODE)


def consents_of(folder: Path) -> object:
    return [Consents(folder / "consents.json").allows(name, CODE) for name in ("old", "new")]


SAVES = {
    "the first setting": Save(nothing_yet, save_a_setting, settings_of),
    "a setting": Save(old_settings, save_a_setting, settings_of),
    "a profile": Save(old_profile, save_a_profile, profiles_of),
    "a favourite": Save(old_favourite, remember_a_favourite, list_of),
    "a load": Save(old_load, remember_a_load, loads_of),
    "a consent": Save(old_consent, allow_code, consents_of),
}


@pytest.fixture
def template(tmp_path: Path) -> Path:
    folder = tmp_path / "before"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("save", SAVES.values(), ids=SAVES.keys())
def test_f22_a_kill_at_any_call_leaves_the_old_file_or_the_new_one_and_the_next_start_reads_it(
    save: Save, template: Path, tmp_path: Path
) -> None:
    save.prepare(template)
    before = save.read(template)
    *killed, whole = killed_at_every_call(save.work, template, tmp_path / "runs")
    after = save.read(whole)
    assert before != after
    states = [save.read(folder) for folder in killed]
    came = states.index(after)
    assert states == [before] * came + [after] * (len(states) - came)
    assert came > 2  # a lock, a draft, what is in it: or something else than the save was traced
    for folder in killed:
        save.work(folder)  # neither a lock nor a draft that was left behind keeps the next one from it
        assert save.read(folder) == after


def save_over_a_broken_file(folder: Path) -> None:
    save_a_setting(folder)


def save_over_a_broken_file_without_hard_links(folder: Path) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    links, Path.hardlink_to = Path.hardlink_to, refused  # type: ignore[assignment,method-assign]  # in a child alone
    try:
        save_a_setting(folder)
    finally:
        Path.hardlink_to = links  # type: ignore[method-assign]  # as it was


@pytest.mark.parametrize("work", [save_over_a_broken_file, save_over_a_broken_file_without_hard_links])
def test_f22_what_a_damaged_file_held_survives_a_kill_at_any_call(
    work: Callable[[Path], None], template: Path, tmp_path: Path
) -> None:
    (template / "deck").mkdir()
    (template / "deck" / "generation.toml").write_bytes(BROKEN)
    for folder in killed_at_every_call(work, template, tmp_path / "runs"):
        file = folder / "deck" / "generation.toml"
        aside = [path.read_bytes() for path in file.parent.glob("*.corrupt-*")]
        if file.read_bytes() != BROKEN:
            assert settings_of(folder) == ((), NEW, GenerationSettings())
            assert aside == [BROKEN]


def say_something(folder: Path) -> None:
    file = ChatFile.create(folder / "chats" / "x.jsonl")
    file.append(b"".join(LINES[:2]))
    file.append(LINES[2])
    file.close()
    file = ChatFile.open(folder / "chats" / "x.jsonl")
    file.append(LINES[3])
    file.close()


def test_f22_what_was_said_before_a_kill_at_any_call_is_there_and_nothing_is_torn(
    template: Path, tmp_path: Path
) -> None:
    whole = b"".join(LINES)
    runs = killed_at_every_call(say_something, template, tmp_path / "runs")
    files = [folder / "chats" / "x.jsonl" for folder in runs]
    held = [file.read_bytes() if file.exists() else b"" for file in files]
    assert held == sorted(held, key=len)
    assert set(held) == {b"", b"".join(LINES[:2]), b"".join(LINES[:3]), whole}
    for file, data in zip(files, held, strict=True):
        store = ChatStore(file.parent)
        if data:
            opened = store.open("x")
            assert (opened.notes, opened.file is not None) == ((), True)
            assert opened.conversation.turns[0].question == "q"
            assert opened.file is not None
            opened.file.close()
        else:
            assert store.summaries() == []
