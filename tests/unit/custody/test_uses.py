"""What services record of a root's use comes onto our log: once, durably, and never at the cost of roots that report nothing."""

from __future__ import annotations

import itertools
import json
import threading

import pytest

from hermetic import steps
from hermetic.audit.leaf import Entry
from hermetic.custody import uses
from hermetic.custody.uses import LIMIT, UseBook, Used
from hermetic.custody.work import unit
from hermetic.domain.backing import USED_MS, BackupKeeper
from hermetic.domain.local import LocalPort
from hermetic.errors import KeyServiceUnavailable, LogTampered, StorageError
from hermetic.formats.messages.log import ReadLog
from hermetic.keys.provider import ProviderUse, ReportsUses, RootId
from hermetic.providers.local_root import LocalRoot
from hermetic.providers.uses import UseTray
from tests import world as w


class Service:
    """A provider that was used."""

    def __init__(self, *names, root="root-a"):
        self.root_id, self.waiting = RootId(root), [use(name) for name in names]

    def take_uses(self):
        taken, self.waiting = tuple(self.waiting), []
        return taken


def use(name, operation="unwrap", at_ms=1000):
    return ProviderUse(operation, name, at_ms)


@pytest.fixture
def reporting(monkeypatch):
    """Local roots, as if a service held them that names its requests; the ids of what was asked so far."""
    for kind in ("plain", "backup"):
        w._template(kind)  # made without us
    numbers, waiting, asked = itertools.count(), [], []
    real = LocalRoot.unwrap

    def unwrap(self, wrapped, context):
        secret = real(self, wrapped, context)
        asked.append(f"request-{next(numbers)}")
        waiting.append(use(asked[-1]))
        return secret

    def take_uses(_self):
        taken = tuple(waiting)
        waiting.clear()
        return taken

    monkeypatch.setattr(LocalRoot, "unwrap", unwrap)
    monkeypatch.setattr(LocalRoot, "take_uses", take_uses, raising=False)
    yield asked
    steps.install(None)


def logged(port):
    """The ids on the log, leaf by leaf."""
    rows = port.ask(ReadLog(0, 2000, "root.used")).rows
    found = [json.loads(row.leaf)["facts"] for row in rows]
    return [[one for named in facts["roots"].values() for ids in named.values() for one in ids] for facts in found]


def test_a_release_hands_no_key_over_before_its_unwraps_are_on_the_log(reporting, world):
    port = world.port()
    w.seal(port)
    opened = w.open_(port)
    sizes = [row.index for row in port.ask(ReadLog(0, 2000, "root.used")).rows]
    outcome = [row.index for row in port.ask(ReadLog(0, 2000, "release.outcome")).rows][-1]
    assert sizes[-1] == outcome + 1, "in the unit of the outcome"
    assert list(itertools.chain(*logged(port))) == reporting
    assert w.key_of(port, opened.released[0].lease)


def test_opening_and_closing_leave_nothing_out(reporting, world):
    connection = world.connect()
    assert len(reporting) >= 3, "domain secret, and two signing keys"
    assert logged(connection.port) == [reporting[:]]
    before = len(reporting)
    connection.close()
    with world.connect() as again:
        assert logged(again.port) == [reporting[:before], reporting[before:]]


def test_nothing_is_appended_to_a_log_that_is_not_the_one_seen(reporting, world):
    with world.connect():
        pass
    older = world.database.read_bytes()
    with world.connect() as connection:
        w.seal(connection)
    for name in world.data.glob("custody.db-*"):
        name.unlink()
    world.database.write_bytes(older)
    size = w.sql(world, "SELECT count(*) FROM log_leaf")
    with pytest.raises(LogTampered):
        world.connect()
    assert w.sql(world, "SELECT count(*) FROM log_leaf") == size


