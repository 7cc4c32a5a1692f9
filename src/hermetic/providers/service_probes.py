"""What the conformance report can find out about a root in a key service, without changing anything there."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from hermetic.crypto.secret import Secret
from hermetic.errors import HermeticError, IntegrityError
from hermetic.ids import id_from_bytes
from hermetic.keys.provider import RootId
from hermetic.providers import conformance
from hermetic.providers.conformance import Outcome, Probe, Protection
from hermetic.providers.key_service import KEY, KeyServiceRoot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.keys.provider import Provider

_BINDING = 48


def probes(provider: Provider) -> Iterator[Probe]:
    """Try whether the service itself refuses another context, and say what nobody can find out from here."""
    assert isinstance(provider, KeyServiceRoot)
    yield _context(provider)
    yield Probe(conformance.EXTRACTION, Outcome.NOT_CHECKABLE, provider.extraction)
    yield Probe(conformance.DELETION_WAIT, Outcome.NOT_CHECKABLE, provider.deletion)
    yield Probe(conformance.POLICY, Outcome.NOT_CHECKABLE, "only one caller is at hand; who else may is told by the service's policy")
    yield Probe(conformance.ATTESTATION, Outcome.NOT_CHECKABLE, "no statement of the service about where the key is was asked for")
    yield Probe(conformance.AUDIT, Outcome.NOT_CHECKABLE, "the record that the service keeps is not read from here")


def protections(provider: Provider) -> Iterator[Protection]:
    """Name the algorithms of the wrap, as the service names them, and of the way there."""
    assert isinstance(provider, KeyServiceRoot)
    algorithm, lasts = provider.algorithm()
    yield Protection("wrap", f"AES-256-GCM under a key under {algorithm}", lasts=lasts, how="hermetic.providers.key_service")
    how = "the SDK agrees on it with the service; who records it has the key of a wrap, and still lacks the wrap"
    yield Protection("path", "TLS", lasts=None, how=how)


def neighbour(provider: Provider) -> Provider:
    """Return another root with the same key of the service: it must refuse what this one wraps."""
    assert isinstance(provider, KeyServiceRoot)
    other = RootId(id_from_bytes(os.urandom(16)))
    return type(provider)(provider.uri, replace(provider.place, root_id=other))


def _context(provider: KeyServiceRoot) -> Probe:
    """Ask the service, below our own binding, for a key under another binding than it was wrapped with."""
    promised = provider.binds
    try:
        blob = provider.protected(Secret.random(KEY), bytes(_BINDING))
        provider.recovered(blob, b"\1" * _BINDING)
    except IntegrityError:
        return Probe(conformance.CONTEXT_IN_PROVIDER, Outcome.ENFORCED, "the service refused another context", promised)
    except HermeticError as error:
        return Probe(conformance.CONTEXT_IN_PROVIDER, Outcome.NOT_CHECKABLE, error.message)
    how = "the service opened under another context; AES-256-GCM in the caller's process binds it"
    return Probe(conformance.CONTEXT_IN_PROVIDER, Outcome.NOT_ENFORCED, how, promised)
