"""A domain back from its backup copy, as the next generation of the log (spec/backup.md section 5, whose numbers the code repeats)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hermetic.audit import verify as verifying
from hermetic.audit.leaf import Entry
from hermetic.audit.log import Log
from hermetic.audit.note import Checkpoint, Note, Origin, VerifierKey
from hermetic.audit.openings import LogKeys
from hermetic.audit.pins import Pin
from hermetic.audit.tables_store import TablesStore
from hermetic.catalog.values import RunState
from hermetic.custody.logbook import present_rows
from hermetic.custody.work import TrackedSession
from hermetic.db import tables
from hermetic.db.engine import Database
from hermetic.domain import config, pins
from hermetic.domain.backup import Copies
from hermetic.domain.create import PINS_FILE, write_new
from hermetic.domain.home import PROJECT_FILE, private_folder
from hermetic.domain.opening import DATABASE, wall_ms
from hermetic.errors import Conflict, FormatError, NotFound, StorageError, UsageError
from hermetic.ids import DomainId, check_id
from hermetic.keys import domain_file, secret_keys
from hermetic.keys.derived import DomainKeys
from hermetic.keys.domain_file import DomainFile
from hermetic.keys.passphrase_wrap import LIMIT as WRAP_LIMIT
from hermetic.keys.passphrase_wrap import recovery_unwrap
from hermetic.keys.roots import Anchors
from hermetic.policy.bundle import PolicyBundle
from hermetic.providers import private_file, registry, unlock
from hermetic.providers.local_memory import MemoryRoot
from hermetic.providers.place import Asked, Place
from hermetic.steps import reached
from hermetic.stores.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from hermetic.crypto.secret import Secret
    from hermetic.domain.backup import Index
    from hermetic.domain.home import Home
    from hermetic.keys.provider import Provider

UNLOCK_S = 8 * 3600
DEFAULT_ROOT = "local:passphrase"


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back. `lost` says that a later state of the log was known than the copy holds."""

    domain_id: DomainId
    generation: int
    versions: int
    restored_size: int
    highest_size: int
    lost: bool
    copied_ms: int


@dataclass(frozen=True, slots=True)
class Recovered:
    """A copy opened with the recovery passphrase, not yet anywhere."""

    domain: DomainId
    file: DomainFile
    root: Secret
    root_id: str
    keys: DomainKeys
    copies: Copies
    index: Index


def find_domain(place: Path, wanted: DomainId | None = None) -> DomainId:
    """Return the domain whose copy lies in `place`. Raises NotFound, UsageError when there are several."""
    try:
        names = sorted(entry.name for entry in place.iterdir() if entry.is_dir())
    except OSError as error:
        raise StorageError(f"cannot read {place}: {error.strerror}", hint="is the disk mounted?") from error
    domains = [name for name in names if _is_id(name) and (place / name / domain_file.NAME).is_file()]
    if wanted is not None and wanted in domains:
        return wanted
    if wanted is not None or not domains:
        raise NotFound(f"{place} holds no copy of {'this domain' if wanted else 'a domain'}")
    if len(domains) > 1:
        raise UsageError(
            f"{place} holds copies of {len(domains)} domains", hint=f"run it in the project of one of {', '.join(domains)}"
        )
    return DomainId(domains[0])


def _is_id(text: str) -> bool:
    try:
        check_id(text)
    except UsageError:
        return False
    return True


def recover(place: Path, domain: DomainId, passphrase: Secret) -> Recovered:
    """Open a copy. Raises NotFound (no recovery wrap), WrongKey, FormatError, IntegrityError, StorageError."""
    store = LocalStore(place / domain)
    wraps = [name for name, _ in store.list("recovery-")]
    if not wraps:
        raise NotFound("this copy has no recovery wrap", hint="it opens only with the root itself: put root-*.json back instead")
    # 1. The passphrase opens the root.
    subject, root = recovery_unwrap(store.read_bytes(wraps[0], limit=WRAP_LIMIT), passphrase)
    if subject.domain != domain or subject.holds != "root":
        raise FormatError("the recovery wrap is of another domain")
    # 2. The root opens the domain secret.
    file = DomainFile.decode(store.read_bytes(domain_file.NAME, limit=domain_file.LIMIT))
    keys = DomainKeys.from_secret(file.open({subject.root: MemoryRoot("local:memory", Place(place, domain, subject.root), root)}))
    # 3. The newest index that opens.
    copies = Copies(store, keys.backup)
    return Recovered(domain, file, root, subject.root, keys, copies, copies.latest())


