"""A finding: one thing that a check, a scan or `status` wants a person to know and act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["high", "medium", "low"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, with what, and what to do.

    `code` is stable and meant for machines (`unsealed-file`, `policy-not-applied`); `subject` names the thing concerned (a
    path, an asset, a key id); `message` and `remedy` are one line each for people.
    """

    code: str
    severity: Severity
    subject: str
    message: str
    remedy: str
