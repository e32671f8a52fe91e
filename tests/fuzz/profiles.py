"""How many inputs each property gets: 200 that never change in ``make test``, 10,000 new ones in ``make fuzz``."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, settings

_BOTH: dict[str, Any] = {
    "deadline": None,  # the properties themselves say how long a reader may take
    "suppress_health_check": [
        HealthCheck.function_scoped_fixture,  # a folder that every input writes anew
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
}
settings.register_profile("few", max_examples=200, derandomize=True, database=None, **_BOTH)
settings.register_profile("fuzz", max_examples=10_000, print_blob=True, **_BOTH)

_PROFILE = os.environ.get("FUZZ_PROFILE", "few")
LONGEST_SECONDS = 300 if _PROFILE == "few" else 7200
"""For a property that imports torch first, on a busy machine."""
fuzzed = settings(settings.get_profile(_PROFILE))
"""The decorator of every property in this folder; no other test is touched by its profile."""
