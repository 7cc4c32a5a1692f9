"""Bytes as text inside JSON (RFC 4648), read strictly: every byte string has exactly one spelling.

Hermetic's own documents use base64url without padding; DSSE envelopes use standard base64 with padding.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from hermetic.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Callable


def to_base64url(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(text: str, *, length: int | None = None) -> bytes:
    """Return the bytes. Raises FormatError for another alphabet, padding, loose bits, or another `length` in bytes."""
    data = _decode(text, lambda raw: base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True))
    if to_base64url(data) != text:
        raise FormatError("base64url is not in canonical form")
    if length is not None and len(data) != length:
        raise FormatError(f"expected {length} bytes as base64url, got {len(data)}")
    return data


def to_base64(data: bytes) -> str:
    """Return standard base64 with padding."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """Return the bytes. Raises FormatError for another alphabet, missing padding or loose bits."""
    data = _decode(text, lambda raw: base64.b64decode(raw, validate=True))
    if to_base64(data) != text:
        raise FormatError("base64 is not in canonical form")
    return data


def _decode(text: str, decoder: Callable[[bytes], bytes]) -> bytes:
    try:
        return decoder(text.encode("ascii"))
    except (UnicodeEncodeError, binascii.Error):
        raise FormatError("not base64") from None
