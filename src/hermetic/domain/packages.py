"""Packages at their two ends, apart from the bytes of objects: recipients' keys, and what must hold before a package is believed.

Whoever opens a package knows two things beforehand: the sender's signing key, which came by another way than the package, and the
own private key. Everything else is in the file and is verified: spec/package.md section 3, whose step numbers the code repeats.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.crypto.mac import check, sha256
from hermetic.crypto.secret import Secret
from hermetic.errors import Denied, FormatError, SignatureError
from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.fields import Fields
from hermetic.formats.manifest import ManifestOpenings
from hermetic.formats.package import PAYLOAD_TYPE, STATEMENT_LIMIT, parse_inside, parse_statement
from hermetic.ids import DomainId
from hermetic.signing import manifests
from hermetic.signing.envelopes import verify_envelope

if TYPE_CHECKING:
    from hermetic.crypto.hpke import PrivateKey
    from hermetic.domain.pinned import PinKeeper
    from hermetic.formats.manifest import Manifest
    from hermetic.formats.package import Head, Statement

SENDER_FORMAT = "hermetic/sender/v1"
SENDER_LIMIT = 65_536
_KEYS = 64  # signing keys of one domain, over the years


@dataclass(frozen=True, slots=True)
class Sender:
    """The domain that packages come from, and the keys that sign its manifests and packages (32 bytes each, by id)."""

    domain: DomainId
    keys: dict[str, bytes]

    @property
    def fingerprint(self) -> str:
        """What two people compare: 32 hexadecimal digits in eights."""
        digest = sha256(self.encode()).hex()[:32]
        return " ".join(digest[at : at + 8] for at in range(0, 32, 8))

    def encode(self) -> bytes:
        """Return the file that a recipient keeps."""
        keys = [{"id": name, "public": to_base64url(self.keys[name])} for name in sorted(self.keys)]
        return canonical.encode({"domain": self.domain, "format": SENDER_FORMAT, "keys": keys})

    @classmethod
    def decode(cls, raw: bytes) -> Sender:
        """Read the file. Raises FormatError."""
        fields = Fields(canonical.decode(raw, limit=SENDER_LIMIT), "sender", {"domain", "format", "keys"})
        fields.constant("format", SENDER_FORMAT)
        items = [Fields(item, "sender key", {"id", "public"}) for item in fields.items("keys", limit=_KEYS)]
        keys = {item.text("id", limit=200): item.binary("public", length=32) for item in items}
        found = cls(DomainId(fields.identifier("domain")), keys)
        if not keys or found.encode() != raw:
            raise FormatError("sender: no keys, keys not in order, or one twice")
        return found


@dataclass(frozen=True, slots=True)
class OpenedPackage:
    """A package whose every claim was verified: its statement, its manifest, and what opens it."""

    statement: Statement
    manifest: Manifest
    openings: ManifestOpenings
    key: Secret


def sender_of(pins: PinKeeper) -> Sender:
    """Return what recipients of this domain's packages need to know of it."""
    return Sender(DomainId(pins.pins.domain), pins.manifest_keys)


def open_head(head: Head, sender: Sender, private: PrivateKey, *, now_ms: int) -> OpenedPackage:
    """Verify a package's head and open the message to `private`.

    Raises SignatureError (not this sender's), IntegrityError, FormatError, Denied (for others, or its time is over), WrongKey.
    """
    # 1. The statement is signed by a key of the sender that is expected, and of its domain.
    envelope = verify_envelope(head.statement, PAYLOAD_TYPE, sender.keys, limit=2 * STATEMENT_LIMIT)
    statement = parse_statement(envelope.payload)
    if statement.domain != sender.domain:
        raise SignatureError("the package is signed for another domain than its sender's")
    # 2. Its time is not over.
    if now_ms >= statement.expires_ms:
        raise Denied("the time of this package is over", hint="ask the sender for another one")
    # 3. The manifest is the one named, signed by the sender, of the version named.
    check(statement.manifest, sha256(head.manifest), "the manifest in the package")
    manifest = manifests.verify_manifest(head.manifest, sender.keys)
    if (manifest.domain, manifest.version, manifest.number) != (statement.domain, statement.version, statement.number):
        raise SignatureError("the package's manifest is of another version than its statement says")
    # 4. There is a message to this key, it is the one named, and it opens.
    key, openings = parse_inside(bytes(_message(head, statement, private).view()))
    # 5. What it says of name, class and writer is what the manifest committed to.
    opened = ManifestOpenings(openings["name"], openings["class"], openings["writer"])
    return OpenedPackage(statement, manifest, manifests.check_openings(manifest, opened), Secret(key))


def _message(head: Head, statement: Statement, private: PrivateKey) -> Secret:
    to = sha256(private.public)
    if len(head.messages) != len(statement.messages):
        raise FormatError("the package has another number of messages than its statement names")
    for addressed, raw in zip(statement.messages, head.messages, strict=True):
        if addressed.to == to:
            check(addressed.digest, sha256(raw), "the message in the package")
            return private.open(raw, statement.info(to))
    raise Denied("this package is not for your key", hint="give the sender your public file, and compare its fingerprint")
