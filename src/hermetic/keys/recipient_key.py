"""A recipient's own key: HPKE's hybrid key pair (`crypto.hpke`), its seed under a passphrase in a file that only they have. Pure.

    key file    {argon2id, format: "hermetic/recipient-key/v1", name, public, salt, wrapped}
        key         Argon2id(passphrase, salt, parameters)
        wrapped     AES-256-GCM(derive(key, "recipient-key"), seed), nonce in front
        associated  "hermetic/v1/recipient-key" LF, then the canonical document without `wrapped`
    public file {format: "hermetic/recipient/v1", name, public}

Things are sealed to the public file: a domain's escrow, a package. Nothing vouches for it: whoever hands on another one gets what is
sealed. Two people compare the fingerprint by another way than the file came.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hermetic.crypto import aead, hpke
from hermetic.crypto.hpke import PrivateKey
from hermetic.crypto.kdf import Argon2Parameters, derive
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, UsageError, WrongKey
from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url
from hermetic.keys import documents
from hermetic.keys.passphrase_wrap import MINIMUM
from hermetic.keys.stretching import costs_from_json, costs_to_json, stretched

if TYPE_CHECKING:
    from hermetic.formats.canonical import JsonValue

FORMAT: Final = "hermetic/recipient-key/v1"
PUBLIC_FORMAT: Final = "hermetic/recipient/v1"
LIMIT: Final = 8192  # bytes of either file
NAME_LIMIT: Final = 200  # bytes of a name
_SALT: Final = 16
_AAD: Final = b"hermetic/v1/recipient-key\n"
_FIELDS: Final = {"argon2id", "format", "name", "public", "salt", "wrapped"}
_PUBLIC_FIELDS: Final = {"format", "name", "public"}


@dataclass(frozen=True, slots=True)
class Recipient:
    """The public half: what the holder calls themselves, and the key."""

    name: str
    public: bytes

    @property
    def fingerprint(self) -> str:
        """What two people compare."""
        return hpke.fingerprint(self.public)

    def encode(self) -> bytes:
        """Return the public file."""
        return canonical.encode({"format": PUBLIC_FORMAT, "name": self.name, "public": to_base64url(self.public)})

    @classmethod
    def decode(cls, raw: bytes) -> Recipient:
        """Read a public file. Raises FormatError, Unsupported (a newer version)."""
        document = documents.parse(raw, PUBLIC_FORMAT, _PUBLIC_FIELDS, limit=LIMIT)
        name = _checked(document.text("name", limit=NAME_LIMIT))
        return cls(name, hpke.check_public(document.binary("public", length=hpke.PUBLIC)))


def create(name: str, passphrase: Secret, parameters: Argon2Parameters | None = None) -> tuple[bytes, Recipient]:
    """Make a key; return its key file and its public half. Raises UsageError for a name or a passphrase that will not do."""
    if len(passphrase) < MINIMUM:
        raise UsageError(f"a passphrase has at least {MINIMUM} bytes", hint="five or six random words are easy to keep")
    try:
        _checked(name)
    except FormatError as error:
        raise UsageError(error.message, hint="--name WHO") from None
    private, salt = PrivateKey.generate(), os.urandom(_SALT)
    seed, costs = private.seed(), parameters or Argon2Parameters()
    head = _head(name, private.public, costs, salt)
    wrapped = aead.seal(derive(stretched(passphrase, costs, salt), "recipient-key"), seed.view(), _AAD + canonical.encode(head))
    private.wipe()
    return canonical.encode({**head, "wrapped": to_base64url(wrapped)}), Recipient(name, private.public)


def open_file(raw: bytes, passphrase: Secret) -> PrivateKey:
    """Open a key file. Raises FormatError, Unsupported, WrongKey for another passphrase or a changed file."""
    document = documents.parse(raw, FORMAT, _FIELDS, limit=LIMIT)
    public, salt = document.binary("public", length=hpke.PUBLIC), document.binary("salt", length=_SALT)
    costs = costs_from_json(document.get("argon2id"))
    head = _head(document.text("name", limit=NAME_LIMIT), public, costs, salt)
    wrapped = document.binary("wrapped", length=aead.OVERHEAD + hpke.SEED)
    try:
        seed = aead.open_(derive(stretched(passphrase, costs, salt), "recipient-key"), wrapped, _AAD + canonical.encode(head))
    except WrongKey:
        raise WrongKey(
            "the passphrase does not open this key",
            hint="try again; if the passphrase is right, the file was changed: take it from a copy",
        ) from None
    private = PrivateKey(Secret(seed))
    if private.public != public:
        raise WrongKey("the key file holds another key than it says", hint="take it from a copy")
    return private


def public_of(raw: bytes) -> Recipient:
    """Return the public half that a key file names; nothing vouches for it before `open_file`. Raises FormatError, Unsupported."""
    document = documents.parse(raw, FORMAT, _FIELDS, limit=LIMIT)
    public = hpke.check_public(document.binary("public", length=hpke.PUBLIC))
    return Recipient(_checked(document.text("name", limit=NAME_LIMIT)), public)


def _checked(name: str) -> str:
    if not name or len(name.encode("utf-8")) > NAME_LIMIT or not name.isprintable() or name != name.strip():
        raise FormatError(f"a recipient's name is one line of 1 to {NAME_LIMIT} bytes")
    return name


def _head(name: str, public: bytes, costs: Argon2Parameters, salt: bytes) -> dict[str, JsonValue]:
    return {
        "argon2id": costs_to_json(costs),
        "format": FORMAT,
        "name": name,
        "public": to_base64url(public),
        "salt": to_base64url(salt),
    }
