"""Which key signs which part of the log, and how one key hands over to the next. Pure.

The first leaf of a generation names its key. A leaf `log.key-changed` at index i names the old and the new key and carries
the old key's signature over `hermetic/v1/log-key-change LF origin LF i LF new key LF`. Checkpoints of at most i leaves are the old
key's, that of i + 1 leaves is both keys', those of more are the new key's. A generation that follows a restore is signed by
the last key of the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermetic.audit.note import VerifierKey
from hermetic.crypto import sign
from hermetic.errors import FormatError, LogTampered, SignatureError
from hermetic.formats.binary_text import from_base64url

if TYPE_CHECKING:
    from hermetic.audit.leaf import Leaf
    from hermetic.audit.note import Origin


def change_statement(origin: Origin, index: int, new: VerifierKey) -> bytes:
    """Return what the old key signs to hand over at leaf `index`."""
    return f"hermetic/v1/log-key-change\n{origin}\n{index}\n{new}\n".encode()


@dataclass(slots=True)
class KeyChain:
    """The keys of one generation, in order: `keys[n]` signs from size `starts[n]` on."""

    origin: Origin
    keys: list[VerifierKey] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)

    def begin(self, leaf: Leaf) -> None:
        """Take the first key from the first leaf. Raises LogTampered."""
        self.keys.append(_key_of(leaf, "key", self.origin))
        self.starts.append(1)

    def change(self, leaf: Leaf) -> None:
        """Take a handover. Raises LogTampered when the old key did not sign it."""
        old, new = _key_of(leaf, "old", self.origin), _key_of(leaf, "new", self.origin)
        if old != self.keys[-1]:
            raise LogTampered(f"log entry {leaf.index} changes a signing key that was not in force")
        try:
            signature = from_base64url(str(leaf.facts.get("signature")))
            sign.verify(old.public, signature, change_statement(self.origin, leaf.index, new))
        except (FormatError, SignatureError):
            raise LogTampered(f"log entry {leaf.index} changes the signing key without the old key's signature") from None
        self.keys.append(new)
        self.starts.append(leaf.index + 1)

    def signers_at(self, size: int) -> list[VerifierKey]:
        """Return the keys that must have signed a checkpoint of `size` leaves: one, or two where a key changed."""
        last = max(number for number, start in enumerate(self.starts) if start <= size)
        both = last > 0 and self.starts[last] == size
        return self.keys[last - 1 : last + 1] if both else [self.keys[last]]


def _key_of(leaf: Leaf, name: str, origin: Origin) -> VerifierKey:
    try:
        key = VerifierKey.parse(str(leaf.facts.get(name)))
    except FormatError:
        raise LogTampered(f"log entry {leaf.index} does not name a readable key") from None
    if key.name != str(origin):
        raise LogTampered(f"log entry {leaf.index} names a key of another log")
    return key
