"""Composition: which project, home, provider, database, stores and clock. The only place that chooses.

`connect()` finds the project, opens custody (embedded in this release), greets it, compares pins, and returns a `Connection`. A forked
child's first use opens custody anew; what the parent held is the parent's.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from hermetic.domain import config, project, store_places
from hermetic.domain.anchoring import AnchorCommand
from hermetic.domain.backing import BackupKeeper
from hermetic.domain.home import Home, check_places, private_folder
from hermetic.domain.leases import LeaseHolder
from hermetic.domain.local import LocalPort
from hermetic.domain.opening import open_custodian
from hermetic.domain.pinned import PINS_FILE, PinKeeper
from hermetic.domain.root_home import HomeRoots
from hermetic.errors import ConfigError, HermeticError, Unsupported
from hermetic.policy.model import StoreKind
from hermetic.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from hermetic.crypto.secret import Secret
    from hermetic.custody.custodian import Custodian
    from hermetic.domain.port import Port
    from hermetic.domain.project import Project
    from hermetic.formats.messages.base import Request
    from hermetic.formats.messages.greeting import Welcome
    from hermetic.stores.base import Store

Answer = TypeVar("Answer")
URL = "HERMETIC_URL"


def connect(start: Path | None = None, *, ask_passphrase: Callable[..., Secret] | None = None, home: Home | None = None) -> Connection:
    """Connect to the domain of the project around `start` (the working folder).

    Raises NotFound, ConfigError, Denied, Locked, KeyServiceUnavailable, IntegrityError, StorageError, Unsupported.
    """
    if os.environ.get(URL):
        raise Unsupported(f"{URL} is set, and this release has custody in the caller's process only", hint=f"unset {URL}")
    found = project.load(project.find_root(start or Path.cwd()))
    return Connection(found, home or Home.locate(os.environ), ask_passphrase)


class Connection:
    """A domain in use. `stores` maps names to stores that this machine knows; `leases` holds keys in memory."""

    def __init__(self, found: Project, home: Home, ask: Callable[..., Secret] | None) -> None:
        self.project, self.home, self._ask = found, home, ask
        self.config = config.load(home.domain_config(found.domain))
        check_places(found.root, home, self.config.backup_place)
        self.stores: Mapping[str, Store] = _stores(found, self.config)
        self._open()

    def _open(self) -> None:
        folder = self.home.domain_data(self.project.domain)
        custodian = open_custodian(folder, self.project.domain, self._ask, self._provider_settings)
        self._roots = custodian.roots
        place = self.config.backup_place
        backup = None if place is None else BackupKeeper(custodian, folder, place)
        anchor = AnchorCommand(custodian, self.config.anchor_command) if self.config.anchor_command else None
        self._pid = os.getpid()
        port = LocalPort(custodian, backup=backup, anchor=anchor)
        self._port: Port = port
        self.leases = LeaseHolder(self._port)
        settings = private_folder(self.home.domain_config(self.project.domain))
        try:
            self.pins = PinKeeper(settings / PINS_FILE, self.project.domain)
            self.pins.greet = self._port.ask
            self.welcome: Welcome = self._port.ask(self.pins.greeting())
            self._look_back(custodian)
            self.pins.meet(self.welcome, custodian.keys.check)
            port.record_uses()
        except BaseException:
            custodian.close()
            raise

    def _provider_settings(self) -> Mapping[str, Mapping[str, str]]:
        """Read what config.yaml says of providers now: another process may have added a root."""
        return config.load(self.home.domain_config(self.project.domain)).providers

    @property
    def roots(self) -> HomeRoots:
        """The roots of the custody home, where custody runs in this process. Raises Unsupported elsewhere."""
        if not isinstance(self._roots, HomeRoots):
            raise Unsupported("custody runs elsewhere", hint="run the command where custody runs")
        return self._roots

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
        before = self.pins.pins
        answer = port.ask(request)
        self.pins.check_answer(request, answer, before)
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


def _stores(found: Project, settings: config.UserConfig) -> dict[str, Store]:
    """Return the stores that this machine knows: folders of the project, and named ones from the user's settings."""
    stores: dict[str, Store] = {}
    for name, rules in found.document.stores.items():
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