def restore_domain(
    place: Path,
    home: Home,
    project_root: Path,
    passphrase: Callable[..., Secret],
    *,
    provider_uri: str = DEFAULT_ROOT,
    ask: Callable[..., Secret] | None = None,
) -> Restored:
    """Bring a domain back under `home`. `ask` gives the new root's passphrase; without it the recovery passphrase is taken.

    Raises Conflict when this user has custody of the domain, NotFound, WrongKey, IntegrityError, LogTampered, StorageError.
    """
    wanted = _wanted(project_root)
    domain = find_domain(place, wanted)
    folder = home.domain_data(domain)
    if (folder / domain_file.NAME).exists():
        raise Conflict("this user has custody of this domain already", hint=f"move {folder} away first if it is damaged")
    given = passphrase("recovery passphrase: ")
    recovered = recover(place, domain, given)
    private_folder(folder)
    database = Database.from_snapshot(folder / DATABASE, recovered.copies.fetch(recovered.index))
    reached("restore.database.written")
    settings = private_folder(home.domain_config(domain))
    known = pins.load(settings / PINS_FILE, domain)
    highest = _verify(database, recovered, known)  # 3, 4
    # 5. The root goes under a provider of this home.
    provider = registry.create_root(
        provider_uri, Place(folder, domain, recovered.file.roots[0].root_id), Asked(ask=ask or (lambda: given), root=recovered.root)
    )
    reached("restore.root.created")
    if provider_uri == DEFAULT_ROOT:
        unlock.unlock(provider, ask or (lambda: given), UNLOCK_S)
    # 6. The next generation begins.
    done = _next_generation(database, recovered, provider, highest)
    reached("restore.generation.begun")
    config.save(settings, config.UserConfig(backup_place=place))
    _project(project_root, database, recovered)
    database.close()
    _domain_file(folder, recovered, provider)  # last: only now does this user have custody
    reached("restore.domain-file.written")
    return done


def _wanted(project_root: Path) -> DomainId | None:
    """Return the domain that the project in `project_root` names, if there is a project."""
    from hermetic.domain import project  # noqa: PLC0415 - parses policy, which a restore without project does not need

    return project.load(project_root).domain if (project_root / PROJECT_FILE).is_file() else None


def _verify(database: Database, recovered: Recovered, known: pins.Pins | None) -> Checkpoint:
    """Verify log and rows of the copy; return the highest checkpoint that is known from anywhere. Raises LogTampered, RowTampered."""
    with database.read(recovered.keys.row_keys()) as session:
        store = TablesStore(session.connection)
        keys = [VerifierKey.parse(text) for text in (known.log_keys if known else ())]
        report = verifying.verify(store, recovered.domain, keys=keys, rows=present_rows(session))
    newest = report.newest
    if (newest.size, newest.root) != (recovered.index.log_size, recovered.index.log_root):
        raise FormatError("the copied database and its index disagree about the log")
    if known is None or not known.checkpoint:
        return newest
    pinned = Pin.from_note(known.checkpoint, "pins").checkpoint
    later = (pinned.origin.generation, pinned.size) > (newest.origin.generation, newest.size)
    return pinned if later else newest


def _next_generation(database: Database, recovered: Recovered, provider: Provider, highest: Checkpoint) -> Restored:
    now, row_keys = wall_ms(), recovered.keys.row_keys()
    anchors = Anchors(recovered.domain, {provider.root_id: provider})
    with database.write(row_keys, step="restore.generation.committed") as plain:
        session = TrackedSession(plain)
        store = TablesStore(plain.connection)
        generation = store.generations()[-1]
        head = store.head(generation)
        if head is None:
            raise FormatError("the copied log has no checkpoint")
        restored = Checkpoint.parse(Note.parse(head.note.encode("utf-8")).text)
        signer = secret_keys.load(session, anchors, secret_keys.active(session, secret_keys.LOG_SIGNING).key_id)  # type: ignore[arg-type]
        log = Log(Origin(recovered.domain, generation + 1), signer, LogKeys(recovered.keys.log_openings))
        log.begin(store, now_ms=now, restored=(restored, highest))
        row = session.require(tables.root, provider.root_id)
        kind = provider.uri
        session.update(tables.root, provider.root_id, row["revision"], provider_uri=provider.uri, kind=kind)
        _end_what_ran(session, now)
        rows = session.states()
        log.append(store, [Entry("root.added", {"root": provider.root_id, "provider": provider.uri}, rows=rows)], now_ms=now)
        versions = len(session.find(tables.version, state="published"))
    lost = (highest.origin.generation, highest.size) > (restored.origin.generation, restored.size)
    return Restored(
        recovered.domain, generation + 1, versions, restored.size, highest.size, lost=lost, copied_ms=recovered.index.at_ms
    )


def _end_what_ran(session: TrackedSession, now_ms: int) -> None:
    """Leases and runs of the old generation are over; its drafts are left to `gc`."""
    for row in session.find(tables.lease, state="active"):
        session.update(tables.lease, row["id"], row["revision"], state="ended")
    for row in session.find(tables.run, state=RunState.RUNNING.value):
        session.update(tables.run, row["id"], row["revision"], state=RunState.ABORTED.value, ended_ms=now_ms)


def _domain_file(folder: Path, recovered: Recovered, provider: Provider) -> None:
    secret = recovered.file.open({provider.root_id: provider})
    file = DomainFile(recovered.domain, ()).with_root(secret, provider.uri, provider.root_id, {provider.root_id: provider})
    private_file.write(folder / domain_file.NAME, file.encode(), replace=False)


def _project(project_root: Path, database: Database, recovered: Recovered) -> None:
    """Write the policy in force to a project folder that has none."""
    if (project_root / PROJECT_FILE).exists():
        return
    with database.read(recovered.keys.row_keys()) as session:
        rows = session.find(tables.policy, current=1)
    files = PolicyBundle.from_bytes(rows[0]["content"]).files
    try:
        (project_root / "policies").mkdir(exist_ok=True)
        for name in sorted(files, key=lambda item: item == PROJECT_FILE):
            write_new(project_root / name, files[name])
    except OSError as error:
        raise StorageError(f"cannot write the project's files: {error.strerror}") from error
