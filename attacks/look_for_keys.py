"""Keys and plaintext are looked for wherever a program leaves things.

Attacker: another process of the same machine that may read files, process lists and terminals, but not the memory of the victim.
Tries:    collect every key of a domain (roots, derived keys, KEKs, data keys, signing seeds), then search for them, and for the
          plaintext, in every spelling, in: the project, the store, the settings, the database, the backup place, temporary folders,
          shared memory; argument vectors, environment and open descriptors of the programs; everything that every command prints,
          also with --debug and --json, also when it fails; and shell completion.
Stops it: keys are wrapped wherever they rest; they are no arguments, no environment and no text.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from _secrets import every_secret, files_below, found_in, public_values
from _stage import CANARY, Stage, main

from hermetic.crypto.secret import Secret

PASSPHRASE = b"a passphrase that must not leak either"
SNOOP = """
import os, sys
out = []
pid = "self"
for _ in range(3):
    base = f"/proc/{pid}"
    for name in ("cmdline", "environ"):
        try:
            out.append(open(f"{base}/{name}", "rb").read())
        except OSError:
            pass
    out += [os.readlink(f"{base}/fd/{fd}").encode() for fd in os.listdir(f"{base}/fd") if os.path.lexists(f"{base}/fd/{fd}")]
    pid = next(line.split()[1] for line in open(f"{base}/status") if line.startswith("PPid:"))
sys.stdout.buffer.write(b"\\n".join(out))
"""


def attack(stage: Stage) -> None:
    tmp = stage.base / "tmp"
    tmp.mkdir()
    os.environ["TMPDIR"] = str(tmp)
    before = _shared()
    secrets = every_secret(stage, lambda: _life(stage))
    secrets = {name: raw for name, raw in secrets.items() if raw not in public_values(stage)}
    if len(secrets) < 20:
        raise AssertionError(secrets)
    stage.told.append(
        f"  control  {len(secrets)} secrets were made; the search finds them: {bool(found_in(b''.join(secrets.values()), secrets))}"
    )
    secrets["the plaintext"], secrets["the passphrase"] = CANARY, PASSPHRASE

    rests = {"project and store": [stage.project], "settings and pins": [stage.settings], "backup place": [stage.backup]}
    rests["custody home"], rests["temporary folder"] = [stage.custody], [tmp]
    for what, folders in rests.items():
        shown = [
            f"{path.name}: {name}"
            for path in files_below(*folders)
            if not _is_root(path)
            for name in found_in(path.read_bytes(), secrets)
        ]
        stage.found(f"nothing in {what}", not shown or _say(shown))
    shown = [f"{path}: {name}" for path in _shared() - before for name in found_in(_content(path), secrets)]
    stage.found("nothing in shared memory", not shown or _say(shown))
    _commands(stage, secrets)


def _shared() -> set[Path]:
    return set(Path("/dev/shm").iterdir())


def _content(path: Path) -> bytes:
    """Everything below a path that others may remove meanwhile: other programs use shared memory too."""
    content = b""
    for file in files_below(path) if path.is_dir() else [path]:
        with suppress(FileNotFoundError):
            content += file.read_bytes()
    return content


def _say(shown: list[str]) -> bool:
    print(shown[:5], file=sys.stderr)
    return False


def _is_root(path: Path) -> bool:
    """The root of `local:insecure-file` lies in a file by its name; that is what its finding says."""
    return path.name.startswith("root-")


def _life(stage: Stage) -> None:
    """Everything a domain does with keys."""
    stage.backup.mkdir()
    stage.create(backup=stage.backup, recovery_passphrase=Secret(PASSPHRASE))
    stage.seal(data=CANARY * 100)
    stage.read()
    with stage.connect(purpose="train") as h, h.run("train", purpose="train"):
        h.open("dataset/patients").read()
        h.seal(b"derived" + CANARY, name="model/risk", data_class="restricted")
    from hermetic.formats.messages.keys import ListKeys, RotateKey

    with stage.connect() as h:
        for key in h.session.ask(ListKeys()).keys:
            h.session.ask(RotateKey(key.kek, "a test"))


def _commands(stage: Stage, secrets: dict[str, bytes]) -> None:
    passphrase = stage.base / "passphrase"
    passphrase.write_bytes(PASSPHRASE)
    kek = stage.sql("SELECT id FROM kek")[0][0]
    snoop = ("run", "snoop", "--purpose", "train", "--", sys.executable, "-c", SNOOP)
    commands = [
        *[(name,) for name in ("status", "ls", "map", "gc")],
        *[("--debug", *words) for words in (("cat", "dataset/nothing"), ("cat", "dataset/patients", "--purpose", "debug"))],
        ("show", "dataset/patients"),
        ("lineage", "model/risk"),
        ("log", "ls"),
        ("log", "verify"),
        ("log", "prove", "3"),
        ("key", "ls"),
        ("key", "show", kek),
        ("key", "rotate", kek, "--reason", "x"),
        ("key", "rewrap", kek),
        ("access", "ls"),
        ("policy", "show"),
        ("policy", "explain", "open", "dataset/patients", "--purpose", "debug"),
        ("verify", "dataset/patients"),
        ("inspect", next(iter(files_below(stage.project / "sealed")))),
        ("backup",),
        ("restore", "--from", stage.backup, "--recovery-passphrase-file", passphrase),
    ]
    plain = [("status",), ("show", "dataset/patients"), ("log", "ls"), snoop]
    for command in (*plain, *((*command, "--json", "--debug") for command in commands)):
        done = stage.cli(*command)
        shown = found_in(done.stdout + done.stderr, secrets)
        stage.found(f"nothing printed by {' '.join(map(str, command[:3]))[:60]} (exit {done.returncode})", not shown or _say(shown))
    for words in ("hermetic cat ", "hermetic show dataset/", "hermetic key rotate ", "hermetic unlock --"):
        environment = {**os.environ, "_HERMETIC_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()))}
        done = stage.cli(env=environment)
        stage.found(f"nothing completed after {words!r}", not found_in(done.stdout + done.stderr, secrets))
    _damaged(stage, secrets)


def _damaged(stage: Stage, secrets: dict[str, bytes]) -> None:
    """Failures deep inside, where an exception passes frames that hold keys."""
    path = next(path for path in files_below(stage.project / "sealed") if path.suffix == ".sealed")
    path.write_bytes(path.read_bytes()[:-200] + bytes(200))
    stage.sql("UPDATE data_key SET wrapped = zeroblob(96)")
    for command in (("cat", "dataset/patients", "--purpose", "prepare"), ("verify", "dataset/patients"), ("status",)):
        done = stage.cli("--debug", *command)
        stage.found(
            f"nothing in the traceback of {command[0]}",
            (command == ("status",) or b"Traceback" in done.stderr) and not found_in(done.stderr, secrets),
        )


if __name__ == "__main__":
    main(attack)
