"""Drafts and versions: classes that inherit, keys that are new, what publishing refuses."""

from __future__ import annotations

import dataclasses

import pytest

from hermetic import steps
from hermetic.custody import sealing
from hermetic.errors import Conflict, Denied, FormatError, HermeticError, KeyUnusable, NotFound, PolicyDenied, UsageError
from hermetic.formats.messages import catalogue, keys, log, runs, versions
from hermetic.ids import DataClass, Environment, Purpose
from tests import world as w

INTERNAL, CONFIDENTIAL, RESTRICTED, PUBLIC = DataClass.INTERNAL, DataClass.CONFIDENTIAL, DataClass.RESTRICTED, DataClass.PUBLIC


@pytest.fixture(autouse=True)
def no_hook():
    yield
    steps.install(None)


def start(port, purpose=Purpose.PREPARE):
    return port.ask(runs.StartRun(w.fresh(), "work", purpose)).run


def test_a_draft_has_a_key_of_its_own(port):
    one, two = w.begin(port), w.begin(port)
    assert w.key_of(port, one.lease) != w.key_of(port, two.lease)
    assert one.asset == two.asset
    assert one.version != two.version
    with pytest.raises(NotFound):
        w.open_(port)


def test_a_draft_is_no_version_until_published(port):
    draft = w.begin(port)
    published = port.ask(versions.PublishVersion(draft.version, (w.record(),)))
    assert published.number == 1
    with pytest.raises(Conflict):
        port.ask(versions.PublishVersion(draft.version, (w.record(),)))
    with pytest.raises(Conflict):
        port.ask(versions.AbandonVersion(draft.version))


def test_an_abandoned_draft_is_gone(port):
    draft = w.begin(port)
    port.ask(versions.AbandonVersion(draft.version))
    port.ask(versions.AbandonVersion(draft.version))
    with pytest.raises(Conflict):
        port.ask(versions.PublishVersion(draft.version, (w.record(),)))
    assert w.ended(port, draft.lease)
    assert w.kinds(port).count("version.abandoned") == 1


@pytest.mark.parametrize(
    "objects",
    [
        (),
        (w.record(1),),
        (w.record(0, member="a"), w.record(2, member="b")),
        (w.record(0, member="a"), w.record(1, member="a")),
        (w.record(0, member="../a"),),
        (w.record(0, member="/a"),),
        (dataclasses.replace(w.record(0), object="nothing"),),
        (dataclasses.replace(w.record(0), root=b"short"),),
        (dataclasses.replace(w.record(0), algorithm="md5"),),
        (dataclasses.replace(w.record(0), length=-1),),
        (dataclasses.replace(w.record(0), digest=b"short"),),
    ],
)
def test_objects_that_are_none_are_refused(port, objects):
    draft = w.begin(port)
    with pytest.raises(HermeticError) as refused:
        port.ask(versions.PublishVersion(draft.version, objects))
    assert refused.value.exit_code in {2, 4}
    with pytest.raises(NotFound):
        w.open_(port)


def test_labels_have_limits(port):
    draft = w.begin(port)
    with pytest.raises(UsageError):
        port.ask(versions.PublishVersion(draft.version, (w.record(),), labels=(("one",),)))
    port.ask(versions.PublishVersion(draft.version, (w.record(),), labels=(("split", "train"),)))
    assert port.ask(catalogue.ShowVersion("dataset/patients")).labels == (("split", "train"),)


def test_somebody_elses_draft_is_not_mine(world):
    port = world.port()
    draft = w.begin(port, "features/x", INTERNAL)
    w.enrol(port, "nobody", ["ml-engineer", "research-lead"])
    other = world.port(uid=65534)
    for request in (versions.PublishVersion(draft.version, (w.record(),)), versions.AbandonVersion(draft.version)):
        with pytest.raises(Denied):
            other.ask(request)
    assert w.ended(other, draft.lease) == "it belongs to somebody else"
    other.ask(versions.EndLeases((draft.lease.id,)))
    assert w.ended(port, draft.lease) is None


