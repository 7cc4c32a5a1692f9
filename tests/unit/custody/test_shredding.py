"""Crypto-shredding: the key is gone from every page, everything else still reads, and the certificate says what that relies on."""

from __future__ import annotations

import pytest

from hermetic.errors import ApprovalNeeded, Conflict, KeyUnusable, NotFound, UsageError
from hermetic.formats.certificate import parse_certificate
from hermetic.formats.messages.catalogue import CollectGarbage, ListAssets, ShowVersion
from hermetic.formats.messages.destruction import PlanShred, RecordCopiesDestroyed, ShowCertificate, ShredVersions
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.keys import ListKeys, RewrapKey, RotateKey
from hermetic.formats.messages.log import VerifyLog
from hermetic.formats.messages.policy import ListPrincipals
from hermetic.formats.messages.versions import PublishVersion
from hermetic.formats.subjects import as_labels
from hermetic.ids import DataClass, Environment
from tests.unit.custody.approving import Person, the_request, to_shred
from tests.world import DAY, START, begin, change_policy, ended, kinds, leaves, open_, record, seal, sql

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


@pytest.mark.embedded_only
def test_a_crash_before_the_certificate_is_made_up_for_by_who_looks_next(world, port, monkeypatch):
    from hermetic.custody import finishing

    draft, _ = seal(port)
    (wrap,) = [row[0] for row in sql(world, "SELECT wrapped FROM data_key WHERE version_id = ?", draft.version)]

    class Crash(BaseException):
        pass

    def crash(_call, _gone, *, older):
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(finishing, "clean", crash)
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


def certificate(port, ref=REF):
    return parse_certificate(port.ask(ShowCertificate(ref)).payload)


def the_kek(port):
    return port.ask(ListKeys()).keys[0].kek


def test_wraps_from_before_a_rewrap_go_with_the_free_pages(world, port):
    """The wrap under the KEK version of before opens the same data key, and nothing knows its bytes any more."""
    draft, _ = seal(port)
    ((older,),) = sql(world, "SELECT wrapped FROM data_key WHERE version_id = ?", draft.version)
    port.ask(RotateKey(the_kek(port), "test"))
    port.ask(RewrapKey(the_kek(port)))
    leave_in_a_free_page(world, older)
    assert older in pages(world)
    shred(port)
    assert older not in pages(world)
    assert any("older wraps" in item for item in certificate(port).relies)


def leave_in_a_free_page(world, raw):
    """What happens when a page is moved: SQLite's secure_delete does not see everything."""
    sql(world, "PRAGMA secure_delete = OFF")
    import sqlite3

    database = sqlite3.connect(world.database)
    database.executescript("PRAGMA secure_delete = OFF; CREATE TABLE moved (raw BLOB)")
    database.execute("INSERT INTO moved VALUES (?)", (raw + bytes(8000),))
    database.commit()
    database.executescript("DROP TABLE moved")
    database.close()


def test_roots_that_left_make_nothing_complete(world_with_backup):
    """A root's row says that it left this domain. Its key may live on in a service, with holders of shares, under a passphrase."""
    from hermetic.db import tables

    world = world_with_backup
    port = world.port()
    seal(port)
    sql(world, "INSERT OR REPLACE INTO backup_state VALUES ('last_ms', ?)", str(START))
    shred(port)
    custodian = port._custodian
    with custodian.database.write(custodian.row_keys, step="test.committed") as session:
        for row in session.find(tables.root):
            session.update(tables.root, row["id"], row["revision"], state="destroyed", parameters={"wiped_ms": START})
        for row in session.find(tables.kek_version):
            session.update(tables.kek_version, (row["kek_id"], row["number"]), row["revision"], state="destroyed")
    said = certificate(port)
    assert said.state == "deleted"
    assert "every key that opens one" in said.missing[0]
    port.ask(RecordCopiesDestroyed(world.clock.now, "the service's key was destroyed, ticket 4711"))
    said = certificate(port)
    assert said.state == "complete"
    assert any("vouch" in item and "key" in item for item in said.relies)


