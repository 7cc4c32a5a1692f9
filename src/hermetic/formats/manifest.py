"""The manifest of a version: which objects it has and what their roots are (spec/manifest.md).

The manifest is signed as it travels. Name, class and writer stand in it as salted commitments; their openings go through the port
only, as a `ManifestOpenings`. `signing.manifests` signs, verifies and compares openings; here are only bytes and values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.errors import FormatError
from hermetic.formats import canonical
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.fields import Fields
from hermetic.formats.object_header import MAX_INDEX
from hermetic.formats.suites import DIGEST
from hermetic.ids import AssetId, DataKeyId, DomainId, Environment, ObjectId, VersionId

if TYPE_CHECKING:
    from hermetic.formats.canonical import Json

FORMAT = "hermetic/v1/manifest"
PAYLOAD_TYPE = "application/vnd.hermetic.manifest+json"
MANIFEST_LIMIT = 16 * 1024 * 1024  # bytes of the payload
ENVELOPE_LIMIT = 24 * 1024 * 1024  # the payload in base64, and a little
MAX_OBJECTS = MAX_INDEX + 1
MAX_NUMBER = 9_999_999_999
DIGESTS = ("blake3", "sha256")

_NAMES = frozenset(
    {
        "asset",
        "commitments",
        "created_ms",
        "domain",
        "environment",
        "format",
        "number",
        "objects",
        "previous",
        "version",
    }
)
_OBJECT_NAMES = frozenset({"algorithm", "data_key", "id", "index", "length", "root"})


@dataclass(frozen=True, slots=True)
class ManifestObject:
    """What a signed manifest says about one object: all that a reader needs before it believes a byte.

    `length` is that of the stored file in bytes; `root` is its 32-byte root under the digest `algorithm`. The ids of domain, asset
    and version stand once in the manifest's bytes and are repeated here, so that a reader can compare them with the header.
    """

    domain: DomainId
    asset: AssetId
    version: VersionId
    index: int
    id: ObjectId
    root: bytes
    algorithm: str
    length: int
    data_key: DataKeyId


@dataclass(frozen=True, slots=True)
class Commitments:
    """Salted commitments, 32 bytes each, to what the public form does not show."""

    name: bytes
    data_class: bytes
    writer: bytes


@dataclass(frozen=True, slots=True)
class Opening:
    """A value and the 32-byte salt that shows it was committed to."""

    salt: bytes
    value: str


@dataclass(frozen=True, slots=True)
class ManifestOpenings:
    """The openings of `Commitments`; they never stand beside the data."""

    name: Opening
    data_class: Opening
    writer: Opening


@dataclass(frozen=True, slots=True)
class Manifest:
    """One version of one asset. `previous` is the manifest hash of the version before, None for the first."""

    domain: DomainId
    asset: AssetId
    version: VersionId
    number: int
    previous: bytes | None
    environment: Environment
    created_ms: int
    commitments: Commitments
    objects: tuple[ManifestObject, ...]

    def encode(self) -> bytes:
        """Return the canonical payload bytes. Raises FormatError if the manifest is not one that `parse_manifest` accepts."""
        raw = canonical.encode(
            {
                "asset": self.asset,
                "commitments": {
                    "class": to_base64url(self.commitments.data_class),
                    "name": to_base64url(self.commitments.name),
                    "writer": to_base64url(self.commitments.writer),
                },
                "created_ms": self.created_ms,
                "domain": self.domain,
                "environment": self.environment.value,
                "format": FORMAT,
                "number": self.number,
                "objects": [_object_json(item) for item in self.objects],
                "previous": None if self.previous is None else to_base64url(self.previous),
                "version": self.version,
            }
        )
        if parse_manifest(raw) != self:
            raise FormatError("manifest: an object belongs to another domain, asset or version")
        return raw


def parse_manifest(raw: bytes) -> Manifest:
    """Return the manifest that the payload bytes `raw` encode. Raises FormatError."""
    fields = Fields(canonical.decode(raw, limit=MANIFEST_LIMIT), "manifest", _NAMES)
    fields.constant("format", FORMAT)
    domain, asset = DomainId(fields.identifier("domain")), AssetId(fields.identifier("asset"))
    version = VersionId(fields.identifier("version"))
    objects = tuple(
        _parse_object(item, index, (domain, asset, version)) for index, item in enumerate(fields.items("objects", limit=MAX_OBJECTS))
    )
    if not objects or len({item.id for item in objects}) != len(objects):
        raise FormatError("manifest: expected one or more objects, each with an id of its own")
    return Manifest(
        domain=domain,
        asset=asset,
        version=version,
        number=fields.integer("number", minimum=1, maximum=MAX_NUMBER),
        previous=None if fields.get("previous") is None else fields.binary("previous", length=DIGEST),
        environment=_environment(fields.text("environment", limit=16)),
        created_ms=fields.integer("created_ms", minimum=0, maximum=canonical.MAX_INTEGER),
        commitments=_parse_commitments(fields.get("commitments")),
        objects=objects,
    )


def _object_json(item: ManifestObject) -> Json:
    return {
        "algorithm": item.algorithm,
        "data_key": item.data_key,
        "id": item.id,
        "index": item.index,
        "length": item.length,
        "root": to_base64url(item.root),
    }


def _parse_object(value: Json, index: int, ids: tuple[DomainId, AssetId, VersionId]) -> ManifestObject:
    fields = Fields(value, "manifest object", _OBJECT_NAMES)
    algorithm = fields.text("algorithm", limit=16)
    if algorithm not in DIGESTS:
        raise FormatError(f"manifest object: unknown digest algorithm {algorithm!r}")
    return ManifestObject(
        *ids,
        index=fields.integer("index", minimum=index, maximum=index),
        id=ObjectId(fields.identifier("id")),
        root=fields.binary("root", length=DIGEST),
        algorithm=algorithm,
        length=fields.integer("length", minimum=1, maximum=canonical.MAX_INTEGER),
        data_key=DataKeyId(fields.identifier("data_key")),
    )


def _parse_commitments(value: Json) -> Commitments:
    fields = Fields(value, "manifest commitments", {"class", "name", "writer"})
    return Commitments(
        name=fields.binary("name", length=DIGEST),
        data_class=fields.binary("class", length=DIGEST),
        writer=fields.binary("writer", length=DIGEST),
    )


def _environment(text: str) -> Environment:
    if text not in Environment._value2member_map_:
        raise FormatError(f"manifest: unknown environment {text!r}")
    return Environment(text)
