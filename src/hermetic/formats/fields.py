"""Strict reading of a JSON object: exactly the known fields, each of the type it must have.

>>> fields = Fields({"index": 3}, "header", {"index"})
>>> fields.integer("index", minimum=0, maximum=9)
3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.errors import FormatError, InvalidName
from hermetic.formats.binary_text import from_base64url
from hermetic.ids import check_id

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from hermetic.formats.canonical import Json


class Fields:
    """One JSON object under inspection; every method raises FormatError naming object and field."""

    __slots__ = ("_members", "_what")

    def __init__(self, value: Json, what: str, names: AbstractSet[str]) -> None:
        if not isinstance(value, dict) or value.keys() != names:
            raise FormatError(f"{what}: expected exactly the fields {', '.join(sorted(names))}")
        self._members = value
        self._what = what

    def _fail(self, name: str, expected: str) -> FormatError:
        return FormatError(f"{self._what}: {name} is not {expected}")

    def constant(self, name: str, expected: str) -> str:
        """Require one fixed string."""
        if self._members[name] != expected:
            raise self._fail(name, repr(expected))
        return expected

    def text(self, name: str, *, limit: int) -> str:
        """Return a string of at most `limit` UTF-8 bytes."""
        value = self._members[name]
        if not isinstance(value, str) or len(value.encode("utf-8")) > limit:
            raise self._fail(name, f"text of at most {limit} bytes")
        return value

    def integer(self, name: str, *, minimum: int, maximum: int) -> int:
        """Return an integer in the closed range."""
        value = self._members[name]
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise self._fail(name, f"an integer from {minimum} to {maximum}")
        return value

    def identifier(self, name: str) -> str:
        """Return a random id (26 base32 letters)."""
        value = self._members[name]
        try:
            return check_id(value) if isinstance(value, str) else check_id("")
        except InvalidName:
            raise self._fail(name, "an id") from None

    def binary(self, name: str, *, length: int) -> bytes:
        """Return bytes written as base64url."""
        value = self._members[name]
        if not isinstance(value, str):
            raise self._fail(name, "base64url text")
        return from_base64url(value, length=length)

    def items(self, name: str, *, limit: int) -> list[Json]:
        """Return a list of at most `limit` items."""
        value = self._members[name]
        if not isinstance(value, list) or len(value) > limit:
            raise self._fail(name, f"a list of at most {limit} items")
        return value

    def members(self, name: str, *, limit: int) -> dict[str, Json]:
        """Return an object of at most `limit` members."""
        value = self._members[name]
        if not isinstance(value, dict) or len(value) > limit:
            raise self._fail(name, f"an object of at most {limit} members")
        return value

    def get(self, name: str) -> Json:
        """Return the field as it is, for a caller that checks it itself."""
        return self._members[name]


def whole_number(text: object) -> int | None:
    """Return the number that a text says, None for anything else.

    For what is stored without authentication: a number that was changed by hand counts as one that was never written.
    """
    if not isinstance(text, str) or not text.isascii() or not text.isdecimal() or len(text) > 15:
        return None
    return int(text)


def copied_entries(said: Mapping[str, object], generation: int) -> int:
    """Return how many entries of this generation of the log the last backup copy holds, by what `backup_state` says.

    Of a later generation than the one it was made in a copy holds nothing: directly after a restore there is none of the new one.
    """
    copied = whole_number(said.get("log_generation"))
    return (whole_number(said.get("log_size")) or 0) if copied in {None, generation} else 0