def test_a_package_keeps_a_shred_from_being_complete(world, port):
    from hermetic.crypto import hpke
    from hermetic.formats.messages.destruction import RecordPackageDestroyed
    from hermetic.formats.messages.packages import RecipientKey, ShareVersion

    draft, _ = seal(port, data_class=DataClass.INTERNAL)
    to = (RecipientKey("lab", hpke.PrivateKey.generate().public), RecipientKey("clinic", hpke.PrivateKey.generate().public))
    share, bob = ShareVersion(REF, draft.version, to, 30, "study"), Person("bob")
    bob.enrol(port)
    with pytest.raises(ApprovalNeeded):
        port.ask(share)
    bob.answers(port, the_request(port), START)
    package = port.ask(share).package
    radius = port.ask(PlanShred((REF,))).radius
    assert len(radius.packages) == 1
    assert package in radius.packages[0]
    assert "2 recipients" in radius.packages[0]
    done = shred(port)
    assert (done.state, len(done.missing)) == ("deleted", 1)
    assert "package-destroyed" in done.missing[0]
    assert any(package in item for item in done.remains)
    assert any(package in item for item in certificate(port).remains)
    with pytest.raises(NotFound):
        port.ask(RecordPackageDestroyed(draft.version, "gone"))
    with pytest.raises(UsageError):
        port.ask(RecordPackageDestroyed(package, " "))
    port.ask(RecordPackageDestroyed(package, "both confirmed it in writing"))
    with pytest.raises(UsageError, match="already"):
        port.ask(RecordPackageDestroyed(package, "again"))
    said = certificate(port)
    assert (said.state, said.missing) == ("complete", ())
    assert any(package in item for item in said.remains)
    assert "package.destroyed" in kinds(port)


def test_the_certificate_names_who_can_still_read(port):
    seal(port)
    seal(port, "features/x", parents=(REF,))
    open_(port, REF)
    shred(port)
    said = certificate(port).remains
    assert any(item.startswith("leases open on 2027-01-15: ") for item in said)
    assert any("features/x@1 was derived" in item for item in said)


def test_a_lease_that_is_over_is_not_counted(world):
    plain = world.port()
    seal(plain)
    assert plain.ask(PlanShred((REF,))).radius.leases == 1
    plain._custodian.steady = lambda: START + 40 * DAY
    assert plain.ask(PlanShred((REF,))).radius.leases == 0


def keeping(world):
    """A port whose custody is copied after each commit, and the place."""
    from hermetic.domain.backing import BackupKeeper
    from hermetic.domain.local import LocalPort

    custodian = world.custodian()
    port = LocalPort(custodian, backup=BackupKeeper(custodian, world.data, world.backup))
    world.ports.append(port)
    return port, world.backup / world.domain


def test_the_copy_after_a_shred_shares_nothing_with_those_before(world_with_backup):
    world = world_with_backup
    port, place = keeping(world)
    seal(port)
    seal(port, "dataset/other")
    before = {path.name for path in place.glob("*-0*")}
    assert any(name.startswith("pack-") for name in before)
    shred(port)
    after = {path.name for path in place.glob("*-0*")}
    assert before & after == set()
    assert sorted(name.partition("-")[0] for name in after) == ["index", "index", "pack"]
    seal(port, "dataset/third")
    assert {path.name for path in place.glob("pack-*")} > {name for name in after if name.startswith("pack-")}


def test_what_a_crash_kept_from_being_copied_anew_is_made_up_for(world_with_backup, monkeypatch):
    from hermetic.domain.backup import Copies

    world = world_with_backup
    port, place = keeping(world)
    seal(port)
    before = {path.name for path in place.glob("*-0*")}
    with monkeypatch.context() as patch:
        patch.setattr(Copies, "write", broken)
        shred(port)
    assert {path.name for path in place.glob("*-0*")} == before
    assert "copies-hold-destroyed" in [item.name for item in port.ask(GatherFacts()).critical]
    seal(port, "dataset/other")
    assert "copies-hold-destroyed" not in [item.name for item in port.ask(GatherFacts()).critical]
    assert {path.name for path in place.glob("*-0*")} & before == set()


def broken(*_given, **_more):
    from hermetic.errors import StorageError

    raise StorageError("the disk is away")


def test_a_copy_is_dated_from_before_its_snapshot(world_with_backup, monkeypatch):
    """A version is shredded while a copy is on its way: the copy holds it, so it must count as one from before."""
    from hermetic.db.rows import ReadSession
    from hermetic.domain.backing import state_of
    from hermetic.formats.messages.backup import TakeBackup

    world = world_with_backup
    port, _ = keeping(world)
    seal(port)
    snapshot = ReadSession.whole_database

    def slow(session):
        found = snapshot(session)
        world.clock.now += DAY
        return found

    with monkeypatch.context() as patch:
        patch.setattr(ReadSession, "whole_database", slow)
        port.ask(TakeBackup())
    assert state_of(port._custodian).last_ms == START
    assert world.clock.now == START + DAY


