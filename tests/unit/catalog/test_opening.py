"""How the files of models are opened: what has become a pipe or a link is neither waited for nor followed (S13)."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from modeldeck.backend.catalog.files import _opened


@pytest.mark.timeout(10)
def test_s13_a_pipe_that_took_a_files_place_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    descriptor = _opened(str(tmp_path / "pipe"))
    try:
        assert stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def test_s13_a_link_that_took_a_files_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link").symlink_to("secret")
    with pytest.raises(OSError, match="link") as refused:
        _opened(str(tmp_path / "link"))
    assert refused.value.errno == errno.ELOOP
