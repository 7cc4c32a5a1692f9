"""Figures about a domain that hold no names and no ids: for metrics."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Request


@dataclass(frozen=True, slots=True)
class Figure:
    """How many there are of something, and a time: when the oldest was made, or when the first one ends."""

    name: str
    count: int
    at_ms: int


@message("gather-measures")
@dataclass(frozen=True, slots=True)
class GatherMeasures(Request["Measured"]):
    """Counts and ages of what custody keeps."""


@message("measured")
@dataclass(frozen=True, slots=True)
class Measured:
    """The figures at `at_ms`: `key_versions` by state, since when the oldest is; `certificates` by kind, until when the first is."""

    at_ms: int
    log_entries: int
    unanchored_entries: int
    releases: int
    denials: int
    leases: int
    backup_ms: int | None
    backup_missing: int
    key_versions: tuple[Figure, ...]
    wraps_used_ppm: int
    certificates: tuple[Figure, ...]
    requests_waiting: int
    notifications_waiting: int
    notifications_dead: int
    exposures_open: int
    exposures_overdue: int
