"""What is said to the child that looks for models, and by it: a part of ``backend.protocol``."""

from __future__ import annotations

from msgspec import Struct

from modeldeck.backend.catalog.places import Places, Skip, Spot
from modeldeck.backend.models import ModelInfo, ModelSource


class Scan(Struct, frozen=True, tag="scan"):
    """Look for models, then keep looking for changes; sent again, look at once."""

    request_id: int
    places: Places
    index: bytes
    """Path of the index file; empty for none."""
    stamp: str = ""
    """Of the index whose rows are shown already; rows that are still so are not sent then."""
    skipped: tuple[Skip, ...] = ()
    cautious: bool = False
    """Name every spot before it is touched: an earlier child died and nobody knows of what."""


class FindModel(Struct, frozen=True, tag="find_model"):
    """Which model does a person mean by this text?"""

    request_id: int
    places: Places
    index: bytes
    text: bytes
    skipped: tuple[Skip, ...] = ()
    cautious: bool = False


class ReadModel(Struct, frozen=True, tag="read_model"):
    """Read what lies at a path, wherever that is."""

    request_id: int
    path: bytes
    source: ModelSource


class Reading(Struct, frozen=True, tag="reading"):
    """What the scan is at: told twice a second while that changes, so that a hang is known by its name."""

    request_id: int
    spot: Spot
    """An empty path while it waits for changes."""


class ModelsFound(Struct, frozen=True, tag="models_found"):
    """Models that are new or not as they were told before."""

    request_id: int
    models: tuple[ModelInfo, ...]


class ScanFinished(Struct, frozen=True, tag="scan_finished"):
    """Everything was looked at once more."""

    request_id: int
    gone: tuple[str, ...] = ()
    """Ids that were told, or shown from the index, and are there no more."""
    complete: bool = False
    """Nothing was left out as shown already: what this process never told is not there."""
    looked_in: tuple[str, ...] = ()
    """Where it looked, in words; only when it found nothing."""
    left_alone: tuple[bytes, ...] = ()
    """Folders that it did not look into, since a child hung or died there: nobody knows what is gone from them."""


class ModelRead(Struct, frozen=True, tag="model_read"):
    """The model that was asked for."""

    request_id: int
    model: ModelInfo


class ModelMissing(Struct, frozen=True, tag="model_missing"):
    """There is no such model, or there are several; the message is a sentence for the user."""

    request_id: int
    message: str
    ambiguous: bool = False
