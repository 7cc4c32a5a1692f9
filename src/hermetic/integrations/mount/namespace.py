"""A mount namespace that only the command and what it starts see: what the child does between fork and exec.

The child takes a mount namespace of its own, as root directly, else inside a user namespace in which it is still itself and has no
rights once it has become the command. It opens /dev/fuse, mounts, and sends the descriptors to the process that holds the keys. So a
mount has no name anywhere else, and ends with the last process in the namespace.

A user namespace has a user keyring of its own: the command does not find a root there that `hermetic unlock` has opened. What it
reads through the mount needs none.
"""

from __future__ import annotations

import array
import ctypes
import errno
import os
import socket
import struct
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hermetic.errors import Unsupported
from hermetic.integrations.mount import protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

DEVICE = "/dev/fuse"
_NEW_MOUNTS, _NEW_USER = 0x00020000, 0x10000000
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _RECURSIVE, _PRIVATE = 1, 2, 4, 0x4000, 1 << 18
_NAMESPACE = struct.Struct("<qQ")  # process, number of the mount namespace
_HINT = "use hermetic:// URLs, or put a file on disk on record: hermetic expose"


@dataclass(frozen=True, slots=True)
class Point:
    """Where something is mounted: `path` exists, without links."""

    path: Path
    is_file: bool
    read_only: bool


class Namespace:
    """What the child has to do, and what the parent gets of it."""

    def __init__(self, points: Sequence[Point]) -> None:
        self._points = tuple(points)
        self._library = ctypes.CDLL(None, use_errno=True)
        self._library.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
        self._mine, self._childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._as_root = os.geteuid() == 0
        self.failure: str | None = None
        self.process, self.number = 0, 0

    def enter(self) -> None:
        """Called in the child. Raises OSError after telling the parent which step failed."""
        step = "take a mount namespace of its own"
        try:
            self._unshare()
            self._check(self._library.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None))
            step = f"open {DEVICE}"
            devices = [os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK) for _ in self._points]
            for point, device in zip(self._points, devices, strict=True):
                step = f"mount on {str(point.path)!r}"
                self._mount(point, device)
            step = "hand the mount over"
            namespace = os.stat("/proc/self/ns/mnt").st_ino  # noqa: PTH116 - between fork and exec as little as possible
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", devices))
            self._childs.sendmsg([_NAMESPACE.pack(os.getpid(), namespace)], [rights] if devices else [])
        except OSError as error:
            with suppress(OSError):
                self._childs.send(f"cannot {step}: {(error.strerror or str(error)).lower()}".encode())
            raise

    def receive(self) -> list[int]:
        """Wait for the child and return the descriptors of its mounts, none if it failed or was never started."""
        message, fds, _, _ = socket.recv_fds(self._mine, 4096, len(self._points))
        if len(fds) == len(self._points) and len(message) == _NAMESPACE.size:
            self.process, self.number = _NAMESPACE.unpack(message)
            return list(fds)
        for fd in fds:
            os.close(fd)
        self.failure = message.decode("utf-8", "replace") or None
        return []

    def give_up(self) -> None:
        """Let `receive` return: no child will come any more."""
        with suppress(OSError):
            self._childs.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close both ends."""
        self._mine.close()
        self._childs.close()

    def admits(self, process: int) -> bool:
        """Tell whether a process is in this namespace, or was started by the command and took another of its own."""
        if process <= 0:
            return False
        try:
            if os.stat(f"/proc/{process}/ns/mnt").st_ino == self.number:  # noqa: PTH116 - a few microseconds at every opening
                return True
            while process > 1 and process != self.process:
                process = _parent(process)
        except (OSError, ValueError):  # gone, or not to be looked at
            return False
        return process == self.process

    def _unshare(self) -> None:
        if self._as_root:
            self._check(self._library.unshare(_NEW_MOUNTS))
            return
        user, group = os.geteuid(), os.getegid()
        self._check(self._library.unshare(_NEW_USER | _NEW_MOUNTS))
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            fd = os.open(f"/proc/self/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, text.encode())
            finally:
                os.close(fd)

    def _mount(self, point: Point, device: int) -> None:
        kind = 0o100000 if point.is_file else 0o40000
        options = f"fd={device},rootmode={kind:o},user_id={os.geteuid()},group_id={os.getegid()}"
        options += f",default_permissions,max_read={protocol.LARGEST}"
        flags = _NO_SETUID | _NO_DEVICES | (_READ_ONLY if point.read_only else 0)
        self._check(self._library.mount(b"hermetic", os.fsencode(point.path), b"fuse.hermetic", flags, options.encode()))

    @staticmethod
    def _check(result: int) -> None:
        if result:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


def _parent(process: int) -> int:
    stat = Path(f"/proc/{process}/stat").read_bytes()
    return int(stat[stat.rindex(b")") + 2 :].split()[1])


def require() -> None:
    """Raise Unsupported, with what to do, unless this process can mount for its children."""
    if not Path(DEVICE).exists():
        raise Unsupported(
            f"mounts need FUSE, and there is no {DEVICE}",
            hint=f"as root: modprobe fuse; in a container: --device {DEVICE}. Or {_HINT}",
        )
    try:
        os.close(os.open(DEVICE, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Unsupported(
            f"mounts need FUSE, and {DEVICE} cannot be opened: {reason}",
            hint=f"as root: chmod 0666 {DEVICE}; in a container: --device {DEVICE}. Or {_HINT}",
        ) from None
    probe = Namespace(())
    try:
        subprocess.run(["true"], preexec_fn=probe.enter, check=False)  # noqa: S607 - nothing but `enter` matters here
    except subprocess.SubprocessError:
        probe.give_up()
        probe.receive()
        raise refused(probe.failure) from None
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
    finally:
        probe.close()


def refused(reason: str | None) -> Unsupported:
    """Return what to raise when the child could not mount."""
    advice = (
        "a container needs --cap-add SYS_ADMIN for mounts"
        if os.geteuid() == 0
        else "user namespaces are switched off here: as root, sysctl user.max_user_namespaces=10000, on Debian "
        "kernel.unprivileged_userns_clone=1, on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0"
    )
    return Unsupported(f"this process {reason or 'cannot take a mount namespace of its own'}", hint=f"{advice}. Or {_HINT}")
