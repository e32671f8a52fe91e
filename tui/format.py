"""Figures as people read them: one place decides units and digits. GB is 10**9 bytes, as on the label of a card."""

from __future__ import annotations

from datetime import datetime

_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_COUNT_UNITS = ("", "K", "M", "B", "T")


def size(byte_count: float) -> str:
    """Bytes in decimal units: ``842 MB``, ``18.4 GB``."""
    value, unit = _scaled(max(0.0, byte_count), _BYTE_UNITS)
    return f"{_three_digits(value) if unit not in _BYTE_UNITS[:2] else f'{value:.0f}'} {unit}"


def gigabytes(byte_count: float) -> str:
    """Bytes always as GB with one decimal and no unit, for pairs: ``18.4`` of ``80.0 GB``."""
    return f"{max(0.0, byte_count) / 1e9:.1f}"


def size_of(done_bytes: float, total_bytes: float) -> str:
    """Two sizes that share one unit: ``52.1 of 141.1 GB``."""
    _, unit = _scaled(max(0.0, total_bytes), _BYTE_UNITS)
    power = 1000.0 ** _BYTE_UNITS.index(unit)
    digits = 0 if unit in _BYTE_UNITS[:2] else 1
    return f"{max(0.0, done_bytes) / power:.{digits}f} of {max(0.0, total_bytes) / power:.{digits}f} {unit}"


def parameters(count: int | None) -> str:
    """A parameter count as model cards write it: ``8.2B``, ``135M``; ``?`` when unknown."""
    if count is None:
        return "?"
    value, unit = _scaled(float(max(0, count)), _COUNT_UNITS)
    return f"{_three_digits(value)}{unit}" if unit else str(count)


def whole(count: int) -> str:
    """A whole number with thousands separated: ``131,072``."""
    return f"{count:,}"


def tokens(count: int) -> str:
    """``1 token``, ``8,192 tokens``."""
    return "1 token" if count == 1 else f"{count:,} tokens"


def seconds(duration: float) -> str:
    """``0.18 s``, ``4.2 s``, ``31 s``, ``2 min 05 s``, ``1 h 02 min``."""
    duration = max(0.0, duration)
    if duration < 0.995:
        return f"{duration:.2f} s"
    if duration < 9.95:
        return f"{duration:.1f} s"
    if duration < 59.5:
        return f"{duration:.0f} s"
    whole_minutes, rest = divmod(round(duration), 60)
    if whole_minutes < 60:
        return f"{whole_minutes} min {rest:02d} s"
    hours, whole_minutes = divmod(whole_minutes, 60)
    return f"{hours} h {whole_minutes:02d} min"


def moment(since_1970: float) -> str:
    """A time on the clock of this machine, of seconds since 1970: ``2026-05-04 12:30``; ``?`` beyond all calendars."""
    try:
        return datetime.fromtimestamp(since_1970).astimezone().strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):  # files may bear any time
        return "?"


def minutes(count: float) -> str:
    """A number of minutes without its unit, as it is typed: ``30``, ``0.5``."""
    return f"{count:g}"


def tokens_per_second(rate: float) -> str:
    """``61.2 tok/s``."""
    return f"{rate:.1f} tok/s"


def percent(fraction: float) -> str:
    """``38%``; 0 to 1 in, and never 100% before it is 1."""
    return f"{min(99, int(fraction * 100)) if fraction < 1 else 100}%"


def _scaled(value: float, units: tuple[str, ...]) -> tuple[float, str]:
    index = 0
    while index < len(units) - 1 and value >= 999.5:
        value /= 1000
        index += 1
    return value, units[index]


def _three_digits(value: float) -> str:
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"
