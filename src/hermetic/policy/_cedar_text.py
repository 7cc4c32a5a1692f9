"""Cut Cedar text into single policies, each with its place, and refuse what the engine must not be given.

The engine names policies by number and errors by no place at all; with one policy at a time both have a line. It also overflows
its stack, and takes the process with it, on deeply nested expressions, so nesting is bounded before it sees anything: by
MAX_NESTING (24) brackets and MAX_BRANCHES (16) `if`s. A chain such as `a + b + c` is nested too, though it shows no bracket: its
evaluation gives up in a thread with 1 MiB of stack at 200 operators. `check_depth` bounds that, on the form that the engine parsed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.policy._yaml import Place, Wrong

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_FILE = 64 * 1024  # characters
MAX_POLICY = 8 * 1024  # characters
MAX_NESTING = 24  # brackets
MAX_BRANCHES = 16  # `if` in one policy
MAX_DEPTH = 200  # braces and brackets of a policy in Cedar's JSON form: some 95 operators in a row

_TOKEN = re.compile(r'//[^\r\n]*|"(?:[^"\\]|\\.)*"|[A-Za-z_][A-Za-z0-9_]*|[(){}\[\];]|\s+|.', re.DOTALL)
_STEP = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]')  # of JSON
_OPENING, _CLOSING = "([{", ")]}"


@dataclass(frozen=True, slots=True)
class Piece:
    """The text of one policy, and where it starts in its file."""

    text: str
    place: Place

    def place_of(self, word: str) -> Place:
        """Return where `word` stands first in the policy, or where the policy starts."""
        at = self.text.find(word) if word else -1
        return self.place if at < 0 else _advance(self.place, self.text[:at])


def pieces(text: str) -> Iterator[Piece]:
    """Yield the policies of a file in order. Raises Wrong for text over the limits; what is no policy is left to the parser."""
    if len(text) > MAX_FILE:
        raise Wrong(Place(1, 1), f"the file has {len(text)} characters, over the limit of {MAX_FILE}", "split it into several files")
    if any(char < " " and char not in "\t\r\n" for char in text) or not _encodable(text):
        raise Wrong(Place(1, 1), "the file holds control characters or broken Unicode", "save it as plain UTF-8 text")
    start, begun, depth, branches = Place(1, 1), -1, 0, 0
    for token in _TOKEN.finditer(text):
        word = token[0]
        if begun < 0:
            if word.isspace() or word.startswith("//"):
                continue
            begun, start, depth, branches = token.start(), _advance(Place(1, 1), text[: token.start()]), 0, 0
        depth += (word in _OPENING) - (word in _CLOSING)
        branches += word == "if"
        _bounded(start, depth, branches, token.end() - begun)
        if word == ";" and depth <= 0:
            yield Piece(text[begun : token.end()], start)
            begun = -1
    if begun >= 0:
        yield Piece(text[begun:].rstrip(), start)


def check_depth(piece: Piece, parsed: str) -> None:
    """Raise Wrong if what the engine made of a policy, as JSON, is nested deeper than may be walked or evaluated."""
    depth = 0
    for step in _STEP.finditer(parsed):
        depth += (step[0] in _OPENING) - (step[0] in _CLOSING)
        if depth > MAX_DEPTH:
            raise _too_large(piece.place)


def _bounded(start: Place, depth: int, branches: int, length: int) -> None:
    if depth > MAX_NESTING or branches > MAX_BRANCHES or length > MAX_POLICY:
        raise _too_large(start)


def _too_large(start: Place) -> Wrong:
    limits = f"{MAX_NESTING} brackets deep, {MAX_BRANCHES} branches, {MAX_POLICY} characters, some 95 operators in a row"
    return Wrong(start, f"this policy is too large to be judged safely (limits: {limits})", "split it into several policies")


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _advance(place: Place, text: str) -> Place:
    lines = text.count("\n")
    column = place.column + len(text) if lines == 0 else len(text) - text.rfind("\n")
    return Place(place.line + lines, column)
