"""What the program keeps belongs to its user: folders of somebody else's are refused, open ones are closed."""

from __future__ import annotations

import os
from contextlib import suppress

from modeldeck.config.atomic import PRIVATE_FOLDER
from modeldeck.config.paths import Paths


def refusal(paths: Paths) -> str | None:
    """Why nothing is to be kept or believed here, as a sentence that may hold any path; None where all is well.

    Conversations lie there and consents to run code, which a stranger could read and write.
    """
    for folder, variable in ((paths.state, "XDG_STATE_HOME"), (paths.cache, "XDG_CACHE_HOME")):
        with suppress(OSError):  # it is not there yet, or whoever opens it will be told
            owner = folder.stat().st_uid
            if owner != os.geteuid():
                return f"{folder} belongs to another user (uid {owner}); delete it, or point {variable} elsewhere."
    return None


def close_to_others(paths: Paths) -> None:
    """Take the rights of others from folders that were there before; never raises."""
    for folder in (paths.state, paths.cache):
        with suppress(OSError):
            if folder.stat().st_mode & 0o077:
                folder.chmod(PRIVATE_FOLDER)
