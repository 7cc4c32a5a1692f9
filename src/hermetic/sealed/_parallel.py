"""Share numbered pieces of work among a few threads, which end with the call (so that a later fork is safe)."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST = 8  # threads; more than these do not decrypt faster than memory takes it
_WAITING = 4  # threads for a store far away, where most of the time is waiting
_NEAR = 1024 * 1024  # bytes of a request to a store that answers at once
_WORTH_A_THREAD = 4  # pieces; below that, starting a thread costs more than it saves


def threads_for(request_size: int = _NEAR) -> int:
    """Return how many threads to use on this machine for a store whose requests are worth `request_size` bytes."""
    cores = min(_MOST, len(os.sched_getaffinity(0)))
    return cores if request_size <= _NEAR else max(_WAITING, cores)


class Claims:
    """Hands out 0, 1, ... up to `count`, each once, to whoever asks."""

    def __init__(self, count: int) -> None:
        self._next, self._count = 0, count
        self._lock = threading.Lock()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        with self._lock:
            number = self._next
            if number >= self._count:
                raise StopIteration
            self._next += 1
        return number

    def stop(self) -> None:
        """Hand out no more."""
        with self._lock:
            self._count = 0


def share(count: int, threads: int | None, work: Callable[[Claims], None]) -> None:
    """Run `work` in up to `threads` threads over the same claims; None leaves it to `threads_for`. The first error ends all."""
    claims = Claims(count)
    helpers = (threads or threads_for()) - 1
    if helpers < 1 or count < _WORTH_A_THREAD:
        work(claims)
        return
    with ThreadPoolExecutor(helpers, thread_name_prefix="hermetic-sealed") as pool:
        futures = [pool.submit(_stopping, work, claims) for _ in range(helpers)]
        _stopping(work, claims)
        for future in futures:
            future.result()


def _stopping(work: Callable[[Claims], None], claims: Claims) -> None:
    try:
        work(claims)
    finally:
        claims.stop()
