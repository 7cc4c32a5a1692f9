"""Reading millions of leaves: the same answer as `Leaf.parse`, several times faster for the leaves that are usual. Pure.

Three ways, each only for what it can decide exactly as RFC 8785 asks, else the next:

1. a pattern made from a leaf of the same kind that was read before: the same field names, other values of printable ASCII;
2. facts of text, integers, booleans, null and flat lists of them: a JSON reader and writer in native code, and checks of order,
   names and ranges;
3. `Leaf.parse`, which also words the errors.

A property test compares them on leaves, near-leaves and noise.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic_core import from_json, to_json

from hermetic.audit.leaf import FACT_LIMIT, FORMAT, HIDDEN_LIMIT, Leaf, RowState, row_states
from hermetic.audit.proof import LEAF_LIMIT
from hermetic.formats.canonical import MAX_INTEGER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hermetic.formats.canonical import Json

Scanned: TypeAlias = "tuple[int, int, int, str, Json, Sequence[RowState]]"  # generation, index, at_ms, kind, fact `request`, rows

_PLAIN = ("at_ms", "facts", "format", "generation", "index", "kind")
_HIDING = ("at_ms", "facts", "format", "generation", "hidden", "index", "kind")
_SHAPES = frozenset({_PLAIN, _HIDING, (*_PLAIN, "rows"), (*_HIDING, "rows")})
_NO_ROWS: tuple[RowState, ...] = ()
_FLAT = frozenset({str, bool, type(None)})
_TEXT = {str}
_COMMITMENT = "[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"
_COMMITMENTS = re.compile(f"(?:{_COMMITMENT})+")
_NUMBER = "(?:0|[1-9][0-9]{0,14})"  # below 10^15; larger ones go the next way
_SIMPLE = r"[ !#-\[\]-~]*"  # printable ASCII that JSON writes as it is
_TEXT_OR_NULL = f'(?:"{_SIMPLE}"|null)'
_VALUES = {
    str: _TEXT_OR_NULL,
    type(None): _TEXT_OR_NULL,
    int: "(?:-?[1-9][0-9]{0,14}|0)",
    bool: "(?:true|false)",
    list: rf'\[(?:"{_SIMPLE}"(?:,"{_SIMPLE}")*)?\]',
}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}(\.[a-z][a-z0-9-]{0,31}){1,2}")
_CACHE_LIMIT = 4096
_PATTERN_LIMIT = 8  # of one kind


class Scanner:
    """Reads leaves; remembers which shapes of facts and which kinds it has met."""

    __slots__ = ("_facts", "_hidden", "_kinds", "_patterns")

    def __init__(self) -> None:
        self._facts: set[tuple[str, ...]] = {()}
        self._hidden: set[tuple[str, ...]] = set()
        self._kinds: set[str] = set()
        self._patterns: dict[str, list[re.Pattern[bytes]]] = {}

    def read(self, raw: bytes, kind: str = "") -> Scanned:
        """Return what a leaf says; `kind` is the kind it is expected to have. Raises FormatError as `Leaf.parse`."""
        if len(raw) <= LEAF_LIMIT:
            for pattern in self._patterns.get(kind, ()):
                found = pattern.fullmatch(raw)
                if found is not None:
                    at_ms, *request, generation, index = found.groups()
                    named = request[0].decode("ascii") if request else None
                    return int(generation), int(index), int(at_ms), kind, named, _NO_ROWS
            usual = self._parse_usual(raw)
            if usual is not None:
                return usual
        leaf = Leaf.parse(raw)
        return leaf.generation, leaf.index, leaf.at_ms, leaf.kind, leaf.facts.get("request"), leaf.rows

    def _parse_usual(self, raw: bytes) -> Scanned | None:
        """Return what a usual leaf says, and make a pattern of it; None for any other."""
        try:
            value = from_json(raw, cache_strings="keys")
            usual = self._usual(value) if to_json(value) == raw else None
        except (ValueError, TypeError):
            return None
        if usual is not None and "rows" not in value:
            known = self._patterns.setdefault(usual[3], []) if len(self._patterns) < _CACHE_LIMIT else []
            if len(known) < _PATTERN_LIMIT:
                known.extend(_pattern(value))
        return usual

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
        return generation, index, at_ms, kind, facts.get("request"), row_states(value) if "rows" in value else _NO_ROWS

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


def _pattern(value: dict[str, Any]) -> list[re.Pattern[bytes]]:
    """Return a pattern for the leaves that differ from a usual one in values only, or nothing when its facts are not all simple."""
    members = []
    for name, fact in value["facts"].items():
        simple = _VALUES.get(type(fact))
        if simple is None or (name == "request" and type(fact) is not str):
            return []
        members.append(f'"{name}":' + (f'"({_SIMPLE})"' if name == "request" else simple))
    hidden = ",".join(f'"{name}":"{_COMMITMENT}"' for name in value.get("hidden", ()))
    text = (
        rf'\{{"at_ms":({_NUMBER}),"facts":\{{{",".join(members)}\}},"format":"{FORMAT}","generation":([1-9][0-9]{{0,14}})'
        + (rf',"hidden":\{{{hidden}\}}' if hidden else "")
        + rf',"index":({_NUMBER}),"kind":"{re.escape(value["kind"])}"\}}'
    )
    return [re.compile(text.encode("ascii"))]


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
