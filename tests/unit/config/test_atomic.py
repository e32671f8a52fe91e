from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modeldeck.config.atomic import make_private_folder, write_atomically

_KILLED = """
import os, sys
from pathlib import Path
from modeldeck.config import atomic
step = sys.argv[1]
def killed(*arguments, **keywords): os._exit(9)
if step == "replace": Path.replace = killed
elif step == "link": Path.hardlink_to = killed
else: setattr(os, step, killed)
atomic.write_atomically(Path(sys.argv[2]), "new", keep_old_as=Path(sys.argv[2] + ".kept"))
"""


@pytest.fixture(params=[0o000, 0o022, 0o777])
def _any_umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file that stands there already, alone in its folder."""
    file = tmp_path / "folder" / "generation.toml"
    file.parent.mkdir()
    file.write_text("old")
    return file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


class TestWriting:
    @pytest.mark.usefixtures("_any_umask")
    def test_s18_private_under_any_umask(self, tmp_path: Path) -> None:
        file = tmp_path / "a" / "b" / "c.toml"
        write_atomically(file, "é\n")
        assert file.read_bytes() == b"\xc3\xa9\n"
        assert [mode(path) for path in (file, file.parent, file.parent.parent)] == [0o600, 0o700, 0o700]

    def test_replaces_and_leaves_nothing_else(self, old: Path) -> None:
        old.chmod(0o644)
        write_atomically(old, "new")
        assert old.read_text() == "new"
        assert mode(old) == 0o600
        assert list(old.parent.iterdir()) == [old]

    def test_folders_that_exist_keep_their_mode(self, old: Path) -> None:
        old.parent.chmod(0o755)
        write_atomically(old, "new")
        assert mode(old.parent) == 0o755

    def test_a_symlink_stays_one(self, old: Path, tmp_path: Path) -> None:
        link = tmp_path / "link.toml"
        link.symlink_to(old)
        write_atomically(link, "new")
        assert link.is_symlink()
        assert old.read_text() == "new"

    def test_a_folder_that_appears_meanwhile(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        make = Path.mkdir

        def quicker(self: Path, mode: int = 0o777) -> None:
            make(self, mode)
            make(self, mode)

        monkeypatch.setattr(Path, "mkdir", quicker)
        make_private_folder(tmp_path / "a" / "b")
        assert (tmp_path / "a" / "b").is_dir()

    def test_text_that_is_no_unicode_changes_nothing(self, old: Path) -> None:
        with pytest.raises(UnicodeEncodeError):
            write_atomically(old, "\ud800")
        assert old.read_text() == "old"

    def test_a_file_in_the_way_of_the_folder(self, old: Path) -> None:
        with pytest.raises(OSError, match="Not a directory"):
            write_atomically(old / "x.toml", "new")

    def test_flushes_the_draft_before_it_gets_the_name_and_the_folder_after(
        self, old: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[bool, str]] = []
        fsync = os.fsync

        def watched(descriptor: int) -> None:
            seen.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), old.read_text()))
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", watched)
        write_atomically(old, "new")
        assert seen == [(False, "old"), (True, "new")]

    def test_a_file_system_that_cannot_flush_folders(self, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fsync = os.fsync
        monkeypatch.setattr(os, "fsync", lambda fd: full() if stat.S_ISDIR(os.fstat(fd).st_mode) else fsync(fd))
        write_atomically(old, "new")
        assert old.read_text() == "new"


class TestTornWrites:
    @pytest.mark.parametrize(
        ("owner", "step"),
        [(os, "fdopen"), (os, "fchmod"), (os, "fsync"), (Path, "replace")],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_f20_any_step_that_fails_leaves_the_old_file_alone(
        self, owner: object, step: str, old: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(owner, step, full)
        with pytest.raises(OSError, match="No space left"):
            write_atomically(old, "new", keep_old_as=old.with_name("kept"))
        assert old.read_text() == "old"
        assert list(old.parent.iterdir()) == [old]

    @pytest.mark.parametrize("step", ["fchmod", "fsync", "link", "replace"])
    def test_f22_killed_at_any_step(self, step: str, old: Path) -> None:
        done = subprocess.run([sys.executable, "-c", _KILLED, step, str(old)], check=False)
        assert done.returncode == 9
        assert old.read_text() == "old"

    def test_f20_a_disk_that_fills_while_writing(self, old: Path) -> None:
        limited = (
            "import resource, signal, sys; from pathlib import Path; from modeldeck.config.atomic import *;"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096)); write_atomically(Path(sys.argv[1]), 'x' * 100000)"
        )
        done = subprocess.run([sys.executable, "-c", limited, str(old)], capture_output=True, text=True, check=False)
        assert "File too large" in done.stderr
        assert old.read_text() == "old"
        assert list(old.parent.iterdir()) == [old]


class TestKeepingTheOldFile:
    @pytest.mark.parametrize("hard_links", [True, False])
    def test_under_the_other_name(self, hard_links: bool, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        if not hard_links:
            monkeypatch.setattr(Path, "hardlink_to", full)
        kept = old.with_name("kept")
        write_atomically(old, "new", keep_old_as=kept)
        assert (old.read_text(), kept.read_text()) == ("new", "old")

    def test_never_over_another_file(self, old: Path) -> None:
        kept = old.with_name("kept")
        kept.write_text("older")
        with pytest.raises(FileExistsError):
            write_atomically(old, "new", keep_old_as=kept)
        assert (old.read_text(), kept.read_text()) == ("old", "older")
        assert len(list(old.parent.iterdir())) == 2

    def test_a_copy_that_fails_half_way(self, old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Path, "hardlink_to", full)
        monkeypatch.setattr("shutil.copyfileobj", full)
        with pytest.raises(OSError, match="No space left"):
            write_atomically(old, "new", keep_old_as=old.with_name("kept"))
        assert old.read_text() == "old"
        assert list(old.parent.iterdir()) == [old]
