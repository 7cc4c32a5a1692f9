"""Long lists in pages that fit into a message: as many rows as fit, and where the next page begins.

A place in a list is the id of the last row that was told, in a list of all there ever were, in which nothing moves: what is added
meanwhile comes in where it belongs, and what ends meanwhile is left out, so that nothing is told twice, and nothing is missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from hermetic.errors import UsageError
from hermetic.formats import codec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Row = TypeVar("Row")
PAGE_BYTES: Final = 3 * 1024 * 1024  # of rows, below what a message may have


def page(
    items: Sequence[Item],
    after: str | None,
    row: Callable[[Item], Row],
    *,
    name: Callable[[Item], str],
    keep: Callable[[Item], bool] = lambda _item: True,
    most: int | None = None,
) -> tuple[tuple[Row, ...], str | None]:
    """Return the rows of the items behind the one whose name is `after`, `most` at most, and the name of the last if there are more.

    Those that are not to `keep` are places in the list, and not told. Raises UsageError when there is no such item.
    """
    found: list[Row] = []
    size = 0
    last: str | None = None
    for item in filter(keep, items[_place(items, after, name) :]):
        made = row(item)
        size += codec.size_of(made) + 1
        if found and (size > PAGE_BYTES or len(found) == most):
            return tuple(found), last
        found.append(made)
        last = name(item)
    return tuple(found), None


def _place(items: Sequence[Item], after: str | None, name: Callable[[Item], str]) -> int:
    if after is None:
        return 0
    for place, item in enumerate(items):
        if name(item) == after:
            return place + 1
    raise UsageError("this is no place in the list", hint="`after` is the `next` of the page before")
