"""Which earlier versions of its asset a version holds, sealed anew: what its label claims, as far as custody bears it out.

A claim keeps the older version from being sealed anew after its key was stolen, so whoever may seal could make one up. It counts only
for an earlier version of the same asset, if this one was sealed for the purpose `recover` and both have the same files by keyed
fingerprint: names and contents, every one of them. Where custody holds no fingerprint of a file, nothing counts. It is judged once,
when the version is published, and kept in its row.

Fingerprints are of digests that writers report. So whoever may seal for recovery and knows the content can still lie about their own.
Digests go by a suite: of what is sealed anew with another, the writer reports both (`ObjectRecord.former`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from hermetic.catalog import fingerprints, versions
from hermetic.custody.views import members_of
from hermetic.formats.sealed_anew import claimed
from hermetic.ids import Purpose

if TYPE_CHECKING:
    from collections.abc import Collection

    from hermetic.catalog.values import Asset, Version
    from hermetic.db.rows import ReadSession

Contents: TypeAlias = "frozenset[tuple[bytes, bytes]]"
"""Name and content of every file, as keyed fingerprints."""


def borne_out(
    session: ReadSession, what: tuple[Asset, Version, int], labels: tuple[tuple[str, ...], ...], contents: Collection[Contents]
) -> tuple[int, ...]:
    """Return the numbers of the earlier versions that a draft, which gets a number now, claims to hold and does.

    `contents` are its files by the digests of its own suite, and by those of the other one. Raises RowTampered.
    """
    asset, draft, own = what
    if draft.purpose is not Purpose.RECOVER:
        return ()
    earlier = sorted(number for number in claimed(labels) if number < own)
    return tuple(number for number in earlier if contents_of(session, versions.by_number(session, asset, number)) in contents)


def contents_of(session: ReadSession, version: Version) -> Contents | None:
    """Return what custody holds of a version's files; None unless there is a fingerprint of each."""
    members = members_of(version)
    found = frozenset((item.member_h, item.digest_h) for item in fingerprints.of_version(session, version.id))
    return found if members and len(found) == len(members) else None
