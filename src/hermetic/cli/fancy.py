"""Results on a terminal: rich tables, colours, progress. Imported only when there is a terminal; NO_COLOR is honoured by rich."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable
from rich.text import Text

from hermetic.cli.blocks import Block, Cell, Facts, Heading, Line, Mark, Table, show
from hermetic.cli.words import safe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

STYLES = {"good": "green", "bad": "bold red", "warn": "yellow", "dim": "dim", "name": "bold cyan"}


def draw(blocks: Sequence[Block], console: Console | None = None) -> None:
    """Draw `blocks` on stdout."""
    target = console or Console(highlight=False, soft_wrap=False)
    for number, block in enumerate(blocks):
        if isinstance(block, str):
            target.print(Text(safe(block)))
        elif isinstance(block, Line):
            target.print(Text(" " * block.indent).append_text(_text(block.text)))
        elif isinstance(block, Heading):
            target.print(Text(("\n" if number else "") + safe(block.text), style="bold"))
        elif isinstance(block, Facts):
            target.print(_facts(block))
        else:
            target.print(_table(block) if block.rows else Text(safe(block.empty), style="dim"))


@contextmanager
def progress(label: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr while the block runs; yields the function that moves it."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(safe(label), total=total)
        yield lambda steps: bar.advance(task, steps)


def _text(cell: Cell) -> Text:
    return Text(show(cell), style=STYLES.get(cell.style, "") if isinstance(cell, Mark) else "")


def _facts(block: Facts) -> RichTable:
    grid = RichTable.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in block.pairs:
        grid.add_row(Text(" " * block.indent + safe(label)), _text(value))
    return grid


def _table(block: Table) -> RichTable:
    table = RichTable(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in block.columns:
        table.add_column(name.upper(), justify="right" if name in block.right else "left", overflow="fold")
    for row in block.rows:
        table.add_row(*(_text(cell) for cell in row))
    return table
