"""The temporary folder of a benchmark: its own (mode 0700), locked while it is used, removed however the benchmark ends.

Only SIGKILL and a power cut leave it behind. The kernel takes the lock from a process that is gone, so that the next benchmark in
the same place finds what was left and removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.bench.shape import MIB
from hermetic.domain.home import has_project
from hermetic.errors import NotFound, StorageError, UsageError
from hermetic.stores.base import hint_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

PREFIX = "hermetic-bench-"
LOCK = "lock"
_SPARE = 64 * MIB
_ENDING = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def temporary(parent: Path) -> Iterator[Path]:
    """Lend a new folder in `parent`, and remove it at the end. Raises NotFound, UsageError, StorageError."""
    _check(parent)
    remove_leftovers(parent)
    with _ended_by_signals():
        try:
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        except OSError as error:
            raise _failed(f"cannot make a folder in {parent}", error) from error
        lock = _locked(folder)
        try:
            yield folder
        finally:
            with _undisturbed():
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
    if folder.exists():
        raise StorageError(f"{folder} could not be removed", hint=f"it may hold plaintext of what was measured: rm -r {folder}")


def check_room(folder: Path, needed: int) -> None:
    """Refuse to begin what would not fit. Raises StorageError."""
    free = shutil.disk_usage(folder).free
    if free < needed + _SPARE:
        raise StorageError(
            f"{folder.parent} has {free // MIB} MiB free, and this takes {(needed + _SPARE) // MIB} MiB",
            hint="measure less with --size, or elsewhere with --folder",
        )


def remove_leftovers(parent: Path) -> tuple[Path, ...]:
    """Remove the folders of this user's benchmarks that were killed; return them."""
    gone = []
    for path in sorted(parent.glob(f"{PREFIX}*")):
        if _is_ours(path) and (lock := _try_lock(path)) is not None:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)
            gone.append(path)
    return tuple(gone)


def _check(parent: Path) -> None:
    if not parent.is_dir():
        raise NotFound(f"there is no folder {str(parent)!r}")
    real = parent.resolve()
    for folder in (real, *real.parents):
        if has_project(folder):
            raise UsageError(
                f"{parent} lies inside the project {folder}, whose domain has nothing to do with a benchmark",
                hint="name a folder outside every project with --folder; on the same disk, if that is what you want to know",
            )


def _is_ours(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()


def _locked(folder: Path) -> int:
    descriptor = os.open(folder / f"{LOCK}.new", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    (folder / f"{LOCK}.new").rename(folder / LOCK)  # nobody sees it unlocked
    return descriptor


def _try_lock(folder: Path) -> int | None:
    """Return the lock of a folder that nobody uses; None for one in use, or that is none of ours."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Make signals that end a process leave through `finally`, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _end) for number in _ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep a second Ctrl-C from ending the removal."""
    with contextlib.ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *_ENDING):
                stack.callback(signal.signal, number, signal.signal(number, signal.SIG_IGN))
        yield


def _failed(what: str, error: OSError) -> StorageError:
    return StorageError(f"{what}: {(error.strerror or str(error)).lower()}", hint=hint_for(error))
