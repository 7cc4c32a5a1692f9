"""One request on its way through custody: who asks, with what, when."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hermetic.crypto.mac import hmac_sha256
from hermetic.errors import HermeticError
from hermetic.formats.messages.base import Receipt, Request, request_hash

if TYPE_CHECKING:
    from hermetic.audit.receipts import Appended
    from hermetic.custody.custodian import Custodian
    from hermetic.ids import Enforcement

TRIES = 5  # times that a release starts again because something moved


class Moved(HermeticError):
    """Something that a decision relied on has changed since; the request starts again. Never leaves custody."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """What a transport says of who asks; nothing of it comes from a message.

    `principal` is the id that the domain knows them by: `os:DOMAIN:UID`, the URI of a certificate, `oidc:…`. `network` is the IP
    address they call from, None where there is none. `credential` is the id of the certificate or device that authenticated them,
    None where the kernel did: it may be revoked apart from the principal, and second factors are given to it. `enforcement` is how
    far the transport keeps custody from the caller, None for what the custodian says: one custodian may answer over several.
    """

    principal: str
    network: str | None = None
    credential: str | None = None
    enforcement: Enforcement | None = None


@dataclass(slots=True)
class Noted:
    """Whether the log has this request's refusal already, and the ids of the policies that permitted what was asked last."""

    refusal: bool = False
    policies: tuple[str, ...] = ()
    shown: tuple[object, int | None] | None = None  # session it was read in, and how long ago a second factor was shown (`factor_age`)


@dataclass(frozen=True, slots=True)
class Call:
    """`caller`, `network` and `credential` are what the transport vouches for (`Vouched`); step 1 of a release looks them up."""

    custodian: Custodian
    caller: str
    request: Request[Any]
    now_ms: int
    network: str | None = None
    credential: str | None = None
    level: Enforcement | None = None
    noted: Noted = field(default_factory=Noted)

    @property
    def enforcement(self) -> Enforcement:
        """The enforcement level of this request, which decisions and entries name."""
        return self.level or self.custodian.enforcement

    @property
    def request_hash(self) -> bytes:
        """What intents carry: HMAC-SHA-256(request key, what approvals sign).

        Keyed, since the log is for everybody: all of a request but names and paths stands beside it, so that they could be guessed.
        """
        return hmac_sha256(self.custodian.keys.request, request_hash(self.request))


def recipient_hash(recipient: bytes | None) -> bytes | None:
    """Return SHA-256 of the recipient's public key, which the intent names."""
    return None if recipient is None else hashlib.sha256(recipient).digest()


def receipt(generation: int, appended: Appended, which: int = 0) -> Receipt:
    """Return the receipt of the entry at position `which` of a unit that is durable."""
    proof = appended.receipt(which)
    return Receipt(generation=generation, index=proof.index, leaf=proof.leaf, proof=bytes(proof).decode("utf-8"))
