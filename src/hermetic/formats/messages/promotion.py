"""Carry a version from one environment into another, or make an earlier one the latest of its own (custody/promoting.py)."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Receipt, Request
from hermetic.ids import Environment, Purpose


@message("promote-version")
@dataclass(frozen=True, slots=True)
class PromoteVersion(Request["Promotion"]):
    """Ask whether a version may be carried into the environment `to`.

    Repeated as it is, it is the same request, and uses the approvals that were given to it. `ref` has a number, and `version` is the
    id of what it means now in `environment`: approvals are for that and for `to`, whatever goes by the name later.
    """

    ref: str
    version: str
    environment: Environment
    to: Environment
    reason: str
    purpose: Purpose | None = None  # None: the one that the version was sealed for


@message("roll-back")
@dataclass(frozen=True, slots=True)
class RollBack(Request["Promotion"]):
    """Ask whether the content of an earlier version may become the latest version of its asset in `environment`.

    `ref` has a number, and `version` is the id of what it means; `latest` is the id of the version that is to be replaced.
    """

    ref: str
    version: str
    environment: Environment
    latest: str
    reason: str


@message("promotion")
@dataclass(frozen=True, slots=True)
class Promotion:
    """It may: `id` names the decision, which opening and writing refer to. `done` is the copy, once it is there."""

    id: str
    ref: str
    version: str
    environment: Environment
    to: Environment
    purpose: Purpose
    done: str
    receipt: Receipt | None
