"""What moves between decision, intent and unwrapping is noticed, on SQLite and on PostgreSQL; what moves nothing costs nothing."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from hermetic import steps
from hermetic.custody import environments, release, resolve
from hermetic.custody.call import Call
from hermetic.db import seen, tables
from hermetic.db.rows import ReadSession
from hermetic.domain.create import create_domain
from hermetic.domain.home import Home
from hermetic.errors import Conflict, HermeticError, KeyUnusable, NotAuthenticated, NotFound, PolicyDenied, RowTampered
from hermetic.formats.messages import catalogue, keys, log, runs, versions
from hermetic.ids import Purpose
from tests import postgres
from tests import world as w
from tests.world import World

INTENT, DURABLE = "before the intent", "custody.release.intent"


class Place:
    """A domain with a version in it, two ports, and a hand on its database."""

    def __init__(self, world, by_hand):
        self.world, self.by_hand = world, by_hand
        self.port, self.other = world.connect().port, world.connect().port
        w.seal(self.port)
        (self.kek,) = (row.kek for row in self.port.ask(keys.ListKeys()).keys)

    @contextlib.contextmanager
    def meanwhile(self, where, act):
        """Do something once, after the decision or after the intent of the next release."""
        before, done = release.unit, []

        def unit(custodian, step, *more, **named):
            if where == INTENT and step == DURABLE and not done:
                done.append(step)
                act()
            return before(custodian, step, *more, **named)

        def reached(step):
            if step == where and not done:
                done.append(step)
                act()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(release, "unit", unit)
            steps.install(reached)
            try:
                yield
            finally:
                steps.install(None)
        assert done

    def outcomes(self):
        return [facts["failure"] for kind, facts, _ in w.leaves(self.port) if kind == "release.outcome"][1:]  # [0]: sealed


def _sqlite(world, statement):
    with contextlib.closing(sqlite3.connect(world.database)) as raw, raw:
        raw.execute(statement)


@pytest.fixture(scope="module")
def on_server(tmp_path_factory):
    """A domain on a server, for all tests of this module: they leave its rows as they were."""
    server, root = postgres.shared(), tmp_path_factory.mktemp("domain")
    (root / "project").mkdir(mode=0o700)
    at, home = server.database(), Home(root / "home" / "data", root / "home" / "config")
    create_domain(root / "project", provider_uri="local:insecure-file", project_name="cardio", home=home, database=str(at))
    made = Place(World(root), lambda statement: server.sql(at, statement))
    yield made
    made.world.close()
    server.drop(at)


@pytest.fixture
def place(request, tmp_path):
    if getattr(request, "param", "") == "postgresql":
        yield request.getfixturevalue("on_server")
        return
    world = World.make(tmp_path / "world")
    yield Place(world, lambda statement: _sqlite(world, statement))
    world.close()


BOTH = pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)


@BOTH
@pytest.mark.parametrize("where", [INTENT, DURABLE])
@pytest.mark.parametrize("edit", ["kek SET epoch = epoch {}1", "version SET number = number {}0, created_ms = created_ms {}1"])
def test_a_row_that_was_edited(place, where, edit):
    with place.meanwhile(where, lambda: place.by_hand(f"UPDATE {edit.replace('{}', '+')}")), pytest.raises(RowTampered):
        w.open_(place.port)
    place.by_hand(f"UPDATE {edit.replace('{}', '-')}")
    assert w.open_(place.port).released


@pytest.mark.parametrize("where", [INTENT, DURABLE])
@pytest.mark.parametrize("table", ["kek_slot", "data_key"])
def test_a_row_that_is_gone(place, where, table):
    with place.meanwhile(where, lambda: place.by_hand(f"DELETE FROM {table}")), pytest.raises(HermeticError):
        w.open_(place.port)
    assert None not in place.outcomes()


@BOTH
@pytest.mark.parametrize("where", [INTENT, DURABLE])
def test_an_epoch_that_moved(place, where):
    known = len(place.outcomes())
    with place.meanwhile(where, lambda: place.other.ask(keys.RotateKey(place.kek))):
        opened = w.open_(place.port)
    assert opened.released[0].lease.kek_epoch == place.port.ask(keys.ListKeys()).keys[0].epoch
    assert place.outcomes()[known:] == ([None] if where == INTENT else ["Moved", None])
    assert place.port.ask(log.VerifyLog()).open_intents == 0


@pytest.mark.parametrize("where", [INTENT, DURABLE])
def test_a_policy_that_says_no(place, where):
    def forbid():
        w.change_cedar(place.other, "late.cedar", '@id("late") forbid (principal, action == Action::"open", resource);')

    with place.meanwhile(where, forbid), pytest.raises(PolicyDenied):
        w.open_(place.port)
    assert None not in place.outcomes()


@pytest.mark.parametrize("where", [INTENT, DURABLE])
def test_a_caller_who_is_disabled(place, where):
    caller = place.port._caller

    def put(state):
        with place.other.custodian.database.write(place.other.custodian.row_keys) as session:
            row = session.require(tables.principal, caller)
            session.update(tables.principal, caller, row["revision"], state=state)

    with place.meanwhile(where, lambda: put("disabled")), pytest.raises(NotAuthenticated):
        w.open_(place.port)
    put("active")
    assert None not in place.outcomes()


@pytest.mark.parametrize("where", [INTENT, DURABLE])
def test_a_run_that_ended(place, where):
    run = place.port.ask(runs.StartRun(w.fresh(), "work", Purpose.PREPARE)).run
    end = runs.FinishRun(run, "finished")
    with place.meanwhile(where, lambda: place.other.ask(end)), pytest.raises(Conflict, match="run has ended"):
        w.open_(place.port, purpose=None, run=run)
    assert None not in place.outcomes()


@pytest.mark.parametrize("where", [INTENT, DURABLE])
def test_what_no_decision_relies_on_moves_nothing(place, where, monkeypatch):
    compared = []
    monkeypatch.setattr(release, "_compared", lambda *more, real=release._compared: compared.append(more) or real(*more))
    with place.meanwhile(where, lambda: w.seal(place.other, "dataset/more")):  # counts a use of the same KEK
        assert w.open_(place.port).released
    assert (place.outcomes()[-1], len(compared)) == (None, 2 if where == INTENT else 1)


def test_what_did_not_move_is_not_looked_up_again(place, monkeypatch):
    monkeypatch.setattr(release, "_compared", lambda *_: pytest.fail("looked up again"))
    monkeypatch.setattr(resolve, "again", lambda *_: pytest.fail("read again"))
    for _ in range(3):
        assert w.key_of(place.port, w.open_(place.port).released[0].lease)


def test_what_is_compared_are_questions_that_are_asked_again(place):
    """What `_compared` reads is among what `require_unchanged` compares: so that equal bytes mean an equal answer."""
    custodian = place.port.custodian
    request = versions.OpenVersions(w.fresh(), ("dataset/patients", "dataset/patients@1"), Purpose.PREPARE)
    call = Call(custodian, place.port._caller, request, custodian.clock())
    with custodian.database.read(custodian.row_keys) as session:
        prepared = release.prepare(call, session, request)
    with custodian.database.read(custodian.row_keys) as session:
        release._compared(call, session, request, prepared)
        asked = session.relied()
    assert set(asked) <= set(prepared.relied)
    assert all(list(map(tuple, prepared.relied[query])) == list(map(tuple, rows)) for query, rows in asked.items())


def test_a_name_that_was_given_to_another(place):
    """The version that was decided about is released, whatever its name means by then."""
    draft = w.seal(place.other, "dataset/spare")[0]

    def swap():
        place.other.ask(catalogue.RenameAsset("dataset/patients", "dataset/was"))
        place.other.ask(catalogue.RenameAsset("dataset/spare", "dataset/patients"))

    with place.meanwhile(INTENT, swap), contextlib.suppress(Conflict):
        assert w.open_(place.port).released[0].version != draft.version


def test_what_is_remembered_holds_while_the_rows_do(place, monkeypatch):
    resolved, open_in = [], environments.open_in
    monkeypatch.setattr(environments, "open_in", lambda *more, **named: resolved.append(more) or open_in(*more, **named))

    def opened(count):
        resolved.clear()
        (released,) = w.open_(place.port).released
        assert len(resolved) == count
        return released.number

    assert [opened(1), opened(0), opened(0)] == [1, 1, 1]
    for edit in ("kek SET epoch = epoch {}1", "asset SET epoch = epoch {}1", "policy SET applied_ms = applied_ms {}1"):
        place.by_hand(f"UPDATE {edit.replace('{}', '+')}")
        with pytest.raises(RowTampered):
            w.open_(place.port)
        place.by_hand(f"UPDATE {edit.replace('{}', '-')}")
        assert opened(0) == 1
    w.seal(place.other)
    assert [opened(1), opened(0)] == [2, 2]
    place.other.ask(keys.ChangeKeyState(place.kek, "suspend", "test"))
    with pytest.raises(KeyUnusable):
        w.open_(place.port)
    place.other.ask(keys.ChangeKeyState(place.kek, "resume", "test"))
    assert opened(1) == 2
    w.change_cedar(place.other, "late.cedar", '@id("late") forbid (principal, action == Action::"open", resource);')
    with pytest.raises(PolicyDenied):
        w.open_(place.port)
    w.change_cedar(place.other, "late.cedar", None)
    place.other.ask(catalogue.RenameAsset("dataset/patients", "dataset/was"))
    with pytest.raises(NotFound):
        w.open_(place.port)


def test_little_is_remembered(place, monkeypatch):
    known = place.port.custodian.row_keys.seen._results
    monkeypatch.setattr(seen, "RESULTS", 2)
    for purpose in range(4):
        w.open_(place.port, *["dataset/patients"] * (purpose + 1))
    assert len(known) == 2
    known.clear()
    w.open_(place.port, *["dataset/patients"] * (release.PLANNED + 1))
    assert known == {}


@BOTH
def test_it_takes_few_statements(place, monkeypatch):
    fetched, fetch = [], ReadSession._fetch
    monkeypatch.setattr(ReadSession, "_fetch", lambda self, *more: fetched.append(more[1]) or fetch(self, *more))
    w.open_(place.port)
    w.open_(place.port)
    fetched.clear()
    w.open_(place.port)
    assert len(fetched) == 3, fetched  # decided, compared, compared and unwrapped


def test_a_name_means_the_newest_version_whoever_published_it(world):
    """What a name meant the last time is remembered, and is another as soon as there is another version."""
    port, other = world.port(), world.port()
    w.seal(port, "dataset/newest")
    assert [w.open_(port, "dataset/newest").released[0].number for _ in range(2)] == [1, 1]
    for number, writer in ((2, other), (3, port)):
        w.seal(writer, "dataset/newest")
        assert [w.open_(port, "dataset/newest").released[0].number for _ in range(2)] == [number, number]
