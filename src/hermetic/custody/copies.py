"""Which versions have the same bytes: by keyed fingerprints, since equal digests would show what is sealed to whoever has the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.catalog import fingerprints, versions
from hermetic.catalog.values import VersionState
from hermetic.crypto import mac
from hermetic.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from hermetic.catalog.values import Version
    from hermetic.custody.custodian import Custodian
    from hermetic.db.rows import ReadSession
    from hermetic.ids import VersionId


def digest_handle(custodian: Custodian, digest: bytes) -> bytes:
    """Return the keyed fingerprint of a plaintext digest."""
    if len(digest) != 32:
        raise FormatError("a plaintext digest has 32 bytes")
    return mac.hmac_sha256(custodian.keys.fingerprint, b"hermetic/v1/fingerprint-content\n" + digest)


def strictest_copies(session: ReadSession, handles: Iterable[bytes], sees: Callable[[VersionId], bool]) -> dict[bytes, Version]:
    """Return for each known fingerprint its version of the strictest class; of those one not deleted, and of those the newest.

    Versions that are not there for who asks (`sees`) do not count.
    """
    found: dict[bytes, Version] = {}
    for item in fingerprints.match(session, handles):
        if not sees(item.version_id):
            continue
        version = versions.get(session, item.version_id)
        before = found.get(item.digest_h)
        if before is None or _weight(version) > _weight(before):
            found[item.digest_h] = version
    return found


def _weight(version: Version) -> tuple[int, bool, int, int]:
    return version.data_class.rank, version.state is VersionState.PUBLISHED, version.published_ms or 0, version.number or 0
