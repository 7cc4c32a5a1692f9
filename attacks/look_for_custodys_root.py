"""Another user of the machine against custody kept apart: the unlocked root in the kernel's keyring.

Attacker: a user of the machine, enrolled to audit and nothing more; custody's root has a passphrase, and was unlocked for hours.
Tries:    find custody's key by its description in every keyring that they reach, read it by its number, link its keyring to their own,
          give themselves rights to it, revoke it, and see the list of keys.
Stops it: permissions of the kernel's keys: those of a root are for their possessor and their user, nothing for group and others.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from _apart import Apart
from _stage import ROWS, Broken, Skipped, Stage, another_uid, main

from hermetic.crypto.kdf import Argon2Parameters
from hermetic.crypto.secret import Secret
from hermetic.errors import Unsupported
from hermetic.keys import passphrase_wrap
from hermetic.providers import kernel_keyring, keyctl

PASSPHRASE = b"correct horse battery staple"
CHEAP = Argon2Parameters(65_536, 2, 1)
JOIN_SESSION, REVOKE, CHOWN, SETPERM, LINK, SEARCH, READ, SET_TIMEOUT = 1, 3, 4, 5, 8, 10, 11, 15
_ALONE = f"call({JOIN_SESSION}, None); "  # a session of their own, as a login has: who shares one with root possesses what is in it


def attack(stage: Stage) -> None:
    uid = another_uid()
    try:
        keyctl.members(keyctl.USER_KEYRING)
    except Unsupported as error:
        raise Skipped(f"no kernel keyring: {error}") from None
    _unlocked(stage)
    try:
        _tries(stage, Apart(stage, uid, 0, stage.base, stage.domain))
        stage.honest("its owner reads without a passphrase", stage.read(), ROWS)
    finally:
        stage.cli("lock")


def _unlocked(stage: Stage) -> None:
    """A domain whose root has a passphrase, unlocked for this user."""
    passphrase_wrap.Argon2Parameters = lambda *given: Argon2Parameters(*given) if given else CHEAP  # quicker, still at the floor
    stage.create(provider_uri="local:passphrase", ask=lambda *_: Secret(PASSPHRASE))
    secret = stage.base / "passphrase"
    secret.write_bytes(PASSPHRASE)
    done = stage.cli("unlock", "--for", "1h", "--passphrase-file", secret)
    if done.returncode:
        raise Broken(done.stderr.decode())
    stage.seal()


def _tries(stage: Stage, apart: Apart) -> None:
    stage.base.chmod(0o755)
    found = {root.root_id: root for root in kernel_keyring.unlocked() if root.domain == stage.domain}
    if not found:
        raise Skipped("the unlocked root is not in the kernel keyring of this machine")
    for root in found:
        name = f"hermetic:{stage.domain}:{root}"
        number = keyctl.search(keyctl.USER_KEYRING, name)
        for keyring in ("thread", "process", "session", "user", "user session"):
            place = -1 - ("thread", "process", "session", "user", "user session").index(keyring)
            apart.tried(
                f"search the {keyring} keyring", _ALONE + f"call({SEARCH}, {place}, b'user', {name.encode()!r}, 0)", call=_keyctl
            )
        for what, code in {
            "read it by its number": f"call({READ}, {number}, 0, 0)",
            "link it to their own keyring": f"call({LINK}, {number}, -4)",
            "give themselves rights": f"call({SETPERM}, {number}, 0x3f3f3f3f)",
            "own it": f"call({CHOWN}, {number}, os.getuid(), os.getgid())",
            "revoke it": f"call({REVOKE}, {number})",
            "let it end": f"call({SET_TIMEOUT}, {number}, 1)",
        }.items():
            apart.tried(what, _ALONE + code, call=_keyctl)
        apart.tried("find it in the list of keys", _ALONE + f"listed({number})", listed=_listed, call=_keyctl)


def _keyctl(operation: int, *arguments: object) -> None:
    """The system call; every error becomes one of the system's."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(keyctl._NUMBERS[os.uname().machine][1], operation, *arguments) == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _listed(number: int) -> None:
    if not any(line.startswith(b"%08x " % number) for line in Path("/proc/keys").read_bytes().splitlines()):
        raise OSError(2, "not in the list")


if __name__ == "__main__":
    main(attack)