def test_a_unit_that_fails_loses_nothing(reporting, world):
    port = world.port()
    custodian = port._custodian

    def failing(step):
        if step == "custody.test.before":
            raise StorageError("the disk is full")

    steps.install(failing)
    with pytest.raises(StorageError), unit(custodian, "custody.test", custodian.clock()) as work:
        work.log(Entry("log.exported", {"size": 1}))
    with pytest.raises(KeyServiceUnavailable), unit(custodian, "custody.other", custodian.clock()) as work:
        work.log(Entry("log.exported", {"size": 1}))
        raise KeyServiceUnavailable("gone")
    steps.install(None)
    assert port.ask(ReadLog(0, 10, "root.used")).rows == ()
    with unit(custodian, "custody.test", custodian.clock()) as work:
        work.log(Entry("log.exported", {"size": 1}))
    assert logged(port) == [reporting]


def test_a_log_that_cannot_be_written_does_not_stop_a_question(reporting, world):
    port = world.port()

    def failing(step):
        if step == "custody.uses.recorded.before":
            raise StorageError("the disk is full")

    steps.install(failing)
    assert port.ask(ReadLog(0, 10, "root.used")).rows == ()
    with pytest.raises(StorageError):
        uses.record(port._custodian)
    steps.install(None)
    port.ask(ReadLog())
    assert logged(port) == [reporting]


def test_roots_that_report_nothing_cost_nothing(world):
    port = world.port()
    committed = []
    steps.install(committed.append)
    w.seal(port)
    w.open_(port)
    port.ask(ReadLog())
    steps.install(None)
    assert not [step for step in committed if "uses" in step]
    assert "root.used" not in w.kinds(port)
    assert not isinstance(LocalRoot, ReportsUses)


def test_leaves_have_room(reporting, world):
    port = world.port()
    book = port._custodian.uses
    book.watch(Service(*(f"{number:064d}" for number in range(2 * LIMIT + 1))))
    uses.record(port._custodian)
    assert [len(ids) for ids in logged(port)] == [LIMIT, LIMIT, 1 + len(reporting)]


def test_what_a_leaf_says():
    listed = [
        Used("a", use("x", "login", 5)),
        Used("b", use("y", at_ms=3)),
        Used("a", use("", at_ms=9)),
        Used("a", use("\x1b[2J")),
        Used("a", use("z" * 65)),
    ]
    (entry,) = uses.entries(listed)
    assert entry.facts == {
        "count": 5,
        "first_ms": 3,
        "last_ms": 1000,
        "roots": {"a": {"login": ["x"]}, "b": {"unwrap": ["y"]}},
        "unnamed": 3,
    }
    assert uses.entries([]) == []
    assert uses.of_providers(Service("q"), object())[0].facts["roots"] == {"root-a": {"unwrap": ["q"]}}


def test_a_provider_that_was_let_go_is_still_asked():
    book, service = UseBook(), Service("a")
    book.watch(service)
    book.watch(service)
    with book.taking() as take:
        assert [one.use.request for one in take()] == ["a"]
    service.waiting.append(use("b"))
    with pytest.raises(KeyError), book.taking() as take:
        take()
        raise KeyError
    service.waiting.append(use("c"))
    with book.taking() as take:
        assert [one.use.request for one in take()] == ["b", "c"]
    with book.taking() as take:
        assert take() == ()


def test_threads_share_a_tray():
    tray, taken = UseTray(), []

    def work(name):
        for number in range(500):
            tray.note("unwrap", f"{name}-{number}")
            taken.extend(tray.take())

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.request for one in taken) == sorted(f"{name}-{number}" for name in "abcd" for number in range(500))
    small = UseTray(limit=2)
    for name in ("a", None, "c"):
        small.note("unwrap", name)
    assert [one.request for one in small.take()] == ["", "c"]


def test_a_copy_that_lacks_nothing_but_uses_is_made_twice_a_day(reporting, world_with_backup):
    world = world_with_backup

    def copied():
        return max(path.stat().st_mtime_ns for path in world.backup.rglob("*"))

    with world.connect() as connection:
        w.seal(connection)
    before = copied()
    with world.connect():
        pass
    assert copied() == before, "asking nothing copies nothing"
    custodian = world.custodian()
    port = LocalPort(custodian, backup=BackupKeeper(custodian, world.data, world.backup))
    world.clock.now = before // 1_000_000 + USED_MS + 60_000
    port.ask(ReadLog())
    port.close()
    assert copied() > before
