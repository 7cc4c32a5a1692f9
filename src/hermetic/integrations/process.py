"""Which domain hermetic:// means in this process: that of the run around the code, else that of the project, connected once."""

from __future__ import annotations

import atexit
import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.assets.current import open_run
from hermetic.assets.session import Session
from hermetic.domain.connect import connect
from hermetic.errors import HermeticError, NotFound
from hermetic.integrations.attached import Attached
from hermetic.integrations.listing import NoProject

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.assets.current import CurrentRun

_HOMES = ("HERMETIC_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "HERMETIC_URL")  # another home is another custody
_known: dict[tuple[int, object], Attached] = {}
_lock = threading.Lock()


def attached(project: str | None) -> Attached:
    """Return what this process uses: the session of the run around this code, else a connection to the project of `project` or here.

    Raises NotFound, Locked, and whatever else connecting raises.
    """
    run = open_run() if project is None else None
    if run is not None and run.session is not None:
        session = run.session
        found = _remembered((os.getpid(), id(session)), lambda: Attached(session))
        _forget_at_end(found, run)
        return found
    folder = str(Path.cwd() if project is None else Path(project).absolute())  # a relative one means another after a chdir
    homes = tuple(os.environ.get(name) for name in _HOMES)
    return _remembered((os.getpid(), (folder, homes)), lambda: _connected(project))


def _connected(project: str | None) -> Attached:
    try:
        connection = connect(None if project is None else Path(project))
    except NotFound as error:  # a file system would take it for a missing file
        hint = 'work in the project\'s folder, or name it: storage_options={"project": "/path"}, hermetic.connect("/path")'
        raise NoProject(error.message, hint=f"{hint}; {error.hint}" if error.hint else hint) from None
    found = Attached(Session(connection))
    atexit.register(_close_quietly, found, os.getpid())
    return found


def _close_quietly(found: Attached, pid: int) -> None:
    if os.getpid() == pid:
        with suppress(HermeticError):
            found.close()


def _remembered(key: tuple[int, object], make: Callable[[], Attached]) -> Attached:
    with _lock:
        if key not in _known:
            _known[key] = make()
        return _known[key]


def _forget_at_end(found: Attached, run: CurrentRun) -> None:
    """When the run's block ends, give back what was opened for it, and forget a session that was met through the run only."""

    def end() -> None:
        found.forget(run.run)
        with _lock:
            _known.pop((os.getpid(), id(found.session)), None)

    with _lock:
        if found not in run.visitors:
            run.visitors.append(found)
            run.ending.append(end)


def _start_over() -> None:
    """In a forked child: what the parent held is the parent's, and a lock that another thread of it held stays held for ever."""
    global _lock  # noqa: PLW0603 - one registry a process
    _lock = threading.Lock()
    _known.clear()


os.register_at_fork(after_in_child=_start_over)
