"""What is sealed: objects of ours, whose header and trailer must fit, and files that other tools encrypted."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from hermetic.errors import FormatError
from hermetic.formats.object_header import FIXED, MAGIC, parse_fixed, parse_prefix
from hermetic.formats.trailer import TRAILER, parse_trailer
from hermetic.gate.sniff.sample import Guess

if TYPE_CHECKING:
    from hermetic.gate.sniff.sample import Sample

DAMAGED = "damaged"  # format of what starts like a sealed object and is none

_MARKS: tuple[tuple[bytes, str], ...] = (
    (b"age-encryption.org/v1\n", "age"),
    (b"-----BEGIN AGE ENCRYPTED FILE-----", "age"),
    (b"-----BEGIN PGP MESSAGE-----", "openpgp"),
    (b"Salted__", "openssl-enc"),
    (b"U2FsdGVkX1", "openssl-enc"),
    (b"LUKS\xba\xbe", "luks"),
    (b"$ANSIBLE_VAULT;", "ansible-vault"),
    (b"\0GITCRYPT\0", "git-crypt"),
)
_FERNET = re.compile(rb"gAAAAA[A-Za-z0-9_-]{94,}={0,2}\s*")
_SEVEN_ZIP, _SEVEN_ZIP_AES = b"7z\xbc\xaf\x27\x1c", b"\x06\xf1\x07\x01"
_PUBLIC_KEY_ALGORITHMS = frozenset({1, 2, 3, 16, 18, 20, 25, 26, 35, 36})


def sealed_by_hermetic(sample: Sample) -> Guess | None:
    """Return `sealed` for a whole sealed object, `unknown` for something damaged that starts like one, or None. Raises OSError."""
    if not sample.head.startswith(MAGIC):
        return None
    try:
        length = FIXED.size + parse_fixed(sample.head[: FIXED.size])
        header = parse_prefix(sample.first(length))
        tail = sample.tail(TRAILER)
        if tail is None or sample.size is None:
            return Guess("sealed", DAMAGED, "unknown", "starts like a sealed object, but its end cannot be looked at here")
        parse_trailer(tail, sample.size)
    except FormatError as error:
        return Guess("sealed", DAMAGED, "unknown", f"starts like a sealed object and is none: {error}")
    return Guess("sealed", "hermetic", "sealed", f"sealed object {header.object} of version {header.version}")


def sealed_elsewhere(sample: Sample) -> Guess | None:
    """Return `sealed` for what age, OpenPGP, OpenSSL, LUKS and others encrypted, or None. Raises OSError."""
    head = sample.head
    for mark, tool in _MARKS:
        if head.startswith(mark):
            return _elsewhere(tool)
    if _FERNET.match(head) and _FERNET.fullmatch(head if sample.whole else head[:4096]):
        return _elsewhere("fernet")
    if head.startswith(_SEVEN_ZIP):
        return _seven_zip(sample)
    return _elsewhere("openpgp") if _is_openpgp(head) else None


def _elsewhere(tool: str) -> Guess:
    return Guess("sealed", tool, "sealed", f"encrypted with {tool}, not by Hermetic: no policy, record or lease protects it")


def _seven_zip(sample: Sample) -> Guess:
    if len(sample.head) >= 32:
        offset, size = struct.unpack_from("<QQ", sample.head, 12)
        if size <= 1 << 20 and _SEVEN_ZIP_AES in sample.at(32 + offset, size):
            return _elsewhere("7z")
    return Guess("archive", "7z", "unknown", "7z archive: not looked into")


def _is_openpgp(head: bytes) -> bool:
    """Tell a message that starts with an encrypted session key (RFC 9580 sections 4.2, 5.1, 5.3)."""
    packet = _packet(head)
    if packet is None:
        return False
    tag, length, body = packet
    if tag == 1 and len(body) > 10:  # to a public key
        old = body[0] == 3 and body[9] in _PUBLIC_KEY_ALGORITHMS
        return 12 < length < 4096 and (old or (body[0] == 6 and body[1] <= 33))
    if tag == 3 and len(body) > 4:  # to a passphrase
        return 4 <= length < 256 and body[0] in {4, 5, 6} and 0 < body[1] <= 13 and (body[0] != 4 or body[2] in {0, 1, 3, 4})
    return False


def _packet(head: bytes) -> tuple[int, int, bytes] | None:
    """Return tag, length and what is at hand of the first packet's body, or None for anything but a definite length."""
    if len(head) < 16 or not head[0] & 0x80:
        return None
    if not head[0] & 0x40:  # old format
        width = (1, 2, 4, 0)[head[0] & 3]
        return ((head[0] >> 2) & 15, int.from_bytes(head[1 : 1 + width], "big"), head[1 + width :]) if width else None
    if head[1] < 192:
        return head[0] & 63, head[1], head[2:]
    if head[1] < 224:
        return head[0] & 63, ((head[1] - 192) << 8) + head[2] + 192, head[3:]
    return None
