"""The embedded port: custody in this process, enforcement level `cooperative`.

The caller is the operating-system user of the process. Values pass without encoding; `hermetic.testing.codec_port` wraps this port
so that tests send every message through the codec.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from hermetic.access import identity
from hermetic.custody import denial, uses
from hermetic.custody.between import answer_between
from hermetic.custody.call import Call, Vouched
from hermetic.custody.decide import allowed_caller
from hermetic.custody.dispatch import answer
from hermetic.errors import Conflict, HermeticError, LeaseEnded, UsageError
from hermetic.formats.messages.backup import BackupState, TakeBackup
from hermetic.formats.messages.greeting import Hello
from hermetic.policy.request import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.crypto.secret import Secret
    from hermetic.custody.custodian import Custodian
    from hermetic.custody.outbox import Outbox
    from hermetic.domain.anchoring import AnchorCommand
    from hermetic.domain.backing import BackupKeeper
    from hermetic.formats.messages.base import KeyBlob, Request
    from hermetic.formats.messages.identity import CertificateIssued, ExchangeToken
    from hermetic.formats.messages.measures import Measured

Answer = TypeVar("Answer")


class LocalPort:
    """Custody in this process. Thread safe; useless in a forked child, which opens its own."""

    def __init__(self, custodian: Custodian, *, backup: BackupKeeper | None = None, anchor: AnchorCommand | None = None) -> None:
        self._custodian, self._backup, self._anchor = custodian, backup, anchor
        self._caller = identity.local_id(custodian.domain, os.geteuid())
        self._pid = os.getpid()
        self._anchored = custodian.commits
        self._lock, self._at_work = threading.Lock(), set[str]()
        self._used = 0

    def ask(self, request: Request[Answer]) -> Answer:
        """Answer a request. Raises HermeticError."""
        answers = self._take_backup if isinstance(request, TakeBackup) else answer
        return self._ask(Vouched(self._caller), request, answers)  # type: ignore[no-any-return]

    def ask_for(self, user: int, request: Request[Any]) -> Any:
        """Answer another process, of the operating-system user `user`. Raises as `ask_as`."""
        return self.ask_as(Vouched(identity.local_id(self._custodian.domain, user)), request)

    def ask_as(self, caller: Vouched, request: Request[Any]) -> Any:
        """Answer whom a transport vouches for, in another process: keys go sealed to the request's recipient. Raises HermeticError."""
        copy = isinstance(request, TakeBackup)
        with self._alone(getattr(request, "request", None) if hasattr(request, "recipient") else None):
            return self._ask(caller, request, self._backup_for if copy else answer_between)

    @contextmanager
    def _alone(self, request: str | None) -> Iterator[None]:
        """Refuse the id of a request that is at work: entries name it, and two at once look like a release without an intent."""
        if request is None:
            yield
            return
        with self._lock:
            if request in self._at_work:
                raise Conflict("a request with this id is at work", hint="give each request an id of its own")
            self._at_work.add(request)
        try:
            yield
        finally:
            with self._lock:
                self._at_work.discard(request)

    def knows(self, user: int) -> bool:
        """Whether the domain knows the operating-system user `user`. Nothing is permitted by it. Raises RowTampered."""
        with self._custodian.database.read(self._custodian.row_keys) as session:
            found = identity.find(session, identity.local_id(self._custodian.domain, user))
        return found is not None and found.active

    def _ask(self, caller: Vouched, request: Request[Any], answers: Callable[[Call], Any]) -> Any:
        if os.getpid() != self._pid:
            raise UsageError("custody was opened by the parent process", hint="connect again after fork")
        try:
            now_ms = self._custodian.clock()
            result = answers(self._call(caller, request, now_ms))
        except HermeticError:
            self._after(request)  # a refusal is an entry too
            raise
        self._after(request)
        return result

    def _call(self, caller: Vouched, request: Request[Any], now_ms: int) -> Call:
        return Call(
            self._custodian,
            caller.principal,
            request,
            now_ms,
            network=caller.network,
            credential=caller.credential,
            level=caller.enforcement,
        )

    def refuse(self, caller: Vouched, request: Request[Any], error: HermeticError) -> None:
        """Put on record that a transport refused a request before custody was asked. Raises HermeticError when it cannot be."""
        denial.note(self._call(caller, request, self._custodian.clock()), error)
        self._after(request)

    def exchange(self, caller: Vouched, request: ExchangeToken) -> CertificateIssued:
        """Answer somebody whom only a token names (`LoginCustody`). Raises HermeticError."""
        from hermetic.custody.token_exchange import exchange_token  # noqa: PLC0415 - for services that take tokens

        made: CertificateIssued = self._ask(caller, request, lambda call: exchange_token(call, request))
        return made

    @property
    def custodian(self) -> Custodian:
        """What the domain's own rooms work with."""
        return self._custodian

    def _backup_for(self, call: Call) -> BackupState:
        allowed_caller(call, Action.BACKUP)
        return self._take_backup(call)

    def _take_backup(self, _call: Call) -> BackupState:
        if self._backup is None:
            raise UsageError("this domain has no backup place", hint="name one in config.yaml: `backup: {place: DIR}`")
        return self._backup.take()

    def _after(self, request: Request[Any]) -> None:
        """What follows an answer cannot take it back: what fails here is remembered, and `status` tells it."""
        if not isinstance(request, Hello):  # until the pins agree, nothing is appended
            self.record_uses()
        if self._anchor is not None and self._anchored != self._custodian.commits:
            self._anchored = self._custodian.commits
            with suppress(HermeticError):
                self._anchor.give_newest()
        if self._backup is not None:
            with suppress(HermeticError):
                self._backup.after(request)

    def record_uses(self) -> None:
        """Log what services were asked and no unit of work took along; what cannot be logged now waits for the next time."""
        with suppress(HermeticError):
            self._used += uses.record(self._custodian)

    def measured(self) -> Measured:
        """Return figures for metrics, which whoever runs custody may have without asking the policy. Raises HermeticError."""
        from hermetic.custody import measuring  # noqa: PLC0415 - for services that are watched

        return measuring.gather(self._custodian, self._custodian.clock())

    @property
    def outbox(self) -> Outbox:
        """What this custody tells outside."""
        return self._custodian.outbox

    def redeem(self, blob: KeyBlob) -> Secret:
        """Return the key behind a handle, once. Raises LeaseEnded."""
        if blob.handle is None or blob.sealed is not None:
            raise LeaseEnded("an embedded port hands keys over by handle")
        return self._custodian.handles.take(blob.handle)

    def close(self) -> None:
        """Bring the copy up to date, wipe what was not collected, let go of the database."""
        if os.getpid() != self._pid:
            return
        self.record_uses()
        if self._backup is not None:
            self._backup.close(used=self._used > 0)
        self._custodian.close()
