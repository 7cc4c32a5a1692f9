"""What a sealed object says about its content, encrypted (spec/sealed-object.md section 7).

Everything that could tell something stands here rather than in the header: names, labels, schema, tensor index, the true length.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hermetic.errors import FormatError, InvalidName, UsageError
from hermetic.formats import canonical
from hermetic.formats.fields import Fields
from hermetic.ids import MEMBER_LIMIT, check_member

if TYPE_CHECKING:
    from collections.abc import Mapping

    from hermetic.formats.canonical import Json

FORMAT = "hermetic/v1/object-metadata"
METADATA_LIMIT = 16 * 1024 * 1024
MEDIA_TYPE_LIMIT = 255
LABEL_LIMIT = 1024  # labels of one object
MAX_LENGTH = 2**44  # 2^24 segments of 1 MiB

_NAMES = frozenset({"details", "format", "labels", "length", "media_type", "name"})


@dataclass(frozen=True, slots=True)
class ObjectMetadata:
    """Description of one object. `length` is the true plaintext length in bytes and is filled in by the writer.

    `name` is the member path inside the version, empty for a version that is one file; `details` is any canonical JSON object: a
    schema, a tensor index, whatever the kind of content needs to be found without reading it.
    """

    name: str = ""
    media_type: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Json] = field(default_factory=dict)
    length: int = 0

    def with_length(self, length: int) -> ObjectMetadata:
        """Return the same description for a plaintext of `length` bytes."""
        return dataclasses.replace(self, length=length)

    def encode(self) -> bytes:
        """Return canonical bytes. Raises UsageError for content that cannot be written, or is over 16 MiB."""
        raw = canonical.encode(
            {
                "details": dict(self.details),
                "format": FORMAT,
                "labels": dict(self.labels),
                "length": self.length,
                "media_type": self.media_type,
                "name": self.name,
            }
        )
        try:
            parse_metadata(raw)
        except FormatError as error:
            raise UsageError(f"cannot write this metadata: {error.message}") from None
        return raw


def parse_metadata(raw: bytes) -> ObjectMetadata:
    """Return the metadata that `raw` encodes. Raises FormatError."""
    fields = Fields(canonical.decode(raw, limit=METADATA_LIMIT), "object metadata", _NAMES)
    fields.constant("format", FORMAT)
    return ObjectMetadata(
        name=_member(fields.text("name", limit=MEMBER_LIMIT)),
        media_type=fields.text("media_type", limit=MEDIA_TYPE_LIMIT),
        labels=_labels(fields.members("labels", limit=LABEL_LIMIT)),
        details=fields.members("details", limit=METADATA_LIMIT),
        length=fields.integer("length", minimum=0, maximum=MAX_LENGTH),
    )


def _member(name: str) -> str:
    try:
        return check_member(name) if name else ""
    except InvalidName as error:
        raise FormatError(f"object metadata: {error.message}") from None


def _labels(labels: dict[str, Json]) -> dict[str, str]:
    checked = {key: value for key, value in labels.items() if isinstance(value, str)}
    if len(checked) != len(labels):
        raise FormatError("object metadata: a label is not text")
    return checked
