"""What an engine imports before it is asked for anything."""

from __future__ import annotations

import gc
import sys


def test_the_garbage_collector_leaves_alone_what_is_imported_and_goes_on(libraries: None) -> None:
    looked_through = len(gc.get_objects())
    assert "torch" in sys.modules
    assert gc.get_freeze_count() > 100_000 > looked_through
    assert gc.isenabled()
