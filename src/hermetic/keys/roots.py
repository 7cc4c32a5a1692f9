"""Roots in the custody database, and the providers at hand that hold them.

A root's row says which provider holds it and whether new keys are wrapped under it; the wraps themselves are the slots of KEKs and
signing keys, and `domain.json` for the domain secret. States: pre-active (announced, and not yet a slot for every key), active (gets
slots for new keys), suspended (passed over for now), deactivated (opens, gets no new slots), compromised (opens for recovery only),
destroyed (its slots are gone). Invariant: an active root has a slot for every key that is not destroyed (`migration.activate`).

`domain.json` names providers too, and nothing authenticates it; a row does. So a provider is used only for a root whose row names the
same URI: else whoever can write that file could put a service of their own behind an honest root, and be handed new keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from hermetic.db import tables
from hermetic.errors import Conflict, IntegrityError, KeyServiceUnavailable, KeyUnusable, Locked
from hermetic.ids import DomainId, KeyState
from hermetic.keys.domain_file import check_uri
from hermetic.keys.kek import state_of
from hermetic.keys.provider import Provider, ProviderState, RootId
from hermetic.keys.slots import open_first, wrap_under_all
from hermetic.keys.states import check_transition, check_use

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from hermetic.crypto.secret import Secret
    from hermetic.db.rows import ReadSession, Session
    from hermetic.keys.slots import ContextOf
    from hermetic.keys.token_keys import TokenKeys

AWAY_MS: Final = 30_000  # a provider that could not be reached is tried last for so long
OPENS_DOMAIN: Final = "opens_domain_ms"  # parameter: since when it is on record that the root opens the domain secret
NEEDED: Final = "new keys need every active root"


class Away:
    """Roots whose provider could not be reached a moment ago: they are tried last, so that not every opening waits for them.

    `clock` gives milliseconds. Nothing but the order of trying depends on it.
    """

    def __init__(self, clock: Callable[[], int] | None = None) -> None:
        self._clock = clock or (lambda: 0)
        self._since: dict[RootId, int] = {}

    def note(self, root_id: RootId) -> None:
        """Remember that a root could not be reached."""
        self._since[root_id] = self._clock()

    def __contains__(self, root_id: RootId) -> bool:
        since = self._since.get(root_id)
        return since is not None and self._clock() - since < AWAY_MS


@dataclass(frozen=True, slots=True)
class Anchors:
    """The domain, and the providers that can be asked now, in the order in which they are tried; and tokens that sign."""

    domain: DomainId
    providers: Mapping[RootId, Provider]
    away: Away = field(default_factory=Away, compare=False, repr=False)
    tokens: TokenKeys | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Root:
    """A root as the catalogue knows it. `kind` is the scheme of its provider, with the kind of a local one."""

    root_id: RootId
    provider_uri: str
    kind: str
    state: KeyState
    created_ms: int
    parameters: Mapping[str, Any]
    revision: int


def add(session: Session, provider: Provider, *, now_ms: int, parameters: Mapping[str, Any] | None = None) -> Root:
    """Record a root as active, which domain.json has. KEKs get their slots by `migration.extend_to_root`. Raises Conflict."""
    uri = check_uri(provider.uri)
    scheme, _, rest = uri.partition(":")
    session.insert(
        tables.root,
        id=provider.root_id,
        provider_uri=uri,
        kind=uri if scheme == "local" and rest else scheme,
        state=KeyState.ACTIVE.value,
        created_ms=now_ms,
        parameters={OPENS_DOMAIN: now_ms, **(parameters or {})},
    )
    return get(session, provider.root_id)


def announce(session: Session, uri: str, root_id: RootId, *, now_ms: int) -> Root:
    """Record a root that is to be made, or connected, as pre-active. Raises UsageError for a URI that is none.

    Raises Conflict when another root that is not destroyed has the URI of a service or device: it would be the same key twice.
    """
    scheme = check_uri(uri).partition(":")[0]
    same = [root for root in ls(session) if root.provider_uri == uri and root.state is not KeyState.DESTROYED]
    if same and scheme != "local":
        raise Conflict(f"root {same[0].root_id} is {uri} already", hint="two roots are two keys: name another one")
    session.insert(
        tables.root,
        id=root_id,
        provider_uri=uri,
        kind=uri if scheme == "local" else scheme,
        state=KeyState.PRE_ACTIVE.value,
        created_ms=now_ms,
        parameters={},
    )
    return get(session, root_id)


def get(session: ReadSession, root_id: RootId) -> Root:
    """Return a root. Raises NotFound, RowTampered."""
    return _root(session.require(tables.root, root_id))


def ls(session: ReadSession) -> list[Root]:
    """Return all roots in order of id."""
    return [_root(row) for row in session.find(tables.root)]


def set_state(session: Session, root_id: RootId, state: KeyState) -> Root:
    """Change the state of a root. Raises KeyUnusable (not allowed), Conflict (is in it), NotFound. Slots are not touched."""
    root = get(session, root_id)
    check_transition(root.state, state)
    return _root(session.update(tables.root, root_id, root.revision, state=state.value))


def note(session: Session, root_id: RootId, **parameters: Any) -> Root:
    """Add to what is known of a root beyond its state."""
    root = get(session, root_id)
    return _root(session.update(tables.root, root_id, root.revision, parameters={**root.parameters, **parameters}))


def for_new_keys(session: ReadSession, anchors: Anchors) -> dict[RootId, Provider]:
    """Return the providers of all active roots. Raises KeyServiceUnavailable when one is not at hand, KeyUnusable without any.

    A key that misses a root could not be recovered through it, so nothing new is made while one is missing.
    """
    here = dict(anchors.providers.items())
    active = [root for root in ls(session) if root.state is KeyState.ACTIVE]
    for root in active:
        if root.root_id not in here:
            raise KeyServiceUnavailable(f"root {root.root_id} is not at hand, and {NEEDED}", hint=_do_without(root.root_id))
    if not active:
        raise KeyUnusable("this domain has no active root", hint="restore the domain from its backup copy")
    return {root.root_id: checked(root, here[root.root_id]) for root in active}


def _do_without(root_id: RootId) -> str:
    return f"unlock or connect it, or do without it for now: `hermetic key root suspend {root_id}`"


def wrap_under(providers: Mapping[RootId, Provider], secret: Secret, context_of: ContextOf) -> dict[RootId, bytes]:
    """Wrap a new key under every root of `for_new_keys`. Raises as `slots.wrap_under_all`, with the way to do without a root."""
    try:
        return wrap_under_all(secret, providers, context_of)
    except Locked:
        raise
    except KeyServiceUnavailable as error:
        missing = next((root_id for root_id, provider in providers.items() if _is_down(provider)), next(iter(providers)))
        raise KeyServiceUnavailable(f"{error.message}; {NEEDED}", hint=_do_without(missing)) from error


def _is_down(provider: Provider) -> bool:
    return provider.status().state is not ProviderState.READY


def for_opening(session: ReadSession, anchors: Anchors, *, recovering: bool = False) -> dict[RootId, Provider]:
    """Return the providers whose roots may open keys now, in the order in which to try them.

    Those that could just not be reached come last, active ones before others, otherwise in the order of `anchors`.
    """
    found = {root.root_id: root for root in ls(session)}
    usable = [
        (found[root_id], provider)
        for root_id, provider in anchors.providers.items()
        if root_id in found and _opens(found[root_id].state, recovering=recovering)
    ]
    usable.sort(key=lambda item: (item[0].root_id in anchors.away, item[0].state is not KeyState.ACTIVE))
    return {root.root_id: checked(root, provider) for root, provider in usable}


def open_key(
    session: ReadSession, anchors: Anchors, wraps: Mapping[RootId, bytes], context_of: ContextOf, *, recovering: bool = False
) -> Secret:
    """Return the key in `wraps` through the first root that may open it and can be reached. Raises as `slots.open_first`."""
    return open_first(wraps, for_opening(session, anchors, recovering=recovering), context_of, missed=anchors.away.note)


def checked(root: Root, provider: Provider) -> Provider:
    """Return the provider if it is the one that the catalogue names for the root. Raises IntegrityError."""
    if provider.uri != root.provider_uri:
        raise IntegrityError(
            f"domain.json names {provider.uri} for root {root.root_id}, and the catalogue {root.provider_uri}",
            hint="somebody changed domain.json: put it back from the backup place",
        )
    return provider


def _opens(state: KeyState, *, recovering: bool) -> bool:
    try:
        check_use(state, "unwrap", recovering=recovering)
    except KeyUnusable:
        return False
    return True


def _root(row: dict[str, Any]) -> Root:
    return Root(
        root_id=RootId(row["id"]),
        provider_uri=row["provider_uri"],
        kind=row["kind"],
        state=state_of(row["state"], f"root {row['id']}"),
        created_ms=row["created_ms"],
        parameters=row["parameters"],
        revision=row["revision"],
    )
