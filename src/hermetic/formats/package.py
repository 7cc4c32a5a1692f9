r"""A package: one version of an asset in one file, sealed to named public keys and signed by the domain (spec/package.md). Pure.

    "HERMPKG" 01 || u32 big-endian length || head || objects, one after the other in order of index, as they are stored

    head       canonical {format: "hermetic/v1/package", manifest, messages: [...], statement}      binary as base64url
    statement  DSSE, signed by the key that signs the domain's manifests, over canonical
               {created_ms, domain, expires_ms, format: "hermetic/v1/package-statement", manifest, messages: [{digest, to}, ...],
                number, package, version}        `to` is SHA-256 of a recipient's public key, in order; digests are SHA-256
    message    HPKE to that recipient; info = "hermetic/v1/package" LF canonical {domain, expires_ms, manifest, package, to,
               version}
    inside     canonical {format: "hermetic/v1/package-key", key, openings: {class, name, writer: {salt, value}}}

The statement binds everything: the manifest by digest, the manifest binds every object by its root, and each message by digest.
Whoever changes, swaps, drops or adds any of them breaks the signature.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hermetic.errors import FormatError
from hermetic.formats import canonical
from hermetic.formats.binary_text import from_base64url, to_base64url
from hermetic.formats.fields import Fields
from hermetic.formats.manifest import ENVELOPE_LIMIT, MAX_NUMBER, Opening
from hermetic.formats.suites import DIGEST
from hermetic.ids import DomainId, VersionId

if TYPE_CHECKING:
    from hermetic.formats.canonical import Json

MAGIC: Final = b"HERMPKG\x01"
PAYLOAD_TYPE: Final = "application/vnd.hermetic.package+json"
FORMAT: Final = "hermetic/v1/package"
STATEMENT_FORMAT: Final = "hermetic/v1/package-statement"
KEY_FORMAT: Final = "hermetic/v1/package-key"
HEAD_LIMIT: Final = 2 * ENVELOPE_LIMIT
STATEMENT_LIMIT: Final = 65_536
MESSAGE_LIMIT: Final = 65_536
RECIPIENTS: Final = 16
FIELDS: Final = ("class", "name", "writer")
_INFO: Final = b"hermetic/v1/package\n"
_KEY: Final = 32
_LENGTH: Final = struct.Struct(">I")
PREFIX: Final = len(MAGIC) + _LENGTH.size


@dataclass(frozen=True, slots=True)
class Addressed:
    """One message: SHA-256 of the public key it is sealed to, and SHA-256 of its bytes."""

    to: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Statement:
    """What the domain signs: which version, its manifest (SHA-256 of the envelope), the messages, made when, good until when."""

    package: str
    domain: DomainId
    version: VersionId
    number: int
    manifest: bytes
    messages: tuple[Addressed, ...]
    created_ms: int
    expires_ms: int

    def encode(self) -> bytes:
        """Return the canonical bytes that are signed."""
        messages: list[Json] = [{"digest": to_base64url(item.digest), "to": to_base64url(item.to)} for item in self.messages]
        return canonical.encode(
            {
                "created_ms": self.created_ms,
                "domain": self.domain,
                "expires_ms": self.expires_ms,
                "format": STATEMENT_FORMAT,
                "manifest": to_base64url(self.manifest),
                "messages": messages,
                "number": self.number,
                "package": self.package,
                "version": self.version,
            }
        )

    def info(self, to: bytes) -> bytes:
        """Return what a message to the recipient `to` is bound to."""
        return _INFO + canonical.encode(
            {
                "domain": self.domain,
                "expires_ms": self.expires_ms,
                "manifest": to_base64url(self.manifest),
                "package": self.package,
                "to": to_base64url(to),
                "version": self.version,
            }
        )


@dataclass(frozen=True, slots=True)
class Head:
    """The beginning of the file: two signed envelopes, and a message to each recipient."""

    statement: bytes
    manifest: bytes
    messages: tuple[bytes, ...] = field(repr=False)

    def encode(self) -> bytes:
        """Return magic, length and canonical JSON. Raises FormatError if that is too long."""
        messages: list[Json] = [to_base64url(item) for item in self.messages]
        document = {"format": FORMAT, "messages": messages}
        raw = canonical.encode({**document, "manifest": to_base64url(self.manifest), "statement": to_base64url(self.statement)})
        if len(raw) > HEAD_LIMIT:
            raise FormatError("the head of this package would be too long")
        return MAGIC + _LENGTH.pack(len(raw)) + raw


def head_length(prefix: bytes, size: int) -> int:
    """Return how many bytes of JSON follow the prefix, in a file of `size` bytes. Raises FormatError for another kind of file."""
    if len(prefix) != PREFIX or not prefix.startswith(MAGIC):
        raise FormatError("not a package", hint="a package is made by `hermetic package create`")
    (length,) = _LENGTH.unpack(prefix[len(MAGIC) :])
    if not 0 < length <= min(HEAD_LIMIT, size - PREFIX):
        raise FormatError("the package is cut short, or its head longer than it may be", hint="fetch it again")
    return int(length)


def parse_head(raw: bytes) -> Head:
    """Read the JSON of a head. Raises FormatError."""
    fields = Fields(canonical.decode(raw, limit=HEAD_LIMIT), "package", {"format", "manifest", "messages", "statement"})
    fields.constant("format", FORMAT)
    messages = tuple(_bytes(item, MESSAGE_LIMIT) for item in fields.items("messages", limit=RECIPIENTS))
    return Head(
        statement=_bytes(fields.get("statement"), STATEMENT_LIMIT * 2),
        manifest=_bytes(fields.get("manifest"), ENVELOPE_LIMIT),
        messages=messages,
    )


def parse_statement(raw: bytes) -> Statement:
    """Read a statement, once its signature is verified. Raises FormatError."""
    names = {"created_ms", "domain", "expires_ms", "format", "manifest", "messages", "number", "package", "version"}
    fields = Fields(canonical.decode(raw, limit=STATEMENT_LIMIT), "package statement", names)
    fields.constant("format", STATEMENT_FORMAT)
    messages = []
    for item in fields.items("messages", limit=RECIPIENTS):
        one = Fields(item, "package message", {"digest", "to"})
        messages.append(Addressed(one.binary("to", length=DIGEST), one.binary("digest", length=DIGEST)))
    recipients = [item.to for item in messages]
    if not messages or recipients != sorted(set(recipients)):
        raise FormatError("package statement: no recipients, recipients not in order, or one twice")
    return Statement(
        package=fields.identifier("package"),
        domain=DomainId(fields.identifier("domain")),
        version=VersionId(fields.identifier("version")),
        number=fields.integer("number", minimum=1, maximum=MAX_NUMBER),
        manifest=fields.binary("manifest", length=DIGEST),
        messages=tuple(messages),
        created_ms=fields.integer("created_ms", minimum=0, maximum=canonical.MAX_INTEGER),
        expires_ms=fields.integer("expires_ms", minimum=0, maximum=canonical.MAX_INTEGER),
    )


def encode_inside(key: memoryview, openings: dict[str, Opening]) -> bytearray:
    """Return what a message holds; the caller wipes it."""
    opened: dict[str, Json] = {name: {"salt": to_base64url(openings[name].salt), "value": openings[name].value} for name in FIELDS}
    return bytearray(canonical.encode({"format": KEY_FORMAT, "key": to_base64url(bytes(key)), "openings": opened}))


def parse_inside(raw: bytes) -> tuple[bytes, dict[str, Opening]]:
    """Return (data key, openings) of an opened message. Raises FormatError."""
    fields = Fields(canonical.decode(raw, limit=MESSAGE_LIMIT), "package key", {"format", "key", "openings"})
    fields.constant("format", KEY_FORMAT)
    opened = Fields(fields.get("openings"), "package openings", set(FIELDS))
    openings = {}
    for name in FIELDS:
        one = Fields(opened.get(name), "package opening", {"salt", "value"})
        openings[name] = Opening(one.binary("salt", length=DIGEST), one.text("value", limit=4096))
    return fields.binary("key", length=_KEY), openings


def _bytes(value: Json, limit: int) -> bytes:
    if not isinstance(value, str) or len(value) > limit * 4 // 3 + 4:
        raise FormatError("package: expected bytes as base64url, within their limit")
    return from_base64url(value)
