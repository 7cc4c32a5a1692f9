"""A new domain: custody home first, project files last, so that a crash leaves no project without custody.

    1  root and domain secret            <data>/<domain>/root-*.json, domain.json
    2  database                          custody.db or a server's: keys, owner, policy, first log entries, in one transaction
    3  settings and pins                 <config>/<domain>/config.yaml, pins.json
    4  the first backup copy
    5  policies/, .gitignore, store folder, and hermetic.yaml as the very last

What a crash before 5 leaves in the home is a domain that nothing refers to; the next `init` makes another one.
"""

from __future__ import annotations

import contextlib
import os
import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.access import identity
from hermetic.audit.leaf import Entry
from hermetic.audit.log import Log
from hermetic.audit.note import Origin
from hermetic.audit.openings import LogKeys
from hermetic.audit.tables_store import TablesStore
from hermetic.catalog.values import fresh_id
from hermetic.custody import copied, uses
from hermetic.custody.work import TrackedSession
from hermetic.db import tables
from hermetic.db.engine import Database
from hermetic.db.postgres.place import PostgresPlace
from hermetic.domain import config
from hermetic.domain.backing import BackupKeeper
from hermetic.domain.home import PROJECT_FILE, Home, check_places, private_folder
from hermetic.domain.opening import DATABASE, custodian_of, wall_ms
from hermetic.domain.pinned import PINS_FILE
from hermetic.domain.pins import Pins
from hermetic.domain.pins import save as save_pins
from hermetic.errors import Conflict, StorageError, Unsupported
from hermetic.formats.binary_text import to_base64url
from hermetic.formats.findings import Finding
from hermetic.ids import DomainId
from hermetic.keys import domain_file, roots, secret_keys
from hermetic.keys.derived import DomainKeys
from hermetic.keys.provider import RootId
from hermetic.keys.roots import Anchors
from hermetic.policy import defaults
from hermetic.policy.rulebook import Rulebook
from hermetic.providers import private_file, registry, unlock
from hermetic.providers.place import Asked, Place
from hermetic.steps import reached
from hermetic.stores.durable import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from hermetic.crypto.secret import Secret
    from hermetic.custody.custodian import Custodian
    from hermetic.db.engine import DatabasePlace
    from hermetic.keys.provider import Provider
    from hermetic.policy.bundle import PolicyBundle

STORE_FOLDER = "sealed"
UNLOCK_S = 8 * 3600


@dataclass(frozen=True, slots=True)
class Created:
    """What `init` made, and what it would rather have had."""

    domain_id: DomainId
    project: str
    findings: tuple[Finding, ...]


def create_domain(  # noqa: PLR0913 - what a new domain can be told, all by keyword
    root: Path,
    *,
    provider_uri: str,
    project_name: str,
    ask: Callable[..., Secret] | None = None,
    backup: Path | None = None,
    recovery_passphrase: Secret | None = None,
    home: Home | None = None,
    settings: Mapping[str, str] | None = None,
    database: str | None = None,
) -> Created:
    """Make a domain whose project lies in `root`; `settings` are the provider's, and are kept in config.yaml.

    `database` is the URL of an empty PostgreSQL database; without it, custody's database is a file.

    Raises Conflict when there is one, UsageError, ConfigError (project name, places), Denied, StorageError, Unsupported.
    """
    root = root.absolute()
    server = None if database is None else PostgresPlace.parse(database)
    _check_root(root)
    home = home or Home.locate(os.environ)
    check_places(root, home, backup)
    if server is not None:
        Database.check_free(server)  # before there is a root that nothing refers to
    domain = DomainId(fresh_id())
    bundle = defaults.default_bundle(domain, project_name)
    Rulebook.load(bundle, now_ms=wall_ms())
    given = dict(settings or {})
    place_of_root = Place(home.domain_data(domain), domain, RootId(fresh_id()), settings=given)
    if recovery_passphrase is not None:
        _check_leaves(registry.open_provider(provider_uri, place_of_root))
    folder = private_folder(place_of_root.home)
    try:
        provider, keys = _custody(place_of_root, provider_uri, ask)  # 1
    except BaseException:
        with contextlib.suppress(OSError):  # no passphrase, no keyring: leave no empty folder; what has something in it stays
            folder.rmdir()
        raise
    stands = server or folder / DATABASE
    _database(stands, domain, (keys, provider), bundle)  # 2
    place = private_folder(home.domain_config(domain))
    providers = {provider_uri: given} if given else {}
    config.save(place, config.UserConfig(backup_place=backup, providers=providers, database=server))  # 3
    custodian = custodian_of(stands, domain, (keys, {provider.root_id: provider}))
    try:
        uses.record(custodian)
        _pin(custodian, place)
        recovery = _first_copy(custodian, (folder, backup), provider, recovery_passphrase)  # 4
    finally:
        custodian.close()
    _project_files(root, bundle)  # 5
    return Created(domain, project_name, tuple(_findings(provider, place / config.CONFIG_FILE, backup, recovery=recovery)))


def _check_leaves(provider: Provider) -> None:
    """Refuse a recovery passphrase, which wraps the root, for a root that nobody can wrap; before anything is made."""
    if not unlock.leaves_machine(provider):
        raise Unsupported(
            f"a recovery passphrase wraps the root, and the root of {provider.uri} cannot leave its provider",
            hint="leave it out; then `hermetic key shares create -n 5 -m 3` makes recovery shares",
        )


def _check_root(root: Path) -> None:
    if not root.is_dir():
        raise StorageError(f"{root} is not a folder", hint="create it first")
    if (root / PROJECT_FILE).exists():
        raise Conflict(f"{root} has a {PROJECT_FILE} already", hint="this project has a domain: `hermetic status`")


