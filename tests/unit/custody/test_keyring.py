"""KEKs in use: rotation, rewrap beside readers and writers, interruptions, what each state refuses."""

from __future__ import annotations

import threading

import pytest

from hermetic import steps
from hermetic.custody.rewrap_rows import RowMover
from hermetic.db import tables
from hermetic.errors import Conflict, HermeticError, KeyUnusable, NotFound, PolicyDenied, UsageError, WrongKey
from hermetic.formats.messages import keys, log, versions
from hermetic.formats.messages.domain import GatherFacts
from hermetic.ids import DataClass, Purpose
from tests import world as w


@pytest.fixture(autouse=True)
def no_hook():
    yield
    steps.install(None)


def kek(port):
    (row,) = port.ask(keys.ListKeys()).keys
    return row


def campaign(port, limit=1000):
    moved = 0
    while True:
        done = port.ask(keys.RewrapKey(kek(port).kek, limit))
        moved += done.moved
        if not done.left:
            return moved


def key_bytes(port, count):
    opened = w.open_(port, *(f"dataset/patients@{number}" for number in range(1, count + 1)))
    return [w.key_of(port, item.lease) for item in opened.released]


def test_what_a_key_says_of_itself(port):
    w.seal(port)
    row = kek(port)
    assert (row.data_class, row.project, row.state, row.assets) == (DataClass.RESTRICTED, "cardio", "active", ("dataset/patients",))
    assert row.roots == ("local:insecure-file",)
    assert [(item.number, item.state, item.wraps, item.data_keys) for item in row.versions] == [(1, "active", 1, 1)]
    assert port.ask(keys.ShowKey(row.kek[:6])) == row
    for text in ("abc", "zzzzzz", ""):
        with pytest.raises(NotFound):
            port.ask(keys.ShowKey(text))


def test_rotation_and_a_campaign_in_batches(port):
    for _ in range(7):
        w.seal(port)
    before = key_bytes(port, 7)
    changed = port.ask(keys.RotateKey(kek(port).kek, "yearly"))
    assert [item.state for item in changed.key.versions] == ["deactivated", "active"]
    assert key_bytes(port, 7) == before
    first = port.ask(keys.RewrapKey(kek(port).kek, 3))
    assert (first.moved, first.left, first.number) == (3, 4, 2)
    assert key_bytes(port, 7) == before
    assert campaign(port, 3) == 4
    assert [(item.data_keys, item.wraps) for item in kek(port).versions] == [(0, 7), (7, 7)]
    assert key_bytes(port, 7) == before
    assert port.ask(keys.RewrapKey(kek(port).kek)).moved == 0
    entries = [facts for kind, facts, _ in w.leaves(port) if kind == "key.rewrapped"]
    assert [facts["count"] for facts in entries] == [3, 3, 1]
    assert len({facts["list"] for facts in entries}) == 3


@pytest.mark.parametrize("step", ["custody.rewrap.batch.before", "custody.rewrap.batch"])
def test_an_interrupted_campaign_goes_on(world, step):
    port = world.port()
    for _ in range(6):
        w.seal(port)
    before = key_bytes(port, 6)
    port.ask(keys.RotateKey(kek(port).kek))

    def stop(name):
        if name == step:
            raise KeyboardInterrupt

    steps.install(stop)
    with pytest.raises(KeyboardInterrupt):
        port.ask(keys.RewrapKey(kek(port).kek, 2))
    steps.install(None)
    assert kek(port).versions[0].data_keys == (6 if step.endswith("before") else 4)
    assert key_bytes(port, 6) == before
    campaign(port, 2)
    assert kek(port).versions[0].data_keys == 0
    assert key_bytes(port, 6) == before


def test_a_key_that_moves_meanwhile_makes_the_batch_start_again(world, monkeypatch):
    port, other = world.port(), world.port()
    drafts = [w.begin(port) for _ in range(3)]
    for draft in drafts[1:]:
        port.ask(versions.PublishVersion(draft.version, (w.record(),)))
    port.ask(keys.RotateKey(kek(port).kek))
    real, calls = RowMover.moved, []

    def moved(*given):
        calls.append(given)
        done = real(*given)
        if len(calls) == 1:
            other.ask(versions.AbandonVersion(drafts[0].version))
        return done

    monkeypatch.setattr(RowMover, "moved", moved)
    done = port.ask(keys.RewrapKey(kek(port).kek))
    assert len(calls) == 2
    assert (done.moved, done.left) == (2, 0)


def test_two_campaigns_at_once_move_everything_once(world):
    ports = [world.port(), world.port()]
    for _ in range(20):
        w.seal(ports[0])
    before = key_bytes(ports[0], 20)
    ports[0].ask(keys.RotateKey(kek(ports[0]).kek))
    moved, problems = [], []

    def run(port):
        try:
            moved.append(campaign(port, 3))
        except HermeticError as error:
            problems.append(error)

    threads = [threading.Thread(target=run, args=(port,)) for port in ports]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == [] or all(isinstance(error, Conflict) for error in problems)
    campaign(ports[0])
    assert kek(ports[0]).versions[0].data_keys == 0
    assert key_bytes(ports[0], 20) == before
    assert kek(ports[0]).versions[1].wraps == 20


