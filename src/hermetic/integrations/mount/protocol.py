"""The kernel's side of FUSE as bytes: structures and numbers of <linux/fuse.h>, protocol 7.31 (Linux 5.2) and later.

Everything is little-endian here, as on every machine this runs on. The kernel is the only one that writes to the descriptor.
"""

from __future__ import annotations

import stat
import struct
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MAJOR, MINOR = 7, 31
LARGEST = 1024 * 1024  # bytes in one read or write: what the kernel allows without changed limits
SMALLEST_BUFFER = 8192  # of a reader of the descriptor
FOR_EVER = 365 * 24 * 3600  # seconds for which the kernel may believe an answer
ROOT = 1  # node number of the mount's root
PAGE = 4096

# Operations that are served or answered on purpose.
LOOKUP, FORGET, GETATTR, SETATTR = 1, 2, 3, 4
SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK = 6, 8, 9, 10, 11, 12, 13
OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 14, 15, 16, 17, 18, 20
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, FSYNCDIR = 25, 26, 27, 28, 29, 30
CREATE, IOCTL, BATCH_FORGET = 35, 39, 42
READDIRPLUS, RENAME2 = 44, 45
UNANSWERED = frozenset({FORGET, BATCH_FORGET})

# What INIT agrees on.
ASYNC_READ, ATOMIC_TRUNCATE, BIG_WRITES = 1 << 0, 1 << 3, 1 << 5
READDIR_PLUS, PARALLEL_LOOKUPS = 1 << 13, 1 << 18
ABORT_ERROR, MAX_PAGES = 1 << 21, 1 << 22
WANTED = ASYNC_READ | ATOMIC_TRUNCATE | BIG_WRITES | PARALLEL_LOOKUPS | ABORT_ERROR | MAX_PAGES

KEEP_CACHE, CACHE_FOLDER = 1 << 1, 1 << 3  # flags of an answer to OPEN and OPENDIR
INVALIDATE_NODE = 2  # what can be told to the kernel unasked
SET_MODE, SET_SIZE, SET_MTIME, SET_MTIME_NOW = 1 << 0, 1 << 3, 1 << 5, 1 << 8

HEADER = struct.Struct("<IIQQIIIHH")  # length, operation, unique, node, user, group, process, extensions, padding
ANSWER = struct.Struct("<IiQ")  # length, error (negative) or notice, unique
INIT_IN = struct.Struct("<IIII")
INIT_OUT = struct.Struct("<IIIIHHIIHHIIH22x")
ATTRIBUTES = struct.Struct("<QQQQQQIIIIIIIIII")
ENTRY = struct.Struct("<QQQQII")  # node, generation, seconds the name holds, seconds the attributes hold, nanoseconds of both
ATTR_OUT = struct.Struct("<QII")
OPEN_IN = struct.Struct("<II")
OPEN_OUT = struct.Struct("<QIi")
READ_IN = struct.Struct("<QQI20x")  # handle, offset, size; WRITE and READDIR begin the same
WRITE_OUT = struct.Struct("<II")
RELEASE_IN = struct.Struct("<Q")
MAKE_IN = struct.Struct("<II")  # mode, mask; MKNOD and CREATE are 16 bytes long
RENAME_IN, RENAME2_IN = struct.Struct("<Q"), struct.Struct("<QII")
SETATTR_IN = struct.Struct("<IIQQQQQQIIIIIIII")
STATFS_OUT = struct.Struct("<QQQQQIIII24x")
DIRENT = struct.Struct("<QQII")
INVALIDATE_OUT = struct.Struct("<Qqq")

EMPTY: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """One question of the kernel. `body` is what follows the header; it is only good until the answer."""

    operation: int
    node: int
    process: int
    body: memoryview

    def name(self, start: int = 0) -> str:
        """Return the file name that begins at `start` of the body."""
        return self.names(start)[0]

    def names(self, start: int = 0) -> list[str]:
        """Return the file names from `start` on; bytes that are no UTF-8 come back as they were."""
        return [part.decode("utf-8", "surrogateescape") for part in bytes(self.body[start:]).split(b"\0")[:-1]]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose files they are."""

    user: int
    group: int


def attributes(node: int, mode: int, size: int, *, modified_ms: int, owner: Owner) -> bytes:
    """Return the attributes of a file or folder."""
    seconds, rest = divmod(max(0, modified_ms), 1000)
    nanoseconds = rest * 1_000_000
    links = 2 if stat.S_ISDIR(mode) else 1
    times = (seconds, seconds, seconds, nanoseconds, nanoseconds, nanoseconds)
    return ATTRIBUTES.pack(node, size, -(-size // 512), *times, mode, links, owner.user, owner.group, 0, PAGE, 0)


def entry(node: int, packed: bytes, *, valid: int = FOR_EVER) -> bytes:
    """Return the answer to a lookup: `packed` are the attributes."""
    return ENTRY.pack(node, 0, valid, valid, 0, 0) + packed


def no_entry(*, valid: int = FOR_EVER) -> bytes:
    """Return the answer that there is no such name, which the kernel may remember."""
    return ENTRY.pack(0, 0, valid, 0, 0, 0) + bytes(ATTRIBUTES.size)


def dirent(node: int, offset: int, mode: int, name: bytes) -> bytes:
    """Return one name of a listing; `offset` is where the next one is asked for."""
    return DIRENT.pack(node, offset, len(name), mode >> 12) + name + bytes(-len(name) % 8)


def answer_init(body: memoryview, *, wanted: int, largest_write: int) -> bytes | None:
    """Return the answer to INIT, None for a kernel that is older than 5.2 or of another major version."""
    major, minor, readahead, offered = INIT_IN.unpack_from(body)
    if sys.byteorder != "little" or major != MAJOR or minor < MINOR:
        return None
    pages, background = LARGEST // PAGE, 32
    return INIT_OUT.pack(
        MAJOR, MINOR, readahead, offered & wanted, background, background * 3 // 4, largest_write, 1, pages, 0, 0, 0, 0
    )


def length_of(parts: Sequence[bytes | memoryview]) -> int:
    """Return the length in bytes of an answer's parts."""
    return sum(map(len, parts))
