"""Modules: the shared libraries through which tokens are reached. They run inside this process, so they are chosen with care.

A module is loaded once a process, when it is first used. Its file, and every folder above it, must be such that nobody but root and
this user can exchange it: whoever can, runs code where the keys are.

    entered()    for the length of a block nobody finalises the module
    restart()    C_Finalize and C_Initialize: makes a module look for its tokens again; waits until nobody is inside. Another library
                 in this process that uses the same module loses its sessions by that
    guarded()    for the length of a block no other thread comes in, restarts, or is guarded

Every restart, and every fork, begins a new *generation*: session and object handles of an older one are void, and nothing may touch
them, not even to close them. PKCS#11 wants C_Initialize from a child before anything else (v3.1, section 5.4); `entered` calls it.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hermetic.errors import ConfigError, IntegrityError, KeyServiceUnavailable
from hermetic.providers.pkcs11_errors import ALREADY_INITIALIZED
from hermetic.providers.registry import load_extra

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

WAIT_S: Final = 10.0  # for operations of other threads, before a restart
_WRITABLE: Final = stat.S_IWGRP | stat.S_IWOTH


def library() -> ModuleType:
    """Return PyKCS11. Raises Unsupported with the command that installs it."""
    return load_extra("PyKCS11", "pkcs11")


class Module:
    """One loaded module. Get it with `module_at`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.generation = 0
        self._changed = threading.Condition()
        self._inside = 0
        self._lib: Any = None
        self._initialize = False

    @contextlib.contextmanager
    def entered(self) -> Iterator[Any]:
        """Yield PyKCS11's object for the module. Raises KeyServiceUnavailable, IntegrityError (its file), Unsupported (no PyKCS11)."""
        with self._changed:
            lib = self._ready()
            self._inside += 1
        changed = self._changed  # after a fork inside the block the child has another one
        try:
            yield lib
        finally:
            with changed:
                self._inside -= 1
                changed.notify_all()

    def restart(self, generation: int) -> None:
        """Make the module look for its tokens again, unless somebody did since `generation`."""
        with self._changed:
            alone = self._changed.wait_for(lambda: self._inside == 0, WAIT_S)
            if alone and self.generation == generation and self._lib is not None:
                self._lib.lib.C_Finalize()
                self.generation += 1
                self._initialize = True

    def guarded(self) -> threading.Condition:
        """Return the lock of this module; the child of a fork has one of its own."""
        return self._changed

    def forked(self) -> None:
        """Forget, in the child of a fork, what only its parent may use."""
        self._changed = threading.Condition()
        self._inside = 0
        self.generation += 1
        self._initialize = self._lib is not None

    def _ready(self) -> Any:
        pykcs11 = library()
        if self._lib is None:
            check_file(self.path)
            lib = pykcs11.PyKCS11Lib()
            try:
                lib.load(str(self.path.resolve()))
            except pykcs11.PyKCS11Error as error:
                raise KeyServiceUnavailable(
                    f"the PKCS#11 module {self.path} cannot be loaded: {error}", hint="is it a PKCS#11 module, and configured?"
                ) from None
            self._lib = lib
        elif self._initialize:
            value = self._lib.lib.C_Initialize()
            if value not in {0, ALREADY_INITIALIZED}:
                raise KeyServiceUnavailable(
                    f"the PKCS#11 module {self.path} does not start: {pykcs11.PyKCS11Error(value)}", hint="is it still configured?"
                )
        self._initialize = False
        return self._lib


def module_at(value: str, where: str) -> Module:
    """Return the module that a setting names; nothing is loaded yet. Raises ConfigError for a relative path."""
    path = Path(value)
    if not path.is_absolute():
        raise ConfigError(f"config.yaml, providers, {where}: module is an absolute path", hint="module: /usr/lib/NAME.so")
    with _lock:
        return _modules.setdefault(path, Module(path))


def check_file(path: Path) -> None:
    """Refuse a module that others could have exchanged. Raises IntegrityError, KeyServiceUnavailable (there is none)."""
    try:
        real = path.resolve(strict=True)
        infos = [(place, place.stat()) for place in dict.fromkeys([path, real, *path.parents, *real.parents])]
    except OSError as error:
        raise KeyServiceUnavailable(
            f"the PKCS#11 module {path} cannot be read: {error.strerror or error}", hint="install it, or set `module` in config.yaml"
        ) from None
    if not real.is_file():
        raise IntegrityError(f"the PKCS#11 module {path} is not a regular file")
    for place, info in infos:
        sticky = stat.S_ISDIR(info.st_mode) and info.st_mode & stat.S_ISVTX  # as /tmp: nobody renames what others own
        if info.st_uid not in {0, os.geteuid()} or (info.st_mode & _WRITABLE and not sticky):
            raise IntegrityError(
                f"the PKCS#11 module {path} can be exchanged by others: {place} is theirs to write",
                hint=f"look who could have written it, then `chmod go-w {place}`",
            )


def _forked() -> None:
    global _lock  # noqa: PLW0603 - the parent's may be held by a thread that the child does not have
    _lock = threading.Lock()
    for module in _modules.values():
        module.forked()


_lock = threading.Lock()
_modules: dict[Path, Module] = {}
os.register_at_fork(after_in_child=_forked)
