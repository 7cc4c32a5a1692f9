"""Which run code belongs to, without being told at every call.

    1. the run of the surrounding `with h.run(...)`, by context variable
    2. a thread that was started outside of any context (a reader thread of pyarrow) belongs to the only run open in the process
    3. HERMETIC_RUN, which `hermetic run` sets for its child, and an open block for the processes that are started inside it

With two runs open in one process, a thread of kind 2 cannot be told apart, and guessing would put its reads into the wrong lineage:
it is refused.

Here is also the count of what this process has published, by which others in it know that their memory is out of date; and what
it has read. Custody knows the reads of a run. What is written outside any run is made of what its process has read before, as far
as anybody can tell, and inherits their class.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermetic.errors import UsageError
from hermetic.ids import Environment, check_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.assets.session import Session

VARIABLE = "HERMETIC_RUN"


@dataclass(frozen=True, slots=True, eq=False)
class CurrentRun:
    """A run that is open in this process: its id, the domain that knows it, the session it was started on.

    `ending` are called when the block ends, before the run is ended on record: what `visitors` opened for the run is given back there.
    """

    run: str
    domain: str
    session: Session | None = None
    ending: list[Callable[[], None]] = field(default_factory=list)
    visitors: list[object] = field(default_factory=list)


_here: ContextVar[CurrentRun | None] = ContextVar("hermetic_run", default=None)
_open: list[CurrentRun] = []
_lock = threading.Lock()
_changes = 0
_read: dict[str, dict[str, tuple[str, Environment]]] = {}  # by domain: ids of versions that were read, and as what and where


@contextmanager
def entered(run: CurrentRun) -> Iterator[None]:
    """Make `run` the current one inside the block, also for processes that are started there."""
    token = _here.set(run)
    with _lock:
        _open.append(run)
        outside = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = run.run
    try:
        yield
    finally:
        with _lock:
            _open.remove(run)
            _set_variable(_open[-1].run if _open else outside)
        _here.reset(token)
        for call in run.ending:
            call()


def _set_variable(value: str | None) -> None:
    if value is None:
        os.environ.pop(VARIABLE, None)
    else:
        os.environ[VARIABLE] = value


def changes() -> int:
    """Return how often this process has changed what names mean; what was remembered at another count is out of date."""
    return _changes


def note_change() -> None:
    """Say that this process has just published or renamed something."""
    global _changes  # noqa: PLW0603 - one count a process is the whole point
    with _lock:
        _changes += 1


def note_read(domain: str, version: str, read_as: tuple[str, Environment]) -> None:
    """Say that this process has been given a version in plaintext, which was `kind/name@number` of an environment then.

    A forked child has what its parent had.
    """
    with _lock:
        known = _read.setdefault(domain, {})
        known.pop(version, None)  # the last to be read is the last in it
        known[version] = read_as


def note_renamed(domain: str, old: str, new: str) -> None:
    """Say that an asset has another name now."""
    with _lock:
        known = _read.setdefault(domain, {})
        for version, (ref, where) in known.items():
            if ref.rpartition("@")[0] == old:
                known[version] = (f"{new}@{ref.rpartition('@')[2]}", where)


def read_so_far(domain: str) -> tuple[str, ...]:
    """Return the ids of the versions that this process has read: names may come to mean something else meanwhile."""
    with _lock:
        return tuple(_read.get(domain, ()))


def read_as(domain: str, ref: str, environment: Environment | None) -> str | None:
    """Return the id of what this process has last read as `ref`, of an environment if one is given; None if it has read no such."""
    with _lock:
        known = _read.get(domain, {})
        found = [version for version, (name, where) in known.items() if name == ref and environment in {None, where}]
    return found[-1] if found else None


def open_run() -> CurrentRun | None:
    """Return the run that is open in this process around this code, None outside any. Raises UsageError when that cannot be told."""
    here = _here.get()
    if here is not None:
        return here
    with _lock:
        if len(_open) > 1:
            raise _ambiguous()
        return _open[0] if _open else None


def current_run(domain: str) -> str | None:
    """Return the id of the run that this code belongs to, None outside any. Raises UsageError when that cannot be told."""
    here = _here.get()
    if here is not None:
        return here.run if here.domain == domain else None
    with _lock:
        candidates = [item for item in _open if item.domain == domain]
    if len(candidates) > 1:
        raise _ambiguous()
    return candidates[0].run if candidates else inherited_run()


def inherited_run() -> str | None:
    """Return the run that this whole process belongs to, from HERMETIC_RUN. Raises InvalidName for anything but an id."""
    text = os.environ.get(VARIABLE)
    return check_id(text) if text else None


def _ambiguous() -> UsageError:
    return UsageError(
        "several runs are open in this process and this thread belongs to none of them",
        hint="pass run=, or start the thread with contextvars.copy_context()",
    )


def _start_over() -> None:
    """In a forked child: a lock that another thread of the parent held would stay held for ever."""
    global _lock  # noqa: PLW0603 - one list a process
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_start_over)
