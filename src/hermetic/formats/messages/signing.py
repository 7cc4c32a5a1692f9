"""Keys that sign: the log's and that of manifests. List, rotate, schedule."""

from __future__ import annotations

from dataclasses import dataclass

from hermetic.formats.codec import message
from hermetic.formats.messages.base import Receipt, Request


@message("list-signing-keys")
@dataclass(frozen=True, slots=True)
class ListSigningKeys(Request["SigningKeyList"]):
    """Every signing key of the domain, old ones too."""


@dataclass(frozen=True, slots=True)
class SigningKeyRow:
    """A signing key: `use` is log or manifest, `roots` the provider URIs that hold it; of a destroyed one the public half is left.

    `home` is the URI of the token that it is in, alone; of one that signs no more, and has one, it is not deleted there yet.
    `doubtful_after` is the log entry, `generation/index`, after which its signatures may be somebody else's; empty if they are not.
    Owner, contact and schedule are those of the use.
    """

    key: str
    use: str
    algorithm: str
    public: bytes
    state: str
    created_ms: int
    roots: tuple[str, ...]
    owner: str
    contact: str
    rotate_after_days: int | None
    doubtful_after: str = ""
    home: str = ""


@message("signing-key-list")
@dataclass(frozen=True, slots=True)
class SigningKeyList:
    """Signing keys by use, oldest first."""

    keys: tuple[SigningKeyRow, ...]


@message("rotate-signing-key")
@dataclass(frozen=True, slots=True)
class RotateSigningKey(Request["SigningKeyChanged"]):
    """Give the log, or manifests, a new key, which the old one signs for; then the old private key is destroyed.

    `compromised_after` says that somebody else may have the old key, and may have used it after that entry of the log's present
    generation.

    `home` says where the new key of manifests is to live: `roots`, wrapped under every active root; the URI of a PKCS#11 token, which
    makes it; or, empty, where the one before does. `lost` lets the new key come into force though the old one's token is gone and
    cannot sign for it: pins elsewhere do not follow that by themselves.
    """

    use: str
    reason: str = ""
    compromised_after: int | None = None
    home: str = ""
    lost: bool = False


@message("change-signing-care")
@dataclass(frozen=True, slots=True)
class ChangeSigningCare(Request["SigningKeyChanged"]):
    """Set owner, emergency contact and schedule of the keys of one use; None leaves one as it is, 0 days mean never by time."""

    use: str
    owner: str | None = None
    contact: str | None = None
    rotate_after_days: int | None = None
    reason: str = ""


@message("signing-key-changed")
@dataclass(frozen=True, slots=True)
class SigningKeyChanged:
    """The key in force, and the one before if it was changed. The receipt is of the entry by which that one handed over.

    `unsigned` says that it could not: whoever pins the key before has to be told of the new one.
    """

    key: SigningKeyRow
    before: SigningKeyRow | None
    receipt: Receipt
    unsigned: bool = False
