"""The head of a sealed object: magic, version, and a header of random ids (spec/sealed-object.md section 2).

    "HERMETIC" || u16 version || u32 header length || header (RFC 8785 JSON, at most 64 KiB)

These bytes, magic to header, are called the prefix: they are hashed into the associated data of both encrypted messages and into
the root. Integers are big-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from hermetic.errors import FormatError
from hermetic.formats import canonical
from hermetic.formats.fields import Fields
from hermetic.formats.padding import Padding
from hermetic.formats.suites import Suite, suite
from hermetic.ids import AssetId, DataKeyId, DomainId, ObjectId, VersionId

MAGIC = b"HERMETIC"
VERSION = 1
HEADER_LIMIT = 64 * 1024
FIXED = struct.Struct(">8sHI")  # magic, version, header length: 14 bytes
MAX_INDEX = 65_535  # objects of a version are numbered from 0

_NAMES = frozenset({"asset", "data_key", "domain", "index", "object", "padding", "suite", "version"})


@dataclass(frozen=True, slots=True)
class ObjectHeader:
    """What stands in clear at the start of a sealed object: nothing that tells what is inside."""

    domain: DomainId
    asset: AssetId
    version: VersionId
    object: ObjectId
    data_key: DataKeyId
    index: int
    suite_name: str
    padding: Padding = Padding.NONE

    @property
    def suite(self) -> Suite:
        """The suite that `suite_name` stands for. Raises FormatError for an unknown name."""
        return suite(self.suite_name)

    def encode(self) -> bytes:
        """Return the prefix: magic, version, length and header. Raises FormatError if a field is not allowed."""
        body = canonical.encode(
            {
                "asset": self.asset,
                "data_key": self.data_key,
                "domain": self.domain,
                "index": self.index,
                "object": self.object,
                "padding": self.padding.value,
                "suite": self.suite_name,
                "version": self.version,
            }
        )
        parse_header(body)
        return FIXED.pack(MAGIC, VERSION, len(body)) + body


def parse_fixed(raw: bytes) -> int:
    """Return the header length that the first 14 bytes announce. Raises FormatError for another magic, version or length."""
    if len(raw) < FIXED.size:
        raise FormatError("too short for a sealed object")
    magic, version, length = FIXED.unpack_from(raw)
    if magic != MAGIC:
        raise FormatError("not a sealed object", hint="a sealed object starts with the letters HERMETIC")
    if version != VERSION:
        raise FormatError(f"sealed object of version {version}", hint="written by a newer release, or changed")
    if not 0 < length <= HEADER_LIMIT:
        raise FormatError(f"sealed object announces a header of {length} bytes, over the limit of {HEADER_LIMIT}")
    return int(length)


def parse_prefix(raw: bytes) -> ObjectHeader:
    """Return the header of a whole prefix. Raises FormatError unless `raw` is exactly magic to header."""
    length = parse_fixed(raw)
    if len(raw) != FIXED.size + length:
        raise FormatError("sealed object ends inside its header")
    return parse_header(raw[FIXED.size :])


def parse_header(body: bytes) -> ObjectHeader:
    """Return the header that the JSON `body` encodes. Raises FormatError."""
    fields = Fields(canonical.decode(body, limit=HEADER_LIMIT), "object header", _NAMES)
    padding = fields.text("padding", limit=16)
    if padding not in Padding._value2member_map_:
        raise FormatError(f"object header: unknown padding {padding!r}")
    return ObjectHeader(
        domain=DomainId(fields.identifier("domain")),
        asset=AssetId(fields.identifier("asset")),
        version=VersionId(fields.identifier("version")),
        object=ObjectId(fields.identifier("object")),
        data_key=DataKeyId(fields.identifier("data_key")),
        index=fields.integer("index", minimum=0, maximum=MAX_INDEX),
        suite_name=suite(fields.text("suite", limit=64)).name,
        padding=Padding(padding),
    )
