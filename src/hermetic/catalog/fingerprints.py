"""Keyed fingerprints: HMACs of what was sealed, by which a scan recognises plaintext copies wherever they lie.

The HMACs are custody's (its key never comes here); equal content shows as equal, nothing else shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.catalog.values import Fingerprint
from hermetic.db import tables
from hermetic.errors import UsageError
from hermetic.ids import VersionId

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.db.rows import ReadSession, Session

SIZE = 32


def add(session: Session, fingerprints: Iterable[Fingerprint]) -> int:
    """Record fingerprints and return how many. Raises UsageError for digests of another length, Conflict for a member twice."""
    return session.insert_many(tables.fingerprint, (_row(item) for item in fingerprints))


def match(session: ReadSession, digests: Iterable[bytes]) -> list[Fingerprint]:
    """Return every recorded fingerprint whose content digest is among `digests`."""
    found: list[Fingerprint] = []
    for digest in dict.fromkeys(digests):
        found += [_fingerprint(row) for row in session.find(tables.fingerprint, digest_h=digest)]
    return found


def of_version(session: ReadSession, version_id: VersionId) -> list[Fingerprint]:
    """Return the fingerprints of a version's members."""
    return [_fingerprint(row) for row in session.find(tables.fingerprint, version_id=version_id)]


def _row(item: Fingerprint) -> dict[str, object]:
    if len(item.member_h) != SIZE or len(item.digest_h) != SIZE:
        raise UsageError(f"a fingerprint has two digests of {SIZE} bytes")
    return {"version_id": item.version_id, "member_h": item.member_h, "digest_h": item.digest_h}


def _fingerprint(row: dict[str, Any]) -> Fingerprint:
    return Fingerprint(VersionId(row["version_id"]), row["member_h"], row["digest_h"])
