"""Canonical JSON (RFC 8785), restricted to what Hermetic writes.

Values are null, true, false, strings, integers of at most 53 bits, lists, and objects with string keys. Floats are refused, since
nothing here needs one and every language prints them a little differently. One value has exactly one encoding: `decode` refuses
bytes that `encode` would not have written, so that no byte of a signed or hashed document is free.

>>> encode({"b": 1, "a": [True, None]})
b'{"a":[true,null],"b":1}'
>>> decode(b'{"a":[true,null],"b":1}', limit=64)
{'a': [True, None], 'b': 1}
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn, TypeAlias

from hermetic.errors import FormatError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_DEPTH = 32  # containers inside containers
MAX_INTEGER = 2**53 - 1  # RFC 8785 section 3.2.2.3: what every JSON reader keeps exact

JsonValue: TypeAlias = "bool | int | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"


def encode(value: JsonValue) -> bytes:
    """Return the one encoding of `value`. Raises UsageError for a value that has none."""
    try:
        text = _SORTING.encode(value) if _sorts_alike(value, 0) else _ENCODER.encode(_ordered(value, 0))
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError("text holds half of a surrogate pair and has no UTF-8 form") from None


def decode(raw: bytes, *, limit: int) -> Json:
    """Return the value that `raw` encodes; `limit` is the most bytes to look at.

    Raises FormatError for anything but canonical bytes: over `limit`, not UTF-8, not JSON, duplicate keys, floats, integers
    outside +-(2^53 - 1), more than 32 containers deep, or spelled otherwise than `encode` would.
    """
    if len(raw) > limit:
        raise FormatError(f"canonical JSON has {len(raw)} bytes, over the limit of {limit}")
    try:
        value: Json = _DECODER.decode(raw.decode("utf-8"))
        same = encode(value) == raw
    except FormatError:
        raise
    except (ValueError, RecursionError, UsageError) as error:
        raise FormatError(f"not canonical JSON: {type(error).__name__}") from None
    if not same:
        raise FormatError("JSON is not in canonical form (RFC 8785)")
    return value


def _sorts_alike(value: JsonValue, depth: int) -> bool:
    """Check every part of `value`; return whether all keys are ASCII, for which Python's order and that of RFC 8785 are one.

    Raises UsageError for a value that has no encoding; of one with other keys, `_ordered` checks the rest.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return _integer(value) == value
    if value is None or isinstance(value, (str, bool)):
        return True
    if depth >= MAX_DEPTH:
        raise UsageError(f"canonical JSON is at most {MAX_DEPTH} containers deep")
    if isinstance(value, dict):
        try:
            if not all(map(str.isascii, value)):
                return False
        except TypeError:
            raise UsageError("an object key in canonical JSON is a string") from None
        value = value.values()  # type: ignore[assignment]
    elif not isinstance(value, (list, tuple)):
        raise UsageError(f"canonical JSON cannot hold a {type(value).__name__}")
    alike = True
    for part in value:
        if type(part) not in _LEAVES and not _sorts_alike(part, depth + 1):
            alike = False
    return alike


def _ordered(value: JsonValue, depth: int) -> JsonValue:
    """Return `value` with members in RFC 8785 order, after checking every part of it."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return _integer(value)
    if depth >= MAX_DEPTH:
        raise UsageError(f"canonical JSON is at most {MAX_DEPTH} containers deep")
    if isinstance(value, dict):
        return {key: _ordered(value[key], depth + 1) for key in _sorted_keys(value)}
    if isinstance(value, (list, tuple)):
        return [_ordered(item, depth + 1) for item in value]
    raise UsageError(f"canonical JSON cannot hold a {type(value).__name__}")


def _integer(value: int) -> int:
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise UsageError("an integer in canonical JSON has at most 53 bits")
    return value


def _sorted_keys(value: dict[str, JsonValue]) -> list[str]:
    """RFC 8785 section 3.2.3 sorts by UTF-16 code units; for keys in ASCII that is the order Python gives."""
    if not all(isinstance(key, str) for key in value):
        raise UsageError("an object key in canonical JSON is a string")
    if all(key.isascii() for key in value):
        return sorted(value)
    return sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise FormatError("JSON object has a key twice")
    return members


def _parse_integer(text: str) -> int:
    if len(text) > 17:  # a sign and 16 digits; also keeps `int` from doing quadratic work on hostile digits
        raise FormatError("JSON integer has more than 53 bits")
    return int(text)


def _refuse_number(text: str) -> NoReturn:
    raise FormatError(f"JSON number {text[:24]!r} is not an integer")


_LEAVES = frozenset((str, bool, type(None)))
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)
_SORTING = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False, sort_keys=True)
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_parse_integer,
    parse_float=_refuse_number,
    parse_constant=_refuse_number,
)
