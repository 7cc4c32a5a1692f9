"""Signed notes (c2sp.org/signed-note) and checkpoints (c2sp.org/tlog-checkpoint), Ed25519. Pure.

    hermetic.log/<domain id>/<generation>      origin, also the name of the key
    70001                                      tree size
    <base64 of the 32-byte root>
                                               blank line
    — <key name> <base64(key id || signature)>

A key id is SHA-256(name LF type public key)[:4]. Type 0x01 signs the note text itself; type 0x04 is a witness's
cosignature (c2sp.org/tlog-cosignature), which signs `cosignature/v1`, a time and the text.
Lines by unknown keys are ignored; a bad line by a known key refuses the whole note. Extension lines are refused.
Parsing raises FormatError and nothing else, whatever the bytes; writing back what was parsed gives the same bytes.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.audit.tree import HASH, check_size
from hermetic.crypto import sign
from hermetic.errors import FormatError, InvalidName, SignatureError
from hermetic.formats.binary_text import from_base64, to_base64
from hermetic.ids import DomainId, check_id

if TYPE_CHECKING:
    from collections.abc import Iterable

ED25519 = 0x01
COSIGNATURE = 0x04
NOTE_LIMIT = 131_072  # bytes of a whole note: room for 16 post-quantum signatures
SIGNATURE_LIMIT = 64  # lines
NAME_LIMIT = 255  # UTF-8 bytes of a key name
ORIGIN_PREFIX = "hermetic.log"

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,15}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SPACE_OR_PLUS = re.compile(r"[\s+\x85]")
_KEY_ID = re.compile(r"[0-9a-f]{8}")


def decode_size(text: str, what: str = "tree size") -> int:
    """Read an ASCII decimal without leading zeros, below 2^53. Raises FormatError."""
    if not _DECIMAL.fullmatch(text) or not text.isascii():
        raise FormatError(f"{what} is not a plain decimal number")
    return check_size(int(text), what)


def check_key_name(name: str) -> str:
    """Return a key name of 1 to 255 bytes without spaces, plus signs or control characters. Raises FormatError."""
    if not name or _SPACE_OR_PLUS.search(name) or _CONTROL.search(name):
        raise FormatError("a key name is not empty and holds no spaces, plus signs or control characters")
    if len(_utf8(name)) > NAME_LIMIT:
        raise FormatError(f"a key name has at most {NAME_LIMIT} bytes")
    return name


@dataclass(frozen=True, slots=True)
class Origin:
    """Which log: a domain and its generation, counted from 1."""

    domain: DomainId
    generation: int

    def __post_init__(self) -> None:
        try:
            check_id(self.domain)
        except InvalidName:
            raise FormatError("the origin of a log names a domain id") from None
        if check_size(self.generation, "log generation") == 0:
            raise FormatError("log generations count from 1")

    def __str__(self) -> str:
        return f"{ORIGIN_PREFIX}/{self.domain}/{self.generation}"

    @classmethod
    def parse(cls, text: str) -> Origin:
        """Read `hermetic.log/<domain id>/<generation>`. Raises FormatError."""
        parts = text.split("/")
        if len(parts) != 3 or parts[0] != ORIGIN_PREFIX:
            raise FormatError("not the origin of a Hermetic log")
        return cls(DomainId(parts[1]), decode_size(parts[2], "log generation"))


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key as others know it: `<name>+<key id in hex>+<base64(type || public key)>`."""

    name: str
    public: bytes
    type: int = ED25519

    def __post_init__(self) -> None:
        check_key_name(self.name)
        if self.type not in {ED25519, COSIGNATURE} or len(self.public) != sign.PUBLIC:
            raise FormatError("a verifier key here is Ed25519 (type 1) or a cosigner's Ed25519 (type 4)")

    @property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA-256(name LF type public key)."""
        return hashlib.sha256(self.name.encode("utf-8") + b"\n" + bytes([self.type]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{to_base64(bytes([self.type]) + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """Read a verifier key. Raises FormatError, also when the key id does not belong to the key."""
        name, _, rest = text.partition("+")
        key_id, _, encoded = rest.partition("+")
        raw = from_base64(encoded)
        if not raw or not _KEY_ID.fullmatch(key_id):
            raise FormatError("a verifier key is NAME+HEX+BASE64")
        key = cls(name, raw[1:], raw[0])
        if key.key_id.hex() != key_id:
            raise FormatError("a verifier key's id does not belong to it")
        return key


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line; `blob` is what follows the key id."""

    name: str
    key_id: bytes
    blob: bytes

    def __str__(self) -> str:
        return f"— {self.name} {to_base64(self.key_id + self.blob)}\n"

    @classmethod
    def parse(cls, line: str) -> NoteSignature:
        """Read a line without its newline. Raises FormatError."""
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        raw = from_base64(encoded)
        if dash != "—" or len(raw) < 5:
            raise FormatError("a signature line is a dash, a key name and base64 of a key id and a signature")
        return cls(check_key_name(name), raw[:4], raw[4:])


