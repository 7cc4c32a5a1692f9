"""A second reader of sealed objects and manifests, written from `spec/` and nothing else.

It imports nothing of the product: the standard library, `cryptography` for AES-GCM, HKDF and Ed25519, and `blake3`. It reads files
that lie in memory. What it refuses, it refuses with `Refused`, which names the failure class of `vectors/README.md`. Numbers in
comments are steps of the section named above them.
"""

import base64
import hashlib
import hmac
import json
import re
import struct
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from blake3 import blake3
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

MAX_INTEGER = 2**53 - 1


class Refused(Exception):
    """The input is refused; `kind` is a failure class of the vectors."""

    def __init__(self, kind: str, why: str) -> None:
        super().__init__(f"{kind}: {why}")
        self.kind = kind


def must(holds: object, why: str, kind: str = "format") -> None:
    """Refuse unless something holds."""
    if not holds:
        raise Refused(kind, why)


# sealed-object.md section 1: notation


def _canonical(value: Any, depth: int) -> str:
    match value:
        case None | bool():
            return json.dumps(value)
        case int():
            must(abs(value) <= MAX_INTEGER, "integer out of range")
            return str(value)
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            must(depth < 32, "too deep")
            return "[" + ",".join(_canonical(item, depth + 1) for item in value) + "]"
        case dict():
            must(depth < 32, "too deep")
            names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
            return "{" + ",".join(f"{_canonical(name, 0)}:{_canonical(value[name], depth + 1)}" for name in names) + "}"
    raise Refused("format", "a number that is no integer")


def encode(value: object) -> bytes:
    """Canonical JSON of a value."""
    try:
        return _canonical(value, 0).encode()
    except UnicodeEncodeError as error:
        raise Refused("format", "a lone surrogate") from error


def decode(raw: bytes) -> Any:
    """Read canonical JSON: the bytes must be the encoding of what they say."""
    try:
        value = json.loads(raw.decode())
    except (ValueError, RecursionError) as error:
        raise Refused("format", "no JSON") from error
    must(encode(value) == raw, "not canonical")
    return value


def members(value: Any, names: str, what: str) -> dict[str, Any]:
    """Read an object with exactly these members."""
    must(isinstance(value, dict) and sorted(value) == sorted(names.split()), f"{what}: wrong members")
    return dict(value)


def integer(value: object, low: int, high: int, what: str) -> int:
    """Read an integer between two bounds, inclusive; true and false are none."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise Refused("format", f"{what}: no integer between {low} and {high}")
    return value


def text(value: object, what: str) -> str:
    """Read a string."""
    if not isinstance(value, str):
        raise Refused("format", f"{what}: not text")
    return value


def unbase(value: object, what: str, *, url: bool) -> bytes:
    """Read base64 of RFC 4648 section 4, or of section 5 without padding; there is one spelling only."""
    spelled = text(value, what)
    try:
        raw = base64.b64decode(spelled + "=" * (-len(spelled) % 4 if url else 0), b"-_" if url else None, validate=True)
    except ValueError as error:
        raise Refused("format", f"{what}: no base64") from error
    again = base64.urlsafe_b64encode(raw).rstrip(b"=") if url else base64.b64encode(raw)
    must(again == spelled.encode(), f"{what}: base64 in another spelling")
    return raw


def identifier(value: object, what: str) -> str:
    """Read an id: 26 letters of base32, unused bits zero."""
    spelled = text(value, what)
    must(re.fullmatch("[a-z2-7]{25}[aeimquy4]", spelled), f"{what}: no id")
    return spelled


def hash32(value: object, what: str) -> bytes:
    """Read 32 bytes in base64url."""
    raw = unbase(value, what, url=True)
    must(len(raw) == 32, f"{what}: not 32 bytes")
    return raw


# sealed-object.md section 3: suites

DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "blake3": lambda data: blake3(data).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
}


class Suite(NamedTuple):
    """A row of the table: what the trailer says, and the digest's name."""

    encryption: int
    digest: int
    stored: int
    digest_name: str

    @property
    def plain(self) -> int:
        """Plaintext bytes of a full segment."""
        return self.stored - 32

    def hash(self, data: bytes) -> bytes:
        """Hash with `H` of the suite."""
        return DIGESTS[self.digest_name](data)


SUITES = {
    "FLOE-AES256-GCM-1M-BLAKE3": Suite(1, 1, 1048608, "blake3"),
    "FLOE-AES256-GCM-1M-SHA256": Suite(1, 2, 1048608, "sha256"),
    "FLOE-AES256-GCM-64K-BLAKE3": Suite(1, 1, 65568, "blake3"),
    "FLOE-AES256-GCM-64K-SHA256": Suite(1, 2, 65568, "sha256"),
}

