"""The tokens that signing keys live in (`keys.token_keys.TokenKeys`), by what config.yaml says of their URIs now.

Nothing is loaded, and nobody is asked for a PIN, before something is signed: a domain whose token is away opens, reads and verifies.
A key that waits to be deleted is tried by everybody who connects; so a token that was away then is left alone for a while.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NoReturn

from hermetic.errors import ConfigError, KeyServiceUnavailable, Unsupported, UsageError
from hermetic.keys.provider import RootId
from hermetic.keys.roots import AWAY_MS
from hermetic.providers.place import Place, boot_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hermetic.crypto.sign import Signer
    from hermetic.ids import DomainId
    from hermetic.providers.pkcs11_token import Token

SCHEME = "pkcs11"


class SigningTokens:
    """The tokens of one custody home."""

    def __init__(self, folder: Path, domain: DomainId, settings: Callable[[], Mapping[str, Mapping[str, str]]]) -> None:
        """`settings` reads what config.yaml says of providers, by URI."""
        self._folder, self._domain, self._settings = folder, domain, settings
        self._lock = threading.Lock()
        self._open: dict[str, tuple[Mapping[str, str], Token]] = {}
        self._again_ms: dict[str, int] = {}

    def check(self, uri: str) -> None:
        """Look whether URI and settings are such that a token could be opened. Raises UsageError, ConfigError, Unsupported."""
        self._token(uri)

    def make(self, uri: str, key_id: str) -> Signer:
        """Let a token generate a key."""
        from hermetic.providers import pkcs11_signer  # noqa: PLC0415 - of a token only

        return pkcs11_signer.generate(self._token(uri), key_id)

    def at(self, uri: str, key_id: str, public: bytes) -> Signer:
        """Return what signs with a key; the token is looked up when it does."""
        return _Key(self, (uri, key_id), public)

    def remove(self, uri: str, key_id: str) -> None:
        """Delete a key; of a token that was just away that is not tried."""
        from hermetic.providers import pkcs11_signer  # noqa: PLC0415 - of a token only

        if boot_ms() < self._again_ms.get(uri, 0):
            raise KeyServiceUnavailable(f"{uri} was not in reach a moment ago", hint="try again in half a minute")
        try:
            pkcs11_signer.remove(self.reached(uri), key_id)
        except KeyServiceUnavailable:
            self._again_ms[uri] = boot_ms() + AWAY_MS
            raise

    def reached(self, uri: str) -> Token:
        """Return the token of a key that exists. Raises KeyServiceUnavailable where its settings or its library are not here."""
        try:
            return self._token(uri)
        except (ConfigError, Unsupported, UsageError) as error:
            raise KeyServiceUnavailable(f"the signing key is in {uri}: {error.message}", hint=error.hint) from error

    def _token(self, uri: str) -> Token:
        """Return the token, opened anew when its settings changed. Raises UsageError, ConfigError, Unsupported."""
        if uri.partition(":")[0] != SCHEME:
            raise UsageError(f"{uri[:200]} holds no signing keys", hint="say pkcs11:token=LABEL;object=LABEL, or roots")
        from hermetic.providers.pkcs11_module import library  # noqa: PLC0415 - of a token only
        from hermetic.providers.pkcs11_token import Token  # noqa: PLC0415

        library()
        given = dict(self._settings().get(uri, {}))
        with self._lock:
            known = self._open.get(uri)
            if known is not None and known[0] == given:
                return known[1]
            place = Place(self._folder, self._domain, RootId(self._domain), settings=given)  # of no root
            token = Token(uri, place)
            self._open[uri] = (given, token)
            return token


class _Key:
    """A key by URI and id; see `SigningTokens.at`."""

    __slots__ = ("_tokens", "_where", "public")

    def __init__(self, tokens: SigningTokens, where: tuple[str, str], public: bytes) -> None:
        self._tokens, self._where, self.public = tokens, where, public

    def sign(self, data: bytes) -> bytes:
        """Return the signature, verified. Raises as `TokenSigner.sign`."""
        from hermetic.providers.pkcs11_signer import TokenSigner  # noqa: PLC0415 - of a token only

        uri, key_id = self._where
        return TokenSigner(self._tokens.reached(uri), key_id, self.public).sign(data)

    def __repr__(self) -> str:
        return f"<key {self._where[1]} in {self._where[0]}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise UsageError("a signing key cannot be pickled or copied")