@pytest.mark.parametrize("name", ["scratch/x", "dataset/", "nothing/x", "dataset/../x", "dataset/x@3"])
def test_names_that_are_none(port, name):
    with pytest.raises(UsageError):
        w.begin(port, name)
    assert w.kinds(port)[-1] == "release.denied"


# classes


def test_the_class_is_asked_for_once(port):
    with pytest.raises(UsageError):
        w.begin(port, "dataset/new", None)
    w.seal(port, "dataset/new", CONFIDENTIAL)
    assert w.begin(port, "dataset/new", None).data_class is CONFIDENTIAL


def test_a_version_takes_the_strictest_class_of_its_parents(port):
    w.seal(port)
    w.seal(port, "dataset/shops", INTERNAL)
    draft = w.begin(port, "features/both", None, parents=("dataset/shops", "dataset/patients"))
    assert draft.data_class is RESTRICTED


def test_a_lower_class_needs_a_reason(port):
    w.seal(port)
    for said in (None, "", "   "):
        with pytest.raises(UsageError):
            w.begin(port, "features/ages", INTERNAL, parents=("dataset/patients",), decision=said)
    draft = w.begin(port, "features/ages", INTERNAL, parents=("dataset/patients",), decision="ages only, rounded to decades")
    assert draft.data_class is INTERNAL
    port.ask(versions.PublishVersion(draft.version, (w.record(),)))
    facts, opened = next((facts, opened) for kind, facts, opened in reversed(w.leaves(port)) if facts.get("lowered"))
    assert facts["class"] == "internal"
    assert opened["reason"] == "ages only, rounded to decades"
    node = port.ask(catalogue.TraceLineage("features/ages")).nodes[0]
    assert node.decision == "ages only, rounded to decades"


def test_a_version_below_its_asset_needs_a_reason(port):
    w.seal(port)
    with pytest.raises(UsageError):
        w.begin(port, "dataset/patients", PUBLIC)
    assert w.begin(port, "dataset/patients", PUBLIC, decision="synthetic rows").data_class is PUBLIC


def test_a_version_below_its_rule_needs_a_reason(world):
    port = world.port()
    rules = 'rules:\n  - {asset: "dataset/clinic-*", class: restricted, owner: ana}\n'
    w.change_policy(world, port, lambda text: text.replace("rules: []", rules))
    assert w.begin(port, "dataset/clinic-a", None).data_class is RESTRICTED
    with pytest.raises(UsageError):
        w.begin(port, "dataset/clinic-b", INTERNAL)
    assert w.begin(port, "dataset/clinic-b", INTERNAL, decision="an empty form").data_class is INTERNAL


def test_a_decision_changes_what_comes_after_it(port):
    w.seal(port)
    port.ask(catalogue.RecordDecision("dataset/patients", "de-identified since May", data_class=INTERNAL))
    assert w.begin(port, "dataset/patients", None).data_class is INTERNAL
    with pytest.raises(PolicyDenied):
        w.open_(port, "dataset/patients@1", purpose=None)


def test_what_a_run_reads_is_inherited(port):
    w.seal(port)
    run = start(port)
    port.ask(versions.OpenVersions(w.fresh(), ("dataset/patients",), run=run))
    draft = w.begin(port, "features/x", None, run=run)
    assert draft.data_class is RESTRICTED
    port.ask(versions.PublishVersion(draft.version, (w.record(),)))
    assert port.ask(catalogue.ShowVersion("features/x")).parents == ("dataset/patients@1",)


def test_what_a_writer_has_read_is_named_by_its_id(port):
    begun, _ = w.seal(port)
    port.ask(catalogue.RenameAsset("dataset/patients", "dataset/people"))
    draft = w.begin(port, "features/x", None, read=(begun.version,))
    assert draft.data_class is RESTRICTED
    port.ask(versions.PublishVersion(draft.version, (w.record(),)))
    assert port.ask(catalogue.ShowVersion("features/x")).parents == ("dataset/people@1",)
    for nothing in (draft.lease.id, w.begin(port, "features/y", INTERNAL).version):  # no version, and none that anybody could read
        with pytest.raises(NotFound):
            w.begin(port, "features/z", None, read=(nothing,))


