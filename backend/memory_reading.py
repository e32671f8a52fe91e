"""What a look at the memory finds: devices, RAM, swap, and who holds them. Data only; nothing is read here."""

from __future__ import annotations

from msgspec import Struct


class DeviceProcess(Struct, frozen=True, kw_only=True):
    """A process that holds memory of a device, whoever it belongs to."""

    pid: int
    user: str
    """The name of its user, or ``uid 1004``, or ``?`` where nobody may look; untrusted text, cleaned."""
    name: str
    """Of its program; untrusted text, cleaned; ``?`` where nobody may look."""
    used_bytes: int | None
    """None where the driver does not say how much."""
    ours: bool = False
    """Whether it is an engine of this program."""


class DeviceMemory(Struct, frozen=True, kw_only=True):
    """One device's memory now."""

    name: str
    """``cuda:0``, as torch counts, or ``ram``, or ``swap``."""
    label: str
    """``H100 80 GB``; untrusted text, cleaned."""
    used_bytes: int
    total_bytes: int
    utilization: int | None = None
    """Percent of the time that the device was busy; None where it does not say."""
    temperature: int | None = None
    """Degrees Celsius."""
    power_watts: float | None = None
    power_limit_watts: float | None = None
    processes: tuple[DeviceProcess, ...] = ()
    """Who holds memory of it, the most first; empty where the driver does not say (and for RAM)."""
    uuid: str = ""
    """Of a GPU, as its driver names it; the same whatever ``CUDA_VISIBLE_DEVICES`` says."""
    compute_capability: tuple[int, int] | None = None
    """What CUDA calls the generation of a GPU, such as (9, 0); None where it is none of NVIDIA's or does not say."""
    shares_ram: bool = False
    """Whether it has no memory of its own; its figures are then those of the RAM."""

    @property
    def free_bytes(self) -> int:
        """What is left."""
        return max(0, self.total_bytes - self.used_bytes)

    @property
    def used_share(self) -> float:
        """0 to 1."""
        return min(1.0, self.used_bytes / self.total_bytes) if self.total_bytes > 0 else 0.0


class UnreadableDevice(Struct, frozen=True):
    """A device that is there but does not answer."""

    name: str
    """``cuda:1``."""
    reason: str
    """``GPU is lost (15)``."""


class EngineMemory(Struct, frozen=True):
    """What one engine holds."""

    pid: int
    """Of its leader."""
    ram_bytes: int
    """Resident bytes of its processes."""
    pids: tuple[int, ...] = ()
    """Its processes, as the driver of a GPU may name them; the leader alone where empty."""

    def is_one(self, pid: int) -> bool:
        """Whether this is one of its processes."""
        return pid in self.pids or pid == self.pid


class MemoryReading(Struct, frozen=True, kw_only=True):
    """All devices at one moment."""

    devices: tuple[DeviceMemory, ...]
    """The GPUs that this process may use; empty where there are none."""
    ram: DeviceMemory
    swap: DeviceMemory | None = None
    """None where there is none, or nobody may look."""
    engine_bytes: int = 0
    """Resident bytes of all engines and their children; what they share is counted in each."""
    engines: tuple[EngineMemory, ...] = ()
    """The same, engine by engine."""
    engine_swap_bytes: int = 0
    """What of the engines and their children lies in the swap."""
    unreadable: tuple[UnreadableDevice, ...] = ()
    """Devices that this process may use and that do not answer; they are asked again."""
    problem: str = ""
    """Why GPUs cannot be read (``NVML: driver mismatch (18)``, ``cuda:1: GPU is lost (15)``), or empty."""
    no_devices: str = ""
    """Why there are no GPUs, where that is no fault: one sentence; empty where there are some."""
    driver: str = ""
    """``NVIDIA 570.86.15``; untrusted text, cleaned; empty where no driver answers."""
