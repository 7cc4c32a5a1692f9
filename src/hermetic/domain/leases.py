"""Data keys in a process's memory for a bounded time (DESIGN section 5).

Invariants:
1. A key is used only while its lease holds. Before a use that comes `check_ms` or more after the last confirmation, custody is asked.
2. Custody out of reach: the lease lives at most `offline_ms` after the last confirmation. Custody saying no ends it at once.
3. Time is CLOCK_BOOTTIME, which counts sleep and cannot be set back.
4. A forked child holds nothing: its first use asks custody for a lease of its own.

Example: check 5 s, offline 15 min. Confirmed at 0 s. A read at 3 s asks nobody; a read at 6 s asks; if the answer is "revoked" the
read raises LeaseEnded and the key is wiped; if custody does not answer, reads go on until 900 s and then raise LeaseEnded.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from hermetic.errors import HermeticError, KeyServiceUnavailable, LeaseEnded, StorageError
from hermetic.formats.messages.versions import CheckLeases, EndLeases

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.crypto.secret import Secret
    from hermetic.domain.port import Port
    from hermetic.formats.messages.versions import Lease

TOGETHER = 1000  # leases given back in one message


def boot_ms() -> int:
    """Return milliseconds since boot, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class LeasedKey:
    """One key under one lease. Thread safe."""

    def __init__(
        self,
        port: Port,
        lease: Lease,
        *,
        clock: Callable[[], int] = boot_ms,
        over: Callable[[LeasedKey], None] = lambda _: None,
    ) -> None:
        self._port, self._lease, self._clock, self._over = port, lease, clock, over
        self._secret: Secret | None = port.redeem(lease.key)
        self._confirmed = clock()
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._ended: str | None = None

    @property
    def lease(self) -> Lease:
        """The terms."""
        return self._lease

    def key(self) -> Secret:
        """Return the key after the check of `guard`."""
        self.guard()
        secret = self._secret
        if secret is None:
            raise LeaseEnded("the lease was given back")
        return secret

    def guard(self) -> None:
        """Confirm the lease when it is time. Raises LeaseEnded once it is over, or in a process that did not take it."""
        if os.getpid() != self._pid:
            raise LeaseEnded("this key was leased to the parent process", hint="open the asset again after fork")
        if self._ended is None and self._clock() - self._confirmed < self._lease.check_ms:
            return
        with self._lock:
            if self._ended is None and self._clock() - self._confirmed >= self._lease.check_ms:
                self._confirm()
        if self._ended is not None:
            raise LeaseEnded(f"the lease has ended: {self._ended}", hint="ask again; `hermetic policy explain` says why not")

    def _confirm(self) -> None:
        asked_at = self._clock()
        try:
            state = self._port.ask(CheckLeases((self._lease.id,))).states[0]
        except (KeyServiceUnavailable, StorageError):
            if self._clock() - self._confirmed >= self._lease.offline_ms:
                self._forget("custody was out of reach for too long")
            return
        except HermeticError as error:  # an answer, if a bad one: rows changed by hand, a domain that is another
            self._forget(error.message)
            raise
        if state.ended is not None:
            self._forget(state.ended)
        else:
            self._confirmed = asked_at

    def _forget(self, reason: str) -> None:
        self._ended = reason
        if self._secret is not None:
            self._secret.wipe()
            self._secret = None
        self._over(self)

    def end(self) -> None:
        """Wipe the key and give the lease back; a second call does nothing."""
        if self.wipe():
            self._port.ask(EndLeases((self._lease.id,)))

    def wipe(self) -> bool:
        """Wipe the key without telling custody; return whether there is a lease to give back."""
        if os.getpid() != self._pid:
            return False
        with self._lock:
            if self._ended is not None:
                return False
            self._forget("it was given back")
        return True


class LeaseHolder:
    """The leases a connection has taken; ends them together."""

    def __init__(self, port: Port, *, clock: Callable[[], int] = boot_ms) -> None:
        self._port, self._clock = port, clock
        self._held: set[LeasedKey] = set()

    def take(self, lease: Lease) -> LeasedKey:
        """Redeem a lease's key and hold it."""
        leased = LeasedKey(self._port, lease, clock=self._clock, over=self._held.discard)
        self._held.add(leased)
        return leased

    def end_all(self) -> None:
        """Wipe every key, then give the leases back, many in one message. Raises HermeticError once all keys are wiped."""
        held = [leased.lease.id for leased in list(self._held) if leased.wipe()]
        self._held.clear()
        for at in range(0, len(held), TOGETHER):
            self._port.ask(EndLeases(tuple(held[at : at + TOGETHER])))
