"""What an engine imports before it is asked for anything."""

from __future__ import annotations

import json
import subprocess
import sys

IMPORTS = """
import gc, json
from modeldeck.backend.engine.libraries import import_libraries

import_libraries()
print(json.dumps([gc.get_freeze_count(), len(gc.get_objects()), gc.isenabled()]))
"""


def test_the_garbage_collector_leaves_alone_what_is_imported_and_goes_on(environment: dict[str, str]) -> None:
    told = subprocess.run([sys.executable, "-c", IMPORTS], env=environment, capture_output=True, text=True, check=True)
    left_alone, looked_through, goes_on = json.loads(told.stdout.splitlines()[-1])
    assert left_alone > 100_000 > 10 * looked_through
    assert goes_on
