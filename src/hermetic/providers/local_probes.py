"""What local roots cannot enforce, found out by trying: for the conformance report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.errors import HermeticError
from hermetic.providers import conformance
from hermetic.providers.conformance import Outcome, Probe, Protection
from hermetic.providers.local_root import LocalRoot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.keys.provider import Provider

_KEPT = {
    "local:passphrase": "AES-256-GCM under Argon2id of the passphrase",
    "local:keyring": "the desktop's keyring",
    "local:insecure-file": "nothing: the file is plain",
}


def probes(provider: Provider) -> Iterator[Probe]:
    """Try to take the root out, and say what there is nobody to enforce."""
    yield _extraction(provider)
    for name, how in (
        (conformance.CONTEXT_IN_PROVIDER, "AES-256-GCM in the caller's process binds the context"),
        (conformance.DELETION_WAIT, "whoever may delete its file or entry deletes the root at once"),
        (conformance.POLICY, "every process of this user that finds the root open may unwrap with it"),
        (conformance.ATTESTATION, "there is no device that could vouch for where it is"),
        (conformance.AUDIT, "only Hermetic's own log records unwraps"),
    ):
        yield Probe(name, Outcome.NOT_ENFORCED, how)


def protections(provider: Provider) -> Iterator[Protection]:
    """Name the algorithms: all of them symmetric, and there is no path over a network."""
    yield Protection("wrap", "AES-256-GCM", lasts=True, how="hermetic.providers.local_root")
    kept = _KEPT.get(provider.uri, "unknown")
    lasts = {"local:passphrase": True, "local:insecure-file": False}.get(provider.uri)
    yield Protection("root at rest", kept, lasts=lasts, how="the root's own file or entry")
    yield Protection("path", "none: in one process", lasts=True, how="the root is used in the memory of the caller")


def _extraction(provider: Provider) -> Probe:
    if not isinstance(provider, LocalRoot):
        return Probe(conformance.EXTRACTION, Outcome.NOT_CHECKABLE, "it is no root of this machine")
    try:
        root = provider.load_root()
    except HermeticError as error:
        return Probe(conformance.EXTRACTION, Outcome.NOT_CHECKABLE, error.message)
    return Probe(conformance.EXTRACTION, Outcome.NOT_ENFORCED, f"its {len(root)} bytes came into this process")
