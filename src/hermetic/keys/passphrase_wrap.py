"""A secret under a passphrase: the file of a `local:passphrase` root, and the recovery wrap that backups carry.

    key         Argon2id(passphrase, salt, parameters)                           RFC 9106, 32 bytes
    wrapped     AES-256-GCM(HKDF(key, "passphrase-wrap"), secret), nonce in front
    associated  "hermetic/v1/passphrase-wrap" LF, then the canonical document without its field `wrapped`

    document    {argon2id: {iterations, lanes, memory_kib}, domain, format: "hermetic/passphrase-wrap/v1",
                 holds: "root" or "domain-secret", root, salt, use: "local-root" or "recovery", wrapped}

The passphrase wraps a random secret and never becomes one: it can be changed without touching anything that the secret protects.
Cost parameters have a floor, so that nobody can make the next guess cheap, and a ceiling, so that a hostile file cannot eat the
machine; both hold on reading too (`kdf.Argon2Parameters`). Passphrases are taken as bytes, exactly; no Unicode normalisation.
A wrong passphrase and a changed document cannot be told apart, and the error says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, cast

from hermetic.crypto import aead
from hermetic.crypto.kdf import Argon2Parameters, derive
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, UsageError, WrongKey
from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url
from hermetic.ids import DomainId
from hermetic.keys import documents
from hermetic.keys.provider import RootId
from hermetic.keys.stretching import costs_from_json, costs_to_json, stretched

Holds: TypeAlias = Literal["root", "domain-secret"]
Use: TypeAlias = Literal["local-root", "recovery"]

FORMAT: Final = "hermetic/passphrase-wrap/v1"
LIMIT: Final = 4096  # bytes of a document
MINIMUM: Final = 12  # bytes of a new passphrase
_SALT: Final = 16
_SECRET: Final = 32
_AAD: Final = b"hermetic/v1/passphrase-wrap\n"
_FIELDS: Final = {"argon2id", "domain", "format", "holds", "root", "salt", "use", "wrapped"}


@dataclass(frozen=True, slots=True)
class WrapSubject:
    """What the wrapped secret is: the root `root` of `domain`, or the domain secret (then `root` is the one it was read through)."""

    domain: DomainId
    root: RootId
    holds: Holds = "root"
    use: Use = "recovery"


@dataclass(frozen=True, slots=True)
class PassphraseWrap:
    """A parsed document, not yet opened."""

    subject: WrapSubject
    parameters: Argon2Parameters
    salt: bytes
    wrapped: bytes = field(repr=False)

    @classmethod
    def parse(cls, raw: bytes) -> PassphraseWrap:
        """Read a document. Raises FormatError (not canonical, over limits, costs out of range), Unsupported (newer version)."""
        document = documents.parse(raw, FORMAT, _FIELDS, limit=LIMIT)
        holds, use = document.text("holds", limit=32), document.text("use", limit=32)
        if holds not in {"root", "domain-secret"} or use not in {"local-root", "recovery"}:
            raise FormatError("passphrase wrap: holds or use is unknown")
        domain, root = DomainId(document.identifier("domain")), RootId(document.identifier("root"))
        subject = WrapSubject(domain, root, cast("Holds", holds), cast("Use", use))
        wrapped = document.binary("wrapped", length=aead.OVERHEAD + _SECRET)
        return cls(subject, costs_from_json(document.get("argon2id")), document.binary("salt", length=_SALT), wrapped)

    def open(self, passphrase: Secret) -> Secret:
        """Return the 32-byte secret. Raises WrongKey, with a hint, for another passphrase or a changed document."""
        head = _head(self.subject, self.parameters, self.salt)
        try:
            key = derive(stretched(passphrase, self.parameters, self.salt), "passphrase-wrap")
            return Secret(aead.open_(key, self.wrapped, _AAD + canonical.encode(head)))
        except WrongKey:
            if self.subject.use == "recovery":
                hint = "it is the one that was set for the backup, not that of the root; if it is right, the copy was changed"
                raise WrongKey(f"the recovery passphrase does not open root {self.subject.root} of the copy", hint=hint) from None
            raise WrongKey(
                f"the passphrase does not open root {self.subject.root}",
                hint="try again; if the passphrase is right, the file was changed: restore it from a backup",
            ) from None


def passphrase_wrap(secret: Secret, passphrase: Secret, subject: WrapSubject, parameters: Argon2Parameters | None = None) -> bytes:
    """Return the document. Raises UsageError for a secret that has not 32 bytes, or a passphrase under 12 or over 1,024 bytes."""
    if len(secret) != _SECRET:
        raise UsageError("a passphrase wraps a secret of 32 bytes")
    if len(passphrase) < MINIMUM:
        raise UsageError(
            f"a passphrase has at least {MINIMUM} bytes", hint="five or six random words are easy to keep and hard to guess"
        )
    parameters, salt = parameters or Argon2Parameters(), os.urandom(_SALT)
    head = _head(subject, parameters, salt)
    key = derive(stretched(passphrase, parameters, salt), "passphrase-wrap")
    wrapped = aead.seal(key, secret.view(), _AAD + canonical.encode(head))
    return canonical.encode({**head, "wrapped": to_base64url(wrapped)})


def recovery_wrap(secret: Secret, passphrase: Secret, subject: WrapSubject, parameters: Argon2Parameters | None = None) -> bytes:
    """Return the wrap under a recovery passphrase that a backup carries. `subject.use` must be `recovery`; raises UsageError."""
    if subject.use != "recovery":
        raise UsageError("a recovery wrap has the use `recovery`")
    return passphrase_wrap(secret, passphrase, subject, parameters)


def recovery_unwrap(raw: bytes, passphrase: Secret) -> tuple[WrapSubject, Secret]:
    """Return what a recovery wrap holds. Raises FormatError, Unsupported, WrongKey."""
    parsed = PassphraseWrap.parse(raw)
    if parsed.subject.use != "recovery":
        raise FormatError("not a recovery wrap but the file of a local root")
    return parsed.subject, parsed.open(passphrase)


def _head(subject: WrapSubject, parameters: Argon2Parameters, salt: bytes) -> dict[str, canonical.JsonValue]:
    return {
        "argon2id": costs_to_json(parameters),
        "domain": subject.domain,
        "format": FORMAT,
        "holds": subject.holds,
        "root": subject.root,
        "salt": to_base64url(salt),
        "use": subject.use,
    }
