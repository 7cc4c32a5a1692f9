"""Custody as callers without a certificate have it: they exchange a token for one, and nothing else (`custody.token_exchange`)."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from hermetic.custody.call import Vouched
from hermetic.custody.token_exchange import LOGIN
from hermetic.errors import UsageError
from hermetic.formats import codec
from hermetic.formats.messages.identity import ExchangeToken
from hermetic.ids import Enforcement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.domain.local import LocalPort
    from hermetic.domain.service import Asked, ServiceCustody, Shown
    from hermetic.formats.messages.base import Request

ANSWERED = frozenset({codec.name_of(ExchangeToken)})
LIMIT = 48 * 1024  # bytes of a message: a token and a signing request, as base64url


class LoginCustody:
    """Answers the listener for logins. Thread safe. `service` shows the same certificate as the main listener."""

    def __init__(self, port: LocalPort, service: ServiceCustody) -> None:
        self._port, self._service = port, service

    def account(self, _certificate: bytes) -> None:
        """Whose certificate it is: nobody's, since nobody is asked for one."""

    def network(self, address: str) -> str:
        """Return whose limits count: of one address, or of one network of IPv6, where each caller has many."""
        found = ipaddress.ip_address(address)
        return str(found if found.version == 4 else ipaddress.ip_network((found, 64), strict=False))

    def ask(self, asked: Asked, request: Request[Any], _raw: bytes) -> bytes:
        """Answer as a canonical message. Raises HermeticError."""
        if not isinstance(request, ExchangeToken):
            raise UsageError("only tokens are exchanged here")
        return codec.encode(self._port.exchange(Vouched(LOGIN, asked.network, None, Enforcement.SERVICE), request))

    def check_ready(self) -> None:
        """Raise HermeticError when database, log or every root cannot be reached."""
        self._service.check_ready()

    def shown(self, names: Sequence[str], before: Shown | None = None) -> Shown:
        """Return what the service shows under `names`; `before` itself while nothing changed. Raises NotFound, HermeticError."""
        return self._service.shown(names, before)
