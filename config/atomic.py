"""Replace a file whole: a crash, a full disk or a lost connection leaves the old file or the new one, never half."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


def make_private_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, readable by their owner alone under any umask.

    Folders that exist already keep their mode. Raises OSError.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        with suppress(FileExistsError):  # another instance was quicker
            each.mkdir(PRIVATE_FOLDER)
            each.chmod(PRIVATE_FOLDER)


def write_atomically(path: Path, text: str, *, keep_old_as: Path | None = None) -> None:
    """Write UTF-8 text to a file of mode 0600, in folders of mode 0700, and flush both to the disk.

    A symlink stays one: the file behind it is replaced. With ``keep_old_as`` the file that stood there is kept under
    that name, which must be free and in the same folder. Raises OSError or UnicodeEncodeError; whatever stood there
    is then untouched and nothing else is left behind.
    """
    data = text.encode()
    path = Path(os.path.realpath(path))
    make_private_folder(path.parent)
    descriptor, name = mkstemp(prefix=f".{path.name}.", suffix=".draft", dir=path.parent)
    draft = Path(name)
    kept = False
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), PRIVATE_FILE)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if keep_old_as is not None:
            _keep(path, keep_old_as)
            kept = True
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        if kept and keep_old_as is not None:
            keep_old_as.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def _keep(path: Path, kept: Path) -> None:
    """Give the old file a second name, so that there is no moment without a file; raises OSError."""
    try:
        kept.hardlink_to(path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links, or a file that is another user's
        try:
            with path.open("rb") as old, kept.open("xb") as copy:
                os.fchmod(copy.fileno(), PRIVATE_FILE)
                shutil.copyfileobj(old, copy)
        except OSError:
            kept.unlink(missing_ok=True)
            raise


def flush_folder(folder: Path) -> None:
    """Make the new name survive a power cut.

    The file is in place already, and some network file systems refuse this: a failure here is no failed write.
    """
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
