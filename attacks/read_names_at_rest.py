"""Names are looked for wherever something lies, by somebody without any key.

Attacker: whoever reads the disk, the store or the backup place; the root locked.
Tries:    find the name of an asset, a file, a person, a run, a path or a reason in the database, in sealed objects and manifests, in
          the copies, in pins and locks, after everything that people do was done with it: sealed, read, refused, renamed, run,
          granted, rotated, exposed, backed up, tried.
Stops it: names are sealed columns, salted commitments, or encrypted metadata; what is readable holds ids, states, times and sizes.
"""

from __future__ import annotations

import sqlite3
import sys

from _stage import Broken, Stage, main

from hermetic.assets.session import now_ms
from hermetic.crypto.secret import Secret
from hermetic.formats.messages.policy import GiveGrant
from hermetic.ids import Purpose

NAME = "zebracanary"
PASSPHRASE = b"correct horse battery staple"
RUN = f'import hermetic; h = hermetic.connect(); h.open("dataset/{NAME}").read(); h.seal(b"x", name="features/{NAME}")'


def attack(stage: Stage) -> None:
    stage.create(backup=stage.backup, recovery_passphrase=Secret(PASSPHRASE))
    _live(stage)
    stage.sql("SELECT 1")
    places = (stage.home_folder, stage.project / "sealed", stage.backup)
    files = {path: path.read_bytes() for place in places for path in place.rglob("*") if path.is_file()}
    if len(files) < 10 or not any(path.suffix == ".sealed" for path in files):
        raise Broken("there is next to nothing to search")
    spellings = {NAME.encode(coding) for coding in ("utf-8", "utf-16-le", "utf-16-be")} | {NAME.upper().encode()}
    found = [path.name for path, data in files.items() if any(spelling in data for spelling in spellings)]
    stage.found(f"{len(files)} files of home, store and backup place", not found and "no name in any of them")
    stage.found("rows of the database, text or bytes", not list(_rows(stage)) and "no name in any of them")


def _live(stage: Stage) -> None:
    """Do what people do, with names that are looked for afterwards."""
    folder, passphrase = stage.base / NAME, stage.base / "passphrase"
    folder.mkdir()
    (folder / f"{NAME}.csv").write_text("a,b\n1,2\n")
    passphrase.write_bytes(PASSPHRASE)
    passphrase.chmod(0o600)
    steps = (
        ("seal", folder, "--as", f"dataset/{NAME}", "--class", "restricted", "--owner", f"{NAME}-owner"),
        ("seal", folder, "--as", f"dataset/{NAME}2", "--class", "internal"),
        ("expose", f"dataset/{NAME}@1/{NAME}.csv", stage.base / f"{NAME}.out", "--for", "1h", "--purpose", "prepare"),
        ("rename", f"dataset/{NAME}2", f"dataset/{NAME}3"),
        ("run", f"{NAME}-run", "--purpose", "prepare", "--", sys.executable, "-c", RUN),
        ("access", "roles", "nobody", "--role", "ml-engineer", "--reason", f"{NAME} asked"),
        ("key", "rotate", "KEK", "--reason", f"{NAME} left"),
        ("restore", "--check", "--recovery-passphrase-file", passphrase),
    )
    for step in steps:
        arguments = [stage.sql("SELECT id FROM kek")[0][0] if word == "KEK" else word for word in step]
        done = stage.cli(*arguments)
        if done.returncode:
            raise Broken(f"{step[0]}: {done.stderr.decode()[:200]}")
    for refused in (f"dataset/{NAME}", f"dataset/{NAME}-of-nobody"):
        stage.cli("cat", refused, "--purpose", "debug")
    with stage.connect() as h:
        terms = ("nobody", "open", f"dataset/{NAME}*", (Purpose.DEBUG,), now_ms() + 3_600_000, f"{NAME} needs it")
        h.session.ask(GiveGrant(*terms))


def _rows(stage: Stage):
    with sqlite3.connect(stage.database) as link:
        for (table,) in link.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            for row in link.execute(f'SELECT * FROM "{table}"'):
                yield from (table for value in row if NAME in (value.decode("latin-1") if isinstance(value, bytes) else str(value)))


if __name__ == "__main__":
    main(attack)
