"""FLOE: random-access authenticated encryption (c2sp.org/FLOE; ePrint 2025/2275), AES-256-GCM with HKDF-Expand-SHA-384.

A message is a 74-byte header and one or more segments. Every segment but the last has exactly `segment_length` bytes; the last has
32 bytes up to that, and is marked. Segments can be made and opened in any order and by several threads at once:

    header   parameters (10) || IV (32) || key-committing tag (32)
    segment  u32 0xFFFFFFFF, or the segment's own length if last || IV (12) || ciphertext || tag (16)

Invariants that callers keep, since random access cannot:

1. A position is encrypted once, and nothing is encrypted behind the final position.
2. A reader knows the authentic length of the message before it reads at random: the length is what tells truncation.
3. `is_final` is true exactly for the last position of that length.

Encrypting and decrypting go straight between the caller's buffers; nothing is copied here.
"""

from __future__ import annotations

import hmac
import os
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hermetic.crypto.kdf import hkdf_expand_sha384
from hermetic.errors import FormatError, IntegrityError, UsageError, WrongKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.crypto.secret import Secret

KEY = 32
HEADER = 74
OVERHEAD = 32  # bytes that a segment adds: length 4, IV 12, tag 16
MAX_SEGMENTS = 2**40  # AEAD_MAX_SEGMENTS for AES-GCM-256
_IV = 32
_MESSAGE_KEY = 48
_NOT_FINAL = 0xFFFFFFFF
_PARAMETERS = struct.Struct(">BBII")  # AEAD 0, KDF 0, segment length, IV length
_POSITION = struct.Struct(">Q?")
_SEGMENT_LENGTH = struct.Struct(">I")
_CACHED_KEYS = 4  # rotation epochs kept; one epoch is 2^20 segments


