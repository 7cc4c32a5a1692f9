"""Shapes: one declaration reads a value with its place and also says its JSON Schema, so that editor and parser agree.

A shape's `read(node, problems)` returns the value or raises Wrong. Here are the plain values; _collections.py has lists and mappings.
"""

from __future__ import annotations

import difflib
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

from hermetic.policy._yaml import Node, Wrong

if TYPE_CHECKING:
    import re
    from collections.abc import Mapping

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
W = TypeVar("W", bound=str)

JsonSchema: TypeAlias = "dict[str, Any]"
MAX_TEXT = 500  # characters of any one text

ELSEWHERE_REMEDY = "this belongs in your own $XDG_CONFIG_HOME/hermetic/, never in a file that travels with the project; remove it here"


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
            raise Wrong(node.place, f"{value!r} is a location outside the project", ELSEWHERE_REMEDY)
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
        raise Wrong(node.place, f"unknown {self.what} {value[:60]!r}", guess(value, allowed) or remedy)

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
            raise Wrong(node.place, f"expected {bounds}, found {shown(node)}", f"write {bounds}")
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
            raise Wrong(node.place, f"expected {bounds}, found {shown(node)}", f"write {bounds}")
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
            raise Wrong(node.place, f"expected true or false, found {shown(node)}", "write true or false, without quotes")
        return node.value

    def schema(self) -> JsonSchema:
        """Return a boolean."""
        return {"type": "boolean"}


def shown(node: Node) -> str:
    """Return what stands at `node`, for a message."""
    return repr(node.value)[:60] if isinstance(node.value, (str, int, float, bool)) else _name_of(node)


def guess(word: str, known: list[str]) -> str | None:
    """Return a remedy that names the nearest known word, or None if none is near."""
    close = difflib.get_close_matches(word[:60], known, n=1)
    return f"did you mean {close[0]!r}? Known: {', '.join(known)}" if close else None
