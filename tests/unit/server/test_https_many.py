"""More than fits into one message, through HTTPS: many versions at once, a long catalogue, a long log."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from hermetic.assets import releases
from hermetic.assets.session import fresh_id
from hermetic.assets.workspace import Workspace
from hermetic.custody import cataloguing, logbook, paging
from hermetic.domain import listing
from hermetic.domain.connect import connect
from hermetic.domain.custody_place import URL
from hermetic.domain.listing import every, read_log
from hermetic.errors import IntegrityError, UsageError
from hermetic.formats import codec
from hermetic.formats.messages.catalogue import AssetList, ListAssets, ListExposures
from hermetic.formats.messages.identity import EnrolIdentity, ListIdentities
from hermetic.formats.messages.keys import KeyList, ListKeys
from hermetic.formats.messages.log import LogPage, ReadLog
from hermetic.formats.messages.policy import GiveGrant, ListGrants, ListPrincipals, RevokeGrant
from hermetic.formats.messages.runs import ListRuns, StartRun
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import DataClass, Purpose
from tests import backends
from tests import world as w
from tests.world import World

MANY = 1000


@pytest.fixture(scope="module")
def far(tmp_path_factory):
    """A connection to custody behind HTTPS, as the library has it, and the world it is of."""
    world = World.make(tmp_path_factory.mktemp("many") / "world")
    with contextlib.closing(world):
        w.seal(world.port(), "dataset/a")
        served = backends.serving("service", world.home, world.domain, world.root)
        with served as url, pytest.MonkeyPatch.context() as environment:
            environment.setenv(URL, url)
            with connect(world.project, home=world.home) as connection:
                yield connection, world


def test_a_long_catalogue(far, monkeypatch):
    """It comes in as many pages as it needs, each asset once, in order of name; a page never weighs more than is counted."""
    connection, world = far
    port = world.ports[0]
    for number in range(12):
        w.seal(port, f"dataset/listed-{number:02}")
    whole = Workspace(connection).list()
    assert [row.name for row in whole] == ["dataset/a", *(f"dataset/listed-{number:02}" for number in range(12))]
    monkeypatch.setattr(cataloguing, "PAGE_BYTES", 4000)
    assert len(connection.ask(ListAssets()).assets) in range(1, 5)
    assert Workspace(connection).list() == whole
    assert len(Workspace(connection).list("dataset/listed-*")) == 12
    odd = replace(whole[0], name="\x01" * 100, owner="\u00e9" * 100, project='"' * 100, store="s" * 64, kek_state="compromised")
    more = len(codec.encode(AssetList((odd, odd)))) - len(codec.encode(AssetList((odd,))))
    assert more <= cataloguing.ROW_BYTES + cataloguing.ESCAPED * len(f"{odd.name}{odd.owner}{odd.project}".encode())
    with pytest.raises(UsageError, match="no place in a list"):
        connection.ask(ListAssets(after="dataset/a"))


def test_other_long_lists(far, monkeypatch):
    """Each comes whole in pages of its own, in the order that it has in one."""
    connection, world = far
    port = world.ports[0]
    for number in range(6):
        port.ask(EnrolIdentity(f"somebody-{number}", "person", ("auditor",), "reads"))
        port.ask(GiveGrant(f"somebody-{number}", "open", "dataset/a", (Purpose.AUDIT,), world.clock() + w.HOUR, "looks"))
        port.ask(StartRun(fresh_id(), f"run-{number}", Purpose.PREPARE))
    port.ask(RevokeGrant(port.ask(ListGrants()).grants[2].id, "over"))
    for data_class in ("public", "internal", "confidential"):
        w.seal(port, f"dataset/of-{data_class}", DataClass(data_class))
    lists = [
        (ListKeys(), "keys"),
        (ListGrants(), "grants"),
        (ListGrants(ended=True), "grants"),
        (ListPrincipals(), "principals"),
        (ListIdentities(), "identities"),
        (ListRuns(), "runs"),
        (ListExposures(ended=True), "exposures"),
    ]
    whole = [getattr(connection.ask(request), field) for request, field in lists]
    assert [len(rows) for rows in whole[1:4]] == [5, 6, 7]
    monkeypatch.setattr(paging, "PAGE_BYTES", 300)
    for (request, field), rows in zip(lists, whole, strict=True):
        page = connection.ask(request)
        assert (page.next is None) == (len(rows) < 2)
        assert every(connection.ask, request, field) == rows
        with pytest.raises(UsageError, match="no place"):
            connection.ask(replace(request, after="nothing"))
    assert Workspace(connection).runs(limit=3) == whole[5][:3]
    monkeypatch.setattr(paging, "PAGE_BYTES", 10**6)
    assert len(connection.ask(ListRuns(4)).runs) == 4


def test_a_list_that_leads_back_is_refused():
    answers = {None: KeyList((), "a"), "a": KeyList((), "b"), "b": KeyList((), "a")}
    with pytest.raises(IntegrityError, match="does not go on"):
        every(lambda request: answers[request.after], ListKeys(), "keys")


def test_a_long_log(far, monkeypatch):
    """The same of entries, whatever the limit, from the front and from the end, of all kinds and of one."""
    connection, _ = far
    size, whole = read_log(connection.ask, ReadLog(0, 10_000))
    assert [row.index for row in whole] == list(range(size))
    monkeypatch.setattr(logbook, "PAGE_BYTES", 8000)
    assert connection.ask(ReadLog(0, 200)).next in range(1, size)
    assert read_log(connection.ask, ReadLog(0, 10_000)) == (size, whole)
    assert read_log(connection.ask, ReadLog(-20, 20)) == (size, whole[-20:])
    releases_ = tuple(row for row in whole if row.kind.startswith("release"))
    for limit in (10, 10_000):
        assert read_log(connection.ask, ReadLog(-limit, limit, "release"))[1] == releases_[-limit:]
    monkeypatch.setattr(listing, "LOG_PAGE", 7)
    assert read_log(connection.ask, ReadLog(0, 30)) == (size, whole[:30])
    assert read_log(connection.ask, ReadLog(-30, 30, "release"))[1] == releases_[-30:]
    row = whole[-1]
    one, two = (len(codec.encode(LogPage((row,) * count, 1))) for count in (1, 2))
    assert two - one <= logbook._weight(row)


def test_many_versions(far):
    """The library asks for as many in one request as custody takes: 1,000 are five, each on record, in the order asked."""
    connection, world = far
    h = Workspace(connection)
    before = w.kinds(world.ports[0]).count("release.intent")
    found = h.open_many(["dataset/a@1", "dataset/a"] * (MANY // 2), purpose="prepare")
    assert {version.ref for version in found} == {"dataset/a@1"}
    assert len({version.leased.lease.id for version in found}) == MANY
    assert w.kinds(world.ports[0]).count("release.intent") - before == MANY // releases.APART
    for version in found:
        version.leased.wipe()
    with pytest.raises(UsageError, match="at most 200 versions"):
        connection.ask(OpenVersions(w.fresh(), ("dataset/a",) * (releases.APART + 1), Purpose.PREPARE))
