"""Authentic rows of yesterday are put back: a revoked grant, a suspended key, a replaced policy, a deleted version.

Attacker: whoever can write the database file and kept an older copy of it; the root locked.
Tries:    copy rows, code and all, from the older copy over the newer ones, one table at a time. Their codes verify: they are
          authentic.
Stops it: `log verify` compares the revision of each row with what the log says was set last. Until somebody runs it such a row
          counts, which docs/threat-model.md says. Two policies in force at once, which half of this attack leaves, are refused on
          the spot; so is a latest version below what this user has seen.
"""

from __future__ import annotations

import contextlib
import sqlite3

from _stage import ROWS, Stage, main

from hermetic.assets.session import now_ms
from hermetic.errors import IntegrityError, RowTampered
from hermetic.formats.messages.keys import ChangeKeyState
from hermetic.formats.messages.policy import ApplyPolicy, GiveGrant, ListGrants, RevokeGrant, SetRoles, ShowPolicy
from hermetic.ids import Purpose
from hermetic.policy.bundle import PolicyBundle


def attack(stage: Stage) -> None:
    stage.create().seal()
    with stage.connect() as h:
        h.session.ask(SetRoles("nobody", ("ml-engineer",), "an engineer"))
        given = h.session.ask(GiveGrant("nobody", "open", "dataset/*", (Purpose.TRAIN,), now_ms() + 3_600_000, "an hour"))
    older = stage.base / "older.db"
    older.write_bytes(stage.save()[stage.database])
    with stage.connect() as h:
        h.session.ask(RevokeGrant(given.id, "no longer"))
        h.session.ask(ChangeKeyState(stage.sql("SELECT id FROM kek")[0][0], "suspend", "an incident"))
        files = dict(PolicyBundle.from_bytes(h.session.ask(ShowPolicy()).bundle).files)
        files["hermetic.yaml"] += b"# stricter\n"
        h.session.ask(ApplyPolicy(PolicyBundle(files=files).to_bytes()))
    saved = stage.save()
    with stage.connect() as h:
        stage.honest("the grant is gone", h.session.ask(ListGrants()).grants, ())
    stage.honest("the log agrees with the rows", stage.log_finds("row-put-back", "row-missing", "row-returned"), "")

    _copy(stage, older, "grant_")
    with stage.connect() as h:
        stage.kept("the revoked grant counts again", f"{len(h.session.ask(ListGrants()).grants)} grant; its code is authentic")
    stage.found("the grant put back", stage.log_finds("row-put-back"))
    stage.put_back(saved)

    _copy(stage, older, "kek")
    stage.kept("the suspended key opens again", f"read {len(stage.read())} bytes; the row's code is authentic")
    stage.found("the key's state put back", stage.log_finds("row-put-back"))
    stage.put_back(saved)

    _copy(stage, older, "policy")
    stage.refused("two policies in force at once", stage.connect, RowTampered)
    stage.put_back(saved)
    stage.sql("DELETE FROM policy")
    _copy(stage, older, "policy")
    stage.found("the older policy alone", stage.log_finds("row-put-back", "row-missing"))
    stage.put_back(saved)
    _versions(stage)


def _copy(stage: Stage, older, table: str) -> None:
    with contextlib.closing(sqlite3.connect(stage.database)) as link:
        link.execute("ATTACH ? AS old", (str(older),))
        link.execute(f'INSERT OR REPLACE INTO main."{table}" SELECT * FROM old."{table}"')
        link.commit()
        link.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _versions(stage: Stage) -> None:
    with stage.connect() as h:
        h.session.ask(ChangeKeyState(stage.sql("SELECT id FROM kek")[0][0], "resume", "over"))
    new = stage.seal(data=b"the second version").version
    stage.honest("the latest", stage.read(), b"the second version")
    for table, column in (("object", "version_id"), ("data_key", "version_id"), ("fingerprint", "version_id"), ("version", "id")):
        stage.sql(f'DELETE FROM "{table}" WHERE {column} = ?', (new,))
    stage.refused("the newest version deleted, so that an older one is the latest", stage.read, IntegrityError)
    stage.honest("the older one opens when asked for by number", stage.read("dataset/patients@1"), ROWS)
    stage.found("the deleted version", stage.log_finds("row-missing"))


if __name__ == "__main__":
    main(attack)
