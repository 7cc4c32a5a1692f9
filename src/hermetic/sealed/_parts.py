"""Fetch and check everything around the payload's segments: the numbered steps of spec/sealed-object.md section 8.

Head and tail are fetched in one read each where they are small, so that a store far away is asked twice, not six times.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.errors import FormatError, IntegrityError
from hermetic.formats.leaf_table import LeafTable
from hermetic.formats.object_header import FIXED, HEADER_LIMIT, ObjectHeader, parse_fixed, parse_prefix
from hermetic.formats.suites import FLOE_HEADER
from hermetic.formats.trailer import MINIMUM_FILE, TRAILER, Layout, parse_trailer
from hermetic.sealed._binding import object_root
from hermetic.sealed._io import fetch

if TYPE_CHECKING:
    from hermetic.formats.manifest import ManifestObject
    from hermetic.stores.base import RangeSource

_HEAD = 4096
_TAIL = 64 * 1024


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of an object that are consistent with each other; `floe_header` is that of the payload."""

    layout: Layout
    header: ObjectHeader
    prefix: bytes
    floe_header: bytes
    metadata: bytes
    leaves: LeafTable
    root: bytes


def read_expected(source: RangeSource, expected: ManifestObject) -> Parts:
    """Return the parts of the object that a signed manifest records. Raises FormatError or IntegrityError."""
    # 1. The file has the length that was signed: nothing cut, nothing appended.
    if source.size != expected.length:
        raise IntegrityError(f"sealed object has {source.size} bytes, but {expected.length} were signed")
    # 2. to 5. The parts are well-formed and hash to the root that the trailer names.
    parts = read_parts(source)
    # 6. That root, under that digest, is the one that was signed.
    if (parts.root, parts.layout.suite.digest) != (expected.root, expected.algorithm):
        raise IntegrityError("sealed object has another root than the one that was signed", hint="it was replaced or changed")
    # 7. The ids in the header are those of the manifest.
    _check_ids(parts.header, expected)
    return parts


def read_parts(source: RangeSource) -> Parts:
    """Return the parts of an object that nobody vouches for: consistent, not authentic. Raises FormatError, IntegrityError."""
    size = source.size
    if size < MINIMUM_FILE:
        raise FormatError("too short for a sealed object")
    # 2. Magic, version and header length, before anything is allocated by it.
    head = fetch(source, 0, min(size, _HEAD))
    header_length = parse_fixed(head)
    # 3. The trailer: possible lengths that sum to the file's, known algorithms.
    tail = fetch(source, size - min(size, _TAIL), min(size, _TAIL))
    layout, root = parse_trailer(tail[-TRAILER:], size)
    if layout.prefix != FIXED.size + header_length:
        raise FormatError("header and trailer disagree about the length of the header")
    # 4. The header: canonical, known fields, and the suite that the trailer means.
    head = _complete_head(source, head, layout.prefix + FLOE_HEADER)
    header = parse_prefix(head[: layout.prefix])
    if header.suite != layout.suite:
        raise FormatError("header and trailer disagree about the suite")
    # 5. The parts hash to the root.
    tail = _complete_tail(source, tail, size - layout.metadata_offset)
    metadata, leaves = tail[: layout.metadata], tail[layout.metadata : -TRAILER]
    prefix, floe_header = head[: layout.prefix], head[layout.prefix : layout.prefix + FLOE_HEADER]
    if object_root(layout, prefix=prefix, metadata=metadata, floe_header=floe_header, leaf_table=leaves) != root:
        raise IntegrityError("sealed object does not hash to its own root", hint="it was changed or damaged; restore it")
    return Parts(layout, header, prefix, floe_header, metadata, LeafTable(leaves), root)


def _complete_head(source: RangeSource, head: bytes, length: int) -> bytes:
    missing = length - len(head)
    return head if missing <= 0 else head + fetch(source, len(head), min(missing, HEADER_LIMIT + FLOE_HEADER))


def _complete_tail(source: RangeSource, tail: bytes, length: int) -> bytes:
    missing = length - len(tail)
    return tail[-length:] if missing <= 0 else fetch(source, source.size - length, missing) + tail


def _check_ids(header: ObjectHeader, expected: ManifestObject) -> None:
    found = (header.domain, header.asset, header.version, header.object, header.index, header.data_key)
    signed = (expected.domain, expected.asset, expected.version, expected.id, expected.index, expected.data_key)
    if found != signed:
        raise IntegrityError("sealed object belongs to another domain, version, place or key than the manifest says")
