"""Crypto-shredding: the key is gone from every page, everything else still reads, and the certificate says what that relies on."""

from __future__ import annotations

import pytest

from hermetic.errors import Conflict, KeyUnusable, NotFound, UsageError
from hermetic.formats.certificate import parse_certificate
from hermetic.formats.messages.catalogue import CollectGarbage, ListAssets, ShowVersion
from hermetic.formats.messages.destruction import PlanShred, RecordCopiesDestroyed, ShowCertificate, ShredVersions
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.keys import ListKeys, RewrapKey, RotateKey
from hermetic.formats.messages.log import VerifyLog
from hermetic.formats.messages.policy import ListPrincipals
from hermetic.ids import DataClass
from tests.unit.custody.approving import to_shred
from tests.world import DAY, START, ended, kinds, leaves, open_, seal, sql

REF = "dataset/patients@1"


def shred(port, *refs, reason="consent withdrawn"):
    return port.ask(to_shred(port, *(refs or (REF,)), reason=reason))


def pages(world):
    """Every byte of the database and its write-ahead log."""
    wal = world.database.with_name(world.database.name + "-wal")
    return world.database.read_bytes() + (wal.read_bytes() if wal.exists() else b"")


def high(port):
    return [item for item in port.ask(VerifyLog((), ())).findings if f"|{item.value}".startswith("|high")]


def test_one_version_goes_and_the_others_stay(world, port):
    draft, _ = seal(port)
    seal(port)
    seal(port, "dataset/other")
    wraps = [row[0] for row in sql(world, "SELECT wrapped FROM data_key ORDER BY id")]
    ((version, mine),) = sql(world, "SELECT version_id, wrapped FROM data_key WHERE version_id = ?", draft.version)
    assert (version, mine in pages(world)) == (draft.version, True)
    done = shred(port)
    assert (done.refs, done.state, done.missing) == ((REF,), "complete", ())
    held = pages(world)
    assert mine not in held
    assert mine[-16:] not in held
    assert sum(wrap in held for wrap in wraps) == len(wraps) - 1
    name = port.ask(ListPrincipals()).principals[0].name
    with pytest.raises(KeyUnusable, match=f"dataset/patients@1 was shredded on 2027-01-15 by {name}") as caught:
        open_(port, REF)
    assert caught.value.exit_code == 3
    open_(port, "dataset/patients@2", "dataset/other@1")
    assert high(port) == []
    assert "version.deleted" in kinds(port)


def test_it_is_shown_and_listed(port):
    seal(port)
    shred(port)
    details = port.ask(ShowVersion(REF))
    assert (details.state, details.members) == ("deleted", ())
    (row,) = port.ask(ListAssets()).assets
    assert (row.latest, row.versions) == (0, 0)
    port.ask(GatherFacts())
    with pytest.raises(NotFound):
        open_(port)


def test_leases_end(port):
    seal(port)
    (released,) = open_(port, REF).released
    assert ended(port, released.lease) is None
    shred(port)
    assert ended(port, released.lease) is not None


def test_shredding_twice_says_so(port):
    seal(port)
    shred(port)
    with pytest.raises(KeyUnusable, match="shredded on") as caught:
        shred(port)
    assert "certificate" in caught.value.hint


def test_versions_are_named_with_their_numbers(port):
    draft, _ = seal(port)
    with pytest.raises(UsageError, match="names no version"):
        port.ask(ShredVersions(("dataset/patients",), (draft.version,), "x"))
    with pytest.raises(UsageError):
        shred(port, reason=" ")
    with pytest.raises(UsageError):
        port.ask(ShredVersions((), (), "nothing"))
    for refs, ids in (((REF,), ()), ((REF, REF), (draft.version, draft.version))):
        with pytest.raises(UsageError, match="and its id"):
            port.ask(ShredVersions(refs, ids, "x"))
    with pytest.raises(Conflict, match="another version"):
        port.ask(ShredVersions((REF,), (draft.asset,), "x"))
    with pytest.raises(NotFound):
        shred(port, "dataset/patients@2")
    open_(port, REF)


def test_all_or_none(port):
    seal(port)
    seal(port, "dataset/other")
    shred(port, "dataset/other@1")
    with pytest.raises(KeyUnusable):
        shred(port, REF, "dataset/other@1")
    open_(port, REF)


def test_a_plan_finds_a_project_and_what_was_derived(port):
    seal(port)
    seal(port)
    seal(port, "features/x", parents=("dataset/patients@1",))
    plan = port.ask(PlanShred((), "cardio"))
    assert set(plan.refs) == {"dataset/patients@1", "dataset/patients@2", "features/x@1"}
    one = port.ask(PlanShred((REF,)))
    assert one.radius.derived == ("features/x@1",)
    assert shred(port).derived == ("features/x@1",)
    with pytest.raises(NotFound):
        port.ask(PlanShred((), "other"))
    shred(port, *[ref for ref in plan.refs if ref != REF])
    assert sorted(kinds(port)).count("version.deleted") == 3


