"""A domain back from its backup copy, as the next generation of the log (spec/backup.md section 5, whose numbers the code repeats).

Everything is put together in a folder beside the final one, `<data>/.restoring/<domain>`, and appears at once by a rename. A restore
that was interrupted leaves nothing but that folder, which the next one removes: it never touches a custody home that is there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hermetic.audit import handover
from hermetic.audit import verify as verifying
from hermetic.audit.note import Origin, VerifierKey
from hermetic.audit.pins import Pin
from hermetic.audit.tables_store import TablesStore
from hermetic.audit.tree import leaf_hash
from hermetic.custody.logbook import present_rows
from hermetic.db import tables
from hermetic.db.engine import Database
from hermetic.db.postgres.place import PostgresPlace
from hermetic.domain import config, left_behind, pins, vouching
from hermetic.domain.create import write_new
from hermetic.domain.home import PROJECT_FILE, check_places, private_folder
from hermetic.domain.kept_root import keep_root, kept_before
from hermetic.domain.opening import DATABASE, wall_ms
from hermetic.domain.pinned import PINS_FILE
from hermetic.domain.recovering import CopyKey, Recovered, find_domain, recover
from hermetic.domain.succession import Known, begin_generation, later, root_goes_on
from hermetic.domain.vouching import Vouching
from hermetic.errors import Conflict, FormatError, LogTampered, NotFound, StorageError, UsageError
from hermetic.formats.binary_text import to_base64url
from hermetic.keys import domain_file, secret_keys
from hermetic.keys.domain_file import DomainFile
from hermetic.policy.bundle import PolicyBundle
from hermetic.providers import private_file
from hermetic.steps import reached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hermetic.audit.note import Checkpoint
    from hermetic.crypto.secret import Secret
    from hermetic.domain.home import Home
    from hermetic.formats.findings import Finding
    from hermetic.ids import DomainId
    from hermetic.keys.provider import Provider

__all__ = ["Recovered", "Restored", "find_domain", "recover", "restore_domain"]

WORKSHOP = ".restoring"
LOST_PIN = "pin-in-lost-entries"


@dataclass(frozen=True, slots=True)
class Restored:
    """What came back, `how` the copy was opened (passphrase, shares, escrow) and who `vouched` for it.

    `lost` says that something was known of the log that the copy does not hold, up to the highest generation and size; `seen` whether
    anything was known here but the copy. `root` is where the root is kept from now on. `digest` is that of the entry that says what
    was restored, for those who saw more (`restored`). Findings are of its log, and where nothing vouched.
    """

    domain_id: DomainId
    generation: int
    versions: int
    restored_generation: int
    restored_size: int
    highest_generation: int
    highest_size: int
    lost: bool
    copied_ms: int
    how: str
    vouched: str
    root: str
    seen: bool
    digest: str
    findings: tuple[Finding, ...] = ()


def restore_domain(  # noqa: PLR0913 - what a restore can be told, all by keyword
    place: Path,
    home: Home,
    project_root: Path,
    key: Callable[..., CopyKey],
    *,
    provider_uri: str | None = None,
    ask: Callable[..., Secret] | None = None,
    reason: str | None = None,
    known: Vouching | None = None,
    server: str | None = None,
) -> Restored:
    """Bring a domain back under `home`. `key` gives what opens the copy: a recovery passphrase, or a recovery root's private key.

    With the passphrase comes the root itself, to be kept by `provider_uri`, or as it was kept before; with a private key a new root is
    made there, and recovery roots stay. `ask` gives the passphrase of a root that has one; that of the recovery wrap is never taken
    for it: it is written down elsewhere, and for another purpose.
    A copy that is older than what this user has seen, or whose newest index is damaged, is taken only with a `reason`, on record.
    `known` is what is known of the domain besides this user's pins; `server` the URL of an empty database that custody is to stand in.
    Raises Conflict when this user has custody of the domain, NotFound, WrongKey, IntegrityError, LogTampered, ConfigError, UsageError
    (the root needs a passphrase and nobody can be asked), and StorageError.
    """
    if reason is not None and not reason.strip():
        raise UsageError("a reason is a sentence, for those who ask later")
    stands = None if server is None else PostgresPlace.parse(server)
    project_root = _project_of(project_root)
    domain = find_domain(place, _wanted(project_root))
    check_places(project_root, home, place)
    final = home.domain_data(domain)
    _must_be_free(final)
    given = key("recovery passphrase: ")
    seen = pins.load(home.domain_config(domain) / PINS_FILE, domain)
    vouchers = (known or Vouching()).with_pins(seen)
    with _workshop(home, domain) as folder:
        recovered = recover(place, domain, given, older=reason is not None, known=vouchers)  # 1, 2, 3
        database = Database.from_snapshot(folder / DATABASE, recovered.copies.fetch(recovered.index))
        try:
            reached("restore.database.written")
            settings = private_folder(home.domain_config(domain))
            heads, findings = _verify(database, recovered, (seen, reason))  # 3, 4
            uri = provider_uri or kept_before(database, recovered)
            kept = keep_root(recovered, folder, uri, ask, goes_on=root_goes_on(database, recovered))  # 5
            versions = begin_generation(database, recovered, kept, heads, now_ms=wall_ms(), place=place)  # 6
            moved, digest = _moved(database, recovered, (seen, heads)), _digest(database, recovered, heads.generation)
            _project(project_root, database, recovered)
            if stands is not None:
                Database.from_snapshot(stands, database.snapshot_bytes()).close()
        finally:
            database.close()
        if stands is not None:
            _remove_files(folder)
        config.save(settings, replace(config.load(settings), backup_place=place, database=stands))
        _domain_file(folder, recovered, kept)  # last: only now could this folder be used
        reached("restore.domain-file.written")
        _appear(folder, final)
    reached("restore.home.renamed")
    if moved is not None:
        pins.save(settings / PINS_FILE, moved)
    return _told(recovered, heads, versions=versions, root=kept.uri, digest=digest, seen=seen, findings=findings)


def _told(
    recovered: Recovered, heads: Known, *, versions: int, root: str, digest: str, seen: pins.Pins | None, findings: tuple[Finding, ...]
) -> Restored:
    return Restored(
        domain_id=recovered.domain,
        generation=heads.generation,
        versions=versions,
        restored_generation=heads.restored.origin.generation,
        restored_size=heads.restored.size,
        highest_generation=heads.seen.origin.generation,
        highest_size=heads.seen.size,
        lost=heads.lost,
        copied_ms=recovered.index.at_ms,
        how=recovered.how,
        vouched=recovered.vouched,
        root=root,
        seen=seen is not None and bool(seen.checkpoint),
        digest=digest,
        findings=(*vouching.finding(recovered.vouched, recovered.domain), *findings),
    )


def _remove_files(folder: Path) -> None:
    """Remove the file that the restore was made in: the database is on a server now."""
    for path in folder.glob(f"{DATABASE}*"):
        path.unlink()


def _project_of(start: Path) -> Path:
    """Return the root of the project around `start`; a folder outside any project is where its files will be written."""
    from hermetic.domain import project  # noqa: PLC0415 - parses policy, which a restore without project does not need

    try:
        return project.find_root(start)
    except NotFound:
        return start.resolve()


def _wanted(project_root: Path) -> DomainId | None:
    """Return the domain that the project in `project_root` names, if there is a project."""
    from hermetic.domain import project  # noqa: PLC0415 - as above

    return project.load(project_root).domain if (project_root / PROJECT_FILE).is_file() else None


def _must_be_free(final: Path) -> None:
    if (final / domain_file.NAME).exists():
        raise Conflict("this user has custody of this domain already", hint=f"move {final} away first if it is damaged")
    if final.is_dir() and any(final.iterdir()):
        raise Conflict(
            f"{final} holds files of a custody home without its domain.json",
            hint="if the database in it is whole, put domain.json back from the backup place; else move the folder away",
        )


@contextlib.contextmanager
def _workshop(home: Home, domain: DomainId) -> Iterator[Path]:
    """Lend an empty private folder on the file system of the custody home, to one restore of a domain at a time."""
    base = private_folder(private_folder(home.data) / WORKSHOP)
    descriptor = os.open(base / f"{domain}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = base / domain
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
        yield private_folder(folder)
    except BlockingIOError:
        raise Conflict("another restore of this domain is at work", hint="wait for it to end") from None
    finally:
        os.close(descriptor)


def _verify(database: Database, recovered: Recovered, given: tuple[pins.Pins | None, str | None]) -> tuple[Known, tuple[Finding, ...]]:
    """Verify log and rows of the copy, and compare it with what this user has seen. Raises LogTampered, RowTampered, FormatError."""
    seen, reason = given
    pinned = Pin.from_note(seen.checkpoint, "this user's pins") if seen is not None and seen.checkpoint else None
    with database.read(recovered.keys.row_keys()) as session:
        store = TablesStore(session.connection)
        newest = _newest(store, recovered)
        beyond = pinned is not None and later(pinned.checkpoint, newest)
        keys = [VerifierKey.parse(text) for text in (seen.log_keys if seen else ())]
        compared = [pinned] if pinned is not None and not beyond else []
        report = verifying.verify(store, recovered.domain, keys=keys, pins=compared, rows=present_rows(session))
        behind = tuple(left_behind.find(session))
    if report.newest != newest:
        raise FormatError("the copied database and its index disagree about the log")
    unadmitted = any(item.code == LOST_PIN and item.severity == "high" for item in report.findings)
    given_up = pinned.checkpoint if pinned is not None and unadmitted else None
    known = Known(newest, pinned.checkpoint if pinned is not None and beyond else newest, reason, given_up)
    if known.lost and reason is None:
        raise LogTampered(
            f"the copy ends at log entry {newest.size} of generation {newest.origin.generation}, and this user has seen more",
            hint="somebody may have put an older copy back; --reason TEXT takes it all the same, on record",
        )
    ours = (item for item in report.findings if item.code not in {"log-never-anchored", "log-key-first-use"})
    return known, (*ours, *behind)


def _moved(database: Database, recovered: Recovered, given: tuple[pins.Pins | None, Known]) -> pins.Pins | None:
    """Return this user's pins as they go over to the new generation, where something they saw is lost: who restores vouches for that.

    None where there is nothing to vouch for: then the next connection compares as ever. Raises SignatureError.
    """
    seen, known = given
    if seen is None or not known.lost:
        return None
    with database.read(recovered.keys.row_keys()) as session:
        head = TablesStore(session.connection).head(known.generation)
        if head is None:
            raise FormatError("the restored log has not begun")
        key = VerifierKey(str(Origin(recovered.domain, known.generation)), secret_keys.active(session, secret_keys.LOG_SIGNING).public)
        manifests = {str(item.key_id): to_base64url(item.public) for item in secret_keys.ls(session, secret_keys.MANIFEST_SIGNING)}
    return seen.restored(known.generation, head.size, head.note, (str(key), manifests))


def _digest(database: Database, recovered: Recovered, generation: int) -> str:
    """Return the digest of the entry that a generation begins with, as `log restored` shows it."""
    with database.read(recovered.keys.row_keys()) as session:
        return leaf_hash(handover.first(TablesStore(session.connection), generation)).hex()


def _newest(store: TablesStore, recovered: Recovered) -> Checkpoint:
    generation = store.generations()[-1] if store.generations() else 0
    head = store.head(generation) if generation else None
    if head is None or (generation, head.size, head.root) != (
        recovered.index.generation,
        recovered.index.log_size,
        recovered.index.log_root,
    ):
        raise FormatError("the copied database and its index disagree about the log")
    return Pin.from_note(head.note, "the copy").checkpoint


def _domain_file(folder: Path, recovered: Recovered, kept: Provider) -> None:
    """Write domain.json: the root that is kept, and recovery roots as they were."""
    secret = recovered.file.open({recovered.root.root_id: recovered.root})
    file = DomainFile(recovered.domain, tuple(recovered.public)).with_root(secret, kept.uri, kept.root_id, {kept.root_id: kept})
    private_file.write(folder / domain_file.NAME, file.encode(), replace=False)


def _appear(folder: Path, final: Path) -> None:
    """Give the finished folder its name; an empty one may be there. Raises Conflict, StorageError."""
    try:
        folder.rename(final)
        for parent in {final.parent, folder.parent}:
            descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise StorageError(f"cannot put the custody home at {final}: {error.strerror}") from error


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
