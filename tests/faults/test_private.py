"""Other users of the machine read nothing and plant nothing (S18); ``terminal/test_private_files.py`` shows the app."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from modeldeck.backend.gguf_copies import GgufCopies
from modeldeck.config.generation import GenerationSettings
from modeldeck.config.ownership import close_to_others, refusal
from modeldeck.config.paths import Paths
from modeldeck.config.store import GenerationStore
from modeldeck.tui.chats.conversation import Conversation
from modeldeck.tui.chats.store import ChatStore
from modeldeck.tui.cli_commands.examination import owner_complaints
from modeldeck.tui.program_log import _PrivateFile
from tests.fakes.engine_python import use_scripted_engine
from tests.terminal.harness import MODELDECK
from tests.unit.cli.conftest import Modeldeck

_SOMEBODY_ELSE = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")


@pytest.fixture
def _no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def open_to_others(*places: Path) -> list[str]:
    """What lies there with rights for others than its owner."""
    found = [path for place in places for path in (place, *place.rglob("*"))]
    return [f"{stat.S_IMODE(path.lstat().st_mode):o} {path}" for path in found if path.lstat().st_mode & 0o077]


@pytest.mark.usefixtures("_no_umask")
def test_s18_whatever_is_written_is_the_users_alone_without_a_umask_too(paths: Paths, tmp_path: Path) -> None:
    """Each file by itself: scripts use these without the program around them."""
    GenerationStore(paths.generation_file).save(None, GenerationSettings(temperature=0.5))
    chats = ChatStore(paths.chats)
    chats.create(Conversation()).close()
    gguf = tmp_path / "a.gguf"
    gguf.write_bytes(b"GGUF")
    copies = GgufCopies(paths.gguf_copies)
    draft = copies.draft(gguf)
    (draft / "model.safetensors").write_bytes(bytes(100))  # as a library writes it
    copies.publish(draft, gguf)
    paths.log_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _PrivateFile(paths.log_file, encoding="utf-8").close()
    assert open_to_others(paths.config_file.parent, paths.state, paths.cache) == []
    assert paths.log_file.exists()
    assert copies.find(gguf) is not None


def test_s18_run_keeps_everything_from_others(home: Path, model_folder: Path, paths: Paths) -> None:
    use_scripted_engine(home)
    for arguments in (("ls", "-q"), ("run", "-q", "tiny-llama", "hello")):
        command = ["sh", "-c", 'umask 000; exec "$@"', "sh", *MODELDECK, *arguments]
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert paths.measurements.exists()
    assert paths.catalog_index.exists()
    assert open_to_others(paths.state, paths.cache) == []


def test_s18_a_folder_that_was_open_before_is_closed(paths: Paths) -> None:
    for folder in (paths.state, paths.cache):
        folder.mkdir(parents=True)
        folder.chmod(0o777)
    close_to_others(paths)
    assert open_to_others(paths.state, paths.cache) == []


@pytest.mark.parametrize("which", ["state", "cache"])
def test_s18_a_folder_of_somebody_else_is_refused(
    paths: Paths, which: str, modeldeck: Modeldeck, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refusal(paths) is None  # nothing is there yet
    folder: Path = getattr(paths, which)
    folder.mkdir(parents=True)
    assert refusal(paths) is None
    owner = folder.stat().st_uid
    with monkeypatch.context() as other:
        other.setattr(os, "geteuid", lambda: _SOMEBODY_ELSE)
        sentence = refusal(paths)
        assert sentence is not None
        assert sentence.startswith(f"{folder} belongs to another user (uid {owner})")
        assert f"XDG_{which.upper()}_HOME" in sentence
        assert [(one.text, one.needed) for one in owner_complaints(paths)] == [(sentence, True)]
        ended = modeldeck("ls")
        assert (ended.code, ended.out) == (1, "")
        assert "belongs to another user" in ended.err
    assert list(folder.iterdir()) == []
    assert modeldeck("ls").code == 0


@as_root
def test_s18_a_folder_that_was_planted_is_refused_by_its_owner_on_the_disk(paths: Paths, modeldeck: Modeldeck) -> None:
    paths.state.mkdir(parents=True)
    os.chown(paths.state, _SOMEBODY_ELSE, _SOMEBODY_ELSE)
    ended = modeldeck("ls")
    assert ended.code == 1
    assert f"belongs to another user (uid {_SOMEBODY_ELSE})" in ended.err
