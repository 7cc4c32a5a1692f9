"""Promotion and rollback, with real stores and custody that enforces as a service of another user does."""

from __future__ import annotations

import pwd
from dataclasses import replace

import pytest
from blake3 import blake3

from hermetic.assets.workspace import Workspace
from hermetic.custody.work import unit
from hermetic.db import tables
from hermetic.domain import config
from hermetic.errors import (
    ApprovalNeeded,
    Conflict,
    Denied,
    IntegrityError,
    KeyUnusable,
    NotFound,
    PolicyDenied,
    SignatureError,
    UsageError,
)
from hermetic.formats.messages import catalogue, keys, promotion, versions
from hermetic.formats.suites import APPROVED_SUITE, DEFAULT_SUITE
from hermetic.ids import Enforcement, Environment, Purpose
from tests import world as w
from tests.unit.custody.approving import Person, the_request

DEV, STAGING, PRODUCTION = Environment
OWNER = "owner-shares-with-approval"
FREE = """
@id("test-works") permit (
  principal in Role::"domain-owner",
  action in [
    Action::"seal", Action::"sign", Action::"open", Action::"promote", Action::"read-catalog", Action::"start-run"
  ],
  resource
);
"""


@pytest.fixture
def world(tmp_path):
    made = w.World.make(tmp_path / "world")
    folders = {name: tmp_path / name for name in ("staging", "production")}
    config.save(made.home.domain_config(made.domain), config.UserConfig(store_folders=folders))
    yield made
    made.close()


@pytest.fixture
def h(world):
    with Workspace(world.connect()) as found:
        yield found


@pytest.fixture
def people(h):
    found = [Person(name) for name in ("mo", "li")]
    for person in found:
        person.enrol(h.connection.port)
    return found


def separated(h):
    """From now on custody answers as one under another user id does."""
    h.connection.port._custodian.enforcement = Enforcement.SEPARATED


def agree(h, person):
    row = the_request(h.connection.port)
    person.answers(h.connection.port, row, row.created_ms)
    return row


def promote(h, person, ref="model/risk", to="staging", **more):
    with pytest.raises(ApprovalNeeded):
        h.promote(ref, to, reason="evaluated", **more)
    agree(h, person)
    return h.promote(ref, to, reason="evaluated", **more)


def free(h):
    """A policy under which nobody has to agree."""
    w.change_cedar(h.connection.port, "zz-test.cedar", FREE)


def seal(h, content=b"weights", name="model/risk", **more):
    return h.seal(content, name=name, data_class=more.pop("data_class", "confidential"), owner="ana", parents=(), **more)


def read(h, ref, environment):
    h.connection.environment = environment
    try:
        with h.version(ref, purpose="evaluate") as version:
            return {member.path: version.open(member.path).read() for member in version.members}
    finally:
        h.connection.environment = None


def test_a_promotion_waits_for_approval_of_this_version_into_this_environment(h, people):
    seal(h, labels=[("auc", "0.91")])
    with pytest.raises(ApprovalNeeded, match="promote needs the approval of 1 other person") as refused:
        h.promote("model/risk", "staging", reason="evaluated")
    assert refused.value.exit_code == 5
    row = agree(h, people[0])
    said = {pair.name: pair.value for pair in row.asks}
    assert (said["asks"], said["to"], said["environment"]) == ("promote-version", "staging", "development")
    with pytest.raises(ApprovalNeeded):  # of another text, or into another place, it is another request
        h.promote("model/risk", "staging", reason="something else")
    done = h.promote("model/risk", "staging", reason="evaluated")
    assert (done.ref, done.environment, done.source_environment, done.bytes) == ("model/risk@1", STAGING, DEV, 7)

    source, copy = h.show("model/risk"), h.show("model/risk", environment=STAGING)
    assert copy.store == "staging"
    assert copy.kek != source.kek
    assert (copy.data_class, copy.owner, copy.labels, copy.purpose) == (source.data_class, "ana", source.labels, source.purpose)
    assert read(h, "model/risk", STAGING) == read(h, "model/risk", DEV) == {"data": b"weights"}
    graph = h.connection.ask(catalogue.TraceLineage("model/risk", environment=STAGING))
    assert (copy.version, source.version) in {(edge.child, edge.parent) for edge in graph.edges}
    port = h.connection.port
    (decided,) = [(facts, said) for kind, facts, said in w.leaves(port) if kind == "version.promotion"]
    assert (decided[0]["to"], decided[0]["approvals"], decided[0]["policies"]) == ("staging", 1, [OWNER])
    assert decided[1]["reason"] == "evaluated"
    (finished,) = [facts for kind, facts, _ in w.leaves(port) if kind == "version.promoted"]
    assert (finished["version"], finished["copy"]) == (source.version, copy.version)
    assert [facts["action"] for kind, facts, _ in w.leaves(port) if kind == "release.intent"][-4:].count("promote") == 2

    assert h.promote("model/risk", "staging", reason="evaluated").before
    seal(h, b"newer")
    with pytest.raises(ApprovalNeeded):  # what was agreed to is used up, and was for another version
        h.promote("model/risk", "staging", reason="evaluated")


