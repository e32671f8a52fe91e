"""The files of a model are brought into the page cache while the user still looks at the dialog.

The kernel reads them by itself (``posix_fadvise``): nothing is copied, and what nobody loads in the end is the first
that the system takes back. Where the system has no such call nothing is done.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

from modeldeck.backend.models import ModelFormat, ModelInfo

_CHUNK = 2**20
"""Bytes that are asked for at a time; Linux reads no more than a few MiB for one call, whatever it was asked for."""
_SHARE = 0.8
"""Of the RAM that is free; the load itself needs some, too."""


class Prefetch:
    """Reads ahead until ``stop``, in a daemon thread: a disk that hangs holds up neither the dialog nor the way out."""

    def __init__(self, files: Sequence[Path], free_bytes: int) -> None:
        self._files = files
        self._room = int(free_bytes * _SHARE)
        self._stopped = threading.Event()
        self._done = threading.Event()
        threading.Thread(target=self._run, name="prefetch", daemon=True).start()

    def stop(self) -> None:
        """Ask for nothing more; returns at once."""
        self._stopped.set()

    def wait(self, seconds: float) -> bool:
        """Whether everything was asked for, or was given up, within this time."""
        return self._done.wait(seconds)

    def _run(self) -> None:
        try:
            if hasattr(os, "posix_fadvise") and sum(file.stat().st_size for file in self._files) <= self._room:
                for file in self._files:
                    self._read(file)
        except OSError:
            pass  # it was only to be quicker; the load says what is wrong
        finally:
            self._done.set()

    def _read(self, file: Path) -> None:
        with file.open("rb", buffering=0) as stream:
            for start in range(0, os.fstat(stream.fileno()).st_size, _CHUNK):
                if self._stopped.is_set():
                    return
                os.posix_fadvise(stream.fileno(), start, _CHUNK, os.POSIX_FADV_WILLNEED)


def weight_files(model: ModelInfo, prepared: Path | None = None) -> list[Path]:
    """The files that a load reads: of the folder, of the prepared copy of a GGUF file, or that file. Blocking."""
    if model.format is ModelFormat.GGUF and prepared is None:
        return [Path(model.path)]
    return sorted((prepared or Path(model.path)).glob("*.safetensors"))
