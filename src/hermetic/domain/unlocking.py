"""The root's session: unlock for a while, lock, and how it stands. Needs no open custody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.domain import config
from hermetic.domain.root_home import HomeRoots
from hermetic.errors import UsageError, WrongKey
from hermetic.keys.provider import ProviderState
from hermetic.providers import unlock as unlocks

if TYPE_CHECKING:
    from collections.abc import Callable

    from hermetic.crypto.secret import Secret
    from hermetic.domain.home import Home
    from hermetic.domain.project import Project
    from hermetic.keys.provider import Provider


@dataclass(frozen=True, slots=True)
class RootState:
    """One root: provider, state (ready, locked, unreachable), and until when it is open (Unix milliseconds, None: no end)."""

    uri: str
    root_id: str
    state: str
    until_ms: int | None


def unlock(home: Home, project: Project, seconds: int, ask: Callable[..., Secret]) -> list[RootState]:
    """Open every root that a passphrase opens for `seconds`; returns how those stand now.

    Each is asked for by itself. One whose passphrase was wrong stays locked, as long as another opened. Raises WrongKey, UsageError
    (no root needs unlocking), Unsupported, NotFound.
    """
    found = unlocks.with_passphrase(_all(home, project))
    if not found:
        raise UsageError("no root of this domain is unlocked with a passphrase")
    wrong: WrongKey | None = None
    opened = 0
    for provider in found:
        named = f"passphrase of root {provider.root_id[:8]}: " if len(found) > 1 else "passphrase: "
        try:
            unlocks.unlock(provider, lambda named=named: ask(named), seconds)  # type: ignore[misc]
            opened += 1
        except WrongKey as error:
            wrong = error
    if wrong is not None and not opened:
        raise wrong
    return [_state(provider) for provider in found]


def lock(home: Home, project: Project) -> RootState:
    """Take every root away at once, also from processes that run."""
    for provider in _all(home, project):
        unlocks.lock(provider)
    return root_state(home, project)


def root_state(home: Home, project: Project) -> RootState:
    """Say how the root stands through which the domain would be opened: the first that is ready, else the first."""
    found = [_state(provider) for provider in _all(home, project)]
    return next((state for state in found if state.state == ProviderState.READY), found[0])


def _state(provider: Provider) -> RootState:
    status = provider.status()
    return RootState(status.uri, status.root_id, status.state.value, status.expires_ms)


def _all(home: Home, project: Project) -> list[Provider]:
    settings = home.domain_config(project.domain)
    roots = HomeRoots(home.domain_data(project.domain), project.domain, lambda: config.load(settings).providers)
    return list(roots.current().values())
