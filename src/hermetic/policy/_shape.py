"""Shapes: one declaration reads a value with its place and also says its JSON Schema, so that editor and parser agree.

A shape's `read(node, problems)` returns the value or raises Wrong. Collections go on after a mistake: they put each into
`problems` and raise Spoiled at the end, so that a person sees every mistake at once.
"""

from __future__ import annotations

import difflib
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from hermetic.policy._yaml import Member, Node, Place, Wrong

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
W = TypeVar("W", bound=str)

JsonSchema: TypeAlias = "dict[str, Any]"
MAX_TEXT = 500  # characters of any one text
MAX_ITEMS = 1000

_ELSEWHERE = frozenset(
    (
        *("bucket", "endpoint", "url", "uri", "region", "prefix", "host", "port", "address", "ca_file", "pin", "pins", "pinned"),
        *("command", "argv", "exec", "module", "module_path", "class_path", "plugin", "library", "provider", "root", "key_file"),
        *("credentials", "access_key", "secret_key", "token", "password", "passphrase"),
    )
)
_ELSEWHERE_REMEDY = (
    "this belongs in your own $XDG_CONFIG_HOME/hermetic/, never in a file that travels with the project; remove it here"
)


class Spoiled(Wrong):
    """A part was wrong and is already in the list of problems."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, "", "")


class Shape(Protocol[T_co]):
    """Something that reads nodes and knows its JSON Schema."""

    def read(self, node: Node, problems: list[Wrong]) -> T_co:
        """Return the value of `node`. Raises Wrong."""

    def schema(self) -> JsonSchema:
        """Return the JSON Schema (draft 2020-12) of what `read` accepts."""


def text_of(node: Node, what: str) -> str:
    """Return a text value without control characters. Raises Wrong for anything else."""
    if not isinstance(node.value, str):
        raise Wrong(node.place, f"expected {what}, found {_name_of(node)}", f"write {what}; quote it if it looks like a number")
    if len(node.value) > MAX_TEXT:
        raise Wrong(node.place, f"text of {len(node.value)} characters, over the limit of {MAX_TEXT}", "make it shorter")
    if any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for char in node.value):
        raise Wrong(node.place, "text holds control or unprintable characters", "retype it in plain characters")
    return node.value


def _name_of(node: Node) -> str:
    names = {type(None): "nothing", bool: "true or false", int: "a whole number", float: "a number", list: "a list", dict: "a mapping"}
    return names.get(type(node.value), "text")


@dataclass(frozen=True)
class Text:
    """Text that matches a pattern. `what` names it for people; the pattern must mean the same in Python and ECMA-262."""

    pattern: re.Pattern[str]
    what: str

    def read(self, node: Node, _problems: list[Wrong]) -> str:
        """Return the text. Raises Wrong."""
        value = text_of(node, self.what)
        if "://" in value:
            raise Wrong(node.place, f"{value!r} is a location outside the project", _ELSEWHERE_REMEDY)
        if not self.pattern.fullmatch(value):
            raise Wrong(node.place, f"{value!r} is not {self.what}", f"write {self.what}")
        return value

    def schema(self) -> JsonSchema:
        """Return a string with a pattern."""
        return {"type": "string", "pattern": f"^(?:{self.pattern.pattern})$", "maxLength": MAX_TEXT}


@dataclass(frozen=True)
class Prose:
    """Free text for people: a reason, a description; not empty."""

    what: str

    def read(self, node: Node, _problems: list[Wrong]) -> str:
        """Return the text. Raises Wrong."""
        value = text_of(node, self.what).strip()
        if not value:
            raise Wrong(node.place, f"{self.what} is empty", "say it in a sentence that an auditor can read")
        return value

    def schema(self) -> JsonSchema:
        """Return a string that is not blank."""
        return {"type": "string", "minLength": 1, "maxLength": MAX_TEXT, "pattern": r"\S"}


@dataclass(frozen=True)
class Choice(Generic[W]):
    """One of some words. `weak` holds words that people may expect here, in lower case, with the reason why they are refused."""

    words: tuple[W, ...]
    what: str
    weak: Mapping[str, str] = field(default_factory=dict)

    def read(self, node: Node, _problems: list[Wrong]) -> W:
        """Return the word, a member of its enumeration if there is one. Raises Wrong."""
        value = text_of(node, self.what)
        allowed = [str(word) for word in self.words]
        if value in allowed:
            return self.words[allowed.index(value)]
        remedy = f"use one of: {', '.join(allowed)}"
        if value.lower() in self.weak:
            raise Wrong(node.place, f"weak {self.what} {value!r}: {self.weak[value.lower()]}", remedy)
        raise Wrong(node.place, f"unknown {self.what} {value[:60]!r}", _guess(value, allowed) or remedy)

    def schema(self) -> JsonSchema:
        """Return an enumeration."""
        return {"enum": [str(word) for word in self.words]}


@dataclass(frozen=True)
class OrNone(Generic[T]):
    """A value, or one word that stands for None."""

    shape: Shape[T]
    word: str

    def read(self, node: Node, problems: list[Wrong]) -> T | None:
        """Return the value or None. Raises Wrong."""
        return None if node.value == self.word else self.shape.read(node, problems)

    def schema(self) -> JsonSchema:
        """Return either of the two."""
        return {"anyOf": [{"const": self.word}, self.shape.schema()]}


@dataclass(frozen=True)
class Whole:
    """A whole number within bounds."""

    minimum: int
    maximum: int

    def read(self, node: Node, _problems: list[Wrong]) -> int:
        """Return the number. Raises Wrong."""
        value = node.value
        if not isinstance(value, int) or isinstance(value, bool) or not self.minimum <= value <= self.maximum:
            bounds = f"a whole number from {self.minimum} to {self.maximum}"
            raise Wrong(node.place, f"expected {bounds}, found {_shown(node)}", f"write {bounds}")
        return value

    def schema(self) -> JsonSchema:
        """Return a bounded integer."""
        return {"type": "integer", "minimum": self.minimum, "maximum": self.maximum}


@dataclass(frozen=True)
class Number:
    """A number over zero and up to `maximum`."""

    maximum: float

    def read(self, node: Node, _problems: list[Wrong]) -> float:
        """Return the number. Raises Wrong."""
        value = node.value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= self.maximum:
            bounds = f"a number over 0 and up to {self.maximum:g}"
            raise Wrong(node.place, f"expected {bounds}, found {_shown(node)}", f"write {bounds}")
        return float(value)

    def schema(self) -> JsonSchema:
        """Return a bounded number."""
        return {"type": "number", "exclusiveMinimum": 0, "maximum": self.maximum}


@dataclass(frozen=True)
class Flag:
    """true or false."""

    def read(self, node: Node, _problems: list[Wrong]) -> bool:
        """Return the value. Raises Wrong."""
        if not isinstance(node.value, bool):
            raise Wrong(node.place, f"expected true or false, found {_shown(node)}", "write true or false, without quotes")
        return node.value

    def schema(self) -> JsonSchema:
        """Return a boolean."""
        return {"type": "boolean"}


def _shown(node: Node) -> str:
    return repr(node.value)[:60] if isinstance(node.value, (str, int, float, bool)) else _name_of(node)


@dataclass(frozen=True)
class Many(Generic[T]):
    """A list without repeats; with `single` one value may stand for a list of one."""

    item: Shape[T]
    what: str
    minimum: int = 0
    single: bool = False

    def read(self, node: Node, problems: list[Wrong]) -> tuple[T, ...]:
        """Return the values. Raises Wrong."""
        if self.single and not isinstance(node.value, (list, dict)):
            return (self.item.read(node, problems),)
        if not isinstance(node.value, list):
            raise Wrong(node.place, f"expected a list of {self.what}, found {_shown(node)}", "write [one, two] or one `- item` a line")
        if not self.minimum <= len(node.value) <= MAX_ITEMS:
            message = f"a list of {len(node.value)} {self.what}; there must be {self.minimum} to {MAX_ITEMS}"
            raise Wrong(node.place, message, "add what is missing, or use globs instead of a long list")
        return self._items(node, node.value, problems)

    def _items(self, node: Node, items: list[Node], problems: list[Wrong]) -> tuple[T, ...]:
        values: list[T] = []
        before = len(problems)
        for item in items:
            with collecting(problems):
                value = self.item.read(item, problems)
                if value in values:
                    raise Wrong(item.place, f"{_shown(item)} stands twice in the list", "keep one of the two")
                values.append(value)
        if len(problems) > before:
            raise Spoiled(node.place)
        return tuple(values)

    def schema(self) -> JsonSchema:
        """Return an array, or a choice of one value and an array."""
        array: JsonSchema = {"type": "array", "items": self.item.schema(), "maxItems": MAX_ITEMS, "uniqueItems": True}
        if self.minimum:
            array["minItems"] = self.minimum
        return {"anyOf": [self.item.schema(), array]} if self.single else array


class Table(Generic[W, T]):
    """A mapping from names to values of one shape."""

    def __init__(self, key: Shape[W], item: Shape[T], what: str) -> None:
        self.key, self.item, self.what = key, item, what

    def read(self, node: Node, problems: list[Wrong]) -> dict[W, T]:
        """Return a dictionary in the file's order. Raises Wrong."""
        members, before = mapping_of(node, self.what), len(problems)
        if len(members) > MAX_ITEMS:
            raise Wrong(node.place, f"{len(members)} entries, over the limit of {MAX_ITEMS}", "use globs instead of a long list")
        values: dict[W, T] = {}
        for name, member in members.items():
            with collecting(problems):
                if name in _ELSEWHERE:
                    raise Wrong(member.place, f"{name!r} does not belong in a project file", _ELSEWHERE_REMEDY)
                key = self.key.read(Node(member.place, name), problems)
                values[key] = self.item.read(_at_key(member), problems)
        if len(problems) > before:
            raise Spoiled(node.place)
        return values

    def schema(self) -> JsonSchema:
        """Return an object with named members."""
        names = self.key.schema()
        return {"type": "object", "propertyNames": names, "additionalProperties": self.item.schema(), "maxProperties": MAX_ITEMS}


