r"""A port message as lines that a person can check before signing: every field, whole, in text that cannot play tricks.

spelled(text)    printable text as it is; a backslash doubled, everything else written as \n, \x1b, \u202e
pairs(message)   every field by its path, `recipients[0].name`; together they say what the canonical bytes say

Nothing is cut. Of two spaces in a row the second is written as \x20: else a long run of them would begin a new line on a terminal, and
what follows look like another field. Long binary values stand as length and SHA-256, which is as good as the bytes, and not as long.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from hermetic.formats.messages.base import Pair

if TYPE_CHECKING:
    from collections.abc import Iterator

NONE: Final = "(none)"
WHOLE: Final = 64  # bytes of a binary value that are written out
LAST_MS: Final = 253_402_300_800_000  # the end of the year 9999
_RUN: Final = re.compile(" {2,}")
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # printable by category, and show nothing
_SELECTORS: Final = ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))  # the same


def spelled(text: str, *, spaces: int = 1) -> str:
    r"""Return text on one line in which nothing is hidden; "" is two quotes. Different texts look different.

    `spaces` in a row are left as they are, for lines of a file; so are those that such a line begins with.

    >>> spelled("a\x1b[2J  b\u202e")
    'a\\x1b[2J \\x20b\\u202e'
    """
    if text in {"", '""'}:
        return '\\x22"' if text else '""'
    found = _RUN.sub(lambda run: _spaces(len(run[0]), spaces), "".join(map(_spelled, text)))
    if spaces > 1:
        return found
    found = "\\x20" + found[1:] if found[0] == " " else found
    return found[:-1] + "\\x20" if found[-1] == " " else found


def _spaces(count: int, kept: int) -> str:
    return " " * min(count, kept) + "\\x20" * (count - kept)


def _spelled(char: str) -> str:
    if char == "\\":
        return "\\\\"
    code = ord(char)
    invisible = char in _INVISIBLE or any(first <= code <= last for first, last in _SELECTORS)
    if char.isprintable() and not invisible:
        return char
    if not char.isprintable() and not 0xD800 <= code <= 0xDFFF:
        return char.encode("unicode_escape").decode("ascii")
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def pairs(message: object) -> tuple[Pair, ...]:
    """Return every field of a message, in order."""
    return tuple(_fields(message, ""))


def _fields(message: Any, prefix: str) -> Iterator[Pair]:
    for field in dataclasses.fields(message):
        yield from _value(f"{prefix}{field.name}", getattr(message, field.name))


def _value(name: str, value: object) -> Iterator[Pair]:
    if dataclasses.is_dataclass(value):
        yield from _fields(value, f"{name}.")
    elif isinstance(value, tuple):
        if not value:
            yield Pair(name, NONE)
        for at, item in enumerate(value):
            yield from _value(f"{name}[{at}]", item)
    else:
        yield Pair(name, _text(name, value))


def _text(name: str, value: object) -> str:
    if value is None:
        return NONE
    if isinstance(value, bytes):
        digest = f"{len(value)} bytes, SHA-256 {hashlib.sha256(value).hexdigest()}"
        return f"{value.hex()} ({len(value)} bytes)" if len(value) <= WHOLE else digest
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        in_calendar = name.endswith("_ms") and 0 <= value < LAST_MS
        return f"{value} ({datetime.fromtimestamp(value / 1000, UTC):%Y-%m-%d %H:%M:%SZ})" if in_calendar else str(value)
    return spelled(str(value)) if value != NONE else f"\\x28{NONE[1:]}"
