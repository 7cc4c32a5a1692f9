"""Times, sizes and durations as people write and read them; and text made safe for a terminal."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

from hermetic.errors import UsageError

_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_LAST_MS = 253_402_300_800_000  # the end of the year 9999
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def seconds(text: str) -> int:
    """Read `30m`, `8h`, `7d` as seconds. Raises UsageError for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise UsageError(f"{text[:40]!r} is not a duration", hint="write a whole number and a unit: 30m, 8h, 7d, 2w")
    return int(match[1]) * _SECONDS[match[2]]


def span(amount: int) -> str:
    """Write seconds the short way: `2h`, `3d`, `45s`; the largest unit in which it is at least one, rounded down."""
    if amount < 0:
        return f"-{span(-amount)}"
    for unit in ("d", "h", "m"):
        if amount >= _SECONDS[unit]:
            return f"{amount // _SECONDS[unit]}{unit}"
    return f"{amount}s"


def moment(at_ms: int | None) -> str:
    """Write a time in milliseconds as `2025-11-21 07:43:10Z`; None as a dash, a time that no calendar has as it is."""
    if at_ms is None:
        return "-"
    if not 0 <= at_ms < _LAST_MS:
        return f"{at_ms} ms"
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def size(count: int) -> str:
    """Write bytes for people: `912 B`, `1.4 MiB`."""
    if count < 1024:
        return f"{count} B"
    amount, units = count / 1024, iter(_UNITS)
    unit = next(units)
    while amount >= 1024 and unit != _UNITS[-1]:
        amount, unit = amount / 1024, next(units)
    return f"{amount:.1f} {unit}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Write `1 file`, `2 files`."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def safe(text: str) -> str:
    r"""Return `text` with everything that could steer a terminal written out: control and direction characters as `\x1b`."""
    if text.isprintable():
        return text
    return "".join(char if _harmless(char) else char.encode("unicode_escape").decode("ascii") for char in text)


def one_line(text: str) -> str:
    r"""Return `safe` text that also cannot end a line, where a person reads one thing a line: a break is shown as `\n`."""
    return safe(text).replace("\n", "\\n")


def _harmless(char: str) -> bool:
    return char == "\n" or unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}
