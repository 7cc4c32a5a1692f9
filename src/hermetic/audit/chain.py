"""Which key signs which part of the log, and how one key hands over to the next. Pure.

The first leaf of a generation names its key. A leaf `log.key-changed` at index i names the old and the new key and carries
the old key's signature over `hermetic/v1/log-key-change LF origin LF i LF new key LF`. Checkpoints of at most i leaves are the old
key's, that of i + 1 leaves is both keys', those of more are the new key's. A generation that follows a restore is signed by
the last key of the one before.

Keys that sign manifests hand over likewise: a leaf `manifest.key-changed` names both keys by id and public part and carries the old
one's signature over `hermetic/v1/manifest-key-change LF domain LF old id LF new id LF base64url of the new public key LF`. A key that
was lost with its token signs for nothing: `manifest.key-replaced` says so, and no pin follows that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermetic.audit.note import VerifierKey
from hermetic.crypto import sign
from hermetic.errors import FormatError, LogTampered, SignatureError
from hermetic.formats.binary_text import from_base64url, to_base64url

if TYPE_CHECKING:
    from collections.abc import Iterable

    from hermetic.audit.leaf import Leaf
    from hermetic.audit.note import Origin
    from hermetic.crypto.sign import Signer
    from hermetic.formats.canonical import JsonValue

LOG_KEY_CHANGED = "log.key-changed"
MANIFEST_KEY_CHANGED = "manifest.key-changed"
MANIFEST_KEY_REPLACED = "manifest.key-replaced"
KEY_CHANGES = (LOG_KEY_CHANGED, MANIFEST_KEY_CHANGED, MANIFEST_KEY_REPLACED)


def change_statement(origin: Origin, index: int, new: VerifierKey) -> bytes:
    """Return what the old key signs to hand over at leaf `index`."""
    return f"hermetic/v1/log-key-change\n{origin}\n{index}\n{new}\n".encode()


@dataclass(frozen=True, slots=True)
class LogKeyChange:
    """A handover of the log at entry `index`: `old` signs checkpoints of at most `index` + 1 entries, `new` those from there on."""

    old: VerifierKey
    new: VerifierKey
    index: int

    @classmethod
    def of(cls, leaf: Leaf, origin: Origin) -> LogKeyChange:
        """Read a `log.key-changed` leaf. Raises LogTampered when the old key did not sign it."""
        old, new = _key_of(leaf, "old", origin), _key_of(leaf, "new", origin)
        try:
            signature = from_base64url(str(leaf.facts.get("signature")))
            sign.verify(old.public, signature, change_statement(origin, leaf.index, new))
        except (FormatError, SignatureError):
            raise LogTampered(f"log entry {leaf.index} changes the signing key without the old key's signature") from None
        return cls(old, new, leaf.index)


@dataclass(frozen=True, slots=True)
class ManifestKey:
    """A key that signs manifests, as others know it."""

    key_id: str
    public: bytes


@dataclass(frozen=True, slots=True)
class ManifestKeyChange:
    """One manifest key hands over to the next; or, not `signed`, another one takes its place."""

    old: ManifestKey
    new: ManifestKey
    signed: bool = True

    @classmethod
    def of(cls, leaf: Leaf, domain: str) -> ManifestKeyChange:
        """Read a `manifest.key-changed` leaf, or a `manifest.key-replaced` one. Raises LogTampered when the former is not signed."""
        try:
            old, new = _manifest_key(leaf, "old"), _manifest_key(leaf, "new")
            if leaf.kind == MANIFEST_KEY_REPLACED:
                return cls(old, new, signed=False)
            sign.verify(old.public, from_base64url(str(leaf.facts.get("signature"))), _manifest_statement(domain, old.key_id, new))
        except (FormatError, SignatureError):
            raise LogTampered(
                f"log entry {leaf.index} changes the key of manifests without the old key's signature",
                hint="run `hermetic log verify`, and trust no version signed since",
            ) from None
        return cls(old, new)


def manifest_change_facts(domain: str, old: tuple[str, Signer], new: ManifestKey) -> dict[str, JsonValue]:
    """Return what a `manifest.key-changed` entry says; `old` is the id of the key before and the key itself."""
    key_id, signing = old
    signature = signing.sign(_manifest_statement(domain, key_id, new))
    return {**manifest_replacement_facts(ManifestKey(key_id, signing.public), new), "signature": to_base64url(signature)}


def manifest_replacement_facts(old: ManifestKey, new: ManifestKey) -> dict[str, JsonValue]:
    """Return what a `manifest.key-replaced` entry says."""
    return {
        "old": old.key_id,
        "old_public": to_base64url(old.public),
        "new": new.key_id,
        "new_public": to_base64url(new.public),
    }


def _manifest_statement(domain: str, old_id: str, new: ManifestKey) -> bytes:
    return f"hermetic/v1/manifest-key-change\n{domain}\n{old_id}\n{new.key_id}\n{to_base64url(new.public)}\n".encode()


def _manifest_key(leaf: Leaf, name: str) -> ManifestKey:
    key_id, public = leaf.facts.get(name), leaf.facts.get(f"{name}_public")
    if not isinstance(key_id, str) or "\n" in key_id or not isinstance(public, str):
        raise FormatError("a manifest key is an id and a public key")
    return ManifestKey(key_id, from_base64url(public, length=sign.PUBLIC))


@dataclass(slots=True)
class KeyChain:
    """The keys of one generation, in order: `keys[n]` signs from size `starts[n]` on."""

    origin: Origin
    keys: list[VerifierKey] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    manifest: ManifestKey | None = None  # once a change has named one

    def begin(self, leaf: Leaf) -> None:
        """Take the first key from the first leaf. Raises LogTampered."""
        self.keys.append(_key_of(leaf, "key", self.origin))
        self.starts.append(1)

    def change(self, leaf: Leaf) -> None:
        """Take a handover. Raises LogTampered when the old key did not sign it."""
        if _key_of(leaf, "old", self.origin) != self.keys[-1]:
            raise LogTampered(f"log entry {leaf.index} changes a signing key that was not in force")
        self.keys.append(LogKeyChange.of(leaf, self.origin).new)
        self.starts.append(leaf.index + 1)

    def change_manifest(self, leaf: Leaf) -> None:
        """Take a change of the key of manifests. Raises LogTampered when it does not follow the one before."""
        change = ManifestKeyChange.of(leaf, str(self.origin.domain))
        if self.manifest is not None and change.old != self.manifest:
            raise LogTampered(f"log entry {leaf.index} changes a key of manifests that was not in force")
        self.manifest = change.new

    def signers_at(self, size: int) -> list[VerifierKey]:
        """Return the keys that must have signed a checkpoint of `size` leaves: one, or two where a key changed."""
        last = max(number for number, start in enumerate(self.starts) if start <= size)
        both = last > 0 and self.starts[last] == size
        return self.keys[last - 1 : last + 1] if both else [self.keys[last]]


def key_after(first: Leaf, changes: Iterable[Leaf], origin: Origin) -> VerifierKey:
    """Return the key in force in a generation with this first leaf and these changes of keys, in order. Raises LogTampered."""
    chain = KeyChain(origin)
    chain.begin(first)
    for leaf in changes:
        if (leaf.kind, leaf.generation) == (LOG_KEY_CHANGED, origin.generation):
            chain.change(leaf)
    return chain.keys[-1]


def _key_of(leaf: Leaf, name: str, origin: Origin) -> VerifierKey:
    try:
        key = VerifierKey.parse(str(leaf.facts.get(name)))
    except FormatError:
        raise LogTampered(f"log entry {leaf.index} does not name a readable key") from None
    if key.name != str(origin):
        raise LogTampered(f"log entry {leaf.index} names a key of another log")
    return key
