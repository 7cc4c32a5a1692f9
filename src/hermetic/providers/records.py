"""Which record of its own each kind of provider keeps, and which of them can be read here: for `hermetic log reconcile`.

A backend whose answers name the service's id of each request (`keys.provider.ReportsUses`) has a reader here. The others have none,
for the reason that `KEPT` gives: nothing in their answers tells one entry of the record from another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hermetic.errors import Unsupported, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from hermetic.audit.recorded import Coverage, Recorded, Unreadable
    from hermetic.keys.provider import RootId

READ: Final = {
    "openbao": "files of the server's file audit device",
    "awskms": "AWS CloudTrail, as files (to the documented form; no live trail was read)",
}
KEPT: Final = {
    **READ,
    "gcpkms": "Cloud Audit Logs, Data Access, off until somebody switches them on; not compared: our log does not have their ids",
    "azurekv": "resource logs (AuditEvent), off until somebody switches them on; not compared: our log does not have their ids",
    "pkcs11": "what the maker of the device logs, if anything; not compared: PKCS#11 answers carry no id",
    "tpm": "none: a TPM keeps no record of unsealing",
    "local": "none: the root is opened in the process itself, which only our log tells",
    "recovery": "none: it seals without anybody's help, and opens nothing here",
}


def scheme_of(uri: str) -> str:
    """Return the scheme of a provider's URI."""
    return uri.partition(":")[0]


def reader(
    root: tuple[str, RootId], paths: Sequence[Path], coverage: Coverage, *, settings: Mapping[str, str]
) -> Iterable[Recorded | Unreadable]:
    """Return what reads the record of a root (URI, id); `settings` are its provider's. Raises Unsupported for one without a reader."""
    uri, root_id = root
    scheme = scheme_of(uri)
    if scheme == "openbao":
        from hermetic.providers.openbao import parse  # noqa: PLC0415 - which brings the network
        from hermetic.providers.openbao_record import AuditFiles  # noqa: PLC0415

        mount, key = parse(uri)
        return AuditFiles(paths, coverage, mount=mount, key=key, namespace=settings.get("namespace", ""))
    if scheme == "awskms":
        from hermetic.providers.awskms_key import KmsKey  # noqa: PLC0415
        from hermetic.providers.cloudtrail import Trail  # noqa: PLC0415

        return Trail(paths, coverage, name=KmsKey.parse(uri).name, root=root_id)
    if scheme not in KEPT:
        raise UsageError(f"unknown provider {scheme!r}")
    raise Unsupported(f"{uri} has no record to compare: {KEPT[scheme]}", hint="`hermetic log reconcile` lists what each root has")
