"""File systems on which SQLite must not lie: locks or shared memory that other machines do not see, or syncs that may not hold.

Magic numbers are `f_type` of statfs(2), from linux/magic.h and the sources of the drivers (statfs(2), coreutils stat.c).
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TYPE_CHECKING

from hermetic.errors import StorageError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

UNSAFE: Mapping[int, str] = {
    0x00006969: "NFS",
    0x0000517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x01021997: "9p",
    0x65735546: "FUSE",
    0x5346414F: "AFS",
    0x6B414653: "AFS (kafs)",
    0x73757245: "Coda",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x47504653: "GPFS",
    0x19830326: "BeeGFS",
    0x20030528: "OrangeFS",
    0xAAD7AAEA: "Panasas",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
    0x61636673: "ACFS",
    0xBEEFDEAD: "StorNext",
    0x0000564C: "NCP",
    0x786F4256: "VirtualBox shared folder",
    0xBACBACBC: "VMware shared folder",
    0x7C7C6673: "Parallels shared folder",
    0x53464846: "WSL",
}

_WORD = ctypes.sizeof(ctypes.c_long)  # f_type is the first member and a long (an unsigned int on s390x)


def kind(path: Path) -> int:
    """Return `f_type` of the file system that holds `path`. Raises StorageError; Unsupported where there is no statfs."""
    if not sys.platform.startswith("linux"):
        raise Unsupported("an embedded database needs Linux: elsewhere Hermetic cannot tell local disks from network ones")
    buffer = ctypes.create_string_buffer(512)  # struct statfs has 120 bytes on 64-bit Linux
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(os.fsencode(path), buffer) != 0:
        raise StorageError(f"statfs failed: {os.strerror(ctypes.get_errno())}", hint="check the folder of the database")
    width = 4 if os.uname().machine == "s390x" else _WORD
    return int.from_bytes(buffer.raw[:width], sys.byteorder) & 0xFFFFFFFF


def check(path: Path, unsafe: Mapping[int, str]) -> None:
    """Refuse a folder on one of the `unsafe` file systems. Raises StorageError."""
    name = unsafe.get(kind(path))
    if name is not None:
        raise StorageError(
            f"the database would lie on {name}, where locks and syncs do not hold",
            hint="put it on a local disk (XDG_DATA_HOME or HERMETIC_HOME), or use a service",
        )
