"""Shapes of lists and mappings. They go on after a mistake, so that a person sees every one at once.

Each mistake of a part goes into `problems`; at the end the collection raises Spoiled, which says nothing new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from hermetic.policy._shape import ELSEWHERE_REMEDY, JsonSchema, Shape, guess, shown
from hermetic.policy._yaml import Member, Node, Place, Wrong

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
W = TypeVar("W", bound=str)

MAX_ITEMS = 1000

_ELSEWHERE = frozenset(
    (
        *("bucket", "endpoint", "url", "uri", "region", "prefix", "host", "port", "address", "ca_file", "pin", "pins", "pinned"),
        *("command", "argv", "exec", "module", "module_path", "class_path", "plugin", "library", "provider", "root", "key_file"),
        *("credentials", "access_key", "secret_key", "token", "password", "passphrase"),
    )
)


class Spoiled(Wrong):
    """A part was wrong and is already in the list of problems."""

    def __init__(self, place: Place) -> None:
        super().__init__(place, "", "")


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
            raise Wrong(node.place, f"expected a list of {self.what}, found {shown(node)}", "write [one, two] or one `- item` a line")
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
                    raise Wrong(item.place, f"{shown(item)} stands twice in the list", "keep one of the two")
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
                    raise Wrong(member.place, f"{name!r} does not belong in a project file", ELSEWHERE_REMEDY)
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
            return Wrong(place, f"{name!r} does not belong in a project file", ELSEWHERE_REMEDY)
        remedy = guess(name, list(self.keys)) or f"known keys: {', '.join(self.keys)}"
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
        raise Wrong(node.place, f"{what} must be a mapping, found {shown(node)}", "write `key: value` lines, indented by two")
    return node.value


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
