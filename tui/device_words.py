"""What is said of a device and of a process on it, in the pane and by ``doctor`` alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldeck.tui.format import size

if TYPE_CHECKING:
    from modeldeck.backend.memory import DeviceMemory, DeviceProcess


def device_figures(device: DeviceMemory) -> list[str]:
    """Temperature, power and how busy it is, as far as it says so: ``61°C``, ``412 of 700 W``, ``7% busy``."""
    return [word for word in (_degrees(device), _power(device), _busy(device)) if word]


def process_size(process: DeviceProcess) -> str:
    """What it holds: ``17.9 GB``, or that the driver does not tell."""
    return "not told" if process.used_bytes is None else size(process.used_bytes)


def _degrees(device: DeviceMemory) -> str:
    return f"{device.temperature}°C" if device.temperature is not None else ""


def _power(device: DeviceMemory) -> str:
    if device.power_watts is None:
        return ""
    limit = f" of {device.power_limit_watts:.0f}" if device.power_limit_watts else ""
    return f"{device.power_watts:.0f}{limit} W"


def _busy(device: DeviceMemory) -> str:
    return f"{device.utilization:>3}% busy" if device.utilization is not None else ""
