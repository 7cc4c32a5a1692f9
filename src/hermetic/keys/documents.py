"""Opening the small canonical JSON documents of this room: marker first, then exactly the known fields."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from hermetic.errors import FormatError, Unsupported
from hermetic.formats import canonical
from hermetic.formats.binary_text import from_base64url
from hermetic.formats.fields import Fields
from hermetic.keys.provider import WRAPPED_LIMIT

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_OURS: Final = re.compile(r"hermetic/[a-z-]{1,40}/v[0-9]{1,3}")  # said in a hint, so nothing else gets there


def parse(raw: bytes, marker: str, names: AbstractSet[str], *, limit: int) -> Fields:
    """Return the fields of a document whose `format` is `marker`, such as `hermetic/domain/v1`.

    Raises FormatError for other bytes, and Unsupported when only the version, what follows the last `/`, is another one.
    """
    value = canonical.decode(raw, limit=limit)
    found = value.get("format") if isinstance(value, dict) else None
    kind = marker.rpartition("/")[0]
    if isinstance(found, str) and found != marker and found.rpartition("/")[0] == kind:
        raise Unsupported(f"{kind}: this release reads {marker}, not {found[:64]}", hint="use the release that wrote it")
    if found != marker:
        hint = f"it says that it is a {found}: give another file" if isinstance(found, str) and _OURS.fullmatch(found) else None
        raise FormatError(f"not a document of the format {marker}", hint=hint)
    return Fields(value, kind, names)


def wrapped(fields: Fields, name: str = "wrapped") -> bytes:
    """Return what a provider made, 1 to 16,384 bytes. Raises FormatError."""
    raw = from_base64url(fields.text(name, limit=WRAPPED_LIMIT * 4 // 3 + 4))
    if not 0 < len(raw) <= WRAPPED_LIMIT:
        raise FormatError(f"a wrap has 1 to {WRAPPED_LIMIT} bytes")
    return raw