@dataclass(frozen=True)
class Key:
    """One key of a Record. `doc` is shown by editors."""

    name: str
    shape: Shape[Any]
    doc: str
    required: bool = False


class Record(Generic[T]):
    """A mapping with known keys, built into a dataclass. Absent optional keys are not passed to `build`."""

    def __init__(self, what: str, build: Callable[..., T], keys: tuple[Key, ...], *, located: bool = False) -> None:
        self.what, self.build, self.located = what, build, located
        self.keys = {key.name: key for key in keys}

    def read(self, node: Node, problems: list[Wrong]) -> T:
        """Return what `build` makes of the values. Raises Wrong."""
        members, before = mapping_of(node, self.what), len(problems)
        values: dict[str, Any] = {"place": node.place} if self.located else {}
        for name, member in members.items():
            with collecting(problems):
                if name not in self.keys:
                    raise self._unknown(name, member.place)
                values[name] = self.keys[name].shape.read(_at_key(member), problems)
        missing = [key for key in self.keys.values() if key.required and key.name not in members]
        problems += [Wrong(node.place, f"{self.what} has no {key.name!r}", f"add `{key.name}:` ({key.doc})") for key in missing]
        if len(problems) > before:
            raise Spoiled(node.place)
        return self.build(**values)

    def _unknown(self, name: str, place: Place) -> Wrong:
        if name in _ELSEWHERE:
            return Wrong(place, f"{name!r} does not belong in a project file", _ELSEWHERE_REMEDY)
        remedy = _guess(name, list(self.keys)) or f"known keys: {', '.join(self.keys)}"
        return Wrong(place, f"unknown key {name[:60]!r} in {self.what}", remedy)

    def schema(self) -> JsonSchema:
        """Return an object that allows nothing but its keys."""
        properties = {key.name: key.shape.schema() | {"description": key.doc} for key in self.keys.values()}
        required = [key.name for key in self.keys.values() if key.required]
        extra: JsonSchema = {"required": required} if required else {}
        return {"type": "object", "additionalProperties": False, "properties": properties} | extra


def _at_key(member: Member) -> Node:
    """A value that is not there has its place in the next line; show the key instead."""
    return Node(member.place, None) if member.node.value is None else member.node


def mapping_of(node: Node, what: str) -> dict[str, Member]:
    """Return the members of a mapping. Raises Wrong for anything else."""
    if not isinstance(node.value, dict):
        raise Wrong(node.place, f"{what} must be a mapping, found {_shown(node)}", "write `key: value` lines, indented by two")
    return node.value


def _guess(word: str, known: list[str]) -> str | None:
    close = difflib.get_close_matches(word[:60], known, n=1)
    return f"did you mean {close[0]!r}? Known: {', '.join(known)}" if close else None


class collecting:  # noqa: N801 - reads as a verb
    """A with-block that puts a mistake into the list and goes on."""

    def __init__(self, problems: list[Wrong]) -> None:
        self._problems = problems

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        """Keep a Wrong, unless its parts are already in the list; let everything else pass."""
        if isinstance(error, Wrong):
            if not isinstance(error, Spoiled):
                self._problems.append(error)
            return True
        return False
