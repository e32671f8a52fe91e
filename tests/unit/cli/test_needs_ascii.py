"""Which terminals are drawn on with ASCII alone, whatever the user's file says."""

from __future__ import annotations

import pytest

from modeldeck.tui.cli import needs_ascii


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({"TERM": "xterm-256color", "LANG": "en_US.UTF-8"}, False),
        ({"TERM": "vte-256color", "LANG": "de_DE.utf8"}, False),
        ({"TERM": "xterm", "LC_ALL": "C.UTF-8", "LANG": "C"}, False),
        ({"TERM": "xterm", "LC_CTYPE": "en_US.UTF-8", "LANG": "C"}, False),
        ({"TERM": "xterm"}, False),
        ({"TERM": "xterm", "LC_CTYPE": "C.UTF-8"}, False),  # as Python sets it where nothing is set
        ({"TERM": "xterm", "LC_CTYPE": "C.UTF-8", "LANG": "C"}, True),  # as Python sets it under LANG=C
        ({"TERM": "xterm", "LANG": "C"}, True),
        ({"TERM": "xterm", "LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, True),
        ({"TERM": "xterm", "LANG": "ja_JP.eucJP"}, True),
        ({"TERM": "linux", "LANG": "C.UTF-8"}, True),
        ({"TERM": "vt220", "LANG": "C.UTF-8"}, True),
    ],
)
def test_f32_ascii_is_for_consoles_and_for_locales_that_are_not_utf_8(environ: dict[str, str], wanted: bool) -> None:
    assert needs_ascii(environ) is wanted
