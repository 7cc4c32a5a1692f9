"""Text to a tree of nodes that know their place: the small, safe part of YAML 1.2 that hermetic.yaml uses.

Anchors, aliases, tags, merge keys, directives, several documents, duplicate keys and deep nesting are refused, so that what a
person sees is what is read, and a hostile file costs no more than its length. Scalars follow the YAML 1.2 core schema: `no` is
text, and dates stay text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ruamel.yaml.events import Event

MAX_LENGTH = 128 * 1024  # characters
MAX_DEPTH = 12  # collections inside collections; the format needs 6
MAX_NODES = 20_000

_INTEGER = re.compile(r"[-+]?[0-9]{1,15}")
_DECIMAL = re.compile(r"[-+]?[0-9]{1,15}\.[0-9]{1,15}")
_WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | dict.fromkeys(("true", "True", "TRUE"), True)
_WORDS |= dict.fromkeys(("false", "False", "FALSE"), False)


class Place(NamedTuple):
    """Line and column, both from 1."""

    line: int
    column: int


class Wrong(Exception):
    """One mistake in the file: what and where, and what to write instead."""

    def __init__(self, place: Place, message: str, remedy: str) -> None:
        super().__init__(message)
        self.place, self.message, self.remedy = place, message, remedy


@dataclass(frozen=True, slots=True)
class Member:
    """One `key: value` of a mapping."""

    place: Place
    node: Node


@dataclass(frozen=True, slots=True)
class Node:
    """A value with the place where it starts."""

    place: Place
    value: Value


Scalar: TypeAlias = "str | int | float | bool | None"
Value: TypeAlias = "Scalar | list[Node] | dict[str, Member]"


def compose(text: str) -> Node:
    """Return the tree that `text` spells. Raises Wrong for anything that is not one plain YAML document within the limits."""
    if len(text) > MAX_LENGTH:
        raise Wrong(
            Place(1, 1), f"the file has {len(text)} characters, over the limit of {MAX_LENGTH}", "split off what is not policy"
        )
    try:
        return _Composer(iter(YAML(typ="safe", pure=True).parse(text))).document()
    except MarkedYAMLError as error:
        raise _syntax(error) from None
    except (YAMLError, ValueError, OverflowError, LookupError, TypeError, AttributeError) as error:
        # ruamel.yaml leaks these for bad escapes, directives and unprintable characters
        raise Wrong(Place(1, 1), f"not YAML: {_first_line(error)}", "save the file as plain UTF-8 text") from None


def _syntax(error: MarkedYAMLError) -> Wrong:
    mark = error.problem_mark or error.context_mark
    place = Place(1, 1) if mark is None else Place(mark.line + 1, mark.column + 1)
    return Wrong(place, f"not YAML: {_first_line(error.problem or error.context)}", "check indentation, quotes and colons here")


def _first_line(thing: object) -> str:
    lines = str(thing).splitlines()
    return lines[0].strip()[:200] if lines else "unreadable"


def place_of(root: Node, *path: str | int) -> Place:
    """Return the place of what stands at `path`, or of the nearest thing above it: a plain value itself, a collection by its key."""
    place, node = root.place, root
    for step in path:
        if isinstance(step, str) and isinstance(node.value, dict) and step in node.value:
            member = node.value[step]
            place, node = member.place, member.node
        elif isinstance(step, int) and isinstance(node.value, list) and step < len(node.value):
            node = node.value[step]
            place = node.place
        else:
            break
    return place if node.value is None or isinstance(node.value, (list, dict)) else node.place


class _Composer:
    """Turns parser events into nodes, refusing early so that nothing is built of a hostile file."""

    def __init__(self, events: Iterator[Event]) -> None:
        self._events = events
        self._count = 0

    def document(self) -> Node:
        next(self._events)  # start of stream
        start = next(self._events)
        if not isinstance(start, DocumentStartEvent):
            raise Wrong(Place(1, 1), "the file is empty", "run `hermetic init`, or copy the default from the documentation")
        if start.version or start.tags:
            raise Wrong(Place(1, 1), "YAML directives are not used here", "remove the line that starts with %")
        root = self._node(next(self._events), 0)
        next(self._events)  # end of document
        after = next(self._events)
        if isinstance(after, DocumentStartEvent):
            raise Wrong(_place(after), "a second document starts here", "keep one document in the file; remove this `---`")
        return root

    def _node(self, event: Event, depth: int) -> Node:
        place = _place(event)
        self._count += 1
        if self._count > MAX_NODES:
            raise Wrong(place, f"the file has more than {MAX_NODES} values", "use globs in rules instead of listing files")
        _plain(event, place)
        if isinstance(event, ScalarEvent):
            return Node(place, _scalar(event))
        if depth >= MAX_DEPTH:
            raise Wrong(place, f"nested more than {MAX_DEPTH} deep", "nothing in this file needs that; check the brackets")
        if isinstance(event, MappingStartEvent):
            return Node(place, self._mapping(depth))
        return Node(place, self._sequence(depth))

    def _sequence(self, depth: int) -> list[Node]:
        items: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            items.append(self._node(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Member]:
        members: dict[str, Member] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._node(event, depth + 1)
            if not isinstance(event, ScalarEvent):
                raise Wrong(key.place, "a key must be plain text", "write `key: value`")
            if event.value == "<<":
                raise Wrong(key.place, "merge keys are not used here", "classes inherit with `like: CLASS`")
            if event.value in members:
                first = members[event.value].place
                raise Wrong(key.place, f"{event.value!r} stands twice, first in line {first.line}", "keep one of the two")
            members[event.value] = Member(key.place, self._node(next(self._events), depth + 1))
        return members


def _plain(event: Event, place: Place) -> None:
    if isinstance(event, AliasEvent) or (isinstance(event, NodeEvent) and event.anchor):
        raise Wrong(place, "anchors and aliases are not used here", "write the value out; classes inherit with `like: CLASS`")
    if isinstance(event, (ScalarEvent, CollectionStartEvent)) and getattr(event, "tag", None):
        raise Wrong(place, "YAML tags are not used here", "remove the word that starts with `!`")


def _place(event: Event) -> Place:
    mark = event.start_mark
    return Place(mark.line + 1, mark.column + 1)


def _scalar(event: ScalarEvent) -> Scalar:
    text: str = event.value
    if event.style:  # quoted or block text is never anything but text
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text
