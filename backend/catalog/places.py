"""Where the catalog looks, and the spots that it had better leave alone; paths are bytes, as the system has them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from modeldeck.backend.catalog.files import is_within


class Places(Struct, frozen=True):
    """Everything that is searched for models."""

    folders: tuple[bytes, ...]
    hub_cache: bytes
    starter: bool = True
    """Whether the package with the starter model counts."""

    @classmethod
    def of(cls, folders: Sequence[Path], hub_cache: Path, starter: bool = True) -> Places:
        """From the user's settings."""
        return cls(tuple(os.fsencode(folder) for folder in folders), os.fsencode(hub_cache), starter)

    def left_alone(self, folders: Sequence[bytes]) -> Callable[[str], bool]:
        """Tells of a path whether nobody looked for what lies there, since these folders were left alone.

        Touches no disk. A place may be a link, and where it leads cannot be asked of a disk that hangs: what lies in
        none of the other places then counts as lying there.
        """
        alone = tuple(os.fsdecode(folder) for folder in folders)
        places = {str(Path(os.fsdecode(each)).expanduser().absolute()) for each in (*self.folders, self.hub_cache)}
        others = tuple(places - set(alone))
        whole_place = len(others) < len(places)
        return lambda path: is_within(path, alone) or (whole_place and not is_within(path, others))


class Spot(Struct, frozen=True):
    """What a scan is at."""

    path: bytes = b""
    is_model: bool = False
    """It reads the model there; else it lists the folder, or asks whether something has changed."""


class Skip(Struct, frozen=True):
    """A spot that a child hung or died at."""

    spot: Spot
    problem: str
    """What its row says, a sentence without its full stop."""
