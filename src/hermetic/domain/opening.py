"""From a custody home to a custodian: providers, domain secret, database, signing keys, log. Shared by connect, create, restore."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from hermetic.audit.log import Log
from hermetic.audit.note import Origin
from hermetic.audit.openings import LogKeys
from hermetic.audit.tables_store import TablesStore
from hermetic.custody.custodian import Custodian, ManifestSigner, steady_clock
from hermetic.custody.inforce import PolicyCache
from hermetic.db.engine import Database
from hermetic.domain.root_home import HomeRoots
from hermetic.errors import LogTampered
from hermetic.ids import Enforcement
from hermetic.keys import secret_keys
from hermetic.keys.derived import DomainKeys
from hermetic.keys.roots import Anchors, Away
from hermetic.providers.place import boot_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hermetic.crypto.secret import Secret
    from hermetic.crypto.sign import SigningKey
    from hermetic.db.columns import RowKeys
    from hermetic.db.engine import DatabasePlace
    from hermetic.db.postgres.place import PostgresPlace
    from hermetic.domain.root_home import Settings
    from hermetic.ids import DomainId
    from hermetic.keys.provider import Provider, RootId

DATABASE = "custody.db"


def wall_ms() -> int:
    """Return Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def open_custodian(
    folder: Path,
    domain: DomainId,
    ask: Callable[[], Secret] | None,
    settings: Callable[[], Settings],
    *,
    clock: Callable[[], int] = wall_ms,
    server: PostgresPlace | None = None,
) -> Custodian:
    """Open custody in this process; `server` is where its database is, if not in the folder.

    Raises NotFound, Locked, KeyServiceUnavailable, IntegrityError, StorageError.
    """
    home = HomeRoots(folder, domain, settings)
    keys = DomainKeys.from_secret(home.domain_secret(ask))
    return custodian_of(server or folder / DATABASE, domain, (keys, home.providers), clock=clock, home=home)


def custodian_of(
    place: DatabasePlace,
    domain: DomainId,
    have: tuple[DomainKeys, Mapping[RootId, Provider]],
    *,
    clock: Callable[[], int] = wall_ms,
    home: HomeRoots | None = None,
) -> Custodian:
    """Build the custodian of an existing database; without a `home` its roots cannot be changed."""
    keys, providers = have
    database = Database.open(place)
    try:
        anchors = Anchors(domain, providers, Away(boot_ms), tokens=None if home is None else home.tokens)
        made = _custodian(database, domain, (keys, anchors), clock)
    except BaseException:
        database.close()
        raise
    if home is not None:
        made.roots, made.uses = home, home.uses
    else:
        for provider in providers.values():
            made.uses.watch(provider)
    return made


def _custodian(database: Database, domain: DomainId, have: tuple[DomainKeys, Anchors], clock: Callable[[], int]) -> Custodian:
    keys, anchors = have
    row_keys = keys.row_keys()
    with database.read(row_keys) as session:
        generations = TablesStore(session.connection).generations()
        if not generations:
            raise LogTampered("the log is empty", hint="the database was cut: restore it from a backup")
        log_key = secret_keys.load(session, anchors, secret_keys.active(session, secret_keys.LOG_SIGNING).key_id)
        manifest = secret_keys.active(session, secret_keys.MANIFEST_SIGNING)
        signer = ManifestSigner(manifest.key_id, secret_keys.signer(session, anchors, manifest.key_id))
    generation = generations[-1]
    return Custodian(
        domain=domain,
        generation=generation,
        database=database,
        keys=keys,
        row_keys=row_keys,
        anchors=anchors,
        log=Log(Origin(domain, generation), log_key, LogKeys(keys.log_openings), renew=_renewing(database, row_keys, anchors)),
        signer=signer,
        policy=PolicyCache(),
        clock=clock,
        enforcement=Enforcement.COOPERATIVE,
        steady=steady_clock(clock, boot_ms),
    )


def _renewing(database: Database, row_keys: RowKeys, anchors: Anchors) -> Callable[[bytes], SigningKey | None]:
    """Return what finds the log's key in force, for a process that goes on while another one changes it.

    It reads over a connection of its own, since the log is mostly met inside a session; the change was committed before that began.
    """

    def renew(public: bytes) -> SigningKey | None:
        apart = database.again()
        try:
            with apart.read(row_keys) as session:
                active = secret_keys.active(session, secret_keys.LOG_SIGNING)
                return None if active.public == public else secret_keys.load(session, anchors, active.key_id)
        finally:
            apart.close()

    return renew
