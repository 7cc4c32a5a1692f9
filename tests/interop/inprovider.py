"""A domain with one class whose key lives in the provider under test, and one whose key is here, for the tests of all providers."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import hermetic
from hermetic.domain.connect import connect
from hermetic.formats.messages import keys, versions
from hermetic.ids import DataClass, Purpose, id_from_bytes
from hermetic.keys.in_provider import MARKER
from tests.interop.rooted import command

DATA = b"id,age\n1,44\n2,53\n" * 1000


def demand(project, *, provider="", place="in-provider"):
    """Have restricted data want its key inside the provider, and apply that."""
    path = project / "hermetic.yaml"
    head, _, rest = path.read_text().partition("\n  restricted:\n")
    lines = [line for line in rest.splitlines() if not line.strip().startswith(("kek:", "kek_provider:"))]
    more = f"    kek_provider: {provider}\n" if provider else ""
    path.write_text(f"{head}\n  restricted:\n    kek: {place}\n{more}" + "\n".join(lines) + "\n")
    return command("policy", "apply")


def seal(project, count=3):
    with hermetic.connect(project) as h:
        for number in range(count):
            h.seal(DATA + b"%d" % number, name="dataset/visits", data_class="restricted", owner="ana")


def fresh():
    import secrets

    return id_from_bytes(secrets.token_bytes(16))


def opened(project, count=3, purpose=Purpose.PREPARE):
    """Return the data keys of all versions, which one request asks for."""
    with connect(project) as connection:
        refs = tuple(f"dataset/visits@{number}" for number in range(1, count + 1))
        found = connection.ask(versions.OpenVersions(fresh(), refs, purpose)).released
        return [bytes(connection.port.redeem(item.lease.key).view()) for item in found]


def key(project, data_class=DataClass.RESTRICTED):
    with connect(project) as connection:
        return next(row for row in connection.ask(keys.ListKeys()).keys if row.data_class is data_class)


def stored(home, statement, *values):
    (file,) = home.glob("data/*/custody.db")
    with closing(sqlite3.connect(file)) as database:
        return database.execute(statement, values).fetchall()


def no_key_here(home, row):
    """Whatever the database holds of a KEK, it is no key: the marks of roots, and wraps that providers made."""
    assert {wrapped for (wrapped,) in stored(home, "SELECT wrapped FROM kek_slot WHERE kek_id = ?", row.kek)} == {MARKER}
    wraps = [wrapped for (wrapped,) in stored(home, "SELECT wrapped FROM data_key WHERE kek_id = ?", row.kek)]
    assert wraps
    assert all(wrapped.startswith(b"HDP\x01") for wrapped in wraps)
