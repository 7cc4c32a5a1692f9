"""What a transit key enforces, found out by trying what must be refused: for the conformance report.

Whatever a probe asks for is harmless if it is granted: an export is read and forgotten, and nothing is written or deleted.
"""

from __future__ import annotations

import os
import ssl
from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from hermetic.crypto.secret import Secret
from hermetic.errors import HermeticError, WrongKey
from hermetic.ids import id_from_bytes
from hermetic.keys.provider import RootId
from hermetic.providers import conformance, openbao_wrap
from hermetic.providers.conformance import Outcome, Probe, Protection
from hermetic.providers.openbao import OpenBaoRoot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.keys.provider import Provider
    from hermetic.providers.openbao_transit import TransitKey

_HYBRID: Final = (3, 5)  # the first OpenSSL that offers X25519MLKEM768


def probes(provider: Provider) -> Iterator[Probe]:
    """Try the server."""
    if not isinstance(provider, OpenBaoRoot):
        return
    key = provider.key
    yield _context(provider)
    yield _extraction(key)
    yield Probe(conformance.DELETION_WAIT, Outcome.NOT_ENFORCED, _deletion(key))
    yield _policy(key)
    yield Probe(
        conformance.ATTESTATION, Outcome.NOT_ENFORCED, "transit keys lie in the storage of the server, with no device to vouch"
    )
    yield _audit(key)


def protections(provider: Provider) -> Iterator[Protection]:
    """Name the algorithms."""
    yield Protection(
        "wrap", "AES-256-GCM under AES-256-GCM", lasts=True, how="hermetic.providers.openbao_wrap, and transit aes256-gcm96"
    )
    if isinstance(provider, OpenBaoRoot) and provider.key.session.client.server.scheme == "http":
        yield Protection("path", "none: plain http on this machine", lasts=None, how="setting `address`")
        return
    hybrid = ssl.OPENSSL_VERSION_INFO[:2] >= _HYBRID
    how = f"{ssl.OPENSSL_VERSION}; what passes is K of a wrap, which opens nothing without the wrap"
    yield Protection("path", "TLS 1.3", lasts=None if hybrid else False, how=how)


def neighbour(provider: Provider) -> Provider | None:
    """Return another root over the same transit key."""
    if not isinstance(provider, OpenBaoRoot):
        return None
    return OpenBaoRoot(provider.uri, replace(provider.place, root_id=RootId(id_from_bytes(os.urandom(16)))), provider.key)


def _context(provider: OpenBaoRoot) -> Probe:
    """Have the server itself decrypt with another context, past what is checked in this process."""
    wrap = openbao_wrap.decode(provider.wrap(Secret.random(32), b"here"))
    asked = {"ciphertext": wrap.ciphertext, "context": openbao_wrap.derivation(provider.root_id, b"elsewhere")}
    (result,) = provider.key.each("decrypt", [asked], "plaintext")
    if isinstance(result, WrongKey):
        return Probe(
            conformance.CONTEXT_IN_PROVIDER, Outcome.ENFORCED, "the server refused a wrap under another context", promised=True
        )
    if isinstance(result, HermeticError):
        return Probe(conformance.CONTEXT_IN_PROVIDER, Outcome.NOT_CHECKABLE, result.message)
    return Probe(
        conformance.CONTEXT_IN_PROVIDER, Outcome.NOT_ENFORCED, "the server opened a wrap under another context", promised=True
    )


def _extraction(key: TransitKey) -> Probe:
    name = conformance.EXTRACTION
    try:
        weak = key.check().weak
        answers = [key.session.call("GET", f"{key.mount}/{kind}/{key.name}") for kind in ("export/encryption-key", "backup")]
    except HermeticError as error:
        return Probe(name, Outcome.NOT_ENFORCED, error.message, promised=True)
    for given in (answer for answer in answers if answer.status == 200):
        key.session.uses.note("export", given.body.get("request_id"))
    if weak or any(answer.status == 200 for answer in answers):
        return Probe(name, Outcome.NOT_ENFORCED, "the server gave the key out", promised=True)
    how = "export and backup were refused; who may change the key's config may still allow them, which is looked for before each wrap"
    return Probe(name, Outcome.ENFORCED, how, promised=True)


def _deletion(key: TransitKey) -> str:
    info = key.check()
    now = "is allowed" if info.deletion_allowed else "has to be allowed first"
    return f"deleting the key {now}, and then takes effect at once; a soft delete can be called back and needs no leave"


def _policy(key: TransitKey) -> Probe:
    """Ask for a key that no policy should give, and that is not there. A login that may use it may use everything."""
    asked = {"ciphertext": "vault:v1:AAAA", "context": b64encode(bytes(32)).decode("ascii")}
    answer = key.session.call("POST", f"{key.mount}/decrypt/hermetic-probe-{id_from_bytes(os.urandom(16))}", asked)
    if answer.status == 403:
        return Probe(conformance.POLICY, Outcome.ENFORCED, "this login was denied another key of the same engine", promised=True)
    return Probe(conformance.POLICY, Outcome.NOT_ENFORCED, "this login may use other keys of the same engine as well")


def _audit(key: TransitKey) -> Probe:
    """Ask for the audit devices, which few logins may see. With one, the server answers nothing that it could not record."""
    answer = key.session.call("GET", "sys/audit")
    if answer.status == 200:
        outcome = Outcome.ENFORCED if answer.body.get("data") else Outcome.NOT_ENFORCED
        return Probe(conformance.AUDIT, outcome, f"the server lists {len(answer.body.get('data') or ())} audit devices")
    how = "this login may not see the audit devices; `bao audit list` tells"
    return Probe(conformance.AUDIT, Outcome.NOT_CHECKABLE, how)
