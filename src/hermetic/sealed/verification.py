"""verify_ciphertext: every stored byte against the signed root, without a key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.crypto.digests import digest
from hermetic.errors import IntegrityError
from hermetic.formats.suites import FLOE_HEADER
from hermetic.sealed._io import fetch_into
from hermetic.sealed._parallel import Claims, share, threads_for
from hermetic.sealed._parts import Parts, read_expected
from hermetic.sealed._segments import worth_a_request

if TYPE_CHECKING:
    from hermetic.formats.manifest import ManifestObject
    from hermetic.formats.object_header import ObjectHeader
    from hermetic.stores.base import RangeSource


def verify_ciphertext(source: RangeSource, expected: ManifestObject, *, threads: int | None = None) -> ObjectHeader:
    """Return the header of an object of which every byte is what the signed record says.

    Raises FormatError or IntegrityError for the first difference, StorageError. It says nothing about who can open the object.
    """
    parts = read_expected(source, expected)
    damaged = damaged_segments(source, parts, threads=threads)
    if damaged:
        raise IntegrityError(
            f"{len(damaged)} of {parts.layout.segments} segments are not what was sealed, the first is {damaged[0]}",
            hint="restore the object from a copy",
        )
    return parts.header


def damaged_segments(source: RangeSource, parts: Parts, *, threads: int | None = None) -> list[int]:
    """Return the positions whose stored bytes differ from their leaf, in order."""
    suite, damaged = parts.layout.suite, list[int]()
    run = worth_a_request(source, suite)
    body, total = parts.layout.prefix + FLOE_HEADER, parts.layout.payload - FLOE_HEADER

    def work(claims: Claims) -> None:
        scratch = memoryview(bytearray(min(run * suite.stored_segment, total)))
        for number in claims:
            start = number * run * suite.stored_segment
            view = scratch[: min(scratch.nbytes, total - start)]
            fetch_into(source, body + start, view)
            for index in range(0, view.nbytes, suite.stored_segment):
                position = number * run + index // suite.stored_segment
                if not _matches(parts, position, view[index : index + suite.stored_segment]):
                    damaged.append(position)

    share(-(-parts.layout.segments // run), threads or threads_for(source.request_size), work)
    return sorted(damaged)


def _matches(parts: Parts, position: int, segment: memoryview) -> bool:
    try:
        parts.leaves.check(position, digest(parts.layout.suite.digest, segment))
    except IntegrityError:
        return False
    return True
