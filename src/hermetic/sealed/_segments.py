"""The segments of an object's payload: fetched into private memory, checked against their leaves, decrypted from that same memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.crypto.digests import digest
from hermetic.crypto.floe import FloeDecryptor
from hermetic.formats.suites import FLOE_HEADER, MIB
from hermetic.sealed import _spare
from hermetic.sealed._binding import PAYLOAD, associated_data, parameters
from hermetic.sealed._io import fetch_into

if TYPE_CHECKING:
    from hermetic.crypto.secret import Secret
    from hermetic.formats.suites import Suite
    from hermetic.sealed._parts import Parts
    from hermetic.stores.base import RangeSource

REQUEST_LIMIT = 8 * MIB  # bytes fetched at once, whatever a store would like


def decryptor(parts: Parts, key: Secret, label: bytes, floe_header: bytes) -> FloeDecryptor:
    """Return what opens a message of the object."""
    # 8. The key is the one that sealed it: the FLOE header commits to key and prefix.
    return FloeDecryptor(key, associated_data(label, parts.prefix), parameters(parts.layout.suite), floe_header)


def worth_a_request(source: RangeSource, suite: Suite) -> int:
    """Return how many segments to fetch at once."""
    return max(MIB, min(source.request_size, REQUEST_LIMIT)) // suite.plain_segment


class Segments:
    """All segments of one object. Safe to use from several threads.

    `step` is a segment's plaintext bytes, `last` the position of the last, `plain_length` the bytes of all, padding included, and
    `run` how many segments are worth one request to the store.
    """

    def __init__(self, source: RangeSource, parts: Parts, key: Secret) -> None:
        layout, self._suite, self._leaves, self._source = parts.layout, parts.layout.suite, parts.leaves, source
        self.step, self.last, self.plain_length = self._suite.plain_segment, layout.segments - 1, layout.plain_length
        self.run = worth_a_request(source, self._suite)
        self._body, self._stored_length = layout.prefix + FLOE_HEADER, layout.payload - FLOE_HEADER
        self._payload = decryptor(parts, key, PAYLOAD, parts.floe_header)

    def from_(self, first: int) -> int:
        """Return how many segments one request from `first` on gets."""
        return min(self.run, self.last + 1 - first)

    def plain_bytes(self, first: int, count: int) -> int:
        """Return the plaintext bytes of `count` segments, padding included."""
        return min(count * self.step, self.plain_length - first * self.step)

    def open(self, first: int, count: int, out: memoryview) -> int:
        """Decrypt at most `run` neighbouring segments into `out`; return the plaintext bytes. Raises IntegrityError, StorageError."""
        stored = self._suite.stored_segment
        start = first * stored
        length = min(count * stored, self._stored_length - start)
        scratch = _spare.take(length)
        fetch_into(self._source, self._body + start, scratch[:length])
        done = 0
        for index in range(count):
            segment = scratch[index * stored : min((index + 1) * stored, length)]
            self._leaves.check(first + index, digest(self._suite.digest, segment))
            done += self._payload.decrypt_into(first + index, segment, out[done:], is_final=first + index == self.last)
            segment.release()
        _spare.give(scratch)
        return done
