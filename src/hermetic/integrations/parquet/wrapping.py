"""A Parquet key wrapped under one version of a column key, as text (spec/parquet-keys.md).

    HPK1.<domain>.<asset>.<version>.<number>.<file>.<base64url of nonce, ciphertext, tag>

Everything before the last dot is the associated data, after a label. `file` is a random id that the wraps of one file share. Example:
`HPK1.aaaa…a.bbbb…a.cccc…a.3.dddd…a.<80 letters>` is opened with version 3 of asset bbbb…a, whatever that is called by now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.crypto import aead
from hermetic.errors import FormatError, InvalidName, UsageError
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.ids import check_id

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret

MARKER = "HPK1"
LENGTHS = (16, 24, 32)  # bytes of an AES key
TEXT_LIMIT = 512
_LABEL = b"hermetic/v1/parquet-key\n"
_NUMBER_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Place:
    """Which version of which column key wraps, and for which file."""

    domain: str
    asset: str
    version: str
    number: int
    file: str

    def text(self) -> str:
        """Return what stands before the last dot."""
        return f"{MARKER}.{self.domain}.{self.asset}.{self.version}.{self.number}.{self.file}"


def wrap(key: Secret, parquet_key: bytes, place: Place) -> str:
    """Return the wrapped text. Raises UsageError for what is no AES key."""
    if len(parquet_key) not in LENGTHS:
        raise UsageError(f"a Parquet key has 16, 24 or 32 bytes, not {len(parquet_key)}")
    text = place.text()
    return f"{text}.{to_base64url(aead.seal(key, parquet_key, _LABEL + text.encode('ascii')))}"


def parse(wrapped: str) -> tuple[Place, bytes]:
    """Take a wrapped text apart: (place, sealed key). Raises FormatError for anything but the one spelling."""
    parts = wrapped.split(".") if len(wrapped) <= TEXT_LIMIT else []
    if len(parts) != 7 or parts[0] != MARKER:
        raise FormatError("no Parquet key wrapped by Hermetic", hint="its file was encrypted with another key service")
    *_, number, _, sealed = parts
    if not (number.isascii() and number.isdigit() and len(number) <= _NUMBER_DIGITS and number[0] != "0"):
        raise FormatError("the version of a wrapped Parquet key is no number")
    try:
        domain, asset, version, file = (check_id(parts[at]) for at in (1, 2, 3, 5))
    except InvalidName as error:
        raise FormatError(f"a wrapped Parquet key names {error.message}") from None
    return Place(domain, asset, version, int(number), file), from_base64url(sealed)


def unwrap(key: Secret, place: Place, sealed: bytes) -> bytes:
    """Return the Parquet key. Raises WrongKey when column key, place or bytes do not belong together; FormatError."""
    if len(sealed) - aead.OVERHEAD not in LENGTHS:
        raise FormatError("a wrapped Parquet key has another length")
    return aead.open_(key, sealed, _LABEL + place.text().encode("ascii"))
