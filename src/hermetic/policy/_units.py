"""Shapes for what policy files measure and point at: durations, days, dates, folders, globs."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.policy import globs
from hermetic.policy._shape import MAX_TEXT, JsonSchema, text_of
from hermetic.policy._yaml import Node, Wrong

if TYPE_CHECKING:
    from collections.abc import Mapping

SECOND_MS, MINUTE_MS, HOUR_MS, DAY_MS = 1000, 60_000, 3_600_000, 86_400_000

_SPAN_UNITS = {"s": SECOND_MS, "m": MINUTE_MS, "h": HOUR_MS, "d": DAY_MS}
_DAY_UNITS = {"d": 1, "w": 7, "y": 365}
_OUTSIDE = re.compile(r"[/~\\]|[A-Za-z]:[/\\]?")
_OUTSIDE_REMEDY = "write a path relative to this file; absolute places belong in your own $XDG_CONFIG_HOME/hermetic/"
_FOLDER = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_GLOB_TEXT = r"(?!.*://)(?![A-Za-z]:)[^/~\\\[\]{}]([^\\\[\]{}]*[^/\\\[\]{}])?"


def _amount(node: Node, units: Mapping[str, int], example: str) -> int:
    letters = "".join(units)
    value = text_of(node, f"a duration such as {example}")
    found = re.fullmatch(rf"([1-9][0-9]{{0,5}})([{letters}])", value)
    if found is None:
        remedy = f"write a whole number and one of {', '.join(units)}, for example {example}"
        raise Wrong(node.place, f"{value!r} is not a duration", remedy)
    return int(found[1]) * units[found[2]]


@dataclass(frozen=True)
class Span:
    """A duration as `30s`, `15m`, `8h` or `2d`; value in milliseconds."""

    minimum_ms: int
    maximum_ms: int

    def read(self, node: Node, _problems: list[Wrong]) -> int:
        """Return milliseconds. Raises Wrong."""
        value = _amount(node, _SPAN_UNITS, "15m")
        if not self.minimum_ms <= value <= self.maximum_ms:
            bounds = f"{spell_ms(self.minimum_ms)} to {spell_ms(self.maximum_ms)}"
            raise Wrong(node.place, f"{node.value!r} is out of bounds", f"write a duration from {bounds}")
        return value

    def schema(self) -> JsonSchema:
        """Return the pattern; bounds are the parser's."""
        return {"type": "string", "pattern": "^[1-9][0-9]{0,5}[smhd]$"}


@dataclass(frozen=True)
class Days:
    """A duration in whole days as `90d`, `12w` or `7y` (365 days each)."""

    maximum: int = 36_500

    def read(self, node: Node, _problems: list[Wrong]) -> int:
        """Return days. Raises Wrong."""
        value = _amount(node, _DAY_UNITS, "90d")
        if value > self.maximum:
            raise Wrong(node.place, f"{node.value!r} is out of bounds", f"write at most {self.maximum}d")
        return value

    def schema(self) -> JsonSchema:
        """Return the pattern; the bound is the parser's."""
        return {"type": "string", "pattern": "^[1-9][0-9]{0,5}[dwy]$"}


@dataclass(frozen=True)
class Date:
    """A calendar date; value is the first millisecond of that day in UTC."""

    def read(self, node: Node, _problems: list[Wrong]) -> int:
        """Return Unix milliseconds. Raises Wrong."""
        value = text_of(node, "a date such as 2027-01-31")
        try:
            day = dt.date.fromisoformat(value) if re.fullmatch(r"[12][0-9]{3}-[0-9]{2}-[0-9]{2}", value) else None
        except ValueError:
            day = None
        if day is None:
            raise Wrong(node.place, f"{value!r} is not a date", "write year-month-day, for example 2027-01-31")
        return (day - dt.date(1970, 1, 1)).days * DAY_MS

    def schema(self) -> JsonSchema:
        """Return a date."""
        return {"type": "string", "format": "date", "pattern": "^[12][0-9]{3}-[0-9]{2}-[0-9]{2}$"}


@dataclass(frozen=True)
class Folder:
    """A folder under the project, relative, without `..`."""

    def read(self, node: Node, _problems: list[Wrong]) -> str:
        """Return the relative POSIX path. Raises Wrong."""
        value = text_of(node, "a relative folder")
        inside(node, value)
        if not _FOLDER.fullmatch(value) or any(part in {".", ".."} for part in value.split("/")):
            remedy = "use letters, digits, dot, dash, underscore and single slashes, without '.' and '..' parts"
            raise Wrong(node.place, f"{value!r} is not a folder of this project", remedy)
        return value

    def schema(self) -> JsonSchema:
        """Return the pattern."""
        part = r"(?!\.\.?(/|$))[A-Za-z0-9._-]+"
        return {"type": "string", "pattern": f"^{part}(/{part})*$", "maxLength": MAX_TEXT}


@dataclass(frozen=True)
class GlobText:
    """A glob over relative paths or asset names (hermetic.policy.globs)."""

    what: str

    def read(self, node: Node, _problems: list[Wrong]) -> str:
        """Return the glob. Raises Wrong."""
        value = text_of(node, self.what)
        inside(node, value)
        if flaw := globs.flaw(value):
            raise Wrong(
                node.place,
                f"{value!r} is not {self.what}: {flaw}",
                "use * within a segment, ** for any number of them, ? for one character",
            )
        return value

    def schema(self) -> JsonSchema:
        """Return the pattern; details are the parser's."""
        return {"type": "string", "pattern": f"^{_GLOB_TEXT}$", "maxLength": MAX_TEXT}


def inside(node: Node, value: str) -> None:
    """Raise Wrong if `value` points outside the project: a URL, an absolute path, a home folder, a drive."""
    if "://" in value:
        raise Wrong(
            node.place,
            f"{value!r} is a location outside the project",
            "name a store here and say where it lies in your own configuration",
        )
    if _OUTSIDE.match(value):
        raise Wrong(node.place, f"{value!r} is an absolute path", _OUTSIDE_REMEDY)


def spell_ms(value: int) -> str:
    """Write milliseconds as people do, in the largest unit that divides them: 900000 is `15m`."""
    for letter, unit in (("d", DAY_MS), ("h", HOUR_MS), ("m", MINUTE_MS), ("s", SECOND_MS)):
        if value and value % unit == 0:
            return f"{value // unit}{letter}"
    return f"{value}ms"
