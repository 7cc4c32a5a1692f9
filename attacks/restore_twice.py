"""One backup is restored more than once: by two people at the same moment, on two machines, while the old home lives on.

Attacker: whoever may restore; then whoever can write the databases of two homes that came from one copy, whose row codes agree.
Tries:    three restores into one home at once; two homes and the old one write to one backup place; rows of one home, codes and all,
          in the other: a grant, a version with its key.
Stops it: one restore of a domain at a time, and a home appears at once by a rename; a home that is not the one whose copy lies in the
          place writes nothing there and says so; `log verify` finds rows that its own log does not name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading

from _stage import ROWS, Broken, Stage, main

from hermetic.assets.session import now_ms
from hermetic.crypto.secret import Secret
from hermetic.domain.home import Home
from hermetic.domain.restore import restore_domain
from hermetic.errors import Conflict, HermeticError
from hermetic.formats.messages.backup import TakeBackup
from hermetic.formats.messages.policy import GiveGrant, SetRoles
from hermetic.ids import Purpose

PASSPHRASE = b"correct horse battery staple"


def attack(stage: Stage) -> None:
    stage.create(backup=stage.backup, recovery_passphrase=Secret(PASSPHRASE)).seal()
    old, project = stage.home, stage.project
    _at_once(stage)
    homes = []
    for name in ("one", "two"):
        homes.append((Home(stage.base / name / "data", stage.base / name / "config"), stage.base / f"project-{name}"))
        shutil.copytree(project, homes[-1][1])
        _restore(stage, *homes[-1])

    _move(stage, *homes[0])
    stage.honest("the first restored home reads, and copies to the place", (stage.read(), _copy(stage)), (ROWS, None))
    for home, where, what in ((*homes[1], "the second"), (old, project, "the old home")):
        _move(stage, home, where)
        stage.found(f"{what} writing to the same place", _copy(stage))
    _move(stage, *homes[0])
    stage.honest("the first goes on", _copy(stage), None)
    _across(stage, homes)


def _restore(stage: Stage, home: Home, project) -> None:
    restore_domain(stage.backup, home, project, lambda *_: Secret(PASSPHRASE), provider_uri="local:insecure-file")


def _at_once(stage: Stage) -> None:
    home, told = Home(stage.base / "both" / "data", stage.base / "both" / "config"), []

    def restore() -> None:
        try:
            _restore(stage, home, stage.project)
            told.append("restored")
        except Conflict as error:
            told.append(error.message)

    threads = [threading.Thread(target=restore) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(told) != len(threads):
        raise Broken("a restore neither came through nor was refused")
    stage.found("three restores into one home: one comes through", told.count("restored") == 1 and min(told))


def _move(stage: Stage, home: Home, project) -> None:
    """Go to another machine of the domain."""
    stage.home, stage.home_folder, stage.project = home, home.data.parent, project
    os.environ["HERMETIC_HOME"] = str(stage.home_folder)
    os.chdir(project)


def _copy(stage: Stage) -> str | None:
    with stage.connect() as h:
        return h.session.ask(TakeBackup()).problem


def _across(stage: Stage, homes: list) -> None:
    _move(stage, *homes[1])
    stage.seal(name="dataset/elsewhere", data=b"sealed in the second home")
    with stage.connect() as h:
        h.session.ask(SetRoles("nobody", ("ml-engineer",), "an engineer"))
        h.session.ask(GiveGrant("nobody", "open", "dataset/*", (Purpose.DEBUG,), now_ms() + 3_600_000, "an hour"))
    other = stage.database
    _move(stage, *homes[0])
    codes = ("row-unlogged", "row-missing", "row-put-back", "row-changed", "row-returned")
    stage.honest("the first home agrees with its log", stage.log_finds(*codes), "")
    stage.sql("SELECT 1")
    with contextlib.closing(sqlite3.connect(stage.database)) as link:
        link.execute("ATTACH ? AS two", (str(other),))
        for table in ("principal", "grant_", "asset", "run", "version", "data_key"):
            link.execute(f'INSERT OR IGNORE INTO main."{table}" SELECT * FROM two."{table}"')
        link.commit()
    stage.found("rows of the other home, which are authentic here too", stage.log_finds("row-unlogged"))
    try:
        stage.kept("reading what came with them", f"{len(stage.read('dataset/elsewhere'))} bytes: the same root opens both homes")
    except HermeticError as error:
        stage.kept("reading what came with them", type(error).__name__)


if __name__ == "__main__":
    main(attack)
