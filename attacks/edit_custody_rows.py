"""Rows of the custody database are edited by hand.

Attacker: whoever can write the database file, the root locked (another process of the user, a backup tool, a shared home folder).
Tries:    make an ordinary user an owner; lower a class; lift a suspension; revive a revoked grant; open a production key for
          development; make the row unreadable for the authentication code instead of forging it (a fraction in a whole-number
          column has no encoding, so an empty code used to fit); move rows between keys; add a row; delete one.
Stops it: every row that policy reads carries a MAC over table, key, revision and content; deletions are found by `log verify`.
"""

from __future__ import annotations

from _stage import ROWS, Stage, main

from hermetic.assets.session import now_ms
from hermetic.errors import HermeticError, RowTampered
from hermetic.formats.messages.keys import ChangeKeyState
from hermetic.formats.messages.policy import GiveGrant, RevokeGrant, SetRoles
from hermetic.ids import Purpose

EMPTY_CODES = ("x''", "''", "NULL", "0", "zeroblob(32)")


def attack(stage: Stage) -> None:
    stage.create().seal()
    stage.honest("everything that is read below", _use(stage), ROWS[:20])
    with stage.connect() as h:
        h.session.ask(SetRoles("nobody", ("ml-engineer",), "an engineer"))
        given = h.session.ask(GiveGrant("nobody", "open", "dataset/*", (Purpose.TRAIN,), now_ms() + 3_600_000, "an hour"))
        h.session.ask(RevokeGrant(given.id, "no longer"))
        kek = stage.sql("SELECT id FROM kek")[0][0]
        h.session.ask(ChangeKeyState(kek, "suspend", "an incident"))
    saved = stage.save()

    edits = {
        "an engineer becomes owner": ("principal", "roles = '[\"domain-owner\"]'", "roles LIKE '%engineer%'"),
        "a class is lowered": ("version", "data_class = 'public'", "1"),
        "a suspended key is active again": ("kek", "state = 'active'", "1"),
        "a revoked grant is active again": ("grant_", "state = 'active'", "1"),
        "a grant for ever": ("grant_", "expires_ms = 9007199254740991", "1"),
        "keys change environment": ("kek", "environment = 'production'", "1"),
        "an older revision is claimed": ("kek", "revision = revision - 1", "1"),
        "a wrap is taken out": ("data_key", "wrapped = NULL, state = 'destroyed'", "1"),
    }
    for what, (table, change, where) in edits.items():
        stage.sql(f'UPDATE "{table}" SET {change} WHERE {where}')
        stage.refused(what, lambda: _use(stage), RowTampered)
        stage.put_back(saved)
        fraction = "kek_number" if table == "data_key" else "created_ms"
        for code in EMPTY_CODES:
            if _written(stage, f'UPDATE "{table}" SET {change}, {fraction} = 0.5, mac = {code} WHERE {where}'):
                stage.refused(f"{what}; no encoding, and {code} for a code", lambda: _use(stage), RowTampered)
            stage.put_back(saved)
    _moved_and_deleted(stage, saved)


def _written(stage: Stage, statement: str) -> bool:
    try:
        stage.sql(statement)
    except Exception:  # noqa: BLE001 - the schema refused it, which is a refusal too
        return False
    return True


def _use(stage: Stage) -> object:
    """Everything that reads those rows: connecting, facts, opening."""
    from hermetic.formats.messages.domain import GatherFacts
    from hermetic.formats.messages.policy import ListGrants, ListPrincipals

    with stage.connect(purpose="prepare") as h:
        h.session.ask(GatherFacts())
        h.session.ask(ListPrincipals())
        h.session.ask(ListGrants())
        h.show("dataset/patients")
        with h.open("dataset/patients") as file:
            return file.read(20)


def _moved_and_deleted(stage: Stage, saved: dict) -> None:
    stage.sql(
        "INSERT INTO principal SELECT 'os:somebody:1', zeroblob(32), zeroblob(32), kind, roles, attributes, state, created_ms,"
        " revision, mac FROM principal LIMIT 1"
    )
    stage.refused("a copied row under another key", lambda: _use(stage), HermeticError)
    stage.put_back(saved)
    for table in ("grant_", "policy", "kek", "principal"):
        where = "roles LIKE '%engineer%'" if table == "principal" else "1"
        stage.sql(f'DELETE FROM "{table}" WHERE {where}')
        stage.found(f"rows of {table} deleted", stage.log_finds("row-missing"))
        stage.put_back(saved)
    with stage.connect() as h:
        h.session.ask(ChangeKeyState(stage.sql("SELECT id FROM kek")[0][0], "resume", "over"))
    stage.honest("the honest rows work", stage.read(), ROWS)


if __name__ == "__main__":
    main(attack)
