"""The port: the one way through which everything above asks custody (spec/port.md).

`ask` takes a request message and returns the answer that the request's class names, or raises from `hermetic.errors`.
`redeem` exchanges the handle in a lease for the key, once; in process it comes from a table, between processes it is unsealed
with the caller's private key. Nothing else crosses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret
    from hermetic.formats.messages.base import KeyBlob, Request

Answer = TypeVar("Answer")


class Port(Protocol):
    """What a connection to custody offers."""

    def ask(self, request: Request[Answer]) -> Answer:
        """Send a request, return its answer. Raises HermeticError of the kind that custody refused with."""

    def redeem(self, blob: KeyBlob) -> Secret:
        """Return the key behind a lease's blob; a second time raises LeaseEnded."""

    def close(self) -> None:
        """Let go of files and connections; leases taken through this port end."""