def test_metadata_limits_and_members_are_carried_over(world, h, people, tmp_path):
    w.change_policy(
        world,
        h.connection.port,
        lambda text: text.replace("rules: []", "rules:\n  - {asset: dataset/limited, class: internal, purposes: [ingest, evaluate]}"),
    )
    folder = tmp_path / "shards"
    folder.mkdir()
    for name in ("a.parquet", "b.bin"):
        (folder / name).write_bytes(name.encode() * 1000)
    h.seal(folder, name="dataset/limited", owner="ana")
    done = promote(h, people[0], "dataset/limited")
    assert done.objects == 2
    assert read(h, "dataset/limited", STAGING) == read(h, "dataset/limited", DEV)
    h.connection.environment = STAGING
    with pytest.raises(PolicyDenied, match="not for train"):
        h.version("dataset/limited", purpose="train")
    found = []
    for environment in (DEV, STAGING):
        h.connection.environment = environment
        with h.version("dataset/limited", purpose="evaluate") as version:
            for member in version.members:
                with version.reader(member) as reader:
                    found.append(reader.metadata)
    assert found[:2] == found[2:]
    assert "modified_ms" in found[0].details


def test_the_class_is_never_lowered(h, people):
    seal(h, data_class="restricted")
    h.connection.environment = STAGING
    seal(h, data_class="internal")
    h.connection.environment = None
    promote(h, people[0], purpose="evaluate")
    assert h.show("model/risk@2", environment=STAGING).data_class == "restricted"


def test_production_is_out_of_reach_of_cooperative_custody_and_takes_promotions_from_where_it_says(world, h):
    seal(h)
    free(h)
    with pytest.raises(PolicyDenied, match="confidential data in production needs separated enforcement, this is cooperative"):
        h.promote("model/risk", "production", reason="hurry")
    w.change_policy(
        world,
        h.connection.port,
        lambda text: text.replace("require_enforcement: separated}", "require_enforcement: separated, from: [staging]}"),
    )
    separated(h)
    with pytest.raises(PolicyDenied, match="production takes versions from staging, not from development") as refused:
        h.promote("model/risk", "production", reason="hurry")
    assert "--environment staging" in refused.value.hint
    h.promote("model/risk", "staging", reason="evaluated")
    h.connection.environment = STAGING
    done = h.promote("model/risk", "production", reason="accepted")
    assert (done.source_environment, done.environment) == (STAGING, PRODUCTION)
    h.connection.environment = None
    assert read(h, "model/risk", PRODUCTION) == {"data": b"weights"}
    h.connection.port._custodian.enforcement = Enforcement.COOPERATIVE
    with pytest.raises(PolicyDenied, match="needs separated enforcement"):
        read(h, "model/risk", PRODUCTION)


def test_what_does_not_verify_is_not_promoted(world, h):
    free(h)
    sealed = seal(h, b"x" * 100_000)
    (place,) = (world.project / "sealed" / sealed.version).glob("*.sealed")
    whole = place.read_bytes()
    place.write_bytes(whole[:60_000] + bytes([whole[60_000] ^ 1]) + whole[60_001:])
    with pytest.raises((IntegrityError, SignatureError)):
        h.promote("model/risk", "staging", reason="evaluated")
    with pytest.raises(NotFound):
        h.show("model/risk", environment=STAGING)
    place.write_bytes(whole)
    assert h.promote("model/risk", "staging", reason="evaluated").ref == "model/risk@1"


