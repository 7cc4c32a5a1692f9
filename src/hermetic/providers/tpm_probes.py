"""What a TPM enforces of a root, found out by trying: for the conformance report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.errors import HermeticError
from hermetic.providers import conformance
from hermetic.providers.conformance import Outcome, Probe, Protection
from hermetic.providers.tpm import TpmRoot
from hermetic.providers.tpm_device import BootChanged, run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.keys.provider import Provider


def probes(provider: Provider) -> Iterator[Probe]:
    """Ask the TPM for the root without saying how the machine was started, and say what it cannot enforce."""
    if not isinstance(provider, TpmRoot):
        return
    yield _policy(provider)
    root = provider.load_root()
    yield Probe(conformance.EXTRACTION, Outcome.NOT_ENFORCED, f"its {len(root)} bytes came into this process")
    for name, how in (
        (conformance.CONTEXT_IN_PROVIDER, "AES-256-GCM in the caller's process binds the context"),
        (conformance.DELETION_WAIT, "whoever may delete the root file, or clear the TPM, deletes the root at once"),
        (conformance.AUDIT, "a TPM keeps no record of what it unsealed"),
    ):
        yield Probe(name, Outcome.NOT_ENFORCED, how)
    yield Probe(conformance.ATTESTATION, Outcome.NOT_CHECKABLE, "the TPM could quote its registers; nothing here asks it to")


def protections(provider: Provider) -> Iterator[Protection]:
    """Name the algorithms."""
    del provider
    yield Protection("wrap", "AES-256-GCM", lasts=True, how="hermetic.providers.local_root")
    yield Protection("root at rest", "AES-128-CFB and HMAC under a seed of the TPM", lasts=True, how="TPM 2.0, protected storage")
    yield Protection("path", "AES-128-CFB, agreed by ECDH P-256", lasts=False, how="between this process and the TPM, on its bus")


def _policy(provider: Provider) -> Probe:
    """Unseal with a session that proves nothing."""
    assert isinstance(provider, TpmRoot)
    sealed = provider.sealed()
    try:
        run(provider.tcti, lambda tpm: tpm.unseal(sealed.private, sealed.public, None))
    except BootChanged:
        how = f"the TPM refused to unseal without {provider.selection}"
        return Probe(conformance.POLICY, Outcome.ENFORCED, how, promised=True)
    except HermeticError as error:
        return Probe(conformance.POLICY, Outcome.NOT_CHECKABLE, error.message)
    return Probe(conformance.POLICY, Outcome.NOT_ENFORCED, "the TPM unsealed without asking for the boot state", promised=True)
