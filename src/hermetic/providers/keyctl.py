"""Linux key retention service, by system call: keyctl(2), add_key(2), keyrings(7). No library offers it without a C extension.

Only what `kernel_keyring` needs. Errors: Unsupported when the platform or the container (seccomp) has no keys; KeyGone when a key
is missing, expired or revoked; KeyServiceUnavailable for everything else.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import sys
from functools import cache
from typing import Final

from hermetic.errors import KeyServiceUnavailable, Unsupported

THREAD_KEYRING: Final = -1
USER_KEYRING: Final = -4
POSSESSOR_AND_USER: Final = 0x3F3F0000  # KEY_POS_ALL | KEY_USR_ALL: nothing for group and others

_NUMBERS: Final = {"x86_64": (248, 250), "aarch64": (217, 219)}  # add_key, keyctl
_REVOKE, _SETPERM, _DESCRIBE, _LINK, _UNLINK, _SEARCH, _READ, _SET_TIMEOUT = 3, 5, 6, 8, 9, 10, 11, 15
_GONE: Final = {errno.ENOKEY, errno.EKEYEXPIRED, errno.EKEYREVOKED}
_MISSING: Final = {errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP}  # containers commonly answer EPERM
_TYPE: Final = b"user"


class KeyGone(KeyServiceUnavailable):
    """The kernel has no such key: never put there, expired, or revoked."""


def add(description: str, payload: bytearray, keyring: int) -> int:
    """Add or update a key of type `user`; returns its serial number."""
    data = (ctypes.c_char * len(payload)).from_buffer(payload)
    return _call(0, _TYPE, description.encode("ascii"), data, ctypes.c_size_t(len(payload)), keyring)


def search(keyring: int, description: str) -> int:
    """Return the serial number of a live key. Raises KeyGone."""
    return _keyctl(_SEARCH, keyring, _TYPE, description.encode("ascii"), 0)


def read(serial: int, limit: int) -> bytearray:
    """Return the payload; the caller wipes it. Raises KeyGone, KeyServiceUnavailable when it is over `limit` bytes."""
    buffer = bytearray(limit)
    length = _keyctl(_READ, serial, (ctypes.c_char * limit).from_buffer(buffer), ctypes.c_size_t(limit))
    if length > limit:
        buffer[:] = bytes(limit)
        raise KeyServiceUnavailable("a key in the kernel keyring is larger than expected")
    result = buffer[:length]
    buffer[:] = bytes(limit)
    return result


def members(keyring: int) -> list[int]:
    """Return the serial numbers in a keyring."""
    raw = bytes(read(keyring, 1 << 16))
    return [int.from_bytes(raw[at : at + 4], sys.byteorder, signed=True) for at in range(0, len(raw), 4)]


def description(serial: int) -> str:
    """Return what a key of type `user` is called, "" for any other type. Raises KeyGone."""
    buffer = ctypes.create_string_buffer(4096)
    _keyctl(_DESCRIBE, serial, buffer, ctypes.c_size_t(len(buffer)))
    kind, _, rest = buffer.value.decode("utf-8", "replace").partition(";")
    return rest.split(";", 3)[-1] if kind == "user" else ""


def set_timeout(serial: int, seconds: int) -> None:
    """Let the kernel drop the key after `seconds`."""
    _keyctl(_SET_TIMEOUT, serial, seconds)


def set_permissions(serial: int, mask: int) -> None:
    """Set the permission mask."""
    _keyctl(_SETPERM, serial, mask)


def link(serial: int, keyring: int) -> None:
    """Put a key into a keyring, in place of one with the same description."""
    _keyctl(_LINK, serial, keyring)


def unlink(serial: int, keyring: int) -> None:
    """Take a key out of a keyring."""
    _keyctl(_UNLINK, serial, keyring)


def revoke(serial: int) -> None:
    """Make a key unreadable at once, for everyone."""
    _keyctl(_REVOKE, serial)


def _keyctl(operation: int, *arguments: object) -> int:
    return _call(1, ctypes.c_long(operation), *arguments)


def _call(which: int, *arguments: object) -> int:
    library, numbers = _system()
    converted = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = int(library.syscall(ctypes.c_long(numbers[which]), *converted))
    if result >= 0:
        return result
    code = ctypes.get_errno()
    if code in _GONE:
        raise KeyGone("the key is not in the kernel keyring")
    if code in _MISSING:
        raise Unsupported(f"no kernel keyring here: {os.strerror(code)}", hint=_HINT)
    raise KeyServiceUnavailable(f"kernel keyring: {os.strerror(code)}")


_HINT: Final = "containers often forbid keyctl: allow it, or let the program ask for the passphrase itself"


@cache
def _system() -> tuple[ctypes.CDLL, tuple[int, int]]:
    if sys.platform != "linux" or platform.machine() not in _NUMBERS or sys.maxsize < 2**32:
        raise Unsupported("the kernel keyring needs Linux on x86_64 or aarch64", hint=_HINT)
    library = ctypes.CDLL(None, use_errno=True)
    library.syscall.restype = ctypes.c_long
    return library, _NUMBERS[platform.machine()]
