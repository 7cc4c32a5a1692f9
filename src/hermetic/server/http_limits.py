"""What one caller of the service may take up, so that nobody stands in the way of others. Not thread safe: the event loop's.

    connections   so many in all, so many that have not shown a certificate yet, so many of a principal
    bodies        so many large ones read at once in all, and of a principal; small ones are read at once, and wait in memory
    turns         so many requests at work in all, and of a principal, from when their bodies are here until their answers are read

Who gets no place waits a moment, then is told to come back. Who sends slowly holds no turn, and keeps none but large bodies waiting.
Callers that nobody knows have few places of each kind.
    rate          a token bucket for each principal: so many requests a second, and a burst

Callers that the domain does not know share one account, however many certificates they have.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hermetic.errors import KeyServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

STRANGERS: Final = ""  # the account of callers that the domain does not know
ACCOUNTS: Final = 10_000  # buckets remembered; the oldest is full again by the time it is forgotten


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is how much. Times are seconds."""

    connections: int = 512
    unproven: int = 128  # connections in their handshake, in all
    unproven_of_address: int = 32
    of_principal: int = 64
    of_strangers: int = 32
    at_once: int = 32  # requests at work, in all: threads
    at_once_of_principal: int = 16
    at_once_of_strangers: int = 4
    small: int = 64 * 1024  # bytes of a body that is read without a place; with `connections` it bounds what they hold together
    bodies: int = 16  # larger ones
    bodies_of_principal: int = 4
    bodies_of_strangers: int = 1
    rate: float = 1000.0
    burst: float = 2000.0
    rate_of_strangers: float = 20.0
    handshake_s: float = 5.0
    head_s: float = 10.0
    body_s: float = 30.0
    read_s: float = 30.0  # within which an answer has to be read
    idle_s: float = 75.0
    turn_s: float = 5.0
    stop_s: float = 20.0
    head_bytes: int = 32 * 1024


class TooMany(KeyServiceUnavailable):
    """Too much at once; nothing was begun. Never leaves the server: it is told as KeyServiceUnavailable. `why` names the limit."""

    def __init__(self, why: str, message: str, *, status: int, after_s: int) -> None:
        super().__init__(message, hint="try again later")
        self.why, self.status, self.after_s = why, status, after_s


@dataclass(slots=True)
class Bucket:
    """Tokens that come back at `rate` a second, at most `burst` of them."""

    rate: float
    burst: float
    at: float
    tokens: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = self.burst

    def wait(self, now: float) -> float:
        """Take a token and return 0, or return how many seconds there is none."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.rate)
        self.at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return 0.0
        return (1 - self.tokens) / self.rate


class Places:
    """So many in all, so many of a principal, so many of all strangers together."""

    def __init__(self, every: int, of_principal: int, of_strangers: int) -> None:
        self._most, self._of_strangers = of_principal, of_strangers
        self._own: dict[str, asyncio.Semaphore] = {}
        self._wanting: Counter[str] = Counter()
        self._all = asyncio.Semaphore(every)

    @asynccontextmanager
    async def place(self, account: str, why: str, wait_s: float) -> AsyncIterator[None]:
        """Hold one. Raises TooMany when none becomes free in time."""
        most = self._most if account != STRANGERS else self._of_strangers
        own = self._own.setdefault(account, asyncio.Semaphore(most))
        self._wanting[account] += 1
        try:
            async with asyncio.timeout(wait_s) as waiting, own, self._all:
                waiting.reschedule(None)
                yield
        except TimeoutError:
            if not waiting.expired():
                raise
            raise TooMany(why, "custody is at work on as much as it takes at once", status=503, after_s=1) from None
        finally:
            self._wanting[account] -= 1
            if not self._wanting[account]:
                del self._wanting[account], self._own[account]


class Admission:
    """Who may come in, and when. `clock` gives seconds that only go forward."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits, self._clock = limits, clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self._connections: Counter[str] = Counter()
        self._turns = Places(limits.at_once, limits.at_once_of_principal, limits.at_once_of_strangers)
        self._bodies = Places(limits.bodies, limits.bodies_of_principal, limits.bodies_of_strangers)

    def now(self) -> float:
        """Return the clock's seconds."""
        return self._clock()

    def connect(self, account: str) -> None:
        """Count a connection of `account`. Raises TooMany."""
        most = self._limits.of_principal if account != STRANGERS else self._limits.of_strangers
        if self._connections[account] >= most:
            raise TooMany("connections", "custody has too many connections of yours now", status=429, after_s=1)
        self._connections[account] += 1

    def disconnect(self, account: str) -> None:
        """Count a connection less."""
        self._connections[account] -= 1
        if not self._connections[account]:
            del self._connections[account]

    def charge(self, account: str) -> None:
        """Take one request from the account's bucket. Raises TooMany when it is empty."""
        now = self._clock()
        bucket = self._buckets.pop(account, None) or self._new(account, now)
        self._buckets[account] = bucket
        while len(self._buckets) > ACCOUNTS:
            self._buckets.popitem(last=False)
        if wait := bucket.wait(now):
            raise TooMany("rate", "custody takes no more requests of yours now", status=429, after_s=max(1, round(wait)))

    def _new(self, account: str, now: float) -> Bucket:
        if account == STRANGERS:
            return Bucket(self._limits.rate_of_strangers, 2 * self._limits.rate_of_strangers, now)
        return Bucket(self._limits.rate, self._limits.burst, now)

    @asynccontextmanager
    async def turn(self, account: str) -> AsyncIterator[None]:
        """Hold one of the places for requests at work. Raises TooMany when none becomes free in time."""
        async with self._turns.place(account, "turn", self._limits.turn_s):
            yield

    @asynccontextmanager
    async def reading(self, account: str, length: int | None) -> AsyncIterator[None]:
        """Hold one of the places for large bodies while one of `length` bytes comes, None if it does not say. Raises TooMany."""
        if length is not None and length <= self._limits.small:
            yield
            return
        async with self._bodies.place(account, "body", self._limits.turn_s):
            yield