def _custody(place: Place, uri: str, ask: Callable[..., Secret] | None) -> tuple[Provider, DomainKeys]:
    given: list[Secret] = []

    def once() -> Secret:
        if not given and ask is not None:
            given.append(ask("new passphrase: "))
        return given[0]

    provider = registry.create_root(uri, place, Asked(ask=None if ask is None else once))
    reached("init.root.created")
    if given:  # whoever just typed the passphrase need not type it again
        try:
            unlock.unlock(provider, once, UNLOCK_S)
        except Unsupported:  # no kernel keyring here: later commands ask for it
            unlock.unlock_here(provider, once)
    file, secret = domain_file.create(place.domain, {provider.root_id: provider})
    private_file.write(place.home / domain_file.NAME, file.encode(), replace=False)
    reached("init.domain-file.written")
    return provider, DomainKeys.from_secret(secret)


def _database(place: DatabasePlace, domain: DomainId, have: tuple[DomainKeys, Provider], bundle: PolicyBundle) -> None:
    keys, provider = have
    now = wall_ms()
    database = Database.create(place)
    anchors = Anchors(domain, {provider.root_id: provider})
    with database.write(keys.row_keys(), step="init.domain.committed") as plain:
        session = TrackedSession(plain)
        roots.add(session, provider, now_ms=now)  # type: ignore[arg-type]
        log_key = secret_keys.create(session, anchors, secret_keys.LOG_SIGNING, now_ms=now)  # type: ignore[arg-type]
        secret_keys.create(session, anchors, secret_keys.MANIFEST_SIGNING, now_ms=now)  # type: ignore[arg-type]
        user = pwd.getpwuid(os.geteuid()).pw_name
        owner = identity.local_principal(domain, user=user, uid=os.geteuid())
        identity.bind_owner(session, owner, now_ms=now)  # type: ignore[arg-type]
        digest = bundle.digest()
        copied.none_yet(session)
        session.insert(tables.policy, digest=digest.hex(), content=bundle.to_bytes(), applied_ms=now, applied_by=owner.name, current=1)
        signer = secret_keys.load(session, anchors, log_key.key_id)  # type: ignore[arg-type]
        log = Log(Origin(domain, 1), signer, LogKeys(keys.log_openings))
        store = TablesStore(plain.connection)
        log.begin(store, now_ms=now)
        none = to_base64url(bytes(32))
        entries = [
            Entry("policy.applied", {"policy": to_base64url(digest), "previous": none}, rows=session.states()),
            Entry("root.added", {"root": provider.root_id, "provider": provider.uri}),
            Entry("principal.enrolled", {"principal": owner.id, "state": "active"}),
            *uses.of_providers(provider),
        ]
        log.append(store, entries, now_ms=now)
    database.close()


def _pin(custodian: Custodian, settings: Path) -> None:
    with custodian.database.read(custodian.row_keys) as session:
        checkpoint, note = custodian.log.head(TablesStore(session.connection))
        manifest = secret_keys.active(session, secret_keys.MANIFEST_SIGNING)
    pins = Pins(
        domain=custodian.domain,
        generation=1,
        log_keys=(str(custodian.log.verifier_key),),
        manifest_keys={manifest.key_id: to_base64url(manifest.public)},
        size=checkpoint.size,
        checkpoint=str(note),
        domain_check=custodian.keys.check.hex(),
    )
    save_pins(settings / PINS_FILE, pins)


def _first_copy(custodian: Custodian, where: tuple[Path, Path | None], provider: Provider, passphrase: Secret | None) -> bool:
    """Make the first copy; return whether the root can be recovered from it. Raises StorageError: at `init` the place has to work."""
    folder, place = where
    if place is None:
        return False
    keeper = BackupKeeper(custodian, folder, place, first=True)
    if passphrase is not None:
        keeper.put_recovery(provider.root_id, unlock.export_root(provider, passphrase))
        reached("init.recovery.written")
    state = keeper.take()
    if state.problem is not None:
        raise StorageError(f"the backup place does not work: {state.problem}", hint="check that it is mounted and writable")
    return passphrase is not None


def _project_files(root: Path, bundle: PolicyBundle) -> None:
    try:
        (root / "policies").mkdir(mode=0o755, exist_ok=True)
        (root / STORE_FOLDER).mkdir(mode=0o700, exist_ok=True)
        _ignore_store(root)
        for name in sorted(bundle.files, key=lambda item: item == PROJECT_FILE):
            write_new(root / name, bundle.files[name])
    except OSError as error:
        raise StorageError(f"cannot write the project's files: {error.strerror}", hint="nothing was sealed yet; try again") from error
    reached("init.project.written")


def write_new(path: Path, content: bytes) -> None:
    """Write a project file durable, under its final name at once. Raises OSError; then nothing is left."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def _ignore_store(root: Path) -> None:
    """Keep sealed objects out of git: they are large, and belong to a store."""
    path, line = root / ".gitignore", f"/{STORE_FOLDER}/"
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if line not in before.splitlines():
        write_new(path, (before + ("" if before.endswith("\n") or not before else "\n") + line + "\n").encode("utf-8"))


def _findings(provider: Provider, settings: Path, backup: Path | None, *, recovery: bool) -> list[Finding]:
    found = list(provider.status().findings)
    if backup is None:
        remedy = f"name another disk in {settings}: `backup: {{place: DIR}}`, then `hermetic backup now`"
        found.append(
            Finding("backup-missing", "medium", "domain", "there is no backup place: losing this home loses everything", remedy)
        )
    elif not recovery:
        remedy = "hermetic key shares create -n 5 -m 3, or hermetic backup now --recovery-passphrase-file FILE"
        found.append(
            Finding("backup-without-recovery", "medium", str(backup), "the backup opens only with this machine's root", remedy)
        )
    return found
