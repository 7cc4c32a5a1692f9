"""Fuzz targets: the sealed object and its parts."""

from __future__ import annotations

import json
from functools import cache

from hermetic.assets.staging import claimed_record
from hermetic.crypto import floe
from hermetic.crypto.digests import digest
from hermetic.crypto.secret import Secret
from hermetic.errors import HermeticError
from hermetic.formats.leaf_table import LeafTable
from hermetic.formats.object_header import parse_header, parse_prefix
from hermetic.formats.object_metadata import parse_metadata
from hermetic.formats.padding import Padding, padded_length
from hermetic.formats.suites import SUITES, suite
from hermetic.formats.trailer import TRAILER, parse_trailer
from hermetic.sealed._binding import object_root
from hermetic.sealed.inspection import inspect
from hermetic.sealed.reader import ObjectReader
from hermetic.stores.memory import MemorySource
from tests.fuzz._target import SEED_LIMIT, VECTORS, Target, compact, may_refuse, same

FLOE_HEADER = 74  # bytes
OBJECT_KEY = bytes(range(32))
FLOE = floe.FloeParameters(40, 2)


@cache
def _objects() -> tuple[bytes, ...]:
    found = (path.read_bytes() for kind in ("valid", "invalid") for path in sorted(VECTORS.glob(f"sealed-object/{kind}/*.sealed")))
    return tuple(raw for raw in found if len(raw) < SEED_LIMIT)


def _header_of(raw: bytes) -> bytes:
    return raw[14 : 14 + int.from_bytes(raw[10:14], "big")]


def _prefix(raw: bytes) -> None:
    same(raw, parse_prefix(raw).encode())


def _header(raw: bytes) -> None:
    same(raw, parse_header(raw).encode()[14:])


def _trailer(raw: bytes) -> None:
    """The trailer alone, with the length that it asks for and with one that the fuzzer chose."""
    tail = raw[-TRAILER:].ljust(TRAILER, b"\0")
    for length in (sum(int.from_bytes(tail[at : at + 8], "big") for at in range(0, 40, 8)), int.from_bytes(raw[:8], "big")):
        with may_refuse():
            layout, root = parse_trailer(tail, length)
            same(tail, layout.encode(root))
    parse_trailer(raw, len(raw))


def _leaf_table(raw: bytes) -> None:
    table = LeafTable(raw)
    same(raw, table.encode())
    table.check(len(table), bytes(32)) if raw[:1] == b"\0" else table.check(0, raw[:32])


def _metadata(raw: bytes) -> None:
    same(raw, parse_metadata(raw).encode())


def _object(raw: bytes) -> None:
    raw = _consistent(raw)
    with may_refuse():
        inspect(MemorySource("x", raw), threads=1).text()
    reader = ObjectReader(MemorySource("x", raw), Secret(OBJECT_KEY), claimed_record(MemorySource("x", raw)), threads=1)
    reader.readinto_at(0, bytearray(min(reader.length, 4096)))


def _consistent(raw: bytes) -> bytes:
    """Give a file that still has a trailer the digests that it would need, so that what is behind that check is reached."""
    try:
        layout, _ = parse_trailer(raw[-TRAILER:], len(raw))
    except HermeticError:
        return raw
    start, step = layout.prefix + FLOE_HEADER, layout.suite.stored_segment
    leaves = b"".join(digest(layout.suite.digest, raw[at : at + step]) for at in range(start, layout.metadata_offset, step))
    if len(leaves) == layout.leaf_table:
        raw = raw[: layout.leaf_offset] + leaves + raw[layout.trailer_offset :]
    root = object_root(
        layout,
        prefix=raw[: layout.prefix],
        metadata=raw[layout.metadata_offset : layout.leaf_offset],
        floe_header=raw[layout.prefix : start],
        leaf_table=raw[layout.leaf_offset : layout.trailer_offset],
    )
    return raw[:-40] + root + raw[-8:]


def _floe(raw: bytes) -> None:
    floe.decrypt_message(Secret(bytes(32)), b"This is AAD", FLOE, raw)


def _suites(raw: bytes) -> None:
    with may_refuse():
        suite(raw.decode("utf-8", "surrogateescape"))
    length = int.from_bytes(raw[:8], "big")
    for one in SUITES.values():
        with may_refuse():
            if one.message_length(one.plain_length(length)) != length:
                raise AssertionError(length)
        for padding in Padding:
            if padded_length(padding, length, one.plain_segment) < length:
                raise AssertionError(length)


def _headers() -> list[bytes]:
    return [_header_of(raw) for raw in _objects()]


def _messages() -> list[bytes]:
    return [
        bytes(floe.encrypt_message(Secret(bytes(32)), b"This is AAD", FLOE, bytes(length), deterministic_randomness_for_vectors=bytes))
        for length in (0, 1, 8, 70)
    ]


METADATA = {
    "details": {"modified_ms": 1, "schema": [{"name": "a", "type": "int64"}]},
    "format": "hermetic/v1/object-metadata",
    "labels": {"a": "b"},
    "length": 7,
    "media_type": "text/csv",
    "name": "a/b.csv",
}

TARGETS = {
    "object-prefix": Target(_prefix, 60_000, lambda: [raw[: 14 + len(_header_of(raw))] for raw in _objects()], words=(b"HERMETIC",)),
    "object-header": Target(_header, 30_000, _headers, [json.loads(_header_of(_objects()[0]))]),
    "object-trailer": Target(_trailer, 60_000, lambda: [raw[-TRAILER:] for raw in _objects()], words=(b"CITEMREH",)),
    "object-leaf-table": Target(_leaf_table, 60_000, lambda: [bytes(32), bytes(64), b"x", b""]),
    "object-metadata": Target(_metadata, 30_000, lambda: [compact(METADATA)], [METADATA]),
    "object": Target(_object, 20_000, lambda: list(_objects())),
    "floe-message": Target(_floe, 80_000, _messages),
    "suites-and-padding": Target(
        _suites, 40_000, lambda: [b"FLOE-AES256-GCM-1M-BLAKE3", bytes(8), bytes(6) + b"\x10\0", bytes(7) + b"\x6a"]
    ),
}

PARSERS = (
    *(
        "formats/leaf_table",
        "formats/object_header",
        "formats/object_metadata",
        "formats/padding",
        "formats/suites",
        "formats/trailer",
    ),
    *("sealed/_parts", "sealed/inspection"),
)
