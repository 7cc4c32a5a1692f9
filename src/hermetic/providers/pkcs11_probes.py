"""What a token enforces, found out by trying: for the conformance report."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hermetic.ids import id_from_bytes
from hermetic.keys.provider import RootId
from hermetic.providers import conformance, pkcs11_keys
from hermetic.providers.conformance import Outcome, Probe, Protection
from hermetic.providers.pkcs11 import Pkcs11Root
from hermetic.providers.pkcs11_errors import KEPT_INSIDE
from hermetic.providers.pkcs11_module import library

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.keys.provider import Provider


def probes(provider: Provider) -> Iterator[Probe]:
    """Try to take the root out, in the two ways that PKCS#11 has, and say who checks the context."""
    if not isinstance(provider, Pkcs11Root):
        return
    encrypts, taken = provider.token.run(lambda session: _look(session, provider))
    how = f"the token gave {', '.join(taken)}" if taken else "the token refused to show the key, and to wrap it under itself"
    yield Probe(conformance.EXTRACTION, Outcome.NOT_ENFORCED if taken else Outcome.ENFORCED, how, promised=True)
    if encrypts:
        yield Probe(
            conformance.CONTEXT_IN_PROVIDER, Outcome.ENFORCED, "the token checks it, as associated data of AES-GCM", promised=True
        )
    else:
        how = "key wrap has no associated data: this process compares a digest of the context"
        yield Probe(conformance.CONTEXT_IN_PROVIDER, Outcome.NOT_ENFORCED, how)
    yield Probe(conformance.DELETION_WAIT, Outcome.NOT_ENFORCED, "C_DestroyObject deletes at once whatever the PIN may delete")
    yield Probe(conformance.POLICY, Outcome.NOT_ENFORCED, "whoever has the PIN may unwrap")
    yield Probe(conformance.ATTESTATION, Outcome.NOT_CHECKABLE, "PKCS#11 has no call for it; some makers have tools")
    yield Probe(conformance.AUDIT, Outcome.NOT_CHECKABLE, "PKCS#11 has no call for it; some tokens keep a log")


def neighbour(provider: Provider) -> Provider | None:
    """Return a root of another id over the same key of the token: it must refuse what this one wraps."""
    if not isinstance(provider, Pkcs11Root):
        return None
    other = RootId(id_from_bytes(os.urandom(16)))
    return Pkcs11Root(provider.uri, replace(provider.place, root_id=other), key=provider.root_id)


def protections(provider: Provider) -> Iterator[Protection]:
    """Name the algorithms: all of them symmetric."""
    del provider
    yield Protection("wrap", "AES-256 (GCM or key wrap)", lasts=True, how="hermetic.providers.pkcs11_wrapping")
    yield Protection("path", "the module's own", lasts=None, how="how a module reaches its device is its maker's matter")


def _look(session: Any, provider: Any) -> tuple[bool, tuple[str, ...]]:
    """Return whether the root encrypts, and by which ways it came out."""
    pykcs11 = library()
    key = pkcs11_keys.find(session, provider.token, provider.root_id)
    taken = [] if session.getAttributeValue(key.handle, [pykcs11.CKA_VALUE])[0] is None else ["its value"]
    for mechanism in (0x2109, 0x210A, 0x210B):
        try:
            session.wrapKey(key.handle, key.handle, pykcs11.Mechanism(mechanism))
        except pykcs11.PyKCS11Error as error:
            if error.value not in KEPT_INSIDE:
                raise
        else:
            taken.append(f"a wrap of it by mechanism 0x{mechanism:X}")
    return key.encrypts, tuple(taken)
