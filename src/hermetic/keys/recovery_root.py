r"""The public half of a recovery root: `root-<root id>.json`, in the custody home and in the backup place. Pure.

    {created_ms, domain, format: "hermetic/recovery-root/v1", holder: "shares" or "escrow", name, public, salt,
     shares: {count, mark, threshold} or null}                              canonical JSON
    the same, "hermetic/recovery-root/v2", with `authenticator` (`recovery_vouching`): what shares have since they bind their domain

Secrets are sealed to `public` (`crypto.hpke`); the private half is in nobody's memory until shares, or an escrow key, bring it.

Why the file needs no MAC. The provider's URI ends in the beginning of the file's own hash,

    recovery:HOLDER/ID      ID is the first 16 bytes of SHA-256("hermetic/v1/recovery-root" LF || the document), as every id is written

and that URI stands in the root's authenticated row and in the log entry that announced the root; `keys.roots` uses no provider whose
URI is another one. Whoever puts another public key into the file makes it the file of another URI, which is refused before anything
is sealed to it. `salt` (16 random bytes) makes the URI new even when one escrow key serves a domain twice.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, cast

from hermetic.crypto import hpke
from hermetic.crypto.mac import sha256
from hermetic.errors import FormatError, UsageError
from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.fields import Fields
from hermetic.ids import DomainId, id_from_bytes
from hermetic.keys import documents

Holder: TypeAlias = Literal["shares", "escrow"]

SCHEME: Final = "recovery"
FORMAT: Final = "hermetic/recovery-root/v1"
VOUCHED_FORMAT: Final = "hermetic/recovery-root/v2"
LIMIT: Final = 4096  # bytes of a document
NAME_LIMIT: Final = 200  # bytes of a name
_SALT: Final = 16
_LABEL: Final = b"hermetic/v1/recovery-root\n"
_MOST: Final = 16
_URI: Final = re.compile(r"recovery:(shares|escrow)/[a-z2-7]{26}")
_AUTHENTICATOR: Final = 32
_FIELDS: Final = {"created_ms", "domain", "format", "holder", "name", "public", "salt", "shares"}


@dataclass(frozen=True, slots=True)
class ShareSet:
    """How many shares there are, how many it takes, and the 15 bits that mark the set in their words."""

    count: int
    threshold: int
    mark: int


@dataclass(frozen=True, slots=True)
class RecoveryRootFile:
    """The parsed file. `name` is what people call the set of shares, or whoever holds the escrow key; `shares` is None for escrow.

    `authenticator` is None for escrow, and for shares that were made before there was one.
    """

    domain: DomainId
    holder: Holder
    name: str
    public: bytes
    salt: bytes
    created_ms: int
    shares: ShareSet | None
    authenticator: bytes | None = None

    @property
    def uri(self) -> str:
        """The provider's URI, which is bound to every byte of the document."""
        return f"{SCHEME}:{self.holder}/{id_from_bytes(sha256(_LABEL + self.encode())[:16])}"

    def opens_with(self) -> str:
        """Say in words what opens it."""
        if self.shares is None:
            return f"the escrow key of {self.name}"
        return f"{self.shares.threshold} of {self.shares.count} shares" + (f" of {self.name}" if self.name else "")

    def encode(self) -> bytes:
        """Return the canonical bytes."""
        shares = None if self.shares is None else _shares_to_json(self.shares)
        vouched = {} if self.authenticator is None else {"authenticator": to_base64url(self.authenticator)}
        return canonical.encode(
            {
                **vouched,
                "created_ms": self.created_ms,
                "domain": self.domain,
                "format": VOUCHED_FORMAT if vouched else FORMAT,
                "holder": self.holder,
                "name": self.name,
                "public": to_base64url(self.public),
                "salt": to_base64url(self.salt),
                "shares": shares,
            }
        )

    @classmethod
    def decode(cls, raw: bytes) -> RecoveryRootFile:
        """Read the file. Raises FormatError (anything `encode` would not write), Unsupported (a newer version)."""
        vouched = f'"format":"{VOUCHED_FORMAT}"'.encode() in raw
        fields, marker = (_FIELDS | {"authenticator"}, VOUCHED_FORMAT) if vouched else (_FIELDS, FORMAT)
        document = documents.parse(raw, marker, fields, limit=LIMIT)
        holder = document.text("holder", limit=16)
        shares = None if document.get("shares") is None else _shares(document.get("shares"))
        if holder not in {"shares", "escrow"} or (holder == "shares") != (shares is not None):
            raise FormatError("recovery root: it is held in shares, which are counted, or in escrow")
        return cls(
            domain=DomainId(document.identifier("domain")),
            holder=cast("Holder", holder),
            name=_name(document.text("name", limit=NAME_LIMIT)),
            public=document.binary("public", length=hpke.PUBLIC),
            salt=document.binary("salt", length=_SALT),
            created_ms=document.integer("created_ms", minimum=0, maximum=canonical.MAX_INTEGER),
            shares=shares,
            authenticator=document.binary("authenticator", length=_AUTHENTICATOR) if vouched else None,
        )


def holder_of(uri: str) -> Holder | None:
    """Return who holds the private key of a provider's URI: shares or escrow; None for the URI of any other provider."""
    found = _URI.fullmatch(uri)
    return None if found is None else cast("Holder", found[1])


def new(domain: DomainId, public: bytes, name: str, *, created_ms: int, shares: ShareSet | None = None) -> RecoveryRootFile:
    """Return the file of a new recovery root; without `shares` it is escrow, whose holder has a name.

    Raises FormatError for bytes that are no public key, UsageError for a name that will not do.
    """
    if shares is None and not name:
        raise UsageError("escrow names who holds the key", hint="--name WHO")
    try:
        _name(name)
    except FormatError as error:
        raise UsageError(error.message) from None
    holder: Holder = "escrow" if shares is None else "shares"
    return RecoveryRootFile(domain, holder, name, hpke.check_public(public), os.urandom(_SALT), created_ms, shares)


def _name(text: str) -> str:
    if len(text.encode("utf-8")) > NAME_LIMIT or not (text.isprintable() and text == text.strip()):
        raise FormatError(f"a name is one line of at most {NAME_LIMIT} bytes")
    return text


def _shares_to_json(shares: ShareSet) -> dict[str, int]:
    return {"count": shares.count, "mark": shares.mark, "threshold": shares.threshold}


def _shares(value: canonical.Json) -> ShareSet:
    fields = Fields(value, "shares", {"count", "mark", "threshold"})
    count = fields.integer("count", minimum=2, maximum=_MOST)
    threshold = fields.integer("threshold", minimum=2, maximum=count)
    return ShareSet(count, threshold, fields.integer("mark", minimum=0, maximum=2**15 - 1))
