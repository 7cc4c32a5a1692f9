"""Memory of one segment, used again by all readers of the process: fresh pages cost more than decrypting into them.

Whoever gives back memory that held plaintext has wiped it. At most KEPT pieces lie idle, about 1 MiB each.
"""

from __future__ import annotations

from hermetic.formats.suites import MIB

SIZE = MIB + 64  # a stored segment of the largest suite, and a little
KEPT = 8
_idle: list[bytearray] = []  # append and pop are atomic, and a forked child may use its copy


def take(size: int) -> memoryview:
    """Return memory of `size` bytes, with anything in it."""
    if size > SIZE:
        return memoryview(bytearray(size))
    try:
        return memoryview(_idle.pop())[:size]
    except IndexError:
        return memoryview(bytearray(SIZE))[:size]


def give(view: memoryview) -> None:
    """Give back what `take` returned, and use it no more."""
    memory = view.obj
    view.release()
    if isinstance(memory, bytearray) and len(memory) == SIZE and len(_idle) < KEPT:
        _idle.append(memory)
