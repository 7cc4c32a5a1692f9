"""Reading the small canonical JSON documents of this room with every field checked."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from hermetic.errors import FormatError, InvalidName, Unsupported
from hermetic.formats import canonical
from hermetic.ids import check_id

if TYPE_CHECKING:
    from collections.abc import Iterable


class Document:
    """One JSON object; every getter raises FormatError naming the document and the field."""

    __slots__ = ("_fields", "what")

    def __init__(self, fields: canonical.Json, what: str) -> None:
        if not isinstance(fields, dict):
            raise FormatError(f"{what}: expected an object")
        self._fields, self.what = fields, what

    @classmethod
    def parse(cls, raw: bytes, what: str, *, marker: str, limit: int) -> Document:
        """Read canonical bytes whose `format` is `marker`. Raises Unsupported when only the version after the last `/` differs."""
        try:
            document = cls(canonical.decode(raw, limit=limit), what)
        except FormatError as error:
            raise FormatError(f"{what}: {error}") from None
        found = document.text("format")
        if found != marker and found.rpartition("/")[0] == marker.rpartition("/")[0]:
            raise Unsupported(f"{what} is of format {found}, this release reads {marker}", hint="use the release that wrote it")
        if found != marker:
            raise FormatError(f"{what}: format is {found!r}, expected {marker!r}")
        return document

    def only(self, names: Iterable[str]) -> Document:
        """Return itself if it has exactly these fields."""
        if set(names) != set(self._fields):
            raise FormatError(f"{self.what}: fields are not the expected ones")
        return self

    def text(self, name: str, *, limit: int = 512) -> str:
        """Return a string of 1 to `limit` characters."""
        value = self._fields.get(name)
        if not isinstance(value, str) or not 0 < len(value) <= limit:
            raise FormatError(f"{self.what}: {name} is not a text of 1 to {limit} characters")
        return value

    def id(self, name: str) -> str:
        """Return an id."""
        try:
            return check_id(self.text(name))
        except InvalidName:
            raise FormatError(f"{self.what}: {name} is not an id") from None

    def number(self, name: str) -> int:
        """Return an integer from 0 up."""
        value = self._fields.get(name)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise FormatError(f"{self.what}: {name} is not a number from 0 up")
        return value

    def binary(self, name: str, *, limit: int) -> bytes:
        """Return 1 to `limit` bytes that stand there as base64url without padding."""
        raw = unbase64(self.text(name, limit=limit * 4 // 3 + 4))
        if raw is None or not 0 < len(raw) <= limit:
            raise FormatError(f"{self.what}: {name} is not base64url of 1 to {limit} bytes")
        return raw

    def object(self, name: str) -> Document:
        """Return an object."""
        return Document(self._fields.get(name), f"{self.what}: {name}")

    def items(self, name: str, *, limit: int) -> list[Document]:
        """Return 1 to `limit` objects."""
        value = self._fields.get(name)
        if not isinstance(value, list) or not 0 < len(value) <= limit:
            raise FormatError(f"{self.what}: {name} is not a list of 1 to {limit} objects")
        return [Document(item, f"{self.what}: {name}") for item in value]


def base64url(raw: bytes) -> str:
    """Write bytes as base64url without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def unbase64(text: str) -> bytes | None:
    """Return the bytes if `text` is what `base64url` writes, else None."""
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    return raw if base64url(raw) == text else None