def test_a_stricter_read_after_begin_is_refused_at_publish(port):
    w.seal(port)
    run = start(port)
    draft = w.begin(port, "features/x", INTERNAL, run=run)
    port.ask(versions.OpenVersions(w.fresh(), ("dataset/patients",), run=run))
    with pytest.raises(Conflict):
        port.ask(versions.PublishVersion(draft.version, (w.record(),)))
    with pytest.raises(NotFound):
        w.open_(port, "features/x")


def test_a_decision_covers_no_stricter_inputs_than_it_was_made_about(port):
    w.seal(port, "dataset/shops", CONFIDENTIAL)
    w.seal(port)
    run = start(port)
    port.ask(versions.OpenVersions(w.fresh(), ("dataset/shops",), run=run))
    draft = w.begin(port, "features/x", INTERNAL, run=run, decision="totals only")
    port.ask(versions.OpenVersions(w.fresh(), ("dataset/patients",), run=run))
    with pytest.raises(Conflict):
        port.ask(versions.PublishVersion(draft.version, (w.record(),)))
    again = w.begin(port, "features/x", INTERNAL, run=run, decision="totals only, patients too")
    assert port.ask(versions.PublishVersion(again.version, (w.record(),))).number == 1


def test_a_parent_named_at_publish_counts_as_well(port):
    w.seal(port)
    draft = w.begin(port, "features/x", INTERNAL)
    with pytest.raises(Conflict):
        port.ask(versions.PublishVersion(draft.version, (w.record(),), parents=("dataset/patients",)))


def racing(monkeypatch, meanwhile):
    """Let something happen between the first snapshot of a request and its transaction; returns the plans made."""
    real, plans = sealing.prepare, []

    def prepare(call, session, request):
        plan = real(call, session, request)
        plans.append(plan)
        if len(plans) == 1:
            session.end()
            meanwhile()
        return plan

    monkeypatch.setattr(sealing, "prepare", prepare)
    return plans


def test_a_read_that_comes_between_decision_and_intent_is_seen(world, monkeypatch):
    port, other = world.port(), world.port()
    w.seal(port)
    w.seal(port, "features/x", INTERNAL)
    run = start(port)
    plans = racing(monkeypatch, lambda: other.ask(versions.OpenVersions(w.fresh(), ("dataset/patients",), run=run)))
    draft = w.begin(port, "features/x", None, run=run)
    assert [plan.data_class for plan in plans] == [INTERNAL, RESTRICTED, RESTRICTED, RESTRICTED]
    assert draft.data_class is RESTRICTED


# keys and policy that move while a version is written


def kek(port, data_class="restricted"):
    return next(row for row in port.ask(keys.ListKeys()).keys if row.data_class == data_class)


@pytest.mark.parametrize("verb", ["suspend", "revoke"])
def test_nothing_is_published_that_could_not_be_opened(port, verb):
    draft = w.begin(port)
    port.ask(keys.ChangeKeyState(kek(port).kek, verb, "test"))
    with pytest.raises(KeyUnusable):
        port.ask(versions.PublishVersion(draft.version, (w.record(),)))
    assert w.ended(port, draft.lease)
    if verb == "suspend":
        port.ask(keys.ChangeKeyState(kek(port).kek, "resume", "test"))
        assert port.ask(versions.PublishVersion(draft.version, (w.record(),))).number == 1


def test_rotation_while_a_version_is_written_harms_nothing(port):
    draft = w.begin(port)
    key = w.key_of(port, draft.lease)
    port.ask(keys.RotateKey(kek(port).kek))
    port.ask(keys.RewrapKey(kek(port).kek))
    assert w.ended(port, draft.lease) is None
    port.ask(versions.PublishVersion(draft.version, (w.record(),)))
    assert w.key_of(port, w.open_(port).released[0].lease) == key