# by data subject, by project


def labelled(port, name, *subjects, **more):
    return publish(port, name, labels=as_labels(subjects), **more)


def publish(port, name, *, labels, **more):
    draft = begin(port, name, **more)
    port.ask(PublishVersion(draft.version, (record(),), labels=labels))
    return draft


def test_a_subject_is_found_in_whatever_names_it(port):
    labelled(port, "dataset/patients", "P-17", "P-18")
    labelled(port, "dataset/patients", "P-18")
    labelled(port, "embeddings/faces", "P-17")
    seal(port, "features/x", parents=("embeddings/faces@1",))
    plan = port.ask(PlanShred((), subjects=("P-17",)))
    assert plan.refs == ("dataset/patients@1", "embeddings/faces@1")
    assert plan.radius.derived == ("features/x@1",)
    assert plan.notes == ("dataset/patients@1 holds data of others too, which goes with it; other subjects: 1",)
    with pytest.raises(NotFound):
        port.ask(PlanShred((), subjects=("P-1",)))
    port.ask(ShredVersions(plan.refs, plan.versions, "consent withdrawn"))
    with pytest.raises(NotFound):
        port.ask(PlanShred((), subjects=("P-17",)))
    assert port.ask(PlanShred((), subjects=("P-18", "P-99"))).refs == ("dataset/patients@2",)
    for ref in ("dataset/patients@1", "embeddings/faces@1"):
        with pytest.raises(KeyUnusable):
            open_(port, ref)
    open_(port, "dataset/patients@2", "features/x@1")


def test_what_was_derived_is_taken_along_if_asked(port):
    labelled(port, "dataset/patients", "P-17")
    seal(port, "features/x", parents=("dataset/patients@1",))
    seal(port, "model/risk", parents=("features/x@1",))
    seal(port, "dataset/other")
    plan = port.ask(PlanShred((), subjects=("P-17",), derived=True))
    assert plan.refs == ("dataset/patients@1", "features/x@1", "model/risk@1")
    assert plan.radius.derived == ()
    both = port.ask(PlanShred(("dataset/other@1", "dataset/patients@1"), subjects=("P-17",)))
    assert both.refs == ("dataset/other@1", "dataset/patients@1")


def test_a_subject_needs_the_approvals_of_any_shred(world, port):
    people = [Person("bob"), Person("carol")]
    for person in people:
        person.enrol(port)
    change_policy(
        world,
        port,
        lambda text: text.replace("delete: {approvals: 2, approvals_in: {development: 0, staging: 1}}", "delete: {approvals: 2}"),
    )
    labelled(port, "dataset/patients", "P-17")
    plan = port.ask(PlanShred((), subjects=("P-17",)))
    ask = ShredVersions(plan.refs, plan.versions, "consent withdrawn")
    with pytest.raises(ApprovalNeeded):
        port.ask(ask)
    for person in people:
        person.answers(port, the_request(port), START)
    assert port.ask(ask).refs == (REF,)


def test_another_environment_is_told_about_and_left_alone(port):
    labelled(port, "dataset/patients", "P-17")
    labelled(port, "dataset/patients", "P-17", environment=Environment.STAGING)
    plan = port.ask(PlanShred((), subjects=("P-17",)))
    assert (plan.refs, len(plan.notes)) == ((REF,), 1)
    assert "staging" in plan.notes[0]


def test_subjects_are_one_text_and_nothing_of_them_is_in_the_clear(world, port):
    name = "Zoe\u0308 Nightingale"
    labelled(port, "dataset/patients", f"  {name} ")
    assert port.ask(PlanShred((), subjects=("Zo\u00eb Nightingale",))).refs == (REF,)
    assert b"Nightingale" not in pages(world)
    for text in ("", "  ", "a\nb", "x" * 201):
        with pytest.raises(UsageError):
            port.ask(PlanShred((), subjects=(text,)))
    with pytest.raises(UsageError, match="as it is kept"):
        publish(port, "dataset/patients", labels=(("subject", " P-17"),))