def test_a_domain_with_copies_is_deleted_first_and_complete_later(world_with_backup):
    world = world_with_backup
    port = world.port()
    seal(port)
    sql(world, "INSERT OR REPLACE INTO backup_state VALUES ('last_ms', ?)", str(START))
    done = shred(port)
    assert done.state == "deleted"
    assert "copies-destroyed" in done.missing[0]
    said = parse_certificate(port.ask(ShowCertificate(REF)).payload)
    assert (said.state, said.kind, said.reason) == ("deleted", "shred", "consent withdrawn")
    world.clock.now += DAY
    port.ask(RecordCopiesDestroyed(world.clock.now, "tapes shredded"))
    later = parse_certificate(port.ask(ShowCertificate(REF)).payload)
    assert (later.state, later.done_ms, later.made_ms, later.missing) == ("complete", START, START + DAY, ())
    assert any("vouch" in item for item in later.relies)
    assert port.ask(ShowCertificate(REF)).payload == port.ask(ShowCertificate(done.certificate)).payload or said.state == "deleted"


def test_rotating_the_kek_alone_does_not_make_it_complete(world_with_backup):
    """A copy from before holds the slots too: the KEK's destruction here does not reach it while a root is left."""
    world = world_with_backup
    port = world.port()
    seal(port)
    sql(world, "INSERT OR REPLACE INTO backup_state VALUES ('last_ms', ?)", str(START))
    shred(port)
    kek = port.ask(ListKeys()).keys[0].kek
    port.ask(RotateKey(kek, "after the shred"))
    port.ask(RewrapKey(kek))
    assert parse_certificate(port.ask(ShowCertificate(REF)).payload).state == "deleted"


def test_a_reader_in_the_way_leaves_it_deleted_until_the_files_are_clean(world, port, monkeypatch):
    seal(port)
    database = port._custodian.database if hasattr(port, "_custodian") else port._inner._custodian.database

    def busy(_gone):
        raise Conflict("a reader holds on to an older state")

    monkeypatch.setattr(database, "scrub", busy)
    done = shred(port)
    assert done.state == "deleted"
    assert "could not be cleaned" in done.missing[0]
    said = parse_certificate(port.ask(ShowCertificate(REF)).payload)
    assert said.state == "complete"
    assert any("rebuilt" in item for item in said.relies)


def test_a_wrap_put_back_is_found(world, port):
    """Who kept an old row of the data key and the version, and writes the database, is found by the log."""
    seal(port)
    (key,) = sql(world, "SELECT * FROM data_key")
    (version,) = sql(world, "SELECT * FROM version")
    shred(port)
    for table, row in (("data_key", key), ("version", version)):
        sql(world, f"REPLACE INTO {table} VALUES ({', '.join('?' * len(row))})", *row)
    found = [item.value for item in port.ask(VerifyLog((), ())).findings if item.name == "row-put-back"]
    assert any("version" in text for text in found)


def test_garbage_collection_may_take_the_objects(port):
    draft, _ = seal(port)
    shred(port)
    garbage = port.ask(CollectGarbage(older_than_ms=DAY, dry_run=True))
    assert [item.version for item in garbage.items] == [draft.version]
    assert draft.version not in garbage.keep


def test_the_entry_says_how_many_approved(port):
    seal(port, data_class=DataClass.INTERNAL)
    shred(port)
    (entry,) = [facts for kind, facts, _ in leaves(port) if kind == "version.deleted"]
    assert (entry["how"], entry["approvals"]) == ("shredded", 0)


def test_a_crash_before_the_certificate_is_made_up_for_by_who_looks_next(world, port, monkeypatch):
    from hermetic.custody import destroying

    draft, _ = seal(port)
    (wrap,) = [row[0] for row in sql(world, "SELECT wrapped FROM data_key WHERE version_id = ?", draft.version)]

    class Crash(BaseException):
        pass

    def crash(_call, _gone):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(destroying, "clean", crash)
        with pytest.raises(Crash):
            shred(port)
    with pytest.raises(NotFound):
        port.ask(ShowCertificate(REF))
    with pytest.raises(KeyUnusable):
        open_(port, REF)
    port.ask(CollectGarbage(older_than_ms=DAY))
    said = parse_certificate(port.ask(ShowCertificate(REF)).payload)
    assert (said.state, said.reason) == ("complete", "consent withdrawn")
    assert any("rebuilt" in item for item in said.relies)
    assert wrap not in pages(world)
    (index,) = [at for at, kind in enumerate(kinds(port)) if kind == "version.deleted"]
    assert said.log.index == index
    assert sql(world, "SELECT key FROM setting WHERE key LIKE 'certificate/%'") == []
    assert high(port) == []