# section 4: FLOE messages


class Floe:
    """A FLOE message of a suite; its length is checked, everything else only with a key."""

    def __init__(self, message: bytes, suite: Suite) -> None:
        body = len(message) - 74
        self.suite = suite
        self.message = message
        self.count = -(-body // suite.stored)
        self.plain_length = body - 32 * self.count
        must(body >= 32, "shorter than any FLOE message")
        must(self.count == max(1, -(-self.plain_length // suite.plain)), "no FLOE message has this length")

    def stored(self, position: int) -> bytes:
        """Cut out one segment as it is stored."""
        start = 74 + position * self.suite.stored
        return self.message[start : start + self.suite.stored]

    def unlock(self, key: bytes, associated: bytes) -> "OpenFloe":
        """Check parameters and header tag."""
        parameters = struct.pack(">BBII", 0, 0, self.suite.stored, 32)
        must(self.message[:10] == parameters, "FLOE parameters")
        salt = self.message[:42]

        def derive(secret: bytes, purpose: bytes, length: int) -> bytes:
            return HKDFExpand(SHA384(), length, salt + purpose + associated).derive(secret)

        must(hmac.compare_digest(derive(key, b"HEADER_TAG:", 32), self.message[42:74]), "header tag", "wrong-key")
        message_key = derive(key, b"MESSAGE_KEY:", 48)
        return OpenFloe(self, lambda i: derive(message_key, b"DEK:" + struct.pack(">Q", i >> 20 << 20), 32))


@dataclass(frozen=True)
class OpenFloe:
    """A FLOE message with the means to derive its segment keys."""

    message: Floe
    segment_key: Callable[[int], bytes]

    def segment(self, position: int) -> bytes:
        """Decrypt one segment at its position."""
        stored = self.message.stored(position)
        final = position == self.message.count - 1
        announced = len(stored) if final else 0xFFFFFFFF
        must(struct.unpack(">I", stored[:4])[0] == announced, "length field of a segment")
        associated = struct.pack(">QB", position, final)
        try:
            return AESGCM(self.segment_key(position)).decrypt(stored[4:16], stored[16:], associated)
        except InvalidTag as error:
            raise Refused("integrity", "a segment does not authenticate") from error


# sections 2, 5, 6, 8: the file


def lengthed(*parts: bytes) -> bytes:
    """Join parts, each behind its length: `L` of section 6."""
    return b"".join(struct.pack(">Q", len(part)) + part for part in parts)


@dataclass(frozen=True)
class Record:
    """What a verified manifest says of one object."""

    domain: str
    asset: str
    version: str
    index: int
    id: str
    data_key: str
    algorithm: str
    length: int
    root: bytes


class SealedObject:
    """A sealed object that passed every check that needs no key, but for those of the segments."""

    def __init__(self, file: bytes, record: Record) -> None:
        must(len(file) == record.length, "not the signed length", "integrity")  # 1
        must(len(file) >= 14 + 88, "too short")  # 2
        magic, version, header_length = struct.unpack(">8sHI", file[:14])
        must(magic == b"HERMETIC" and version == 1, "magic or version")
        must(1 <= header_length <= 65536, "length of the header")
        self._cut(file, header_length)
        header = self._header(self.prefix[14:])
        self.padding = header["padding"]
        must(self._root(len(file)) == self.root, "root of the parts", "integrity")  # 5
        signed = (record.algorithm, record.root)
        must((self.suite.digest_name, self.root) == signed, "not the signed root", "integrity")  # 6
        for name, value in header.items():  # 7
            signed_name = {"object": "id"}.get(name, name)
            must(name in {"padding", "suite"} or value == getattr(record, signed_name), f"not the signed {name}", "integrity")

    def _cut(self, file: bytes, header_length: int) -> None:  # 3
        *lengths, encryption, digest, segment, root, magic = struct.unpack(">5QHHI32s8s", file[-88:])
        prefix, payload, metadata, _, trailer = lengths
        must(magic == b"CITEMREH", "end magic")
        names = [name for name, suite in SUITES.items() if suite[:3] == (encryption, digest, segment)]
        must(names, "no suite has these ids")
        must(sum(lengths) == len(file) and trailer == 88 and prefix == 14 + header_length, "lengths")
        self.suite_name, self.suite, self.root = names[0], SUITES[names[0]], root
        self.prefix = file[:prefix]
        self.payload = Floe(file[prefix : prefix + payload], self.suite)
        self.metadata = Floe(file[prefix + payload : prefix + payload + metadata], self.suite)
        self.leaves = file[prefix + payload + metadata : -88]
        must(len(self.leaves) == 32 * self.payload.count, "length of the leaf table")
        must(self.payload.count <= 2**24 and self.metadata.plain_length <= 2**24, "over a limit")

    def _header(self, raw: bytes) -> dict[str, Any]:  # 4
        header = members(decode(raw), "asset data_key domain index object padding suite version", "header")
        for name in ("asset", "data_key", "domain", "object", "version"):
            identifier(header[name], name)
        integer(header["index"], 0, 65535, "index")
        must(header["suite"] == self.suite_name, "another suite than the trailer's")
        must(header["padding"] in ("none", "segment", "padme"), "unknown padding")
        return header

    def _root(self, length: int) -> bytes:
        digest, number = self.suite.hash, struct.Struct(">Q").pack
        return digest(
            lengthed(
                b"hermetic/v1/object-root",
                self.suite.digest_name.encode(),
                number(length),
                digest(self.prefix),
                digest(self.metadata.message),
                digest(self.payload.message[:74]),
                number(self.payload.count),
                number(len(self.payload.message)),
                digest(self.leaves),
            )
        )

    def check_leaf(self, position: int) -> None:
        """Compare one stored segment with its leaf: step 10, without a key."""
        leaf = self.leaves[32 * position : 32 * position + 32]
        must(self.suite.hash(self.payload.stored(position)) == leaf, f"leaf {position}", "integrity")

    def verify(self) -> None:
        """Check the whole file without a key."""
        for position in range(self.payload.count):
            self.check_leaf(position)

    def open(self, key: bytes) -> "OpenObject":
        """Do steps 8 and 9."""
        bound = b"\n" + hashlib.sha384(self.prefix).digest()
        payload = self.payload.unlock(key, b"hermetic/v1/payload" + bound)  # 8
        metadata = self.metadata.unlock(key, b"hermetic/v1/metadata" + bound)
        document = read_metadata(b"".join(metadata.segment(i) for i in range(self.metadata.count)))  # 9
        fits = padded(document["length"], self.padding, self.suite.plain) == self.payload.plain_length
        must(fits, "the payload has not the padded length")
        return OpenObject(self, payload, document)


@dataclass(frozen=True)
class OpenObject:
    """A sealed object and its key."""

    sealed: SealedObject
    payload: OpenFloe
    metadata: dict[str, Any]

    def _segment(self, position: int) -> bytes:  # 10
        self.sealed.check_leaf(position)
        return self.payload.segment(position)

    def read(self, offset: int, wanted: int) -> bytes:
        """Decrypt a range of the content; what lies beyond its end is not there."""
        end = min(offset + wanted, self.metadata["length"])
        if offset >= end:
            return b""
        size = self.sealed.suite.plain
        first = offset // size
        plain = b"".join(self._segment(i) for i in range(first, -(-end // size)))
        return plain[offset - first * size : end - first * size]

    def content(self) -> bytes:
        """Decrypt everything, padding too, and give the content."""
        plain = b"".join(self._segment(i) for i in range(self.sealed.payload.count))
        return plain[: self.metadata["length"]]


# section 7: metadata and padding


NOT_IN_NAMES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def padded(length: int, padding: str, segment: int) -> int:
    """Compute `padded(length)`."""
    if padding == "segment":
        return max(1, -(-length // segment)) * segment
    if padding == "none" or length < 2:
        return length
    exponent = length.bit_length() - 1
    unit = 1 << (exponent - exponent.bit_length())
    return -(-length // unit) * unit


def read_metadata(raw: bytes) -> dict[str, Any]:
    """Read the metadata document."""
    document = members(decode(raw), "details format labels length media_type name", "metadata")
    must(document["format"] == "hermetic/v1/object-metadata", "format")
    must(isinstance(document["details"], dict) and isinstance(document["labels"], dict), "details or labels")
    must(len(document["labels"]) <= 1024, "labels")
    for label in document["labels"].values():
        text(label, "label")
    integer(document["length"], 0, 2**44, "length")
    must(len(text(document["media_type"], "media type").encode()) <= 255, "media type")
    _check_name(text(document["name"], "name"))
    return document


def _check_name(name: str) -> None:
    must(len(name.encode()) <= 1024, "name: too long")
    must(unicodedata.is_normalized("NFC", name), "name: not NFC")
    must(not {unicodedata.category(letter) for letter in name} & NOT_IN_NAMES, "name: a character that is none to read")
    segments = name.split("/") if name else ["x"]
    must("\\" not in name and not {"", ".", ".."} & set(segments), "name: a bad segment")


# section 14: content digest


def content_digest(content: bytes, algorithm: str) -> bytes:
    """Compute the digest by which a plaintext copy is recognised."""
    digest = DIGESTS[algorithm]
    pieces = b"".join(digest(content[start : start + 2**20]) for start in range(0, len(content), 2**20))
    return digest(lengthed(b"hermetic/v1/content", algorithm.encode(), struct.pack(">Q", len(content)), pieces))


# manifest.md

PAYLOAD_TYPE = "application/vnd.hermetic.manifest+json"
MANIFEST = "asset commitments created_ms domain environment format number objects previous version"


@dataclass(frozen=True)
class Manifest:
    """A verified manifest: its payload, and the hash by which the next version names it."""

    payload: dict[str, Any]
    hash: bytes

    def records(self) -> list[Record]:
        """Give what the manifest says of each object."""
        ids = {name: self.payload[name] for name in ("domain", "asset", "version")}
        return [Record(**ids, **{**each, "root": hash32(each["root"], "root")}) for each in self.payload["objects"]]

    def check_opening(self, field: str, salt: bytes, value: str) -> None:
        """Compare an opening with its commitment: section 3."""
        must(field in self.payload["commitments"], f"no commitment to {field}")
        expected = commitment(salt, field, value.encode())
        must(hmac.compare_digest(expected, hash32(self.payload["commitments"][field], field)), field, "integrity")


def commitment(salt: bytes, field: str, value: bytes) -> bytes:
    """Compute a commitment. HMAC would take a short salt with zeros for the same key, so the length is checked."""
    must(len(salt) == 32, "length of a salt")
    return hmac.digest(salt, b"hermetic/v1/commitment\n" + field.encode() + b"\n" + value, "sha256")


def ed25519(public: bytes, signature: bytes, message: bytes, who: str) -> None:
    """Verify a signature of RFC 8032."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise Refused("signature", f"bad signature by {who}") from error


def read_manifest(envelope: bytes, trusted: Mapping[str, bytes]) -> Manifest:
    """Verify `manifest.json` by the steps of section 4."""
    must(len(envelope) <= 24 * 2**20, "envelope too long")  # 1
    outer = members(decode(envelope), "payload payloadType signatures", "envelope")
    must(isinstance(outer["signatures"], list) and len(outer["signatures"]) == 1, "not one signature")
    signature = members(outer["signatures"][0], "keyid sig", "signature")
    key_id = text(signature["keyid"], "keyid")
    must(re.fullmatch("[!-~]{1,128}", key_id), "keyid")
    must(len(text(signature["sig"], "sig")) <= 8192, "sig too long")
    signed = unbase(signature["sig"], "sig", url=False)
    payload = unbase(outer["payload"], "payload", url=False)
    kind = text(outer["payloadType"], "payloadType")
    must(re.fullmatch("[!-~]{1,255}", kind), "payloadType")
    must(kind == PAYLOAD_TYPE, "payload type", "signature")  # 2
    must(key_id in trusted, "key is not trusted", "signature")  # 3
    pae = b" ".join([b"DSSEv1", b"%d" % len(kind), kind.encode(), b"%d" % len(payload), payload])
    ed25519(trusted[key_id], signed, pae, key_id)  # 4
    must(len(payload) <= 16 * 2**20, "payload too long")  # 5
    return Manifest(_payload(decode(payload)), hashlib.sha256(payload).digest())


def _payload(value: Any) -> dict[str, Any]:
    payload = members(value, MANIFEST, "manifest")
    for name in ("asset", "domain", "version"):
        identifier(payload[name], name)
    for field, made in members(payload["commitments"], "class name writer", "commitments").items():
        hash32(made, field)
    integer(payload["created_ms"], 0, MAX_INTEGER, "created_ms")
    must(payload["environment"] in ("development", "staging", "production"), "environment")
    must(payload["format"] == "hermetic/v1/manifest", "format")
    integer(payload["number"], 1, 9_999_999_999, "number")
    if payload["previous"] is not None:
        hash32(payload["previous"], "previous")
    _objects(payload["objects"])
    return payload


def _objects(objects: Any) -> None:
    must(isinstance(objects, list) and 1 <= len(objects) <= 65536, "objects")
    for place, each in enumerate(objects):
        members(each, "algorithm data_key id index length root", "object")
        must(isinstance(each["algorithm"], str) and each["algorithm"] in DIGESTS, "algorithm")
        identifier(each["data_key"], "data_key")
        identifier(each["id"], "id")
        integer(each["index"], place, place, "index")
        integer(each["length"], 1, MAX_INTEGER, "length")
        hash32(each["root"], "root")
    must(len({each["id"] for each in objects}) == len(objects), "an id stands twice")
