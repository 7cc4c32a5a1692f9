"""Try a backup copy: restore it into a home in memory, open an asset from it, put on record that this worked.

1. The copy must not be older than the one that custody made last, or came from: an older one that was put
   back would pass every other check.
2. The home is a private folder on a tmpfs: the root that comes back never reaches a disk.
3. The restore is the real one (`domain.restore`): root, domain secret, database, log and rows are verified on the way. That the copy
   is of this domain, custody knows itself.
4. The restored home gets no backup place and no anchor: the trial's generation of the log must reach neither.
5. The smallest asset that may be opened for `recover` is decrypted to its end, from the project's stores or from the objects in the
   backup place.
6. The living domain records the trial. The folder is removed whatever happens.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.assets.session import Session
from hermetic.assets.workspace import Workspace
from hermetic.domain import config
from hermetic.domain.connect import connect
from hermetic.domain.home import Home
from hermetic.domain.recovering import recover
from hermetic.domain.restore import restore_domain
from hermetic.domain.vouching import Vouching
from hermetic.errors import Conflict, LogTampered, Unsupported, UsageError
from hermetic.formats.fields import whole_number
from hermetic.formats.messages.domain import GatherFacts, RecordRestoreCheck
from hermetic.ids import Environment, Purpose
from hermetic.recovery.objects import objects_store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from hermetic.domain.backup import Index
    from hermetic.domain.connect import Connection
    from hermetic.domain.recovering import CopyKey
    from hermetic.stores.base import Store

MEMORY = Path("/dev/shm")  # noqa: S108 - only used when it is a tmpfs, through mkdtemp
MOUNTS = Path("/proc/mounts")
TRIAL_ROOT = "local:insecure-file"  # in memory, for the length of the trial
NOTHING = "nothing"  # what stands for a reference when there is no asset yet


@dataclass(frozen=True, slots=True)
class Tried:
    """What the copy was good for. `ref` is what was opened ("nothing" without assets), `length` its plaintext in bytes.

    `took_ms` is how long it took from the passphrase to the last byte: the time to recover, as far as Hermetic is concerned.
    """

    place: str
    ref: str
    length: int
    versions: int
    log_size: int
    log_root: bytes
    copied_ms: int
    behind: int
    objects: str
    took_ms: int


def try_copy(connection: Connection, place: Path, key: CopyKey, *, objects: bool = False) -> Tried:
    """Open something from the copy in `place` with a recovery passphrase or a recovery root's private key, and put it on record.

    With `objects` it comes from the objects there, not from the stores.

    Raises NotFound (no copy, no recovery wrap, objects missing), WrongKey, IntegrityError, LogTampered, StorageError, Unsupported
    where there is no tmpfs.
    """
    started = time.monotonic_ns()
    domain, root = connection.project.domain, connection.project.root
    known = Vouching(check=bytes.fromhex(connection.pins.pins.domain_check))
    index = recover(place, domain, key, known=known).index
    _must_be_the_last(connection, place, index)
    with _home_in_memory() as home:
        restored = restore_domain(place, home, root, lambda *_: key, provider_uri=TRIAL_ROOT, known=known)
        mine = connection.config
        settings = config.UserConfig(store_folders=mine.store_folders, buckets=mine.buckets, locations=mine.locations)
        config.save(home.domain_config(domain), settings)
        there = objects_store(place, domain) if objects else None
        ref, length = _open_something(connection, home, there)
    took_ms = (time.monotonic_ns() - started) // 1_000_000
    _put_on_record(connection, place, RecordRestoreCheck(ref, index.log_size, index.log_root))
    pins = connection.pins.pins
    return Tried(
        place=str(place),
        ref=ref,
        length=length,
        versions=restored.versions,
        log_size=index.log_size,
        log_root=index.log_root,
        copied_ms=index.at_ms,
        behind=max(0, pins.size - (index.log_size if index.generation == pins.generation else 0)),
        objects="backup place" if objects else "stores",
        took_ms=took_ms,
    )


def _put_on_record(connection: Connection, place: Path, tried: RecordRestoreCheck) -> None:
    """Have custody record the trial. Raises LogTampered where it knows no such log: the copy was just verified to be the domain's."""
    try:
        connection.ask(tried)
    except UsageError as error:
        raise LogTampered(
            f"the copy in {place}, which is authentic, is of another log than custody's",
            hint="one of the two was cut or forked: run `hermetic log verify`, and look where else this domain was restored",
        ) from error


def _must_be_the_last(connection: Connection, place: Path, index: Index) -> None:
    """Compare the copy with what custody remembers of the last one it made there. Raises LogTampered."""
    facts = connection.ask(GatherFacts())
    said = {pair.name: pair.value for pair in facts.backup}
    here = bool(said.get("place")) and Path(said["place"]).resolve() == place.resolve()
    last = whole_number(said.get("log_generation")) or facts.generation
    known = (last, (whole_number(said.get("log_size")) or 0) if here else 0)
    if (index.generation, index.log_size) >= known:
        return
    if not here:  # custody does not know how new a copy there can be
        raise Conflict(
            f"the copy in {place} is of generation {index.generation} of the log, and custody is copied in generation {last}",
            hint="it is from before a restore; without --from the copy is tried that custody keeps up to date",
        )
    raise LogTampered(
        f"the copy in {place} ends at log entry {index.log_size} of generation {index.generation}, and the last one made there at "
        f"{known[1]} of generation {last}",
        hint="somebody put an older copy back: run `hermetic backup now`, and look who can write there",
    )


def _open_something(living: Connection, home: Home, objects: Store | None) -> tuple[str, int]:
    """Decrypt the smallest asset that holds anything to its end; return its reference and plaintext bytes.

    Raises NotFound where this user does not know its store, naming their own settings: those of the trial are gone in a moment.
    """
    with Workspace(connect(living.project.root, home=home)) as work:
        if objects is not None:
            everywhere: Mapping[str, Store] = dict.fromkeys(work.connection.stores, objects)
            work.connection.stores = everywhere
        published = [row for row in work.list() if row.latest]
        if not published:
            return NOTHING, 0
        # what production holds is not opened in one's own process; an empty one would prove little
        smallest = min(published, key=lambda row: (row.environment is Environment.PRODUCTION, row.length == 0, row.length))
        work.connection.environment = smallest.environment
        ref = f"{smallest.name}@{smallest.latest}"
        details = work.show(ref)
        if objects is None and details.place is None:
            Session(living).store(details.store)
        done = work.check(ref, purpose=Purpose.RECOVER)
        return done.ref, done.bytes


@contextmanager
def _home_in_memory() -> Iterator[Home]:
    if not _is_tmpfs(MEMORY):
        raise Unsupported(f"{MEMORY} is not a tmpfs, and a trial keeps the root in memory", hint="try the copy on another machine")
    base = Path(tempfile.mkdtemp(prefix="hermetic-trial-", dir=MEMORY))
    try:
        yield Home(base / "data", base / "config")
    finally:
        shutil.rmtree(base)


def _is_tmpfs(folder: Path) -> bool:
    try:
        lines = MOUNTS.read_text("utf-8", "replace").splitlines()
    except OSError:
        return False
    return any(fields[1] == str(folder) and fields[2] == "tmpfs" for line in lines if len(fields := line.split()) > 2)
