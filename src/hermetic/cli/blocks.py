"""What a result is made of when a person reads it: lines, facts, tables, headings; and how they look as plain text."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from hermetic.cli.words import one_line, safe

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Mark(NamedTuple):
    """Text with a meaning that a terminal may colour: good, bad, warn, dim, name."""

    text: str
    style: str

    def __str__(self) -> str:
        return self.text


Cell: TypeAlias = "str | int | Mark | None"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text."""

    text: Cell
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Heading:
    """A title above what follows, with an empty line before it."""

    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Labels and values, aligned."""

    pairs: Sequence[tuple[str, Cell]]
    indent: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under column names. `right` names the columns that hold numbers; `empty` is said when there are no rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: frozenset[str] = field(default_factory=frozenset)
    empty: str = "nothing"


Block: TypeAlias = "str | Line | Heading | Facts | Table"


def show(cell: Cell) -> str:
    """Return the text of a cell; nothing is shown as a dash."""
    return "-" if cell is None or cell == "" else one_line(str(cell))


def width(text: str) -> int:
    """Columns that `text` takes in a terminal."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 0 if unicodedata.combining(char) else 1 for char in text)


def plain(blocks: Sequence[Block]) -> Iterator[str]:
    """Yield the lines of `blocks` as plain aligned text, for files, pipes and scripts."""
    for number, block in enumerate(blocks):
        if isinstance(block, str):
            yield from safe(block).split("\n")
        elif isinstance(block, Line):
            yield " " * block.indent + show(block.text)
        elif isinstance(block, Heading):
            yield from ([""] if number else [])
            yield safe(block.text)
        elif isinstance(block, Facts):
            yield from _facts(block)
        else:
            yield from _table(block)


def _facts(block: Facts) -> Iterator[str]:
    longest = max((width(label) for label, _ in block.pairs), default=0)
    for label, value in block.pairs:
        yield " " * block.indent + _pad(safe(label), longest, right=False) + "  " + show(value)


def _table(block: Table) -> Iterator[str]:
    if not block.rows:
        yield safe(block.empty)
        return
    cells = [[name.upper() for name in block.columns], *([show(cell) for cell in row] for row in block.rows)]
    widths = [max(width(row[index]) for row in cells) for index in range(len(block.columns))]
    right = [name in block.right for name in block.columns]
    for row in cells:
        parts = [_pad(text, wide, right=flag) for text, wide, flag in zip(row, widths, right, strict=True)]
        yield "  ".join(parts).rstrip()


def _pad(text: str, wide: int, *, right: bool) -> str:
    gap = " " * (wide - width(text))
    return gap + text if right else text + gap
