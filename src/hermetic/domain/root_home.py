"""The roots of a custody home: domain.json, and the providers that it names, reopened when it changes.

A connection may live for days, and the domain may move to another root meanwhile. So the providers are a mapping that looks at
domain.json (one `stat`) whenever somebody asks what is at hand: roots that came are opened, roots that went are let go, and those that
stay keep the provider object, with whatever unlocked it. A `domain.json` that is missing for now leaves things as they are.

A provider that cannot even be opened here (its library is missing, its settings are wrong) counts as one out of reach, as long as the
domain has another root.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from hermetic.custody.uses import UseBook
from hermetic.errors import (
    ConfigError,
    HermeticError,
    KeyServiceUnavailable,
    Locked,
    LogTampered,
    NotFound,
    StorageError,
    Unsupported,
    UsageError,
)
from hermetic.keys import domain_file
from hermetic.keys.domain_file import DomainFile
from hermetic.keys.provider import Provider, ProviderState, ProviderStatus, RootId
from hermetic.providers import private_file, registry, unlock
from hermetic.providers.local_root import root_path
from hermetic.providers.place import Place
from hermetic.providers.signing_tokens import SigningTokens
from hermetic.steps import reached

if TYPE_CHECKING:
    from collections.abc import Callable, ItemsView
    from pathlib import Path

    from hermetic.crypto.secret import Secret
    from hermetic.ids import DomainId
    from hermetic.keys.domain_file import DomainRoot

Settings: TypeAlias = "Mapping[str, Mapping[str, str]]"  # of providers, by URI (config.yaml)
_Identity: TypeAlias = "tuple[int, int, int, int]"


def read_domain_file(folder: Path, domain: DomainId) -> DomainFile:
    """Read `domain.json`. Raises NotFound when this user has no custody of the domain, FormatError, Denied."""
    try:
        raw = private_file.read(folder / domain_file.NAME, domain_file.LIMIT)
    except NotFound:
        raise NotFound(
            f"this user has no custody of domain {domain}",
            hint="custody elsewhere: HERMETIC_URL says where (unix:PATH or https://HOST:PORT), and is not set\n"
            "on a new machine: `hermetic restore` or `hermetic key recover`, --from PLACE; for a new project: `hermetic init`",
        ) from None
    found = DomainFile.decode(raw)
    if found.domain != domain:
        raise LogTampered("domain.json is of another domain", hint="restore it from a backup")
    return found


class AbsentProvider:
    """Stands for a provider that cannot be opened on this machine; says why to whoever asks it."""

    def __init__(self, uri: str, root_id: RootId, problem: HermeticError) -> None:
        self.uri, self.root_id, self._problem = uri, root_id, problem

    def wrap(self, _secret: Secret, _context: bytes) -> bytes:
        """Raise KeyServiceUnavailable."""
        raise self._unavailable()

    def unwrap(self, _wrapped: bytes, _context: bytes) -> Secret:
        """Raise KeyServiceUnavailable."""
        raise self._unavailable()

    def status(self) -> ProviderStatus:
        """Say what is wrong."""
        return ProviderStatus(self.uri, self.root_id, ProviderState.UNREACHABLE, self._problem.message)

    def _unavailable(self) -> KeyServiceUnavailable:
        return KeyServiceUnavailable(f"{self.uri} cannot be used here: {self._problem.message}", hint=self._problem.hint)


class HomeRoots:
    """What custody sees of the home (`custody.custodian.RootHome`). `settings` reads what config.yaml says of providers now."""

    def __init__(self, folder: Path, domain: DomainId, settings: Callable[[], Settings]) -> None:
        """Read domain.json and open its providers; nobody is asked yet. Raises NotFound, ConfigError, Unsupported, IntegrityError."""
        self._folder, self._domain, self._settings = folder, domain, settings
        self._lock = threading.Lock()
        self.uses = UseBook()  # of every provider that was ever opened here: one that is let go may have uses that nobody took yet
        self._seen = self._look()
        self._adopted: dict[RootId, Provider] = {}
        self._open: dict[RootId, Provider] = {}
        self._open = self._opened(self.file())
        self.providers = LiveProviders(self)
        self.tokens = SigningTokens(folder, domain, settings)

    def file(self) -> DomainFile:
        """Read domain.json."""
        return read_domain_file(self._folder, self._domain)

    def put(self, file: DomainFile) -> None:
        """Replace domain.json; a crash before may have left older wraps under a temporary name."""
        private_file.wipe_leftovers(self._folder / domain_file.NAME)
        private_file.write(self._folder / domain_file.NAME, file.encode(), replace=True)
        reached("roots.domain-file.replaced")

    def adopt(self, provider: Provider) -> None:
        """Take a provider that composition made: it may be open for this process only."""
        self.uses.watch(provider)
        with self._lock:
            self._adopted[provider.root_id] = provider
            if provider.root_id in self._open:
                self._open = {**self._open, provider.root_id: provider}

    def provider(self, uri: str, root_id: RootId) -> Provider:
        """Return the provider of a root: the one in use or adopted, else a new one."""
        found = self.current().get(root_id) or self._adopted.get(root_id)
        if found is not None and found.uri == uri and not isinstance(found, AbsentProvider):
            return found
        return self._watched(registry.open_provider(uri, self._place(root_id, uri)))

    def regions(self, uri: str) -> tuple[str, ...]:
        """Return where a root lies, by its URI or config.yaml as it is now; () where nobody said. Raises ConfigError."""
        return registry.regions_of(uri, self._settings().get(uri, {}))

    def remove(self, uri: str, root_id: RootId) -> str:
        """Wipe what this machine keeps of a root."""
        self._adopted.pop(root_id, None)
        return registry.remove_root(uri, self._place(root_id, uri))

    def tidy(self, root_id: RootId) -> None:
        """Wipe what crashes left of making a root that is in use now."""
        private_file.wipe_leftovers(root_path(self._place(root_id, "")))

    def current(self) -> dict[RootId, Provider]:
        """Return the providers at hand by root, as domain.json names them now. Raises IntegrityError for a file tampered with."""
        if self._look() != self._seen:
            with self._lock:
                self._refresh()
        return self._open

    def domain_secret(self, ask: Callable[..., Secret] | None) -> Secret:
        """Return the domain secret; if roots are locked and somebody can be asked, open them for this process only. Raises Locked."""
        file = self.file()
        try:
            return file.open(self.providers)
        except Locked:
            if ask is None:
                raise
        shut = [one for one in unlock.with_passphrase(self.current().values()) if one.status().state is not ProviderState.READY]
        locked = [one for one in shut if one.status().state is ProviderState.LOCKED]
        for provider in (locked or shut)[:1]:  # one whose file is damaged says so when it is opened
            unlock.unlock_here(provider, ask)
        return file.open(self.providers)

    def _refresh(self) -> None:
        seen = self._look()
        try:
            file = self.file()
        except (NotFound, StorageError):
            return
        self._open, self._seen = self._opened(file), seen

    def _opened(self, file: DomainFile) -> dict[RootId, Provider]:
        """Return a provider for each root, local ones first: they answer at once. Recovery roots, which do not open here, are last."""
        alone = len(file.roots) == 1
        found: dict[RootId, Provider] = {}
        for root in sorted(file.roots, key=_when_asked):
            known = self._open.get(root.root_id) or self._adopted.get(root.root_id)
            keep = known is not None and known.uri == root.provider and not isinstance(known, AbsentProvider)
            found[root.root_id] = known if known is not None and keep else self._one(root, alone=alone)
        return found

    def _one(self, root: DomainRoot, *, alone: bool) -> Provider:
        try:
            return self._watched(registry.open_provider(root.provider, self._place(root.root_id, root.provider)))
        except (Unsupported, ConfigError, UsageError, KeyServiceUnavailable) as error:
            if alone:
                raise
            return AbsentProvider(root.provider, root.root_id, error)

    def _watched(self, provider: Provider) -> Provider:
        self.uses.watch(provider)
        return provider

    def _place(self, root_id: RootId, uri: str) -> Place:
        return Place(self._folder, self._domain, root_id, settings=self._settings().get(uri, {}))

    def _look(self) -> _Identity | None:
        """Return what tells one domain.json from another: it is replaced, never written into."""
        try:
            found = (self._folder / domain_file.NAME).stat()
        except OSError:
            return None
        return found.st_ino, found.st_dev, found.st_size, found.st_mtime_ns


class LiveProviders(Mapping[RootId, Provider]):
    """The providers at hand, looked up anew each time; `items()` is one consistent view."""

    def __init__(self, home: HomeRoots) -> None:
        self._home = home

    def __getitem__(self, root_id: RootId) -> Provider:
        return self._home.current()[root_id]

    def __iter__(self) -> Iterator[RootId]:
        return iter(self._home.current())

    def __len__(self) -> int:
        return len(self._home.current())

    def __contains__(self, root_id: object) -> bool:
        return root_id in self._home.current()

    def items(self) -> ItemsView[RootId, Provider]:
        """Return roots and providers as they are now."""
        return self._home.current().items()

    def get(self, root_id: RootId, default: Any = None) -> Any:
        """Return the provider of a root, or `default`."""
        return self._home.current().get(root_id, default)


def _when_asked(root: DomainRoot) -> int:
    return {"local": 0, "recovery": 2}.get(root.provider.partition(":")[0], 1)
