"""Reading millions of leaves: the same answer as `Leaf.parse`, several times faster for the leaves that are usual. Pure.

A usual leaf has facts of text, integers, booleans, null and flat lists of them. For those, a JSON reader and writer in native code,
plus checks of order, names and ranges, decide exactly what RFC 8785 asks; everything else goes through `Leaf.parse`, which also words
the errors. A property test compares both on leaves, near-leaves and noise.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic_core import from_json, to_json

from hermetic.audit.leaf import FACT_LIMIT, FORMAT, HIDDEN_LIMIT, Leaf, RowState, row_states
from hermetic.audit.proof import LEAF_LIMIT
from hermetic.formats.canonical import MAX_INTEGER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from hermetic.formats.canonical import Json

Scanned: TypeAlias = "tuple[int, int, int, str, Mapping[str, Json], Sequence[RowState]]"

_PLAIN = ("at_ms", "facts", "format", "generation", "index", "kind")
_HIDING = ("at_ms", "facts", "format", "generation", "hidden", "index", "kind")
_SHAPES = frozenset({_PLAIN, _HIDING, (*_PLAIN, "rows"), (*_HIDING, "rows")})
_NO_ROWS: tuple[RowState, ...] = ()
_FLAT = frozenset({str, bool, type(None)})
_TEXT = {str}
_COMMITMENTS = re.compile(r"(?:[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])+")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}(\.[a-z][a-z0-9-]{0,31}){1,2}")
_CACHE_LIMIT = 4096


class Scanner:
    """Reads leaves; remembers which shapes of facts and which kinds it has met."""

    __slots__ = ("_facts", "_hidden", "_kinds")

    def __init__(self) -> None:
        self._facts: set[tuple[str, ...]] = {()}
        self._hidden: set[tuple[str, ...]] = set()
        self._kinds: set[str] = set()

    def read(self, raw: bytes) -> Scanned:
        """Return (generation, index, at_ms, kind, facts, row states) of a leaf. Raises FormatError as `Leaf.parse`."""
        try:
            value = from_json(raw, cache_strings="keys")
            usual = self._usual(value) if to_json(value) == raw and len(raw) <= LEAF_LIMIT else None
        except (ValueError, TypeError):
            usual = None
        if usual is not None:
            return usual
        leaf = Leaf.parse(raw)
        return leaf.generation, leaf.index, leaf.at_ms, leaf.kind, leaf.facts, leaf.rows

    def _usual(self, value: Any) -> Scanned | None:
        """Return what a usual leaf says, given a value that is written back to the same bytes; None only means: look closer."""
        shape = tuple(value) if type(value) is dict else ()
        if shape not in _SHAPES or value["format"] != FORMAT:
            return None
        generation, index, at_ms, kind, facts = value["generation"], value["index"], value["at_ms"], value["kind"], value["facts"]
        if not type(generation) is type(index) is type(at_ms) is int:
            return None
        if not (0 < generation <= MAX_INTEGER and 0 <= index <= MAX_INTEGER and 0 <= at_ms <= MAX_INTEGER):
            return None
        if shape is not _PLAIN and not ("hidden" not in value or self._usual_hidden(value["hidden"])):
            return None
        if not self._usual_facts(facts) or not (type(kind) is str and (kind in self._kinds or self._new_kind(kind))):
            return None
        return generation, index, at_ms, kind, facts, row_states(value) if "rows" in value else _NO_ROWS

    def _usual_facts(self, facts: Any) -> bool:
        if type(facts) is not dict:
            return False
        names = tuple(facts)
        if names not in self._facts and not _learn(names, self._facts, FACT_LIMIT):
            return False
        kinds = set(map(type, facts.values()))
        return kinds == _TEXT or all(map(_plain, facts.values()))

    def _usual_hidden(self, hidden: Any) -> bool:
        if type(hidden) is not dict or not hidden:
            return False
        names = tuple(hidden)
        if names not in self._hidden and not _learn(names, self._hidden, HIDDEN_LIMIT):
            return False
        values = hidden.values()
        if set(map(type, values)) != _TEXT or set(map(len, values)) != {43}:
            return False
        return _COMMITMENTS.fullmatch("".join(values)) is not None

    def _new_kind(self, kind: Any) -> bool:
        if type(kind) is not str or not _KIND.fullmatch(kind):
            return False
        if len(self._kinds) < _CACHE_LIMIT:
            self._kinds.add(kind)
        return True


def _plain(value: Any) -> bool:
    """Say whether a fact is flat, or a list of what is flat, with integers in range."""
    kind = type(value)
    if kind is int:
        return bool(-MAX_INTEGER <= value <= MAX_INTEGER)
    return kind in _FLAT or (kind is list and all(type(item) is not list and _plain(item) for item in value))


def _learn(names: tuple[str, ...], known: set[tuple[str, ...]], limit: int) -> bool:
    if len(names) > limit or list(names) != sorted(names) or not all(map(_NAME.fullmatch, names)):
        return False
    if len(known) < _CACHE_LIMIT:
        known.add(names)
    return True
