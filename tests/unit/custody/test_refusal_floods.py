"""Who is refused again and again, with ever new names, does not grow the log without bound, and hides nothing by it."""

from __future__ import annotations

import pwd
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from hermetic.audit import floods
from hermetic.custody import concerned
from hermetic.db import tables
from hermetic.errors import NotFound, PolicyDenied
from hermetic.formats.messages import keys
from hermetic.formats.messages.catalogue import ShowVersion
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.log import VerifyLog
from hermetic.ids import DataClass
from tests import world as w
from tests.backends import BACKENDS, behind

OTHER = pwd.getpwnam("nobody").pw_uid
MANY = 16


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The same with smaller numbers, which spares time."""
    monkeypatch.setattr(floods, "SINGLY", 4)


@pytest.fixture
def owner(world):
    made = world.port()
    w.seal(made)
    w.seal(made, "dataset/other")
    w.enrol(made, "nobody", ("auditor",))
    return made


@pytest.fixture(params=BACKENDS)
def noisy(request, world, owner, tmp_path):
    with behind(request.param, world.port(uid=OTHER), tmp_path) as found:
        yield found


def make_noise(port, count=MANY, start=0):
    for number in range(start, start + count):
        with pytest.raises((NotFound, PolicyDenied)):
            w.open_(port, f"dataset/made-up-{number}")


def entries(owner, *sorts):
    return [(kind, facts, opened) for kind, facts, opened in w.leaves(owner) if kind in sorts]


def singly(owner):
    return entries(owner, "release.denied", "access.denied")


def test_a_flood_of_names_is_bounded_and_what_matters_is_seen_nevertheless(world, owner, noisy):
    make_noise(noisy)
    assert len(singly(owner)) == 1 + floods.SINGLY
    (kek,) = {row.kek for row in owner.ask(keys.ListKeys()).keys}
    for asked in (
        lambda: w.open_(noisy, "dataset/patients"),
        lambda: w.open_(noisy, "dataset/other"),
        lambda: noisy.ask(keys.RotateKey(kek)),
    ):
        before = len(singly(owner))
        with pytest.raises(PolicyDenied):
            asked()
        assert len(singly(owner)) == before + 1
    patients = owner.ask(ShowVersion("dataset/patients")).asset
    assert patients in [facts["resource"] for _, facts, _ in singly(owner)]

    make_noise(noisy, start=1000)
    with pytest.raises(PolicyDenied):
        noisy.ask(keys.RotateKey(kek))  # once more: counted
    world.clock.now += floods.SUMMARY_MS
    owner.ask(Hello())  # whoever connects finds it written
    ((_, facts, opened),) = entries(owner, "denials.summed")
    assert facts["count"] == sum(facts["sorts"].values()) == 2 * MANY - 1 - floods.SINGLY
    assert [lot.split()[0] for lot in facts["sorts"]] == ["open-versions"]
    assert opened["principal"].endswith(f":{OTHER}")
    total = len(singly(owner)) + sum(facts["count"] for _, facts, _ in entries(owner, "denials.counted", "denials.summed"))
    assert total == 2 * MANY + 4
    assert ("many-refusals", f"nobody|{facts['count']}") in [(pair.name, pair.value) for pair in owner.ask(GatherFacts()).critical]
    owner.ask(VerifyLog((), ()))


def test_a_process_that_dies_takes_no_count_with_it_and_several_share_one(world, owner):
    """Each custodian is as another process on the same database."""
    ports = [world.port(uid=OTHER) for _ in range(3)]
    for number in range(MANY):
        make_noise(ports[number % 3], 1, number)
    for port in ports:
        port.close()
    world.clock.now += floods.SUMMARY_MS
    w.seal(world.port(), "dataset/third", DataClass.INTERNAL)  # another one writes it
    ((_, facts, _),) = entries(owner, "denials.summed")
    assert len(singly(owner)) + facts["count"] == MANY


def test_what_is_not_there_is_looked_for_by_an_index(owner):
    """A refusal that reads all versions of a domain would let who is refused keep custody busy."""
    kept = owner._custodian
    with kept.database.read(kept.row_keys) as session:
        (version,) = session.connection.execute(sa.select(tables.version.c.id).limit(1)).one()
        for text in (version, version[:4], version[:25]):
            assert [*concerned._ids(session, tables.version, text)] == [version]
        assert [*concerned._ids(session, tables.version, "zzzz")] == []
        asked = []
        told = SimpleNamespace(connection=SimpleNamespace(execute=lambda query: asked.append(query) or ()))
        assert [*concerned._ids(told, tables.version, version)] == []
        plan = session.connection.exec_driver_sql(
            f"EXPLAIN QUERY PLAN {asked[0].compile(session.connection, compile_kwargs={'literal_binds': True})}".replace("%%", "%")
        ).all()
        assert all(row[3].startswith("SEARCH") for row in plan)