def test_a_promotion_that_was_interrupted_goes_on_without_new_approvals(h, people, monkeypatch):
    from hermetic.assets import promoting

    seal(h)
    with monkeypatch.context() as patch:
        patch.setattr(promoting, "_compare", lambda _draft: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(ApprovalNeeded):
            h.promote("model/risk", "staging", reason="evaluated")
        agree(h, people[0])
        with pytest.raises(KeyboardInterrupt):
            h.promote("model/risk", "staging", reason="evaluated")
    assert h.promote("model/risk", "staging", reason="evaluated").ref == "model/risk@1"


def test_what_was_agreed_to_covers_no_other_request(h, people):
    """Approvals that a promotion has used cover its own steps: not another purpose or reason, nor a rollback of what came after."""
    seal(h)
    shown = h.show("model/risk")
    asked = promotion.PromoteVersion(shown.ref, shown.version, DEV, STAGING, "evaluated")
    port = h.connection.port
    with pytest.raises(ApprovalNeeded):
        port.ask(asked)
    agree(h, people[0])
    assert port.ask(asked).id
    assert port.ask(asked).id
    for other in (replace(asked, purpose=Purpose.PREPARE), replace(asked, reason="because I want to")):
        with pytest.raises(ApprovalNeeded):
            port.ask(other)


def test_a_rollback_that_was_agreed_to_replaces_no_later_version(h, people):
    for content in (b"one", b"two"):
        seal(h, content)
    first, second = h.show("model/risk@1"), h.show("model/risk@2")
    asked = promotion.RollBack(first.ref, first.version, DEV, second.version, "two is wrong")
    port = h.connection.port
    with pytest.raises(ApprovalNeeded):
        port.ask(asked)
    agree(h, people[0])
    assert port.ask(asked).id
    seal(h, b"three")
    with pytest.raises(ApprovalNeeded):
        port.ask(replace(asked, latest=h.show("model/risk@3").version))


def test_a_promotion_writes_no_version_of_another_project(h):
    free(h)
    seal(h, project="red")
    h.connection.environment = STAGING
    seal(h, b"theirs", project="blue")
    h.connection.environment = None
    with pytest.raises(PolicyDenied, match="of another project"):
        h.promote("model/risk", "staging", reason="evaluated")
    assert read(h, "model/risk", STAGING) == {"data": b"theirs"}


def test_what_is_there_is_not_carried_again(h):
    free(h)
    seal(h)
    first = h.promote("model/risk", "staging", reason="evaluated")
    again = h.promote("model/risk", "staging", reason="evaluated")
    assert (again.ref, again.before, first.before) == (first.ref, True, False)
    seal(h, b"newer")
    h.promote("model/risk", "staging", reason="evaluated")
    with pytest.raises(Conflict, match="newer versions have followed") as refused:
        h.promote("model/risk@1", "staging", reason="evaluated")
    assert "hermetic rollback model/risk --environment staging --to 1" in refused.value.hint
    with pytest.raises(UsageError, match="in development already"):
        h.promote("model/risk", "development", reason="why not")


def test_the_copy_has_what_was_promoted_or_is_not_published(h):
    free(h)
    seal(h)
    port, details = h.connection.port, h.show("model/risk")
    asked = promotion.PromoteVersion(details.ref, details.version, DEV, STAGING, "evaluated")
    decided = port.ask(asked)
    begin = versions.BeginVersion(w.fresh(), "model/risk", environment=STAGING, promotion=decided.id)
    draft = port.ask(begin)
    assert (draft.environment, draft.store, draft.data_class) == (STAGING, "staging", "confidential")
    for wrong in ([w.record(content=b"altered")], [w.record(content=b"weights", member="other")], [w.record(content=b"weights!")]):
        with pytest.raises(IntegrityError, match="the copy has other"):
            port.ask(versions.PublishVersion(draft.version, tuple(wrong)))
    made_of = ({"parents": ("model/risk@1",)}, {"read": (details.version,)})
    for change in ({"name": "model/other"}, {"environment": DEV}, {"data_class": "public"}, *made_of):
        given = {"name": "model/risk", "environment": STAGING} | change
        with pytest.raises(UsageError):
            port.ask(versions.BeginVersion(w.fresh(), given.pop("name"), promotion=decided.id, **given))
    with pytest.raises(UsageError, match="opens the one version"):
        port.ask(versions.OpenVersions(w.fresh(), ("model/risk", "model/risk"), promotion=decided.id))


def decide_to_promote(h):
    details = h.show("model/risk")
    return h.connection.port.ask(promotion.PromoteVersion(details.ref, details.version, DEV, STAGING, "evaluated"))


def begin_copy(h, decided):
    return h.connection.port.ask(versions.BeginVersion(w.fresh(), "model/risk", environment=STAGING, promotion=decided.id))


RETIRED = f"retired_suites:\n  - {{suite: {DEFAULT_SUITE.name}, reason: a weakness was found}}\n"


def test_a_copy_of_another_suite_is_compared_by_the_digests_of_its_source(h):
    free(h)
    seal(h)
    w.change_policy(None, h.connection, lambda document: document + RETIRED)
    decided = decide_to_promote(h)
    draft = begin_copy(h, decided)
    other = {"suite": APPROVED_SUITE.name, "algorithm": APPROVED_SUITE.digest}
    for wrong in (
        replace(w.record(content=b"altered"), **other),
        replace(w.record(content=b"altered"), former=blake3(b"altered").digest(), **other),
        replace(w.record(content=b"weights"), **other),  # without the former digest nothing can be compared
    ):
        with pytest.raises(IntegrityError, match="the copy has other content"):
            h.connection.port.ask(versions.PublishVersion(draft.version, (wrong,)))
    assert h.promote("model/risk", "staging", reason="evaluated").ref == "model/risk@1"
    assert read(h, "model/risk@1", STAGING) == {"data": b"weights"}


def test_what_custody_has_no_fingerprint_of_is_not_promoted(h):
    free(h)
    seal(h)
    with unit(h.connection.port._custodian, "custody.publish.committed", 1) as work:
        for row in work.session.find(tables.fingerprint):
            work.session.delete(tables.fingerprint, (row["version_id"], row["member_h"]))
    draft = begin_copy(h, decide_to_promote(h))
    with pytest.raises(IntegrityError, match="no fingerprint"):
        h.connection.port.ask(versions.PublishVersion(draft.version, (w.record(content=b"weights"),)))


def test_somebody_elses_promotion_is_no_key(world, h):
    free(h)
    seal(h)
    w.enrol(h.connection.port, "nobody", ("research-lead",))
    details = h.show("model/risk")
    decided = h.connection.port.ask(promotion.PromoteVersion(details.ref, details.version, DEV, STAGING, "evaluated"))
    other = world.port(uid=pwd.getpwnam("nobody").pw_uid)
    for ask in (
        versions.OpenVersions(w.fresh(), (details.ref,), promotion=decided.id),
        versions.BeginVersion(w.fresh(), "model/risk", environment=STAGING, promotion=decided.id),
    ):
        with pytest.raises(Denied, match="allowed to somebody else"):
            other.ask(ask)


def test_a_rollback_gives_readers_the_earlier_content_under_a_higher_number(h):
    free(h)
    for content in (b"one", b"two", b"three"):
        seal(h, content)
        h.promote("model/risk", "staging", reason="evaluated")
    assert read(h, "model/risk", STAGING) == {"data": b"three"}
    done = h.rollback("model/risk", "staging", reason="three is wrong")
    assert (done.source, done.ref, done.environment) == ("model/risk@2", "model/risk@4", STAGING)
    assert read(h, "model/risk", STAGING) == {"data": b"two"}
    assert h.rollback("model/risk", "staging", reason="two as well").source == "model/risk@1"  # never forward to three
    assert read(h, "model/risk", STAGING) == {"data": b"one"}
    with pytest.raises(UsageError, match="no earlier version"):
        h.rollback("model/risk", "staging", reason="one too")
    assert read(h, "model/risk", DEV) == {"data": b"three"}
    assert h.rollback("model/risk", "staging", to=3, reason="it was not").ref == "model/risk@6"
    kinds = [facts["kind"] for kind, facts, _ in w.leaves(h.connection.port) if kind == "version.promoted"]
    assert kinds.count("rollback") == 3


def test_what_is_shredded_or_revoked_or_compromised_is_not_rolled_back_to(h):
    free(h)
    for content in (b"one", b"two"):
        seal(h, content)
        h.promote("model/risk", "staging", reason="evaluated")
    port = h.connection.port
    h.connection.environment = STAGING
    kek = h.show("model/risk@1").kek
    port.ask(keys.ChangeKeyState(kek, "revoke", "stolen"))
    seal(h, b"three")  # under a new version of the key
    with pytest.raises(KeyUnusable, match="was revoked"):
        h.rollback("model/risk", "staging", to=1, reason="back")


def test_a_rollback_needs_no_source_environment(world, h, monkeypatch):
    free(h)
    for content in (b"one", b"two"):
        seal(h, content)
        h.promote("model/risk", "staging", reason="evaluated")
    h.connection.stores = {name: store for name, store in h.connection.stores.items() if name == "staging"}
    assert h.rollback("model/risk", "staging", reason="two is wrong").ref == "model/risk@3"


def test_while_somebody_promotes_a_rollback_of_what_was_latest_ends(h):
    free(h)
    for content in (b"one", b"two"):
        seal(h, content)
        h.promote("model/risk", "staging", reason="evaluated")
    port = h.connection.port
    shown = [h.show(f"model/risk@{number}", environment=STAGING) for number in (1, 2)]
    decided = port.ask(promotion.RollBack(shown[0].ref, shown[0].version, STAGING, shown[1].version, "two is wrong"))
    draft = port.ask(versions.BeginVersion(w.fresh(), "model/risk", environment=STAGING, promotion=decided.id))
    seal(h, b"three")
    h.promote("model/risk", "staging", reason="evaluated")
    with pytest.raises(Conflict, match="became the latest meanwhile"):
        port.ask(versions.PublishVersion(draft.version, (w.record(content=b"one"),)))


def test_purpose_is_the_one_it_was_sealed_for_and_limits_hold(h):
    free(h)
    seal(h, purpose="train")
    details = h.show("model/risk")
    asked = promotion.PromoteVersion(details.ref, details.version, DEV, STAGING, "evaluated")
    assert h.connection.ask(asked).purpose is Purpose.TRAIN
