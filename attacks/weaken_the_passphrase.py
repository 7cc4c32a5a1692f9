"""The passphrase is taken from where it should not lie, and the file it opens is made cheap to guess or dear to open.

Attacker: another user of the machine; whoever can write the custody home, the root locked.
Tries:    passphrase files that others can read, that are links, FIFOs, folders, empty, long, or several lines; passphrases in
          arguments and in the environment; costs of Argon2id below the floor, and so high that the machine dies; the root file of
          another domain, an older one under an older passphrase; a recovery wrap in place of the root's own file.
Stops it: a passphrase comes from a private file or the terminal; costs have floor and ceiling on reading; the wrap is bound to
          domain, root and use.
"""

from __future__ import annotations

import json
import os
import time

from _stage import ROWS, Stage, another_uid, is_root, main

from hermetic.crypto.kdf import Argon2Parameters
from hermetic.crypto.secret import Secret
from hermetic.errors import FormatError, HermeticError, Locked, WrongKey
from hermetic.keys import passphrase_wrap
from hermetic.keys.passphrase_wrap import PassphraseWrap, WrapSubject

RIGHT, WRONG = b"correct horse battery staple", b"incorrect horse battery staple"
CHEAP = Argon2Parameters(65_536, 2, 1)


def ask(*_: str) -> Secret:
    return Secret(RIGHT)


def attack(stage: Stage) -> None:
    passphrase_wrap.Argon2Parameters = lambda *given: Argon2Parameters(*given) if given else CHEAP  # quicker, still at the floor
    stage.create(provider_uri="local:passphrase", ask=ask)
    with stage.connect(ask_passphrase=ask) as h:
        h.seal(ROWS, name="dataset/patients", data_class="restricted")
    stage.cli("lock")
    stage.refused("nobody is asked", stage.connect, Locked)
    stage.refused("another passphrase", lambda: stage.connect(ask_passphrase=lambda *_: Secret(WRONG)), WrongKey)
    _files(stage)
    _costs(stage)


def _unlock(stage: Stage, path, **more) -> int:
    done = stage.cli("unlock", "--for", "1m", "--passphrase-file", path, **more)
    return done.returncode


def _files(stage: Stage) -> None:
    path = stage.base / "passphrase"

    def write(data: bytes, mode: int = 0o600) -> None:
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        path.chmod(mode)

    for mode in (0o644, 0o640, 0o604, 0o660, 0o601):
        write(RIGHT, mode)
        stage.found(f"mode {mode:o}", _unlock(stage, path) == 3 and "denied")
    for what, data in (
        ("empty", b""),
        ("two lines", RIGHT + b"\n\n"),
        ("too long", b"x" * 1025),
        ("a line break first", b"\n" + RIGHT),
    ):
        write(data)
        stage.found(what, _unlock(stage, path) == 2 and "usage")
    write(WRONG)
    stage.found("another passphrase", _unlock(stage, path) == 4 and "wrong key")
    write(RIGHT)
    link, fifo, folder = stage.base / "link", stage.base / "fifo", stage.base / "folder"
    link.symlink_to(path)
    os.mkfifo(fifo)
    folder.mkdir()
    for what, place in (
        ("a link", link),
        ("a FIFO", fifo),
        ("a folder", folder),
        ("a device", "/dev/zero"),
        ("nothing", "/nonexistent"),
    ):
        stage.found(what, _unlock(stage, place) in {1, 2, 3} and "refused")
    if is_root():
        os.chown(path, another_uid(), -1)
        stage.found("a file of another user", _unlock(stage, path) == 3 and "denied")
        os.chown(path, 0, -1)
    done = stage.cli("unlock", "--passphrase", RIGHT.decode())
    stage.found("an argument", done.returncode == 2 and "no such option")
    environment = {**os.environ, "HERMETIC_PASSPHRASE": RIGHT.decode(), "HERMETIC_UNLOCK_PASSPHRASE": RIGHT.decode()}
    done = stage.cli("unlock", env=environment, stdin=-3)
    stage.found("the environment", done.returncode == 2 and "needs a terminal or a file")


def _costs(stage: Stage) -> None:
    path = next(stage.custody.glob("root-*.json"))
    good = path.read_bytes()
    document = json.loads(good)
    for what, costs in {
        "one pass": {"iterations": 1},
        "little memory": {"memory_kib": 8},
        "no lanes": {"lanes": 0},
        "all the memory there is": {"memory_kib": 2**40},
        "for ever": {"iterations": 2**31},
        "a hundred lanes": {"lanes": 100},
        "a fraction": {"iterations": 2.5},
        "true": {"lanes": True},
    }.items():
        _write(path, {**document, "argon2id": {**document["argon2id"], **costs}})
        start = time.monotonic()
        stage.refused(f"costs: {what}", lambda: stage.connect(ask_passphrase=ask), HermeticError)
        stage.found(f"and at once: {what}", time.monotonic() - start < 5)
    other = "a" * 26
    for what, change in {
        "of another domain": {"domain": other},
        "of another root": {"root": other},
        "for recovery": {"use": "recovery"},
    }.items():
        _write(path, {**document, **change})
        stage.refused(f"the file {what}", lambda: stage.connect(ask_passphrase=ask), FormatError)
    subject = WrapSubject(document["domain"], document["root"], "root", "local-root")
    evil = passphrase_wrap.passphrase_wrap(Secret(bytes(32)), Secret(RIGHT), subject, CHEAP)
    path.write_bytes(evil)
    stage.refused("a root of the attacker's, under the victim's passphrase", lambda: stage.connect(ask_passphrase=ask), WrongKey)
    path.write_bytes(good)
    stage.honest("the right file", PassphraseWrap.parse(path.read_bytes()).subject, subject)
    with stage.connect(ask_passphrase=ask, purpose="prepare") as h:
        stage.honest("and the right passphrase", h.open("dataset/patients").read(), ROWS)


def _write(path, document) -> None:
    path.write_bytes(json.dumps(document, separators=(",", ":"), sort_keys=True).encode())


if __name__ == "__main__":
    main(attack)
