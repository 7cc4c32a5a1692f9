"""Forks: SQLite connections must not be carried into a child process, not even to close them (sqlite.org/howtocorrupt.html, 2.6).

SQLite keeps the locks of a process in tables that a fork copies, so even a fresh connection in the child would believe in locks that
only the parent holds. Hence, before a fork: wait until no thread is in a transaction, then close every idle connection. Where
that cannot be (the forking thread is in a transaction, or another stays in one for too long) the child's copy refuses to work.

A `fork` followed by `exec` (subprocess) needs none of this and does not come here.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING

from hermetic.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.db.links import Link

WAIT_S = 5.0  # for transactions of other threads, before a fork

_abandoned: list[Link] = []  # held for ever, so that nothing closes them in the child


def abandon(link: Link) -> None:
    """Never touch or close this inherited connection."""
    _abandoned.append(link)


class Gate:
    """Counts who is inside, refuses a thread that already is, and holds everyone back around a fork."""

    def __init__(self, close_idle: Callable[[], None], forget: Callable[[], None]) -> None:
        """`close_idle` closes what no thread uses; `forget` drops, in a refused child, what its parent holds."""
        self._close_idle = close_idle
        self._forget = forget
        self._changed = threading.Condition(threading.Lock())
        self._inside: set[int] = set()
        self._pid = os.getpid()
        self._broken = False
        _gates.add(self)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Be inside for the length of the block. Raises UsageError when nested, or in a child of a fork that came at a bad time."""
        me = threading.get_ident()
        with self._changed:
            self.refuse_foreign()
            if me in self._inside:
                raise UsageError(
                    "a session of this database is open in this thread", hint="pass the session down instead of opening another"
                )
            self._inside.add(me)
        try:
            yield
        finally:
            if not self.foreign():
                with self._changed:
                    self._inside.discard(me)
                    self._changed.notify_all()

    def foreign(self) -> bool:
        """Whether this is a child that was born while its forking thread was inside."""
        return self._broken and self._pid != os.getpid()

    def refuse_foreign(self) -> None:
        """Raise UsageError in such a child."""
        if self._broken:
            raise UsageError(
                "this process was forked in the middle of a transaction and cannot use the database",
                hint="fork outside of `with database…`, or start workers with the spawn method",
            )

    def before(self) -> None:
        """Hold everyone back, wait for those inside, close what is idle."""
        self._changed.acquire()
        try:
            if threading.get_ident() not in self._inside:
                self._changed.wait_for(lambda: not self._inside, timeout=WAIT_S)
        finally:  # also when interrupted: Python forks all the same
            self._close_idle()

    def after_in_parent(self) -> None:
        """Let everyone in again."""
        self._changed.release()

    def after_in_child(self, *, prepared: bool) -> None:
        """Start anew, or refuse for good when someone was inside or `before` was not called."""
        self._broken = self._broken or bool(self._inside) or not prepared
        self._changed = threading.Condition(threading.Lock())
        if self._broken:
            self._forget()
        else:
            self._pid = os.getpid()


_gates: weakref.WeakSet[Gate] = weakref.WeakSet()
_held: list[Gate] = []


def _before() -> None:
    _held.clear()
    for gate in list(_gates):
        _held.append(gate)
        gate.before()


def _after_in_parent() -> None:
    for gate in _held:
        gate.after_in_parent()
    _held.clear()


def _after_in_child() -> None:
    for gate in list(_gates):
        gate.after_in_child(prepared=gate in _held)
    _held.clear()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
