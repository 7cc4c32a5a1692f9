"""Signing keys that live in a token: generated there, used there, wrapped under no root.

The row of such a key holds, where other rows have their wraps, canonical {format, provider}: the URI of the token. There it goes by
the label of that URI and by its own id. No root, share, backup or escrow brings it back.

`Anchors.tokens` is what custody was given to reach tokens with; where there is none, such a key verifies and does not sign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from hermetic.errors import IntegrityError, KeyServiceUnavailable
from hermetic.formats import canonical
from hermetic.keys import documents
from hermetic.keys.domain_file import check_uri

if TYPE_CHECKING:
    from hermetic.crypto.sign import Signer

FORMAT: Final = "hermetic/token-key/v1"
LIMIT: Final = 2048
_HEAD: Final = b'{"format":"hermetic/token-key/'


class TokenKeys(Protocol):
    """Tokens that may hold signing keys, by URI. Methods raise Locked, KeyServiceUnavailable, IntegrityError, and as they say."""

    def make(self, uri: str, key_id: str) -> Signer:
        """Let a token generate a key. Raises Unsupported (it cannot), UsageError (no such kind), ConfigError (settings)."""

    def at(self, uri: str, key_id: str, public: bytes) -> Signer:
        """Return what signs with a key that has that public half; raises nothing before it signs."""

    def remove(self, uri: str, key_id: str) -> None:
        """Delete a key in a token, if it is there."""


class NoToken:
    """Stands for a key in a token where no token can be reached."""

    def __init__(self, uri: str, public: bytes) -> None:
        self._uri, self.public = uri, public

    def sign(self, data: bytes) -> bytes:
        """Raise KeyServiceUnavailable."""
        del data
        raise KeyServiceUnavailable(f"the signing key is in {self._uri}, which is not reached here", hint="sign where the token is")


def encode(uri: str) -> bytes:
    """Return what a row holds of a key in the token `uri`. Raises UsageError for a URI that is none."""
    return _document(check_uri(uri))


def home_in(raw: bytes) -> str:
    """Return the URI of the token that a row's key is in; "" for one with wraps, or with nothing. Raises FormatError, Unsupported."""
    if not raw.startswith(_HEAD):
        return ""
    uri = documents.parse(raw, FORMAT, {"format", "provider"}, limit=LIMIT).text("provider", limit=LIMIT)
    if _document(uri) != raw:
        raise IntegrityError("a signing key's token is not written as it has to be")
    return uri


def _document(uri: str) -> bytes:
    return canonical.encode({"format": FORMAT, "provider": uri})
