"""Suites: which there are, and what hangs on each."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Request


@message("list-suites")
@dataclass(frozen=True, slots=True)
class ListSuites(Request["SuiteList"]):
    """Every suite of this release, with what published versions are sealed with it."""


@dataclass(frozen=True, slots=True)
class SuiteRow:
    """Published versions by suite; several suites where nobody noted which of them it is. `length` counts bytes of plaintext.

    `in_use` says that classes of the policy seal with it, `latest` how many assets have it in their latest version.
    """

    suites: tuple[str, ...]
    retired: bool
    reason: str
    opens_until_ms: int | None
    in_use: bool
    versions: int
    latest: int
    length: int


@message("suite-list")
@dataclass(frozen=True, slots=True)
class SuiteList:
    """Suites by name."""

    suites: tuple[SuiteRow, ...]
