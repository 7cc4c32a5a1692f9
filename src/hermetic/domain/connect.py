"""Composition: which project, home, provider, database, stores and clock. The only place that chooses.

`connect()` finds the project, opens custody in this process or dials it where HERMETIC_URL says (`custody_place`), greets it, compares
pins, and returns a `Connection`. A forked child's first use opens or dials anew; what the parent held is the parent's.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Self, TypeVar

from hermetic.domain import config, project, store_places, working
from hermetic.domain.anchoring import AnchorCommand
from hermetic.domain.backing import BackupKeeper
from hermetic.domain.begun import Begun
from hermetic.domain.custody_place import URL, check_here, dial, place_of
from hermetic.domain.home import Home, check_places, private_folder
from hermetic.domain.leases import LeaseHolder
from hermetic.domain.local import LocalPort
from hermetic.domain.opening import open_custodian
from hermetic.domain.pinned import PINS_FILE, PinKeeper
from hermetic.domain.root_home import HomeRoots
from hermetic.errors import ConfigError, HermeticError, IntegrityError, Unsupported, UsageError
from hermetic.ids import Enforcement
from hermetic.policy.model import StoreKind
from hermetic.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from hermetic.crypto.secret import Secret
    from hermetic.custody.custodian import Custodian
    from hermetic.domain.custody_place import ServicePlace
    from hermetic.domain.notifying import Notifier
    from hermetic.domain.port import Port
    from hermetic.domain.project import Project
    from hermetic.formats.messages.base import Request
    from hermetic.formats.messages.greeting import Hello, Welcome
    from hermetic.stores.base import Store

Answer = TypeVar("Answer")
ANEW: Final = "call `hermetic.connect()` in the other process; pass names, such as dataset/patients@3"


def connect(start: Path | None = None, *, ask_passphrase: Callable[..., Secret] | None = None, home: Home | None = None) -> Connection:
    """Connect to the domain of the project around `start` (the working folder).

    Raises NotFound, ConfigError, Denied, Locked, KeyServiceUnavailable, IntegrityError, StorageError, Unsupported.
    """
    place = place_of(os.environ.get(URL, ""))
    found = project.load(project.find_root(start or Path.cwd()))
    return Connection(found, home or Home.locate(os.environ), ask_passphrase, place=place)


def keep(start: Path, *, ask_passphrase: Callable[..., Secret] | None = None) -> Connection:
    """Open custody here, to answer other users; its enforcement level is `separated`. Raises as `connect`."""
    found = project.load(project.find_root(start))
    return Connection(found, Home.locate(os.environ), ask_passphrase, enforcement=Enforcement.SEPARATED)


class Connection:
    """A domain in use. `stores` maps names to stores that this machine knows; `leases` holds keys in memory."""

    def __init__(
        self,
        found: Project,
        home: Home,
        ask: Callable[..., Secret] | None,
        *,
        place: Path | ServicePlace | None = None,
        enforcement: Enforcement = Enforcement.COOPERATIVE,
    ) -> None:
        self.project, self.home, self._ask = found, home, ask
        self._place, self._enforcement = place, enforcement
        self.environment = working.declared()
        self.config = config.load(home.domain_config(found.domain))
        check_places(found.root, home, self.config.backup_place)
        self.stores: Mapping[str, Store] = _stores(found, self.config, home.domain_config(found.domain))
        self._open()

    def __repr__(self) -> str:
        if "welcome" not in vars(self):  # a debugger may ask before the greeting
            return "<Connection, not made yet>"
        state = "closed" if self._closed() else self.welcome.enforcement
        works = "" if self.environment is None else f", in {self.environment}"
        return f"<Connection to {self.project.document.project} ({self.project.domain}) as {self.welcome.principal}, {state}{works}>"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise UsageError("a connection cannot be passed to another process, or copied: keys and pins are this one's", hint=ANEW)

    def _open(self) -> None:
        self._pid = os.getpid()
        custodian = None
        if self._place is None:
            custodian = self._embedded()
        else:
            self._dialled(self._place)
        self.leases = LeaseHolder(self._port)
        settings = private_folder(self.home.domain_config(self.project.domain))
        try:
            self.pins = PinKeeper(settings / PINS_FILE, self.project.domain)
            self.pins.greet = self._greet
            self.welcome = self._greet(self.pins.greeting())
            self._meet(custodian)
            if isinstance(self._port, LocalPort):
                self._port.record_uses()
        except BaseException:
            (self._port if custodian is None else custodian).close()
            raise

    def _meet(self, custodian: Custodian | None) -> None:
        """Compare custody with the pins, which move. Raises LogTampered, SignatureError, IntegrityError."""
        if custodian is not None:
            self._look_back(custodian)
        self.pins.meet(self.welcome, None if custodian is None else custodian.keys.check)

    def _greet(self, hello: Hello) -> Welcome:
        welcome = self._port.ask(hello)
        if welcome.domain != self.project.domain:
            raise IntegrityError("custody there is of another domain than this project", hint=f"{URL} names another place")
        return welcome

    def _embedded(self) -> Custodian:
        folder = self.home.domain_data(self.project.domain)
        check_here(folder, self.project.domain, self.home.domain_config(self.project.domain))
        custodian = open_custodian(folder, self.project.domain, self._ask, self._provider_settings, server=self.config.database)
        custodian.enforcement = self._enforcement
        custodian.outdated = Begun(self.home.domain_config(self.project.domain), self.config)
        custodian.outbox.wants = tuple(target.wants for target in self.config.notify.values())
        if self.config.oidc:
            from hermetic.domain import oidc_fetch  # noqa: PLC0415 - hardly any home trusts issuers

            custodian.tokens = oidc_fetch.desk(self.config.oidc)
        self._roots = custodian.roots
        self._custodian: Custodian | None = custodian
        place = self.config.backup_place
        backup = None if place is None else BackupKeeper(custodian, folder, place)
        anchor = AnchorCommand(custodian, self.config.anchor_command) if self.config.anchor_command else None
        self._port: Port = LocalPort(custodian, backup=backup, anchor=anchor)
        return custodian

    def _dialled(self, place: Path | ServicePlace) -> None:
        """Use custody in another process. What happens to be in a home of this user's own is not looked at."""
        self._roots = None
        self._custodian = None
        self._port = dial(place, self.project.domain, self.home.domain_config(self.project.domain))

    def _provider_settings(self) -> Mapping[str, Mapping[str, str]]:
        """Read what config.yaml says of providers now: another process may have added a root."""
        return config.load(self.home.domain_config(self.project.domain)).providers

    @property
    def apart(self) -> bool:
        """Whether custody runs in another process."""
        return self._place is not None

    @property
    def roots(self) -> HomeRoots:
        """The roots of the custody home, where custody runs in this process. Raises Unsupported elsewhere."""
        if not isinstance(self._roots, HomeRoots):
            raise Unsupported("custody runs elsewhere", hint="run the command where custody runs")
        return self._roots

    def notifier(self) -> Notifier:
        """Return what delivers notifications, where custody runs in this process. Raises Unsupported elsewhere."""
        if self._custodian is None:
            raise Unsupported("custody runs elsewhere", hint="the service there delivers by itself")
        from hermetic.domain.notifying import Notifier  # noqa: PLC0415 - sockets and mail, which hardly anything needs

        return Notifier(self._custodian, self.config.notify)

    def _look_back(self, custodian: Custodian) -> None:
        """Once for each generation: compare the restored log with what was seen of it before. Raises LogTampered."""
        seen = self.pins.seen
        if seen is not None and custodian.generation > seen.origin.generation:
            from hermetic.domain.continuity import check_restored  # noqa: PLC0415 - reads the whole log, and hardly ever

            self.pins.follow(check_restored(custodian, seen, self.pins.log_keys))

    @property
    def port(self) -> Port:
        """The port; in a forked child a fresh one."""
        if os.getpid() != self._pid:
            self._open()
        return self._port

    def ask(self, request: Request[Answer]) -> Answer:
        """Ask custody, verify the receipt, and move the pins. Raises HermeticError."""
        port = self.port
        request = working.placed(request, self.environment)
        before = self.pins.pins
        answer = port.ask(request)
        self.pins.check_answer(request, answer, before)
        working.check(request, answer)
        return answer

    def close(self) -> None:
        """Give leases back, write pins, close custody. Done twice it does nothing."""
        if os.getpid() != self._pid or self._closed():
            return
        with suppress(HermeticError):  # leases end by themselves when custody cannot be told
            self.leases.end_all()
        self.pins.flush()
        self._port.close()
        self._pid = -1

    def _closed(self) -> bool:
        return self._pid == -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _stores(found: Project, settings: config.UserConfig, folder: Path) -> dict[str, Store]:
    """Return the stores that this machine knows: folders of the project, and named ones from the user's settings.

    Raises ConfigError for a store that both place: whoever wrote the setting takes it that their data goes there.
    """
    stores: dict[str, Store] = {}
    for name, rules in found.document.stores.items():
        if rules.kind is StoreKind.LOCAL and name in settings.places:
            raise config.placed_twice(folder, name)
        if rules.kind is StoreKind.LOCAL:
            stores[name] = LocalStore(_inside(found.root, rules.path or name))
        elif name in settings.places:
            stores[name] = store_places.store_at(settings.places[name])
    return stores


def _inside(root: Path, relative: str) -> Path:
    path = (root / relative).resolve()
    if not path.is_relative_to(root.resolve()):
        raise ConfigError(
            f"store folder {relative} leads out of the project", hint="name the store and give its folder in config.yaml"
        )
    return path
