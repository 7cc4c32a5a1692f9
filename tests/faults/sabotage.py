"""Take out of Hermetic, inside a child of the crash tests, what keeps it safe from crashes: the tests must notice."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_fsync = os.fsync


def _without_sync_of(kind: Callable[[int], bool]) -> Callable[[], None]:
    def install() -> None:
        os.fsync = lambda fd: None if kind(os.fstat(fd).st_mode) else _fsync(fd)

    return install


def _without_sync_of_commits() -> None:
    from hermetic.db import link

    link._SETTINGS = (("synchronous", "NORMAL", 1), *link._SETTINGS[1:])


WITHOUT: dict[str, Callable[[], None]] = {
    "syncs of files": _without_sync_of(stat.S_ISREG),
    "syncs of folders": _without_sync_of(stat.S_ISDIR),
    "syncs of commits": _without_sync_of_commits,
}
