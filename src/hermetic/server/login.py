"""The listener for logins: TLS 1.3 that asks for no certificate, and one message, `exchange-token` (spec/port.md section 4.3).

Whoever gets here may be anybody, so that everything is small: few connections, few threads, few bytes, a request a second for each
address, and no more in all than `IN_ALL` says. It has threads of its own: who floods it takes nothing from those with certificates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hermetic.domain.login_service import ANSWERED, LIMIT
from hermetic.server.http_app import Door, application
from hermetic.server.http_limits import Admission, Bucket, Limits, TooMany
from hermetic.server.http_server import HttpsServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fastapi import FastAPI

    from hermetic.domain.login_service import LoginCustody
    from hermetic.server.http_protocol import Peer
    from hermetic.telemetry.watching import Watch

IN_ALL: Final = (20.0, 60.0)  # requests a second, and a burst
LIMITS: Final = Limits(
    connections=64,
    unproven=32,
    unproven_of_address=8,
    of_principal=8,
    at_once=4,
    at_once_of_principal=2,
    rate=1.0,
    burst=10.0,
    head_s=5.0,
    body_s=5.0,
    read_s=5.0,
    idle_s=10.0,
    head_bytes=8 * 1024,
)


class LoginDoor(Door):
    """Takes one message; limits count by address."""

    answered, limit = ANSWERED, LIMIT

    def __init__(self, custody: LoginCustody, admission: Admission, workers: Any, watch: Watch) -> None:
        super().__init__(custody, admission, workers, watch)
        self._who = custody
        self._all: Bucket | None = None  # the event loop's clock is there once the first request is

    async def _account(self, peer: Peer) -> str:
        if peer.account is None:
            peer.account = self._admit(peer, self._who.network(peer.address))
        now = self._admission.now()
        self._all = self._all or Bucket(*IN_ALL, now)
        if self._all.wait(now):
            raise TooMany("rate", "custody takes no more logins now", status=503, after_s=1)
        return peer.account


class LoginServer(HttpsServer):
    """Listens at an address, beside the main listener. Used like `HttpsServer`."""

    certified = False

    def __init__(self, custody: LoginCustody, address: tuple[str, int], *, names: Sequence[str], watch: Watch | None = None) -> None:
        """Bind and listen. Raises StorageError, NotFound where the domain has no authority."""
        super().__init__(custody, address, names=names, limits=LIMITS, watch=watch)
        self._login = custody

    def app(self, clock: Callable[[], float]) -> FastAPI:
        """Return the ASGI application."""
        return application(LoginDoor(self._login, Admission(self.limits, clock), self._workers, self._watch))
