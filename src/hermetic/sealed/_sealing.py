"""The part that both writers share: seal a unit at its place, and finish an object.

A unit is 1 MiB of plaintext: one segment of a 1M suite, sixteen of a 64K suite. It is read, encrypted, digested and written while it
lies in the processor's second-level cache.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.crypto.digests import digest
from hermetic.crypto.floe import FloeEncryptor
from hermetic.errors import StorageError, UsageError
from hermetic.formats.leaf_table import LeafTable
from hermetic.formats.manifest import ManifestObject
from hermetic.formats.suites import FLOE_HEADER, MAX_SEGMENTS, MIB
from hermetic.formats.trailer import Layout
from hermetic.sealed._binding import METADATA, PAYLOAD, associated_data, object_root, parameters
from hermetic.sealed.content import PIECE, ContentDigest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.crypto.secret import Secret
    from hermetic.formats.object_header import ObjectHeader
    from hermetic.stores.base import Output

UNIT = MIB


@dataclass(frozen=True, slots=True)
class SealedObject:
    """A finished object. Lengths in bytes: `length` of the file, `plaintext_length` before padding.

    `content_digest` is that of `hermetic.sealed.content`, if one was asked for; it is as confidential as the content.
    """

    header: ObjectHeader
    root: bytes
    algorithm: str
    length: int
    plaintext_length: int
    segments: int
    content_digest: bytes | None = None

    @property
    def record(self) -> ManifestObject:
        """What the manifest says about this object."""
        header = self.header
        return ManifestObject(
            domain=header.domain,
            asset=header.asset,
            version=header.version,
            index=header.index,
            id=header.object,
            root=self.root,
            algorithm=self.algorithm,
            length=self.length,
            data_key=header.data_key,
        )


class Sealing:
    """One object being written to `output`, from its head to its tail. Units may be sealed by several threads after `reserve`.

    `begin` comes first, then every unit, by threads that take them in order, then `finish`. A thread that fails does so inside
    `giving_up`, so that no other waits for its bytes.
    """

    def __init__(
        self,
        output: Output,
        header: ObjectHeader,
        key: Secret,
        *,
        content_algorithm: str | None,
        write_behind: bool = True,
        random: Callable[[int], bytes] | None,
    ) -> None:
        self.output, self.header, self.suite = output, header, header.suite
        self._write_behind = write_behind
        self.prefix = header.encode()
        self.segments_per_unit = UNIT // self.suite.plain_segment
        self._payload, self._metadata = (
            FloeEncryptor(
                key,
                associated_data(label, self.prefix),
                parameters(self.suite),
                deterministic_randomness_for_vectors=random,
            )
            for label in (PAYLOAD, METADATA)
        )
        self._leaves = LeafTable()
        self._failure: BaseException | None = None
        self._content = ContentDigest(content_algorithm) if content_algorithm else None

    def begin(self, length: int | None) -> None:
        """Begin an object of `length` bytes, None if that is not known: its head goes out. Raises UsageError, StorageError."""
        self.output.reserve(length)
        with self.giving_up():
            self.output.write_at(memoryview(self.prefix + self._payload.header), 0)

    @contextmanager
    def giving_up(self) -> Iterator[None]:
        """Discard the output if the block fails. Of several threads that fail, all raise what the first one met."""
        try:
            yield
        except BaseException as error:
            self._failure = first = self._failure or error
            with suppress(StorageError):  # what failed first is what counts; without a commit nothing has a name
                self.output.discard()
            if first is error:
                raise
            raise first from first.__cause__

    def reserve(self, plain_length: int, content_length: int) -> None:
        """Make room for all leaves, so that threads can fill them."""
        self._leaves.reserve(self.suite.segments(plain_length))
        if self._content:
            self._content.pieces.reserve(-(-content_length // PIECE))

    def scratch(self) -> memoryview:
        """Return a buffer for one sealed unit; a thread needs one of its own."""
        return memoryview(bytearray(self.suite.stored_segment * self.segments_per_unit))

    def seal_unit(self, unit: int, plain: memoryview, scratch: memoryview, *, last: bool, content: int) -> None:
        """Encrypt, digest and write one unit; the first `content` bytes of `plain` are content, the rest padding."""
        step, stored, first = self.suite.plain_segment, self.suite.stored_segment, unit * self.segments_per_unit
        count = self.suite.segments(plain.nbytes)
        if first + count > MAX_SEGMENTS:
            raise UsageError(f"an object holds at most {MAX_SEGMENTS} segments", hint="seal it as several objects")
        filled = 0
        for index in range(count):
            target = scratch[filled : filled + stored]
            is_final = last and index == count - 1
            part = plain[index * step : (index + 1) * step]
            length = self._payload.encrypt_into(first + index, part, target, is_final=is_final)
            self._leaves.set(first + index, digest(self.suite.digest, target[:length]))
            filled += length
        if self._content and content:
            self._content.add(unit, plain[:content])
        start = len(self.prefix) + FLOE_HEADER + first * stored
        self.output.write_at(scratch[:filled], start)
        if self._write_behind:
            self.output.begin_writeback(start, start + filled)

    def finish(self, metadata: bytes, *, plain_length: int, content_length: int) -> SealedObject:
        """Write what follows the payload. Raises FormatError over the limits, StorageError."""
        layout = Layout.of(self.suite, prefix=len(self.prefix), plain_length=plain_length, metadata_length=len(metadata))
        message, leaves = self._metadata.message(metadata), self._leaves.encode()
        root = object_root(layout, prefix=self.prefix, metadata=message, floe_header=self._payload.header, leaf_table=leaves)
        self.output.write_at(memoryview(message + leaves + layout.encode(root)), layout.metadata_offset)
        return SealedObject(
            header=self.header,
            root=root,
            algorithm=self.suite.digest,
            length=layout.file_length,
            plaintext_length=content_length,
            segments=layout.segments,
            content_digest=self._content.finish(content_length) if self._content else None,
        )
