"""What can go wrong, as two branches: this request failed, or the engine is gone.

::

    BackendError
     ├─ EngineBusy             a load or an unload runs; nothing was changed
     ├─ LoadCancelled          somebody ended this load; nothing is wrong
     ├─ NotLoaded              there is no model to reply
     ├─ LoadError              this model cannot be loaded; the app carries on
     │   ├─ NotEnoughMemory
     │   ├─ UnsupportedModel        transformers has no such architecture, or the files are not what they say
     │   ├─ QuantizationUnavailable full precision would work: the caller may offer it
     │   ├─ RemoteCodeRefused       the model ships its own code and nobody allowed it
     │   └─ PicklesRefused          its weights are pickled and nobody allowed them to be read
     ├─ GenerationError        this reply failed; the model is still loaded
     ├─ ParkingFailed          the model cannot move between its GPU and RAM, and stays where it is
     ├─ DownloadError          nothing was installed; what was fetched is kept for the next try
     │   └─ OnlyPickles             there are no other weights, and nobody allowed these
     ├─ CatalogError           what lies on the disk could not be looked at, or not be deleted
     └─ EngineDied             the process is gone; load again
         └─ EngineStalled      it was alive but made no progress, and was ended

``str(error)`` is one sentence for the user; ``detail`` holds what stands behind it (a traceback, the last lines of
the engine's log) and may be empty. Neither holds a credential, wherever they come from.
"""

from __future__ import annotations

from modeldeck.backend.redaction import redact


class BackendError(Exception):
    """One sentence that says what is wrong, and the detail behind it."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(redact(message))
        self.detail = redact(detail)


class EngineBusy(BackendError):
    """A load or an unload is running; ask again with ``replace=True`` to end it first."""


class LoadCancelled(BackendError):
    """The load was cancelled, or another was asked for in its place; nothing is wrong and nothing to be shown."""


class NotLoaded(BackendError):
    """A reply was asked for while no model is loaded."""


class LoadError(BackendError):
    """This model could not be loaded."""


class NotEnoughMemory(LoadError):
    """The device or the host ran out of memory while loading."""


class UnsupportedModel(LoadError):
    """The files are not a text model that transformers can load."""


class QuantizationUnavailable(LoadError):
    """The quantization that was asked for cannot be applied to this model or on this device."""


class RemoteCodeRefused(LoadError):
    """Loading needs code that comes with the model, and it was not allowed."""


class PicklesRefused(LoadError):
    """The weights are pickled, a form that can hold code, and reading them was not allowed."""


class GenerationError(BackendError):
    """This reply failed; the model is still loaded."""


class ParkingFailed(BackendError):
    """The model cannot be moved from its GPU to RAM or back; it stays where it is."""


class DownloadError(BackendError):
    """A model could not be downloaded."""


class OnlyPickles(DownloadError):
    """A repository has pickled weights only, and downloading them was not allowed."""


class CatalogError(BackendError):
    """Models could not be looked for, read or deleted."""


class EngineDied(BackendError):
    """The engine process is gone, and everything that waited for it is told so."""


class EngineStalled(EngineDied):
    """The engine made no progress for so long that it was ended."""
