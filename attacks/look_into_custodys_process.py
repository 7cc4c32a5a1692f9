"""Another user of the machine against custody kept apart: its process.

Attacker: a user of the machine, enrolled to audit and nothing more, with custody serving under another user id.
Tries:    attach to custody's process (PTRACE_ATTACH, PTRACE_SEIZE), read its memory (process_vm_readv, /proc/PID/mem, map_files),
          see its environment, maps, stack and open files, take one of its files over (pidfd_getfd).
Stops it: user ids of the system: for each of these the kernel asks whether one may ptrace the other.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from _apart import separated
from _stage import Stage, main

ATTACH, SEIZE = 16, 0x4206
PIDFD_OPEN, PIDFD_GETFD = 434, 438


class _Piece(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def attack(stage: Stage) -> None:
    with separated(stage) as apart:
        process = f"/proc/{apart.pid}"
        for name in ("mem", "environ", "maps", "smaps", "auxv", "stack", "syscall", "pagemap", "io"):
            apart.tried(f"read /proc/PID/{name}", f"open('{process}/{name}', 'rb').read(16)")
        for name in ("fd", "map_files"):
            apart.tried(f"list /proc/PID/{name}", f"os.listdir('{process}/{name}')")
        apart.tried("read through its open files", f"open('{process}/fd/4', 'rb')")
        apart.tried("which program it is", f"os.readlink('{process}/exe')")
        for what, how in (("attach to it", ATTACH), ("attach without stopping it", SEIZE)):
            apart.tried(what, f"ptrace({how}, {apart.pid})", ptrace=_ptrace)
        apart.tried("read its memory", f"readv({apart.pid})", readv=_readv)
        apart.tried("take a file of its over", f"getfd({apart.pid})", getfd=_getfd)
        with Path(process, "environ").open("rb") as file:
            stage.honest("there is an environment, which its own user reads", len(file.read(1)), 1)


def _checked(result: int) -> int:
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _ptrace(how: int, pid: int) -> None:
    _checked(ctypes.CDLL(None, use_errno=True).ptrace(how, pid, None, None))


def _readv(pid: int) -> None:
    room = ctypes.create_string_buffer(16)
    here, there = _Piece(ctypes.addressof(room), 16), _Piece(0x1000, 16)
    libc = ctypes.CDLL(None, use_errno=True)
    _checked(libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0))


def _getfd(pid: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    opened = _checked(libc.syscall(PIDFD_OPEN, pid, 0))
    _checked(libc.syscall(PIDFD_GETFD, opened, 4, 0))


if __name__ == "__main__":
    main(attack)