@dataclass(frozen=True, slots=True)
class FloeParameters:
    """`segment_length` is ENC_SEG_LEN, the length of a stored segment; keys change every 2^`rotation_mask` segments."""

    segment_length: int
    rotation_mask: int = 20

    def __post_init__(self) -> None:
        if not OVERHEAD < self.segment_length < 2**31 or not 0 <= self.rotation_mask <= 20:
            raise UsageError("FLOE segments have 33 bytes to 2 GiB, and keys rotate at least every 2^20 segments")

    @property
    def plain_segment(self) -> int:
        """Plaintext bytes of a segment that is not the last."""
        return self.segment_length - OVERHEAD

    def encode(self) -> bytes:
        """Return the 10 bytes PARAM_ENCODE."""
        return _PARAMETERS.pack(0, 0, self.segment_length, _IV)

    def segments(self, plain_length: int) -> int:
        """Return the number of segments of a plaintext."""
        return max(1, -(-plain_length // self.plain_segment))

    def message_length(self, plain_length: int) -> int:
        """Return the length of the message of a plaintext, header included."""
        return HEADER + plain_length + OVERHEAD * self.segments(plain_length)

    def plain_length(self, message_length: int) -> int:
        """Return the plaintext length of a message. Raises FormatError for a length that no message has."""
        segments = -(-(message_length - HEADER) // self.segment_length)
        plain = message_length - HEADER - OVERHEAD * segments
        if segments < 1 or plain < 0 or self.message_length(plain) != message_length:
            raise FormatError(f"no FLOE message with these parameters has {message_length} bytes")
        return plain


class _Keys:
    """The keys of one message; safe to use from several threads."""

    def __init__(self, key: Secret, aad: bytes, parameters: FloeParameters, iv: bytes) -> None:
        if len(key) != KEY:
            raise UsageError("a FLOE key has 32 bytes")
        self.parameters = parameters
        self._info = parameters.encode() + iv
        self._aad = aad
        tag = self._derive(key, b"HEADER_TAG:", 32)  # held by name: a Secret wipes itself, views included, when dropped
        self.header_tag = bytes(tag.view())
        self._message_key = self._derive(key, b"MESSAGE_KEY:", _MESSAGE_KEY)
        self._epochs: dict[int, AESGCM] = {}
        self._lock = threading.Lock()

    def _derive(self, key: Secret, purpose: bytes, length: int) -> Secret:
        return hkdf_expand_sha384(key, self._info + purpose + self._aad, length)

    def cipher(self, position: int) -> AESGCM:
        """Return the cipher for a segment; the few latest rotation epochs are kept."""
        if not 0 <= position < MAX_SEGMENTS:
            raise UsageError(f"FLOE has no segment {position}")
        epoch = position >> self.parameters.rotation_mask
        cipher = self._epochs.get(epoch)
        return self._new_epoch(epoch) if cipher is None else cipher

    def _new_epoch(self, epoch: int) -> AESGCM:
        masked = epoch << self.parameters.rotation_mask
        key = self._derive(self._message_key, b"DEK:" + masked.to_bytes(8, "big"), KEY)
        with self._lock:
            while len(self._epochs) >= _CACHED_KEYS:
                del self._epochs[next(iter(self._epochs))]
            return self._epochs.setdefault(epoch, AESGCM(key.view()))


class FloeEncryptor:
    """Starts a new message under `key`, bound to `aad`; `header` is to be stored in front of the segments.

    `deterministic_randomness_for_vectors` replaces the operating system's randomness; anything but making test vectors with it
    breaks the encryption.
    """

    def __init__(
        self,
        key: Secret,
        aad: bytes,
        parameters: FloeParameters,
        *,
        deterministic_randomness_for_vectors: Callable[[int], bytes] | None = None,
    ) -> None:
        self._random = deterministic_randomness_for_vectors or os.urandom
        iv = self._random(_IV)
        self._keys = _Keys(key, aad, parameters, iv)
        self.parameters = parameters
        self.header = parameters.encode() + iv + self._keys.header_tag

    def encrypt_into(self, position: int, plaintext: memoryview, out: memoryview, *, is_final: bool) -> int:
        """Write the segment into the start of `out` and return its length, `len(plaintext) + 32`.

        `plaintext` has exactly `plain_segment` bytes, or at most that many if final. Raises UsageError for other lengths. The
        buffers must not overlap.
        """
        limit = self.parameters.plain_segment
        length = plaintext.nbytes
        if length > limit or (length < limit and not is_final) or out.nbytes < length + OVERHEAD:
            raise UsageError("FLOE segment or output buffer of a wrong length")
        iv = self._random(12)
        _SEGMENT_LENGTH.pack_into(out, 0, length + OVERHEAD if is_final else _NOT_FINAL)
        out[4:16] = iv
        aad = _POSITION.pack(position, is_final)
        self._keys.cipher(position).encrypt_into(iv, plaintext, aad, out[16 : length + OVERHEAD])
        return length + OVERHEAD

    def message(self, plaintext: bytes | bytearray) -> bytes:
        """Return the whole message of a plaintext that fits in memory; for an encryptor that did nothing else."""
        parameters, message = self.parameters, bytearray(self.parameters.message_length(len(plaintext)))
        message[:HEADER] = self.header
        source, target, step = memoryview(plaintext), memoryview(message)[HEADER:], parameters.plain_segment
        last = parameters.segments(len(plaintext)) - 1
        for position in range(last + 1):
            part = source[position * step : (position + 1) * step]
            self.encrypt_into(position, part, target[position * parameters.segment_length :], is_final=position == last)
        return bytes(message)


class FloeDecryptor:
    """Opens a message. Raises WrongKey if key, `aad` and `header` do not belong together, FormatError for other parameters."""

    def __init__(self, key: Secret, aad: bytes, parameters: FloeParameters, header: bytes) -> None:
        if len(header) != HEADER:
            raise FormatError(f"a FLOE header has {HEADER} bytes")
        if header[:10] != parameters.encode():
            raise FormatError("FLOE header names other parameters than the suite")
        self._keys = _Keys(key, aad, parameters, header[10:42])
        if not hmac.compare_digest(self._keys.header_tag, header[42:]):
            raise WrongKey("this key did not seal these bytes, or they were sealed for another place")
        self.parameters = parameters

    def decrypt_into(self, position: int, segment: memoryview, out: memoryview, *, is_final: bool) -> int:
        """Write the plaintext into the start of `out` and return its length, `len(segment) - 32`.

        On failure that part of `out` is wiped, then FormatError or IntegrityError raised. The buffers must not overlap.
        """
        length = segment.nbytes
        plain = self._check_length(segment, length, is_final=is_final)
        if out.nbytes < plain:
            raise UsageError("output buffer is smaller than the segment's plaintext")
        target = out[:plain]
        aad = _POSITION.pack(position, is_final)
        try:
            self._keys.cipher(position).decrypt_into(segment[4:16], segment[16:], aad, target)
        except InvalidTag:
            target[:] = bytes(plain)
            raise IntegrityError(f"segment {position} was changed, moved or cut") from None
        return plain

    def _check_length(self, segment: memoryview, length: int, *, is_final: bool) -> int:
        full = self.parameters.segment_length
        if not (OVERHEAD <= length <= full if is_final else length == full):
            raise FormatError("FLOE segment of a wrong length")
        if _SEGMENT_LENGTH.unpack_from(segment)[0] != (length if is_final else _NOT_FINAL):
            raise FormatError("FLOE segment is final where it should not be, or the other way round")
        return length - OVERHEAD

    def message(self, message: bytes) -> bytes:
        """Return the plaintext of the whole message that began with this header. Raises FormatError or IntegrityError."""
        parameters, plaintext = self.parameters, bytearray(self.parameters.plain_length(len(message)))
        source, target, step = memoryview(message)[HEADER:], memoryview(plaintext), parameters.segment_length
        last = parameters.segments(len(plaintext)) - 1
        for position in range(last + 1):
            part = source[position * step : (position + 1) * step]
            self.decrypt_into(position, part, target[position * parameters.plain_segment :], is_final=position == last)
        return bytes(plaintext)


def encrypt_message(
    key: Secret,
    aad: bytes,
    parameters: FloeParameters,
    plaintext: bytes | bytearray,
    *,
    deterministic_randomness_for_vectors: Callable[[int], bytes] | None = None,
) -> bytes:
    """Return the whole message of a plaintext that fits in memory."""
    return FloeEncryptor(key, aad, parameters, deterministic_randomness_for_vectors=deterministic_randomness_for_vectors).message(
        plaintext
    )


def decrypt_message(key: Secret, aad: bytes, parameters: FloeParameters, message: bytes) -> bytes:
    """Return the plaintext of a whole message. Raises WrongKey, FormatError or IntegrityError."""
    return FloeDecryptor(key, aad, parameters, message[:HEADER]).message(message)
