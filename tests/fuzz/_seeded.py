"""A seeded fuzz without a fuzzer: the same inputs on every machine, a fixed number of them, and a traceback where one breaks a target.

What an input leads to is where it was refused, or that it was accepted. An input that leads somewhere new is kept and changed further,
so that the checks behind the first are reached without counting branches.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fuzz._target import REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.errors import HermeticError
    from tests.fuzz._target import Target

LONGEST = 16_384  # bytes
STEPS = 4  # changes of one input at most
KEPT = 500  # outcomes
BYTES = bytes(
    (0, 1, 9, 10, 13, 32, 34, 43, 44, 45, 46, 47, 48, 57, 58, 61, 64, 65, 91, 92, 93, 97, 123, 125, 127, 128, 0xC0, 0xE2, 0xFF)
)


_VALUE = re.compile(r"'[^']*'|\"[^\"]*\"|[0-9]+")


class Defect(AssertionError):
    """An input broke a target."""


@dataclass(frozen=True)
class Tried:
    """How many inputs were tried, and to how many different places they led."""

    inputs: int
    outcomes: int


def fuzz(name: str, target: Target, *, seed: int = 1) -> Tried:
    """Try `target.runs` inputs. Raises Defect, caused by what the target raised."""
    outcomes: set[str] = set()
    pool = target.start() or [b""]
    for number, data in enumerate(_inputs(pool, target, random.Random(f"{seed}/{name}"))):
        try:
            outcome = _outcome(target, data)
        except Exception as error:
            shown = f"{type(error).__name__} at input {number}"
            raise Defect(f"{name}: {shown}; write these bytes to FILE and run tests/fuzz/_run.py {name} FILE: {data!r}") from error
        if outcome not in outcomes and len(outcomes) < KEPT:
            outcomes.add(outcome)
            pool.append(data)
    return Tried(target.runs, len(outcomes))


def _outcome(target: Target, data: bytes) -> str:
    target.run(data)
    return "/".join(map(_place, REFUSED))


def _place(error: HermeticError) -> str:
    """Return where an input was refused, and as what."""
    trace, lines = error.__traceback__, []
    while trace is not None:
        lines.append(f"{trace.tb_frame.f_code.co_name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{'>'.join(lines[-3:])} {_VALUE.sub('', str(error))[:60]}"


def _inputs(pool: list[bytes], target: Target, chance: random.Random) -> Iterator[bytes]:
    """Yield the good inputs, then changes of what is in the pool, which grows meanwhile."""
    yield from pool[: target.runs]
    for _ in range(target.runs - len(pool)):
        data = bytearray(chance.choice(pool))
        for _ in range(chance.randint(1, STEPS)):
            _change(data, pool, target.words, chance)
        yield bytes(data[:LONGEST])


def _change(data: bytearray, pool: list[bytes], words: tuple[bytes, ...], chance: random.Random) -> None:
    at = chance.choice(
        (0, 1, len(data), chance.randrange(len(data) + 1), chance.randrange(len(data) + 1), chance.randrange(len(data) + 1))
    )
    at = min(at, len(data))
    end = min(len(data), at + chance.choice((1, 1, 2, 4, 8, 32)))
    kind = chance.randrange(9)
    if kind == 0 and at < len(data):
        data[at] ^= 1 << chance.randrange(8)
    elif kind == 1 and at < len(data):
        data[at] = chance.randrange(256)
    elif kind == 2:
        data.insert(at, chance.choice(BYTES))
    elif kind == 3:
        del data[at:end]
    elif kind == 4:
        data[at:at] = data[at:end] * chance.randint(1, 3)
    elif kind == 5:
        other = chance.choice(pool)
        start = chance.randrange(len(other) + 1)
        data[at:end] = other[start : start + chance.choice((1, 4, 16, 64))]
    elif kind == 6 and words:
        data[at:at] = chance.choice(words)
    elif kind == 7:
        del data[at:]
    else:
        data[at:end] = chance.randbytes(end - at)
