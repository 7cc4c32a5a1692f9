"""The copy of custody in the backup place."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Request


@message("take-backup")
@dataclass(frozen=True, slots=True)
class TakeBackup(Request["BackupState"]):
    """Bring the backup place up to date now."""


@message("backup-state")
@dataclass(frozen=True, slots=True)
class BackupState:
    """Where the last copy is and how old; `problem` is None when all is well."""

    place: str | None
    last_ms: int | None
    log_size: int
    checked_ms: int | None
    has_recovery: bool
    problem: str | None
