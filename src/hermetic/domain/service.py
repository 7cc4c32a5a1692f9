"""Custody for other machines (enforcement level `service`): the embedded port, asked in the names that certificates give.

A TLS library has seen that the peer has the private key of its certificate, and that it leads to one of the domain's authorities. For
each request custody looks again: whose credential it is, and whether it is good still. A request for keys comes with a signature by
the certificate's key over the key that they are to be sealed to (`formats.recipient_proof`): who ends TLS in between can neither
take the answer for itself nor ask in the caller's name.

A request that changes something may come with an idempotency key: it is done once, however often it is sent (`custody.repeating`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hermetic.audit.note import open_note
from hermetic.audit.tables_store import TablesStore
from hermetic.crypto import x509
from hermetic.crypto.possession import check_signed
from hermetic.custody import identities, repeating
from hermetic.custody.call import Vouched
from hermetic.domain.remote import AGAIN, SECRET
from hermetic.errors import FormatError, KeyServiceUnavailable, NotAuthenticated, SignatureError, Unsupported
from hermetic.formats import codec, recipient_proof
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.ids import Enforcement
from hermetic.keys.provider import ProviderState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.crypto.secret import Secret
    from hermetic.domain.local import LocalPort
    from hermetic.formats.messages.base import Request

NO_PROOF: Final = "a request for keys comes without proof that the key they are to be sealed to is the caller's"
WRONG_PROOF: Final = "the proof that the recipient's key is the caller's is wrong: somebody may stand in between"
RENEW: Final = 3  # a certificate is made anew when a third of its time is left


@dataclass(frozen=True, slots=True)
class Asked:
    """What a transport knows of a request: certificate (DER), address, and two headers, which come from whoever sent them."""

    certificate: bytes
    network: str | None
    proof: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Shown:
    """What the service shows, and whom it believes: certificate chain and private key in PEM, authorities in DER."""

    chain: bytes
    key: Secret = field(repr=False, compare=False)
    authorities: tuple[bytes, ...]
    renew_ms: int


class ServiceCustody:
    """Custody as a service for other machines answers with. Thread safe. The port is closed by whoever opened it."""

    def __init__(self, port: LocalPort) -> None:
        self._port, self._custodian = port, port.custodian
        self.domain = self._custodian.domain

    def account(self, certificate: bytes) -> str | None:
        """Return whose certificate this is, None for nobody whom the domain knows; it permits nothing. Raises HermeticError."""
        try:
            return identities.vouch_certificate(self._custodian, certificate)[0]
        except NotAuthenticated:
            return None

    def ask(self, asked: Asked, request: Request[Any], raw: bytes) -> bytes:
        """Answer a request, whose canonical bytes are `raw`, as a canonical message. Raises HermeticError."""
        caller = self._vouched(asked, request)
        if hasattr(request, "recipient"):
            self._check_recipient(caller, asked, request)
            return self._answer(caller, request)
        if asked.key is None or codec.name_of(type(request)) in AGAIN | SECRET:
            return self._answer(caller, request)
        return repeating.once(self._custodian, (caller.principal, asked.key), raw, lambda: self._answer(caller, request))

    def _answer(self, caller: Vouched, request: Request[Any]) -> bytes:
        return codec.encode(self._port.ask_as(caller, request))

    def _vouched(self, asked: Asked, request: Request[Any]) -> Vouched:
        try:
            principal, credential = identities.vouch_certificate(self._custodian, asked.certificate)
        except NotAuthenticated as error:
            nobody = f"certificate:{to_base64url(hashlib.sha256(asked.certificate).digest())}"
            self._port.refuse(Vouched(nobody, asked.network, None, Enforcement.SERVICE), request, error)
            raise
        return Vouched(principal, asked.network, credential, Enforcement.SERVICE)

    def _check_recipient(self, caller: Vouched, asked: Asked, request: Any) -> None:
        """Raise NotAuthenticated, on record, unless the key of the caller's certificate signed for the recipient."""
        if request.recipient is None:
            return  # custody refuses it
        try:
            _check_proof(self.domain, asked, request)
        except (SignatureError, FormatError, Unsupported):
            refused = NotAuthenticated(WRONG_PROOF)
        except NotAuthenticated as error:
            refused = error
        else:
            return
        self._port.refuse(caller, request, refused)
        raise refused

    def check_ready(self) -> None:
        """Raise HermeticError when database, log or every root cannot be reached, or the log lacks what this process saw durable."""
        custodian = self._custodian
        least = custodian.log.durable.size
        with custodian.database.read(custodian.row_keys) as session:
            found, note = custodian.log.head(TablesStore(session.connection))
            open_note(note, [custodian.log.verifier_key])
        if found.size < least:
            custodian.log.durable.check_size(found.size)
        states = [provider.status().state for provider in custodian.anchors.providers.values()]
        if ProviderState.READY not in states:
            raise KeyServiceUnavailable("no root of the domain can be reached", hint="run `hermetic status` where custody runs")

    def shown(self, names: Sequence[str], before: Shown | None = None) -> Shown:
        """Return what the service shows under `names`; `before` itself while nothing changed. Raises NotFound, HermeticError."""
        authorities = identities.trusted_authorities(self._custodian)
        if before is not None and self._custodian.clock() < before.renew_ms:
            if before.authorities == authorities:
                return before
            return Shown(before.chain, before.key, authorities, before.renew_ms)
        chain, key = identities.server_certificate(self._custodian, names)
        found = x509.parse(x509.certificates_in(chain)[0])
        return Shown(chain, key, authorities, found.end_ms - (found.end_ms - found.start_ms) // RENEW)


def _check_proof(domain: str, asked: Asked, request: Any) -> None:
    if asked.proof is None:
        raise NotAuthenticated(NO_PROOF, hint="the Hermetic-Recipient-Proof header (spec/port.md)")
    said = recipient_proof.statement(domain, request.request, recipient=request.recipient, certificate=asked.certificate)
    check_signed(asked.certificate, from_base64url(asked.proof), said)
