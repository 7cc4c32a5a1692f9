"""Adding a root to a domain, end to end: announced, made or connected, extended, active.

    1  add-root         custody knows it, on record; a root announced and not finished is taken up again
    2  settings         config.yaml says how its provider is reached
    3  the root         made by the provider, or found there
    4  extend-root      domain.json, then a slot for every key, in batches
    5  set-root-state   active

What a crash leaves between two steps is a pre-active root that nothing uses; the same command goes on from there. The root itself
never passes through the port: whoever makes it runs where custody runs, and gives it to the custody home (`root_home`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hermetic.domain import config
from hermetic.domain.home import private_folder
from hermetic.errors import Conflict, Locked, Unsupported
from hermetic.formats.messages.roots import AddRoot, ExtendRoot, ListRoots, RewrapRoot, RootChanged, SetRootState
from hermetic.ids import KeyState
from hermetic.keys.domain_file import check_uri
from hermetic.keys.provider import ProviderState, RootId
from hermetic.providers import registry, unlock
from hermetic.providers.place import Asked, Place
from hermetic.steps import reached

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from hermetic.crypto.secret import Secret
    from hermetic.domain.connect import Connection
    from hermetic.formats.messages.roots import RootRewrapped, RootRow
    from hermetic.keys.provider import Provider

UNLOCK_S = 8 * 3600
TRIES = 5  # times that keys made meanwhile may get in the way


def add_root(
    connection: Connection,
    uri: str,
    *,
    reason: str = "",
    settings: Mapping[str, str] | None = None,
    ask: Callable[..., Secret] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> RootChanged:
    """Add a root and make it active. `ask` gives the passphrase of a new local root, and of one that was begun before.

    `progress` is called with (slots added, slots left). Raises UsageError, ConfigError, Conflict, PolicyDenied, Locked,
    KeyServiceUnavailable, IntegrityError, StorageError, Unsupported.
    """
    registry.backend_of(check_uri(uri))  # an unknown scheme leaves nothing behind
    home = connection.roots
    row = _begun(connection, uri) or connection.ask(AddRoot(uri, reason)).root  # 1
    folder = private_folder(connection.home.domain_config(connection.project.domain))
    config.add_provider(folder, uri, settings or {})  # 2
    reached("roots.settings.written")
    given = config.load(folder).providers.get(uri, {})
    place = Place(connection.home.domain_data(connection.project.domain), connection.project.domain, RootId(row.root), settings=given)
    home.adopt(_made(uri, place, ask))  # 3
    reached("roots.provider.made")
    changed = _activate(connection, SetRootState(row.root, "activate", reason), progress)  # 4, 5
    home.tidy(RootId(row.root))
    return changed


def _begun(connection: Connection, uri: str) -> RootRow | None:
    """Return the root that was announced under a URI and not finished: that needs no second permission, nor approvals again."""
    found = (row for row in connection.ask(ListRoots()).roots if (row.provider, row.state) == (uri, KeyState.PRE_ACTIVE))
    return next(found, None)


def extend(connection: Connection, root: str, *, progress: Callable[[int, int], None] | None = None) -> int:
    """Give a root all slots that it lacks; return how many. Raises as `add_root`."""
    total = 0
    while True:
        answer = connection.ask(ExtendRoot(root))
        total += answer.added
        if progress is not None:
            progress(answer.added, answer.left)
        if not answer.left:
            return total
        if not answer.added:
            raise Conflict(f"{answer.left} keys got no slot under root {root}", hint="`hermetic key root ls`, then try again")


def resume(connection: Connection, row: RootRow, *, reason: str = "") -> RootChanged:
    """Make a suspended root active again: first it gets slots for what was made without it. Raises as `add_root`."""
    verb = "activate" if row.state == KeyState.PRE_ACTIVE else "resume"
    return _activate(connection, SetRootState(row.root, verb, reason))


def rewrap(
    connection: Connection, root: str, *, reason: str = "", restart: bool = False, progress: Callable[[int, int], None] | None = None
) -> tuple[int, RootRewrapped]:
    """Bring every wrap under a root to the newest version of its key inside the service; return how many, and the last answer.

    A run that was interrupted goes on, unless `restart`. Raises as `add_root`.
    """
    total = 0
    while True:
        answer = connection.ask(RewrapRoot(root, reason, restart=restart and not total))
        total += answer.done
        if progress is not None:
            progress(answer.done, answer.left)
        if not answer.left:
            return total, answer


def _activate(connection: Connection, request: SetRootState, progress: Callable[[int, int], None] | None = None) -> RootChanged:
    """Extend a root and make it active; again, when many keys were made in between. Another process may have been faster."""
    for left in reversed(range(TRIES)):
        extend(connection, request.root, progress=progress)
        try:
            return connection.ask(request)
        except Conflict:
            row = next(row for row in connection.ask(ListRoots()).roots if row.root == request.root)
            if row.state == KeyState.ACTIVE:
                return RootChanged(row, None)
            if not left:
                raise
    raise Conflict(f"root {request.root} could not be made active", hint="try again")


def _made(uri: str, place: Place, ask: Callable[..., Secret] | None) -> Provider:
    """Make the root, or open the one that an earlier attempt made; open it for use. Raises Locked when nobody can be asked."""
    given: list[Secret] = []

    def once() -> Secret:
        if not given and ask is not None:
            given.append(ask(f"passphrase of the new root {place.root_id[:8]}: "))
        return given[0]

    try:
        return _made_and_open(uri, place, None if ask is None else once)
    finally:
        for passphrase in given:
            passphrase.wipe()


def _made_and_open(uri: str, place: Place, ask: Callable[[], Secret] | None) -> Provider:
    try:
        provider = registry.create_root(uri, place, Asked(ask=ask))
    except Conflict:
        provider = registry.open_provider(uri, place)
    if provider.status().state is not ProviderState.LOCKED:
        return provider
    for locked in unlock.with_passphrase([provider]):
        if ask is None:
            raise Locked(f"root {place.root_id} is locked", hint="hermetic unlock")
        try:
            unlock.unlock(locked, ask, UNLOCK_S)
        except Unsupported:  # no kernel keyring here: later commands ask for it
            unlock.unlock_here(locked, ask)
    return provider
