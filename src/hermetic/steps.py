"""Names for the moments at which something becomes durable.

Every place that makes a state change survive a crash calls `reached("room.verb.what")` right after it did. In a normal process
that is a call to an empty function. The fault tests install a hook with `install` and kill the process, or fail the call, at each
named step; `NAMED` collects the names so that a test can prove that every step was hit.

Nothing here reads the environment: only code running inside the process can install a hook.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NAMED: set[str] = set()
_hook: Callable[[str], None] | None = None


def reached(name: str) -> None:
    """Say that the durable step `name` has just happened; calls the installed hook, if any."""
    if _hook is not None:
        NAMED.add(name)
        _hook(name)


def install(hook: Callable[[str], None] | None) -> None:
    """Install the hook that fault tests use, or remove it with None."""
    global _hook  # noqa: PLW0603 - one hook a process is the whole point
    _hook = hook