def test_readers_and_writers_go_on_beside_a_campaign(world):
    port, reader, writer = world.port(), world.port(), world.port()
    for _ in range(30):
        w.seal(port)
    before = key_bytes(port, 30)
    port.ask(keys.RotateKey(kek(port).kek))
    done, seen, written = threading.Event(), [], []

    def read():
        while not done.is_set():
            seen.append(key_bytes(reader, 30) == before)

    def write():
        while not done.is_set():
            written.append(w.seal(writer)[1].number)

    threads = [threading.Thread(target=read), threading.Thread(target=write)]
    for thread in threads:
        thread.start()
    moved = campaign(port, 2)
    done.set()
    for thread in threads:
        thread.join()
    assert moved == 30
    assert seen
    assert all(seen)
    assert written == list(range(31, 31 + len(written)))
    assert key_bytes(port, 30) == before
    found = {pair.name for pair in port.ask(log.VerifyLog()).findings}
    assert found <= {"log-key-first-use", "log-never-anchored"}


@pytest.mark.parametrize("limit", [0, -1, 50_001])
def test_batches_have_limits(port, limit):
    w.seal(port)
    with pytest.raises(UsageError):
        port.ask(keys.RewrapKey(kek(port).kek, limit))


def test_suspended_keys_are_not_rotated_nor_rewrapped(port):
    w.seal(port)
    port.ask(keys.ChangeKeyState(kek(port).kek, "suspend", "test"))
    for request in (keys.RotateKey(kek(port).kek), keys.RewrapKey(kek(port).kek)):
        with pytest.raises(KeyUnusable):
            port.ask(request)
    with pytest.raises(Conflict):
        port.ask(keys.ChangeKeyState(kek(port).kek, "suspend", "test"))


def test_compromised_versions_are_left_where_they_are(port):
    w.seal(port)
    port.ask(keys.ChangeKeyState(kek(port).kek, "revoke", "laptop stolen"))
    done = port.ask(keys.RewrapKey(kek(port).kek))
    assert (done.moved, done.left) == (0, 0)
    assert [item.data_keys for item in kek(port).versions] == [1, 0]


@pytest.mark.parametrize(("verb", "reason"), [("destroy", "x"), ("", "x"), ("suspend", ""), ("suspend", "  ")])
def test_verbs_and_reasons(port, verb, reason):
    w.seal(port)
    with pytest.raises(UsageError):
        port.ask(keys.ChangeKeyState(kek(port).kek, verb, reason))


def test_who_reads_data_administers_no_keys(world):
    port = world.port()
    w.seal(port)
    w.enrol(port, "nobody", ["ml-engineer"])
    other = world.port(uid=65534)
    for request in (
        keys.RotateKey(kek(port).kek),
        keys.RewrapKey(kek(port).kek),
        keys.ChangeKeyState(kek(port).kek, "suspend", "x"),
    ):
        with pytest.raises(PolicyDenied):
            other.ask(request)
        assert w.kinds(port)[-1] in {"access.denied", "denials.counted"}


def test_a_wrap_moved_to_another_key_does_not_open(world):
    port = world.port()
    one, _ = w.seal(port)
    two, _ = w.seal(port)
    rows = dict(w.sql(world, "SELECT version_id, wrapped FROM data_key"))
    custodian = world.custodian()
    with custodian.database.write(custodian.row_keys) as session:  # whoever holds the root can write authentic rows
        row = session.first(tables.data_key, version_id=two.version)
        session.update(tables.data_key, row["id"], row["revision"], wrapped=rows[one.version])
    custodian.close()
    with pytest.raises(WrongKey):
        w.open_(port, "dataset/patients@2")
    assert w.open_(port, "dataset/patients@1")
    port.ask(keys.RotateKey(kek(port).kek))
    with pytest.raises(WrongKey):
        campaign(port)


def test_what_was_revoked_is_opened_to_recover_it_and_for_nothing_else(port):
    draft, _ = w.seal(port)
    key, before = w.key_of(port, draft.lease), w.open_(port, purpose=Purpose.RECOVER).released[0].lease
    port.ask(keys.ChangeKeyState(kek(port).kek, "revoke", "laptop stolen"))
    assert w.ended(port, before) == "its key was revoked"
    for purpose in (Purpose.PREPARE, Purpose.AUDIT):
        with pytest.raises(KeyUnusable, match="dataset/patients@1 was revoked") as refused:
            w.open_(port, purpose=purpose)
        assert "--purpose recover" in refused.value.hint
    (released,) = w.open_(port, purpose=Purpose.RECOVER).released
    assert w.key_of(port, released.lease) == key
    assert w.ended(port, released.lease) is None
    facts = port.ask(GatherFacts())
    assert [item.kek_state for item in facts.assets] == ["compromised"]
    assert [item.purposes for item in facts.openers] == [(Purpose.RECOVER,)]
    w.seal(port)
    facts = port.ask(GatherFacts())
    assert [(item.kek_number, item.kek_state) for item in facts.assets] == [(2, "active")]
    assert Purpose.PREPARE in facts.openers[0].purposes


def test_a_suspended_key_opens_nothing_even_to_recover(port):
    w.seal(port)
    port.ask(keys.ChangeKeyState(kek(port).kek, "suspend", "laptop missing"))
    with pytest.raises(KeyUnusable):
        w.open_(port, purpose=Purpose.RECOVER)
    facts = port.ask(GatherFacts())
    assert ([item.kek_state for item in facts.assets], facts.openers) == (["suspended"], ())
