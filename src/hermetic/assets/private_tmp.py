"""A folder for temporary files that never reaches a disk, for the program that `hermetic run` starts.

    mount    as root: a tmpfs in a mount namespace of its own, which vanishes with the last process in it
    memory   otherwise: a 0700 folder in /dev/shm, removed at the end, or by the next run when this one was killed
    disk     where there is no tmpfs at all: a 0700 folder, and a finding

User namespaces would give everyone the first way, but the kernel keeps one user keyring for each user namespace: a root that
`hermetic unlock` put there could not be found by the program any more.

Programs that write elsewhere (caches in the home folder) are not caught here. Memory itself may be swapped out: `swap_findings`
names every swap area that is neither compressed memory (zram) nor encrypted by dm-crypt.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.assets import mount_points
from hermetic.errors import HermeticError, StorageError, Unsupported
from hermetic.formats.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREFIX = "hermetic-run-"
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - memory, in a folder of our own there, mode 0700
SWAPS = Path("/proc/swaps")
_TRIES = 100

_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 2, 4, 0x4000, 1 << 18
_TMPFS_MAGIC = 0x01021994


@dataclass(frozen=True, slots=True)
class PrivateFolder:
    """Where a program's temporary files go; `enter` is to be called in the child between fork and exec."""

    path: Path
    kind: str  # mount, memory or disk
    enter: Callable[[], None]
    findings: tuple[Finding, ...]


@contextmanager
def private_folder() -> Iterator[PrivateFolder]:
    """Make the best private folder that this process may make, and remove it at the end."""
    base = SHARED_MEMORY if _is_tmpfs(SHARED_MEMORY) else Path(tempfile.gettempdir())
    with _locked_folder(base) as folder:
        yield _describe(folder, base)


@contextmanager
def memory_folder() -> Iterator[Path]:
    """Make a private folder in memory that this process itself uses, and remove it at the end. Raises Unsupported without a tmpfs."""
    if not _is_tmpfs(SHARED_MEMORY):
        raise Unsupported(f"{SHARED_MEMORY} is no tmpfs, so files cannot be kept in memory", hint="mount a tmpfs there")
    with _locked_folder(SHARED_MEMORY) as folder:
        yield folder


@contextmanager
def _locked_folder(base: Path) -> Iterator[Path]:
    _sweep()
    folder, lock = _made_and_locked(base)
    owner = os.getpid()
    try:
        yield folder
    finally:
        if os.getpid() == owner:  # a forked child that ends has this block too, and the folder is not its own
            shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _made_and_locked(base: Path) -> tuple[Path, int]:
    """Make a folder and lock it; if another start has swept it away in between, make another one. Raises StorageError."""
    for _ in range(_TRIES):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        fcntl.flock(lock, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), folder.lstat()):
                return folder, lock
        os.close(lock)
    raise StorageError(f"no private folder could be kept in {base}", hint="something removes folders there as soon as they are made")


def _describe(folder: Path, base: Path) -> PrivateFolder:
    mount = _mounter(folder)
    findings = swap_findings()
    if _works(mount):
        return PrivateFolder(folder, "mount", mount, findings)
    if base == SHARED_MEMORY:
        return PrivateFolder(folder, "memory", lambda: None, findings)
    problem = Finding(
        code="run.tmp-on-disk",
        severity="high",
        subject=str(folder),
        message="temporary files of this run may reach a disk",
        remedy="run where /dev/shm is a tmpfs, or as root so that a private tmpfs can be mounted",
    )
    return PrivateFolder(folder, "disk", lambda: None, (problem, *findings))


def swap_findings(swaps: Path = SWAPS, blocks: Path = Path("/sys/class/block")) -> tuple[Finding, ...]:
    """Return one finding for every swap area that could keep plaintext readable on a disk."""
    try:
        areas = [line.split()[0] for line in swaps.read_text(encoding="utf-8").splitlines()[1:] if line.strip()]
    except OSError:
        return ()
    return tuple(
        Finding(
            code="run.plain-swap",
            severity="medium",
            subject=area,
            message=f"memory of this run may be swapped out to {area}, which is not encrypted",
            remedy="encrypt swap (dm-crypt with a random key), use zram, or `swapoff`",
        )
        for area in areas
        if not _is_safe_swap(area, blocks)
    )


def _is_safe_swap(area: str, blocks: Path) -> bool:
    name = Path(os.path.realpath(area)).name
    if name.startswith("zram"):
        return not _has_backing_disk(blocks / name / "backing_dev")
    try:
        return (blocks / name / "dm" / "uuid").read_text(encoding="utf-8").startswith("CRYPT-")
    except OSError:
        return False


def _has_backing_disk(path: Path) -> bool:
    try:
        return path.read_text(encoding="utf-8").strip() not in {"", "none"}
    except OSError:
        return False


def _mounter(folder: Path) -> Callable[[], None]:
    """Return a function that gives the calling process a mount namespace with a tmpfs on `folder`. It raises OSError."""
    library = ctypes.CDLL(None, use_errno=True)
    unshare, mount = library.unshare, library.mount
    mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
    target = os.fsencode(folder)

    def check(result: int) -> None:
        if result:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))

    def enter() -> None:
        check(unshare(_CLONE_NEWNS))
        check(mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None))
        flags = _MS_NOSUID | _MS_NODEV
        if mount(b"hermetic", target, b"tmpfs", flags, b"mode=0700,noswap"):  # noswap: Linux 6.4 and later
            check(mount(b"hermetic", target, b"tmpfs", flags, b"mode=0700"))

    return enter


def _works(enter: Callable[[], None]) -> bool:
    """Try `enter` in a child that does nothing else."""
    try:
        subprocess.run(["true"], preexec_fn=enter, check=False)  # noqa: S607 - nothing but `enter` matters here
    except subprocess.SubprocessError:  # `enter` raised
        return False
    except OSError:  # it went well, but there is no such program
        return True
    return True


def is_in_memory(path: Path) -> bool:
    """Tell whether an existing file or folder lies on a tmpfs."""
    return _is_tmpfs(path)


def _is_tmpfs(path: Path) -> bool:
    class Facts(ctypes.Structure):
        _fields_ = (("type", ctypes.c_long), ("rest", ctypes.c_byte * 248))

    facts = Facts()
    library = ctypes.CDLL(None, use_errno=True)
    return bool(library.statfs(os.fsencode(path), ctypes.byref(facts)) == 0 and facts.type == _TMPFS_MAGIC)


def _sweep() -> None:
    """Remove folders of ours whose run was killed; one in use is locked."""
    with suppress(OSError):
        for folder in SHARED_MEMORY.glob(f"{PREFIX}*"):
            if not folder.is_symlink() and folder.lstat().st_uid == os.geteuid():
                _remove_unlocked(folder)


def _remove_unlocked(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with suppress(HermeticError):
            mount_points.remove(folder)
        shutil.rmtree(folder, ignore_errors=True)
    except BlockingIOError:
        return
    finally:
        os.close(fd)
