"""Try a backup copy: restore it into a home in memory, open an asset from it, put on record that this worked.

1. The home is a private folder on a tmpfs: the root that the recovery passphrase gives back never reaches a disk.
2. The restore is the real one (`domain.restore`): root, domain secret, database, log and rows are verified on the way.
3. The restored home gets no backup place and no anchor: the trial's generation of the log must reach neither.
4. The smallest asset that may be opened for `recover` is decrypted to its end from the project's stores.
5. The living domain records the trial. The folder is removed whatever happens.
"""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.assets.workspace import Workspace
from hermetic.domain import config
from hermetic.domain.connect import connect
from hermetic.domain.home import Home
from hermetic.domain.restore import recover, restore_domain
from hermetic.errors import Unsupported
from hermetic.formats.messages.domain import RecordRestoreCheck
from hermetic.ids import Purpose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.crypto.secret import Secret
    from hermetic.domain.connect import Connection

MEMORY = Path("/dev/shm")  # noqa: S108 - only used when it is a tmpfs, through mkdtemp
MOUNTS = Path("/proc/mounts")
TRIAL_ROOT = "local:insecure-file"  # in memory, for the length of the trial
NOTHING = "nothing"  # what stands for a reference when there is no asset yet


@dataclass(frozen=True, slots=True)
class Tried:
    """What the copy was good for. `ref` is what was opened ("nothing" without assets), `length` its plaintext in bytes."""

    place: str
    ref: str
    length: int
    versions: int
    log_size: int
    log_root: bytes
    copied_ms: int
    behind: int


def try_copy(connection: Connection, place: Path, passphrase: Secret) -> Tried:
    """Open something from the copy in `place` and put it on record.

    Raises NotFound (no copy, no recovery wrap, objects missing from the stores), WrongKey, IntegrityError, LogTampered, StorageError,
    Unsupported where there is no tmpfs.
    """
    domain, root = connection.project.domain, connection.project.root
    index = recover(place, domain, passphrase).index
    with _home_in_memory() as home:
        restored = restore_domain(place, home, root, lambda *_: passphrase, provider_uri=TRIAL_ROOT)
        config.save(home.domain_config(domain), config.UserConfig(store_folders=connection.config.store_folders))
        ref, length = _open_something(root, home)
    connection.ask(RecordRestoreCheck(ref, index.log_size, index.log_root))
    behind = max(0, connection.pins.size - index.log_size)
    return Tried(str(place), ref, length, restored.versions, index.log_size, index.log_root, index.at_ms, behind)


def _open_something(root: Path, home: Home) -> tuple[str, int]:
    """Decrypt the smallest asset that holds anything to its end; return its reference and plaintext bytes."""
    with Workspace(connect(root, home=home)) as work:
        published = [row for row in work.list() if row.latest]
        if not published:
            return NOTHING, 0
        smallest = min(published, key=lambda row: (row.length == 0, row.length))  # an empty one would prove little
        done = work.check(f"{smallest.name}@{smallest.latest}", purpose=Purpose.RECOVER)
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
