"""Uses of roots that a service has on its own record, brought onto ours: `log reconcile` compares the two.

A provider that `ReportsUses` knows, for each answer of its service, the id under which the service recorded it. Custody takes those
ids from every provider that it ever opened, and appends one leaf, `root.used`, for all of them to the next unit that logs anything:

    {"count": 5, "first_ms": ..., "last_ms": ..., "roots": {ROOT: {"login": [ID], "unwrap": [ID, ID, ID, ID]}}}

The ids are plain facts: they are random numbers of the service, which tell nothing to whoever lacks its record, and everybody who has
both can compare. What has to hold:

1. A key that comes out of a release leaves custody after its unwraps are on the log: the unit of the outcome carries them.
2. Opening a domain unwraps before anything can be logged, so `record` is called right after, once the pins agree: nothing is appended
   to a log that is not the one that this user has seen. It is called after every request too, for what no unit took along, and at
   the end.
3. A unit that fails gives back what it took; a commit of unknown outcome may have them on the log twice, which says the same.
4. Where no provider reports anything, nothing happens: no leaf, no transaction, one look at an empty list.

A process that dies between an unwrap and its record leaves an unwrap that only the service knows: reconciling tells it, as it should.
`record` is no change that a backup has to follow at once, so it does not count as a commit: a copy that lacks nothing else is brought
up to date twice a day, when a connection closes.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from hermetic.audit.leaf import Entry
from hermetic.audit.tables_store import TablesStore
from hermetic.keys.provider import ProviderUse, ReportsUses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hermetic.custody.custodian import Custodian
    from hermetic.formats.canonical import JsonValue


KIND: Final = "root.used"
LIMIT: Final = 500  # uses in one leaf: about 33 KiB of 64
_ID: Final = re.compile(r"[A-Za-z0-9._:+/=-]{1,64}")


class Used(NamedTuple):
    """A use, and of which root."""

    root: str
    use: ProviderUse


class UseBook:
    """The uses that are not on the log yet. Thread safe."""

    def __init__(self) -> None:
        self._watched: list[ReportsUses] = []
        self._waiting: deque[Used] = deque()
        self._lock = threading.Lock()

    def watch(self, provider: object) -> None:
        """Take uses from a provider from now on, even after the domain has let it go. Watching it twice does nothing."""
        if isinstance(provider, ReportsUses):
            with self._lock:
                if not any(one is provider for one in self._watched):
                    self._watched.append(provider)

    @contextlib.contextmanager
    def taking(self) -> Iterator[Callable[[], tuple[Used, ...]]]:
        """Lend what takes the oldest uses, for one leaf; they are kept for the next time if the block fails."""
        taken: list[Used] = []

        def take() -> tuple[Used, ...]:
            found = self._take()
            taken.extend(found)
            return found

        try:
            yield take
        except BaseException:
            with self._lock:
                self._waiting.extendleft(reversed(taken))
            raise

    def _take(self) -> tuple[Used, ...]:
        if not self._watched:
            return ()
        with self._lock:
            for provider in self._watched:
                self._waiting.extend(Used(provider.root_id, use) for use in provider.take_uses())
            return tuple(self._waiting.popleft() for _ in range(min(LIMIT, len(self._waiting))))


def entries(used: Iterable[Used]) -> list[Entry]:
    """Return the leaf that says so, none for no uses. An id that no service should give is counted and left out."""
    roots: dict[str, dict[str, list[str]]] = {}
    times, unnamed = [], 0
    for root, use in used:
        times.append(use.at_ms)
        named = roots.setdefault(root, {})
        if _ID.fullmatch(use.request):
            named.setdefault(use.operation, []).append(use.request)
        else:
            unnamed += 1
    if not times:
        return []
    listed: dict[str, JsonValue] = {root: {operation: list(ids) for operation, ids in named.items()} for root, named in roots.items()}
    facts: dict[str, JsonValue] = {"count": len(times), "first_ms": min(times), "last_ms": max(times), "roots": listed}
    return [Entry(KIND, {**facts, "unnamed": unnamed} if unnamed else facts)]


def of_providers(*providers: object) -> list[Entry]:
    """Return the leaf of what providers were used for that no custodian watches yet."""
    book = UseBook()
    for provider in providers:
        book.watch(provider)
    with book.taking() as take:
        return entries(take())


def record(custodian: Custodian) -> int:
    """Log what is waiting, in a transaction of its own; return how many uses that were.

    Raises Conflict, StorageError, LogTampered; then they go on waiting.
    """
    total, count = 0, LIMIT
    while count == LIMIT:
        with custodian.uses.taking() as take:
            taken = take()
            count = len(taken)
            if taken:
                with custodian.database.write(custodian.row_keys, step="custody.uses.recorded") as session:
                    custodian.log.append(TablesStore(session.connection), entries(taken), now_ms=custodian.clock())
        total += count
    return total
