"""Bytes of a fuzzer as edits of a document, so that most of what is tried gets past the first check.

An input whose first byte is even is the rest, as it is. An odd one picks a good JSON document and edits up to six of its places; the
result is written in canonical form where it has one, so that the checks behind the canonical form are reached too. With more than
128 documents the one picked takes two bytes.
"""

from __future__ import annotations

import copy
import json

from hermetic.errors import UsageError
from hermetic.formats import canonical

ONE_BYTE = 128  # documents that seven bits tell apart
VALUES = (
    *(None, True, False, 0, 1, -1, 2, 255, 65_535, 65_536, 2**31, 2**53 - 1, 2**53, 2**63, 2**64, -(2**53), 1.5, 1e300),
    *("", "a", "0", "1", "-1", " ", "\n", "\0", "\x1b[31m", "\u202e", "\ud800", "e\u0301", "..", ".", "/", "//", "a/b", "a/../b"),
    *("a" * 26, "b" * 25 + "a", "A" * 43, "A" * 42 + "B", "A" * 44, "AA==", "=", "none", "latest", "null", "true", "é"),
    *("hermetic/v2/x", "local:x", "@", "\\", "x" * 63, "x" * 255, "x" * 1025, "x" * 70_000, "9" * 17, "1" * 400),
    *("x" * 256, "blake3", "sha256", "production", "restricted"),
    *([], {}, [[]], [None], [1, 2, 3], {"a": 1}, {"": None}, [["a", "b", 1, None]], [{}] * 3, {"a" * 64: 1}, {"\ud800": 1}),
)  # fmt: skip


def input_of(data: bytes, documents: list[object]) -> bytes:
    """Return what the parser gets for the fuzzer's bytes."""
    if not data or data[0] % 2 == 0 or not documents:
        return data[1:]
    if len(documents) <= ONE_BYTE:
        return edited(documents[(data[0] >> 1) % len(documents)], data[1:])
    return edited(documents[((data[0] >> 1) << 8 | (data[1:2] or b"\0")[0]) % len(documents)], data[2:])


def spelled(at: int, documents: list[object]) -> bytes:
    """Return how an input begins that picks the document at `at`."""
    return bytes([1 | at << 1]) if len(documents) <= ONE_BYTE else bytes([1 | at >> 8 << 1, at & 255])


def edited(document: object, script: bytes) -> bytes:
    """Return a document after the edits that `script` spells, five bytes each."""
    root: list[object] = [copy.deepcopy(document)]
    for at in range(0, min(len(script), 30), 5):
        _edit(root, (script[at : at + 5] + bytes(5))[:5])
    return encode(root[0])


def encode(value: object) -> bytes:
    """Return canonical bytes, or what comes nearest."""
    try:
        return canonical.encode(value)  # type: ignore[arg-type]
    except UsageError:
        return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _edit(root: list[object], step: bytes) -> None:
    slots = list(_slots(root))
    holder, key = slots[(step[0] << 8 | step[1]) % len(slots)]
    kind, choice = step[2] % 8, step[3] | step[4] << 8
    value = holder[key]  # type: ignore[index]
    other = slots[choice % len(slots)]
    if kind < 3:
        holder[key] = copy.deepcopy(VALUES[choice % len(VALUES)])  # type: ignore[index]
    elif kind == 3 and isinstance(holder, dict):
        del holder[key]
    elif kind == 4 and isinstance(holder, dict):
        holder[str(VALUES[choice % len(VALUES)])[:70]] = value
    elif kind == 5 and isinstance(value, list):
        value.extend(copy.deepcopy(value[: choice % 4]))
    elif kind == 6:
        holder[key] = copy.deepcopy(other[0][other[1]])  # type: ignore[index]
    elif isinstance(value, str) and value:
        at = choice % len(value)
        holder[key] = value[:at] + chr(step[4] or 65) + value[at + step[3] % 2 :]  # type: ignore[index]
    elif isinstance(value, int):
        holder[key] = int(value) ^ 1 << choice % 66  # type: ignore[index]


def _slots(holder: object):
    keys = holder.keys() if isinstance(holder, dict) else range(len(holder)) if isinstance(holder, list) else ()
    for key in list(keys):
        yield holder, key
        yield from _slots(holder[key])  # type: ignore[index]
