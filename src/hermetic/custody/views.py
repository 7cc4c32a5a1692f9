"""Catalogue values as the port's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.catalog.values import VersionState
from hermetic.errors import FormatError
from hermetic.formats import canonical
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.formats.dsse import parse_envelope
from hermetic.formats.manifest import ENVELOPE_LIMIT, parse_manifest
from hermetic.formats.messages.versions import Member, Opening
from hermetic.formats.suites import SUITES
from hermetic.ids import Purpose

if TYPE_CHECKING:
    from hermetic.catalog.values import Version
    from hermetic.formats.manifest import ManifestOpenings

OPENINGS_LIMIT = 65_536


def encode_openings(openings: ManifestOpenings) -> bytes:
    """Return what the version row keeps (sealed): canonical JSON of salts and values."""
    fields = {"name": openings.name, "class": openings.data_class, "writer": openings.writer}
    return canonical.encode({field: [to_base64url(item.salt), item.value] for field, item in fields.items()})


def openings_of(version: Version) -> tuple[Opening, ...]:
    """Return the openings of a published version's manifest; none once it is deleted."""
    if version.openings is None:
        return ()
    body: Any = canonical.decode(version.openings, limit=OPENINGS_LIMIT)
    return tuple(Opening(field, from_base64url(salt, length=32), value) for field, (salt, value) in sorted(body.items()))


def encode_details(
    before: Version, members: tuple[Member, ...], labels: tuple[tuple[str, ...], ...], suites: set[str]
) -> dict[str, Any]:
    """Return what the version row keeps (sealed): what the draft said, its members, labels and suites; no suites are not noted."""
    noted = {"suites": sorted(suites)} if suites and "" not in suites else {}
    return {
        **(before.details or {}),
        "members": [[item.path, item.index, item.length] for item in members],
        "labels": [list(label) for label in labels],
        **noted,
    }


def members_of(version: Version) -> tuple[Member, ...]:
    """Return a version's members in order of index."""
    stored = (version.details or {}).get("members", [])
    try:
        return tuple(Member(path, index, length) for path, index, length in stored)
    except (TypeError, ValueError):
        raise FormatError("the members of a version are not as they were written") from None


def purposes_of(version: Version) -> tuple[Purpose, ...] | None:
    """Return what a version may be used for, as recorded when it was sealed; None when that was not limited."""
    stored = (version.details or {}).get("purposes")
    return None if stored is None else tuple(Purpose(item) for item in stored)


def suites_of(version: Version) -> tuple[str, ...]:
    """Return the suites that the objects of a published version have; where none were noted, as in older versions, those that they may
    have: the ones with the digests that the manifest names. None for a draft, or a version that is deleted."""
    noted = (version.details or {}).get("suites")
    if noted is not None:
        return tuple(str(item) for item in noted)
    if version.state is not VersionState.PUBLISHED or version.manifest is None:
        return ()
    payload = parse_envelope(version.manifest, limit=ENVELOPE_LIMIT).payload
    digests = {item.algorithm for item in parse_manifest(payload).objects}
    return tuple(name for name, suite in SUITES.items() if suite.digest in digests)


def anew_of(version: Version) -> tuple[int, ...]:
    """Return the numbers of the earlier versions that this one holds sealed anew, as custody found when it was published."""
    return tuple(int(number) for number in (version.details or {}).get("anew", []))


def labels_of(version: Version) -> tuple[tuple[str, ...], ...]:
    """Return a version's labels."""
    return tuple(tuple(label) for label in (version.details or {}).get("labels", []))
