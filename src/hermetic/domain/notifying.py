"""Deliver notifications: what `custody.outbox` wrote, to the targets of config.yaml, at least once each.

A notification is claimed first: its try is counted and its next one dated, durably; then it is sent; once the target has taken it, it
is removed. So a process that is killed in between costs a repetition, and nothing is lost: receivers know repetitions by the id.
Tries are further and further apart, with jitter; after `TRIES` one is dead, which `status` tells. `again` revives it, and does not
wait for the next try of others.
What fails here delays and refuses nothing: whoever made the event has long had the answer.

A service runs `DeliveryThread`, which also marks requests whose time is over; elsewhere `hermetic request notify` calls `deliver`.
"""

from __future__ import annotations

import logging
import secrets
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hermetic.access import approvals
from hermetic.custody import denial
from hermetic.custody.outbox import DEAD, WAITING
from hermetic.db.identity_tables import notification
from hermetic.domain.notify_sending import Failed, Message, send
from hermetic.errors import Conflict, HermeticError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

    from hermetic.custody.custodian import Custodian
    from hermetic.db.rows import Session
    from hermetic.domain.notify_settings import Target

TRIES: Final = 15
FIRST_MS: Final = 30_000
LONGEST_MS: Final = 3_600_000
AT_ONCE: Final = 200
LOOK_S: Final = 15.0  # how often a service looks for what other processes wrote
_log = logging.getLogger("hermetic.notify")


@dataclass(slots=True)
class Delivered:
    """What a round did: taken by targets, failed and to be tried again, given up, dropped since their target is configured no more."""

    sent: int = 0
    failed: int = 0
    dead: int = 0
    dropped: int = 0
    waiting: int = 0


class Notifier:
    """Delivers for one domain."""

    def __init__(
        self,
        custodian: Custodian,
        targets: Mapping[str, Target],
        *,
        sending: Callable[[Target, Message], None] = send,
        count: Callable[[str], None] = lambda _outcome: None,
    ) -> None:
        """`count` is told what became of each try: sent, failed or dead."""
        self._custodian, self._targets, self._sending, self.count = custodian, targets, sending, count

    @property
    def configured(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._targets)

    def deliver(self, *, again: bool = False, stopping: threading.Event | None = None) -> Delivered:
        """Send what is due; with `again` all there is, the dead too. Raises StorageError, RowTampered; never for a target."""
        done = Delivered()
        if again:
            self._revive()
        for row in self._due():
            if stopping is not None and stopping.is_set():
                break
            self._one(row, done)
        with self._custodian.database.read(self._custodian.row_keys) as session:
            done.waiting = len(session.find(notification, state=WAITING))
        return done

    def sweep(self) -> None:
        """Mark requests whose time is over: who waits for one is told then, and not when somebody looks."""
        custodian = self._custodian
        now_ms = custodian.clock()
        with custodian.database.read(custodian.row_keys) as session:
            over = bool(approvals.overdue(session, now_ms))
        if over:
            denial.sweep(custodian, now_ms)

    def _due(self) -> list[dict[str, Any]]:
        now_ms = self._custodian.clock()
        column = notification.c
        with self._custodian.database.read(self._custodian.row_keys) as session:
            # one dated further ahead than any is was dated by a clock that was set back since
            waiting = (column.state == WAITING) & ((column.due_ms <= now_ms) | (column.due_ms > now_ms + 2 * LONGEST_MS))
            return list(session.scan(notification, waiting, order_by=(column.created_ms, column.id), limit=AT_ONCE))

    def _one(self, row: dict[str, Any], done: Delivered) -> None:
        target = self._targets.get(row["target"])
        if target is None:
            self._settle(row, row["revision"], remove=True)
            done.dropped += 1
            return
        claimed = self._claim(row)
        if claimed is None:
            return
        try:
            self._sending(target, Message(row["id"], row["kind"], row["created_ms"], row["about"]))
        except Failed as error:
            gone = claimed["tries"] >= TRIES
            if gone:
                self._settle(claimed, claimed["revision"], remove=False)
            _log.warning("notification %s: %s: %s", row["id"], row["target"], error)
            self._count(done, "dead" if gone else "failed")
            return
        self._settle(claimed, claimed["revision"], remove=True)
        self._count(done, "sent")

    def _count(self, done: Delivered, outcome: str) -> None:
        setattr(done, outcome, getattr(done, outcome) + 1)
        self.count(outcome)

    def _claim(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Count the try and date the next one; None when another process was faster."""
        tries = row["tries"] + 1
        with suppress(Conflict, NotFound), self._writing("domain.notification.claimed") as session:
            due_ms = self._custodian.clock() + _pause_ms(tries)
            return session.update(notification, row["id"], row["revision"], tries=tries, due_ms=due_ms)
        return None

    def _settle(self, row: dict[str, Any], revision: int, *, remove: bool) -> None:
        with suppress(Conflict, NotFound), self._writing("domain.notification.settled") as session:
            if remove:
                session.delete(notification, row["id"])
            else:
                session.update(notification, row["id"], revision, state=DEAD)

    def _writing(self, step: str) -> AbstractContextManager[Session]:
        return self._custodian.database.write(self._custodian.row_keys, step=step)

    def _revive(self) -> None:
        custodian = self._custodian
        with custodian.database.read(custodian.row_keys) as session:
            dead = session.find(notification, state=DEAD)
            later = [row for row in session.find(notification, state=WAITING) if row["due_ms"] > custodian.clock()]
        for row in (*dead, *later):
            tries = 0 if row["state"] == DEAD else row["tries"]
            with suppress(Conflict, NotFound), self._writing("domain.notification.revived") as session:
                session.update(notification, row["id"], row["revision"], state=WAITING, tries=tries, due_ms=custodian.clock())


def _pause_ms(tries: int) -> int:
    """Return how long to wait after this try: twice as long each time, up to an hour, less some at random."""
    longest = min(LONGEST_MS, FIRST_MS << min(tries - 1, 20))
    return longest // 2 + secrets.randbelow(longest // 2 + 1)


class DeliveryThread:
    """Delivers in the background of a service, until `stop`."""

    def __init__(self, notifier: Notifier, wake: threading.Event, *, look_s: float = LOOK_S) -> None:
        self._notifier, self._wake, self._look_s = notifier, wake, look_s
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="notifications", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is being sent now; the rest waits in the database."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                self._notifier.sweep()
                self._notifier.deliver(stopping=self._stopping)
            except HermeticError as error:  # a busy or full database: the rows are still there
                _log.warning("notifications: %s", error.message)
            if not self._stopping.is_set():
                self._wake.wait(self._look_s)
