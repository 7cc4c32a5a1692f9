"""From a custody home to a custodian: providers, domain secret, database, signing keys, log. Shared by connect, create, restore."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeAlias

from hermetic.audit.log import Log
from hermetic.audit.note import Origin
from hermetic.audit.openings import LogKeys
from hermetic.audit.tables_store import TablesStore
from hermetic.custody.custodian import Custodian, Signer, steady_clock
from hermetic.custody.inforce import PolicyCache
from hermetic.db.engine import Database
from hermetic.errors import Locked, LogTampered, NotFound
from hermetic.ids import Enforcement
from hermetic.keys import domain_file, secret_keys
from hermetic.keys.derived import DomainKeys
from hermetic.keys.domain_file import DomainFile
from hermetic.keys.roots import Anchors
from hermetic.providers import private_file, registry
from hermetic.providers.place import Place, boot_ms
from hermetic.providers.unlock import unlock_here

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hermetic.crypto.secret import Secret
    from hermetic.ids import DomainId
    from hermetic.keys.domain_file import DomainRoot
    from hermetic.keys.provider import Provider, RootId

Settings: TypeAlias = "Mapping[str, Mapping[str, str]]"  # of providers, by URI (config.yaml)

DATABASE = "custody.db"


def wall_ms() -> int:
    """Return Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def read_domain_file(folder: Path, domain: DomainId) -> DomainFile:
    """Read `domain.json`. Raises NotFound when this user has no custody of the domain, FormatError, Denied."""
    try:
        raw = private_file.read(folder / domain_file.NAME, domain_file.LIMIT)
    except NotFound:
        raise NotFound(
            f"this user has no custody of domain {domain}",
            hint="on a new machine: `hermetic restore --from PLACE`; for a new project: `hermetic init`",
        ) from None
    found = DomainFile.decode(raw)
    if found.domain != domain:
        raise LogTampered("domain.json is of another domain", hint="restore it from a backup")
    return found


def open_providers(folder: Path, file: DomainFile, settings: Settings) -> dict[RootId, Provider]:
    """Return the providers of a domain's roots, each with its settings; nobody is asked yet. Raises ConfigError, Unsupported."""

    def place(root: DomainRoot) -> Place:
        return Place(folder, file.domain, root.root_id, settings=settings.get(root.provider, {}))

    return {root.root_id: registry.open_provider(root.provider, place(root)) for root in file.roots}


def unlocked_secret(file: DomainFile, providers: dict[RootId, Provider], ask: Callable[[], Secret] | None) -> Secret:
    """Return the domain secret; if the root is locked and somebody can be asked, open it for this process only. Raises Locked."""

    try:
        return file.open(providers)
    except Locked:
        if ask is None:
            raise
    unlock_here(next(iter(providers.values())), ask)
    return file.open(providers)


def open_custodian(
    folder: Path,
    domain: DomainId,
    ask: Callable[[], Secret] | None,
    settings: Settings,
    *,
    clock: Callable[[], int] = wall_ms,
) -> Custodian:
    """Open custody in this process. Raises NotFound, Locked, KeyServiceUnavailable, IntegrityError, StorageError."""
    file = read_domain_file(folder, domain)
    providers = open_providers(folder, file, settings)
    keys = DomainKeys.from_secret(unlocked_secret(file, providers, ask))
    return custodian_of(folder, domain, (keys, providers), clock=clock)


def custodian_of(
    folder: Path, domain: DomainId, have: tuple[DomainKeys, dict[RootId, Provider]], *, clock: Callable[[], int] = wall_ms
) -> Custodian:
    """Build the custodian of an existing database."""
    keys, providers = have
    database = Database.open(folder / DATABASE)
    try:
        return _custodian(database, domain, (keys, Anchors(domain, providers)), clock)
    except BaseException:
        database.close()
        raise


def _custodian(database: Database, domain: DomainId, have: tuple[DomainKeys, Anchors], clock: Callable[[], int]) -> Custodian:
    keys, anchors = have
    row_keys = keys.row_keys()
    with database.read(row_keys) as session:
        generations = TablesStore(session.connection).generations()
        if not generations:
            raise LogTampered("the log is empty", hint="the database was cut: restore it from a backup")
        log_key = secret_keys.load(session, anchors, secret_keys.active(session, secret_keys.LOG_SIGNING).key_id)
        manifest = secret_keys.active(session, secret_keys.MANIFEST_SIGNING)
        signer = Signer(manifest.key_id, secret_keys.load(session, anchors, manifest.key_id))
    generation = generations[-1]
    return Custodian(
        domain=domain,
        generation=generation,
        database=database,
        keys=keys,
        row_keys=row_keys,
        anchors=anchors,
        log=Log(Origin(domain, generation), log_key, LogKeys(keys.log_openings)),
        signer=signer,
        policy=PolicyCache(),
        clock=clock,
        enforcement=Enforcement.COOPERATIVE,
        steady=steady_clock(clock, boot_ms),
    )