@dataclass(frozen=True, slots=True)
class Note:
    """Text ending in a newline, and 1 to 64 signatures over it. Nothing in it is to be believed before `open_note`."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(map(str, self.signatures))

    def __bytes__(self) -> bytes:
        return str(self).encode("utf-8")

    @classmethod
    def parse(cls, raw: bytes) -> Note:
        """Read a note of at most 131,072 bytes. Raises FormatError."""
        if len(raw) > NOTE_LIMIT:
            raise FormatError(f"a note has at most {NOTE_LIMIT} bytes")
        try:
            whole = bytes(raw).decode("utf-8")
        except UnicodeDecodeError:
            raise FormatError("a note is UTF-8 text") from None
        text, blank, lines = whole.rpartition("\n\n")
        if not blank or not lines.endswith("\n") or _CONTROL.search(whole):
            raise FormatError("a note is text, a blank line and signature lines, without control characters")
        parts = lines[:-1].split("\n")
        if len(parts) > SIGNATURE_LIMIT:
            raise FormatError(f"a note has at most {SIGNATURE_LIMIT} signatures")
        return cls(text + "\n", tuple(NoteSignature.parse(line) for line in parts))


def sign_note(text: str, name: str, keys: Iterable[sign.SigningKey]) -> Note:
    """Sign a text that ends in a newline with one or more keys of one name (more than one only while a key changes)."""
    if not text.endswith("\n") or _CONTROL.search(text):
        raise FormatError("the text of a note ends in a newline and holds no control characters")
    message = _utf8(text)
    lines = [NoteSignature(name, VerifierKey(name, key.public).key_id, key.sign(message)) for key in keys]
    return Note(text, tuple(lines))


def open_note(note: Note, known: Iterable[VerifierKey]) -> list[VerifierKey]:
    """Return the known keys that signed the note, at least one.

    Raises SignatureError when no known key signed, or when a line by a known key does not verify.
    """
    by_id = {(key.name, key.key_id): key for key in known}
    signers = []
    for line in note.signatures:
        key = by_id.get((line.name, line.key_id))
        if key is not None:
            _verify_line(note.text, line, key)
            signers.append(key)
    if not signers:
        raise SignatureError("no known key signed this note", hint="check which log key is pinned for this domain")
    return signers


def open_checkpoint(note: Note, known: Iterable[VerifierKey]) -> Checkpoint:
    """Return the checkpoint in a note that a known key of its own log signed; witnesses and the keys of other logs are not enough.

    Raises SignatureError, FormatError.
    """
    signers = open_note(note, known)
    checkpoint = Checkpoint.parse(note.text)
    if not any(key.type == ED25519 and key.name == str(checkpoint.origin) for key in signers):
        raise SignatureError(
            "no known key of this log signed this checkpoint", hint="keys of another domain or generation, and witnesses, do not count"
        )
    return checkpoint


def cosignature_time(line: NoteSignature) -> int:
    """Return the Unix time in seconds that a cosignature states. Raises FormatError."""
    if len(line.blob) != 8 + sign.SIGNATURE:
        raise FormatError("a cosignature is 8 bytes of time and 64 of signature")
    return int.from_bytes(line.blob[:8], "big")


def _verify_line(text: str, line: NoteSignature, key: VerifierKey) -> None:
    message = _utf8(text)
    signature = line.blob
    if key.type == COSIGNATURE:
        message = f"cosignature/v1\ntime {cosignature_time(line)}\n".encode() + message
        signature = line.blob[8:]
    sign.verify(key.public, signature, message)


def _utf8(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise FormatError("not valid Unicode text") from None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a log: which, how many leaves, and the root over them."""

    origin: Origin
    size: int
    root: bytes

    def __post_init__(self) -> None:
        check_size(self.size)
        if len(self.root) != HASH:
            raise FormatError("a root has 32 bytes")

    @property
    def text(self) -> str:
        """The note text: origin, size and root, a line each."""
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read the text of a note. Raises FormatError."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise FormatError("a checkpoint is three lines: origin, size, root")
        return cls(Origin.parse(lines[0]), decode_size(lines[1]), from_base64(lines[2]))

    def sign(self, *keys: sign.SigningKey) -> Note:
        """Return the checkpoint as a note signed under its own origin as key name."""
        return sign_note(self.text, str(self.origin), keys)