def test_two_writers_of_a_new_name_both_get_it(world, monkeypatch):
    port, other = world.port(), world.port()
    plans = racing(monkeypatch, lambda: port_seals(other))
    draft = w.begin(port, "dataset/new", INTERNAL)
    assert plans[0].asset is None
    assert port.ask(versions.PublishVersion(draft.version, (w.record(),))).number == 2


def port_seals(port):
    w.seal(port, "dataset/new", INTERNAL)


def test_numbers_are_given_in_order_of_publishing(port):
    first, second = w.begin(port), w.begin(port)
    assert port.ask(versions.PublishVersion(second.version, (w.record(),))).number == 1
    assert port.ask(versions.PublishVersion(first.version, (w.record(),))).number == 2


def test_manifests_form_a_chain(port):
    from hermetic.signing import manifests

    _, one = w.seal(port)
    _, two = w.seal(port)
    known = {pair.name: pair.value for pair in port.ask(_hello()).manifest_keys}
    public = {name: _bytes(value) for name, value in known.items()}
    assert manifests.verify_manifest(two.manifest, public).previous == manifests.manifest_hash(one.manifest)
    with pytest.raises(FormatError):
        manifests.verify_manifest(two.manifest[:-1], public)


def _hello():
    from hermetic.formats.messages.greeting import Hello

    return Hello()


def _bytes(text):
    from hermetic.formats.binary_text import from_base64url

    return from_base64url(text, length=32)


# runs


def test_a_run_has_one_purpose(port):
    w.seal(port)
    run = start(port, Purpose.TRAIN)
    for request in (
        versions.OpenVersions(w.fresh(), ("dataset/patients",), Purpose.PREPARE, run),
        versions.BeginVersion(w.fresh(), "model/x", RESTRICTED, purpose=Purpose.INGEST, run=run),
    ):
        with pytest.raises(PolicyDenied) as refused:
            port.ask(request)
        assert refused.value.reasons == ("purpose-of-run",)
    assert port.ask(versions.OpenVersions(w.fresh(), ("dataset/patients",), run=run)).purpose is Purpose.TRAIN


def test_a_run_that_has_ended_reads_and_writes_nothing(port):
    w.seal(port)
    run = start(port)
    draft = w.begin(port, "features/x", RESTRICTED, run=run)
    port.ask(runs.FinishRun(run, "finished"))
    for request in (
        versions.OpenVersions(w.fresh(), ("dataset/patients",), run=run),
        versions.BeginVersion(w.fresh(), "model/x", RESTRICTED, run=run),
        versions.PublishVersion(draft.version, (w.record(),)),
        runs.OpenScratch(w.fresh(), run),
        runs.FinishRun(run, "finished"),
    ):
        with pytest.raises(Conflict):
            port.ask(request)


def test_nobody_uses_somebody_elses_run(world):
    port = world.port()
    w.seal(port)
    run = start(port, Purpose.TRAIN)
    w.enrol(port, "nobody", ["ml-engineer"])
    other = world.port(uid=65534)
    for request in (
        versions.OpenVersions(w.fresh(), ("dataset/patients",), run=run),
        versions.BeginVersion(w.fresh(), "model/x", RESTRICTED, run=run),
        runs.OpenScratch(w.fresh(), run),
        runs.FinishRun(run, "finished"),
    ):
        with pytest.raises(Denied):
            other.ask(request)
    assert port.ask(runs.ShowRun(run)).inputs == ()


def test_other_environments_have_keys_of_their_own(port):
    w.seal(port)
    w.seal(port, environment=Environment.STAGING)
    rows = port.ask(keys.ListKeys()).keys
    assert {row.environment for row in rows} == {Environment.DEVELOPMENT, Environment.STAGING}
    with pytest.raises(PolicyDenied):
        w.begin(port, "model/x", RESTRICTED, environment=Environment.PRODUCTION)


def test_the_log_is_whole_after_all_that(port):
    w.seal(port)
    w.seal(port, "features/x", INTERNAL, parents=("dataset/patients",), decision="fine")
    port.ask(versions.AbandonVersion(w.begin(port).version))
    found = {pair.name for pair in port.ask(log.VerifyLog()).findings}
    assert found <= {"log-key-first-use", "log-never-anchored"}
