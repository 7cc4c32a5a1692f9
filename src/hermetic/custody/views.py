"""Catalogue values as the port's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hermetic.errors import FormatError
from hermetic.formats import canonical
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.formats.messages.versions import Member, Opening
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


def encode_details(before: Version, members: tuple[Member, ...], labels: tuple[tuple[str, ...], ...]) -> dict[str, Any]:
    """Return what the version row keeps (sealed): what the draft said, its members and labels."""
    return {
        **(before.details or {}),
        "members": [[item.path, item.index, item.length] for item in members],
        "labels": [list(label) for label in labels],
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


def labels_of(version: Version) -> tuple[tuple[str, ...], ...]:
    """Return a version's labels."""
    return tuple(tuple(label) for label in (version.details or {}).get("labels", []))
