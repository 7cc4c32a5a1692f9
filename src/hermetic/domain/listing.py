"""Long answers, a page at a time: a message has at most 4 MiB, and custody says where the next page begins."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from hermetic.errors import IntegrityError
from hermetic.formats.messages.catalogue import ListAssets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.formats.messages.catalogue import AssetRow
    from hermetic.formats.messages.log import LogPage, LogRow, ReadLog
    from hermetic.ids import Environment

LOG_PAGE: Final = 2000  # entries that one request names


def list_assets(
    ask: Callable[[ListAssets], Any], pattern: str | None = None, environment: Environment | None = None
) -> tuple[AssetRow, ...]:
    """Return every asset whose name matches, in name order. Raises what `ask` raises."""
    rows: list[AssetRow] = []
    request = ListAssets(pattern, environment)
    while True:
        page = ask(request)
        rows += page.assets
        if page.next is None:
            return tuple(rows)
        _check_forward(page.next != request.after and bool(page.assets))
        request = replace(request, after=page.next)


def every(ask: Callable[[Any], Any], request: Any, field: str, *, most: int = sys.maxsize) -> tuple[Any, ...]:
    """Return the rows of a list that has `after` and `next`, in all its pages, `most` at most. Raises what `ask` raises."""
    rows: list[Any] = []
    known: set[str] = set()
    while True:
        page = ask(request)
        rows += getattr(page, field)
        if page.next is None or len(rows) >= most:
            return tuple(rows[:most])
        _check_forward(page.next not in known)
        known.add(page.next)
        request = replace(request, after=page.next)


def read_log(ask: Callable[[ReadLog], Any], request: ReadLog) -> tuple[int, tuple[LogRow, ...]]:
    """Return the log's size, and the entries that a request of any limit is for. Raises what `ask` raises."""
    last = request.start < 0 and request.kind is not None and request.limit > LOG_PAGE  # the last ones of a kind, from the front
    asked = replace(request, start=0, limit=sys.maxsize) if last else request
    rows: list[LogRow] = []
    size = 0
    for page in log_pages(ask, asked):
        size = page.size
        rows += page.rows
    return size, tuple(rows[-request.limit :] if last else rows)


def log_pages(ask: Callable[[ReadLog], Any], request: ReadLog) -> Iterator[LogPage]:
    """Yield pages until there are as many entries as asked for, or no more. Raises what `ask` raises."""
    left, start = request.limit, request.start
    while True:
        page = ask(replace(request, start=start, limit=min(left, LOG_PAGE)))
        yield page
        left -= len(page.rows)
        follows = page.next
        if follows is None and len(page.rows) == LOG_PAGE:
            follows = page.rows[-1].index + 1
        if follows is None or not left:
            return
        _check_forward(bool(page.rows) and follows > page.rows[-1].index)
        start = follows


def _check_forward(forward: bool) -> None:  # noqa: FBT001 - what was just compared
    if not forward:
        raise IntegrityError("custody answers with a page that does not go on", hint="run `hermetic log verify`")
