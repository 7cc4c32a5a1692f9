"""The root's session: unlock for a while, lock, and how it stands. Needs no open custody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.domain import config
from hermetic.domain.opening import open_providers, read_domain_file
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


def unlock(home: Home, project: Project, seconds: int, ask: Callable[[], Secret]) -> RootState:
    """Open the first root for `seconds`. Raises WrongKey, UsageError (it needs no unlocking), Unsupported, NotFound."""
    provider = _first(home, project)
    opened = unlocks.unlock(provider, ask, seconds)
    return RootState(provider.uri, provider.root_id, "ready", opened.expires_ms)


def lock(home: Home, project: Project) -> RootState:
    """Take every root away at once, also from processes that run."""
    for provider in _all(home, project):
        unlocks.lock(provider)
    return root_state(home, project)


def root_state(home: Home, project: Project) -> RootState:
    """Say how the first root stands."""
    status = _first(home, project).status()
    return RootState(status.uri, status.root_id, status.state.value, status.expires_ms)


def _all(home: Home, project: Project) -> list[Provider]:
    folder = home.domain_data(project.domain)
    settings = config.load(home.domain_config(project.domain)).providers
    return list(open_providers(folder, read_domain_file(folder, project.domain), settings).values())


def _first(home: Home, project: Project) -> Provider:
    return _all(home, project)[0]
