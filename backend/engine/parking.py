"""The weights of a model leave their GPU for RAM and come back; the model itself stays as it is.

Nothing is rebuilt: each storage on the device is emptied and later filled again, so that tied weights, views, and what
bitsandbytes keeps beside them are right without anybody knowing of them.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import torch

from modeldeck.backend.engine.stored import stored_tensors
from modeldeck.backend.errors import ParkingFailed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ALIGNMENT = 512
"""Bytes; copies that begin at such a place are the fastest."""


class ParkedWeights:
    """What a model has on one device, kept in RAM while the device has none of it."""

    def __init__(self, storages: list[torch.UntypedStorage], device: torch.device, host: HostMemory) -> None:
        self._storages = [(storage, storage.nbytes()) for storage in storages]
        self._device = device
        self._host = host
        self.size = sum(size for _, size in self._storages)
        """Bytes that moved."""

    @classmethod
    def of(cls, model: PreTrainedModel, device: torch.device) -> Self:
        """Park the model. Raises ParkingFailed or MemoryError, with the weights where they were."""
        storages = _storages_on(model, device)
        if not all(storage.resizable() for storage in storages):
            raise ParkingFailed("The weights of this model cannot leave their device.")
        host = HostMemory(sum(_aligned(storage.nbytes()) for storage in storages))
        parked = cls(storages, device, host)
        try:
            for storage, at in parked._places():
                host.part(at, storage.nbytes()).copy_(_bytes_of(storage), non_blocking=True)
            _synchronize(device)
        except BaseException:
            _synchronize(device)
            host.release()
            raise
        for storage in storages:
            storage.resize_(0)
        _give_back(device)
        return parked

    def wake(self) -> None:
        """Fill the device again and give the RAM back. Raises what torch raises when memory runs out; nothing is lost.

        Not to be used again where that went well.
        """
        try:
            for (storage, at), (_, size) in zip(self._places(), self._storages, strict=True):
                storage.resize_(size)
                _bytes_of(storage).copy_(self._host.part(at, size), non_blocking=True)
            _synchronize(self._device)
        except BaseException:
            _synchronize(self._device)
            for storage, _ in self._storages:
                storage.resize_(0)
            raise
        self._host.release()

    def _places(self) -> list[tuple[torch.UntypedStorage, int]]:
        """Each storage, and where its bytes lie in RAM."""
        places, at = [], 0
        for storage, size in self._storages:
            places.append((storage, at))
            at += _aligned(size)
        return places


class HostMemory:
    """RAM of exactly this size, pinned where CUDA can, which is copied several times as fast.

    PyTorch's own pinned memory is rounded up to a power of two and never given back.
    """

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._whole: torch.Tensor | None = torch.frombuffer(self._map, dtype=torch.uint8)
        self._pinned = _pin(self._whole)

    def part(self, at: int, size: int) -> torch.Tensor:
        """Bytes ``at`` to ``at + size``, to be read or written in place."""
        assert self._whole is not None  # nobody asks once it is released
        return self._whole[at : at + size]

    def release(self) -> None:
        """Give the RAM back to the system."""
        whole, self._whole = self._whole, None
        if whole is not None and self._pinned:
            _cudart().cudaHostUnregister(whole.data_ptr())
        del whole
        self._map.close()


def _storages_on(model: PreTrainedModel, device: torch.device) -> list[torch.UntypedStorage]:
    """Each once, whoever shares it."""
    found: dict[int, torch.UntypedStorage] = {}
    for tensor in stored_tensors(model):
        storage = tensor.untyped_storage()
        if tensor.device == device and storage.nbytes():
            found.setdefault(storage.data_ptr(), storage)
    return list(found.values())


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _bytes_of(storage: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _give_back(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _cudart() -> Any:
    cudart: Any = torch.cuda.cudart  # not typed
    return cudart()


def _pin(memory: torch.Tensor) -> bool:
    """Whether CUDA took the memory as pinned; copies are slower where it did not, and right all the same."""
    if not torch.cuda.is_available():
        return False
    pinned = int(_cudart().cudaHostRegister(memory.data_ptr(), memory.numel(), 0)) == 0
    if not pinned:  # CUDA remembers the error, and PyTorch would blame its next kernel for it
        with suppress(RuntimeError):
            torch.zeros(1, device="cuda")
    return pinned
