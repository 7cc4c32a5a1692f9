"""The release path, step by step (spec/port.md section 3)."""

from __future__ import annotations

import json

import pytest

from hermetic import steps
from hermetic.audit.leaf import Leaf
from hermetic.custody import unwrapping
from hermetic.errors import (
    Conflict,
    FormatError,
    HermeticError,
    InvalidName,
    KeyServiceUnavailable,
    KeyUnusable,
    LeaseEnded,
    NotAuthenticated,
    NotFound,
    PolicyDenied,
    StorageError,
    UsageError,
)
from hermetic.formats.messages import catalogue, keys, log, policy, versions
from hermetic.ids import DataClass, Purpose
from hermetic.testing.codec_port import CodecPort
from tests import world as w


@pytest.fixture(autouse=True)
def no_hook():
    yield
    steps.install(None)


def last(port, kind):
    return next((facts, opened) for name, facts, opened in reversed(w.leaves(port)) if name == kind)


def test_a_key_comes_back(port):
    draft, published = w.seal(port)
    opened = w.open_(port)
    (released,) = opened.released
    assert (released.ref, released.version, released.number) == ("dataset/patients@1", draft.version, 1)
    assert published.ref == released.ref
    assert w.key_of(port, released.lease) == w.key_of(port, draft.lease)
    with pytest.raises(LeaseEnded):
        port.redeem(released.lease.key)


def test_the_steps_come_in_order(world):
    port = world.port()
    w.seal(port)
    seen = []
    steps.install(seen.append)
    w.open_(port)
    assert seen == [
        "custody.release.intent.before",
        "custody.release.intent",
        "custody.release.unwrapped",
        "custody.release.outcome.before",
        "custody.release.outcome",
    ]


def test_nothing_is_unwrapped_before_the_intent_is_durable(world, monkeypatch):
    port, other = world.port(), world.port()
    w.seal(port)
    unwrap = unwrapping.unwrap_all

    def watched(call, session, items, **more):
        facts, _ = last(other, "release.intent")  # another connection reads what is durable
        assert facts["versions"] == [item.version.id for item in items]
        return unwrap(call, session, items, **more)

    monkeypatch.setattr(unwrapping, "unwrap_all", watched)
    assert w.open_(port).released
    facts, _ = last(port, "release.outcome")
    assert facts["handed"] == 1


@pytest.mark.parametrize("step", ["custody.release.intent.before", "custody.release.intent", "custody.release.unwrapped"])
def test_a_release_that_stops_hands_nothing_over(world, step):
    port = world.port()
    w.seal(port)
    before = len(port._custodian.handles._keys)

    def stop(name):
        if name == step:
            raise KeyboardInterrupt

    steps.install(stop)
    with pytest.raises(KeyboardInterrupt):
        w.open_(port)
    steps.install(None)
    assert len(port._custodian.handles._keys) == before
    intents = [facts for kind, facts, _ in w.leaves(port) if kind == "release.intent" and facts["action"] == "open"]
    assert len(intents) == (0 if step.endswith("before") else 1)
    found = port.ask(log.VerifyLog())
    assert found.open_intents == len(intents)
    assert w.open_(port).released


def test_an_outcome_that_cannot_be_written_hands_nothing_over(world):
    port = world.port()
    w.seal(port)
    waiting = len(port._custodian.handles._keys)

    def fail(name):
        if name == "custody.release.outcome.before":
            raise StorageError("disk full")

    steps.install(fail)
    with pytest.raises(StorageError):
        w.open_(port)
    steps.install(None)
    assert len(port._custodian.handles._keys) == waiting


def test_the_receipt_is_of_the_intent(port, tmp_path):
    draft, published = w.seal(port)  # makes the KEK too, with an entry of its own
    assert Leaf.parse(draft.receipt.leaf).kind == "release.intent"
    assert Leaf.parse(published.receipt.leaf).kind == "version.published"
    opened = w.open_(port, exposure=versions.ExposureTerms(str(tmp_path / "x"), w.START + w.HOUR))
    leaf = Leaf.parse(opened.receipt.leaf)
    assert leaf.kind == "release.intent"
    assert leaf.facts["action"] == "expose"
    facts, _ = last(port, "release.outcome")
    assert facts["intent"] == opened.receipt.index


def test_the_intent_says_what_was_decided(world):
    port = CodecPort(world.port())
    draft, _ = w.seal(port)
    request = versions.OpenVersions(w.fresh(), ("dataset/patients",), Purpose.PREPARE, recipient=b"public key")
    port.ask(request)
    facts, opened = last(port, "release.intent")
    assert facts["request"] == request.request
    assert facts["versions"] == [draft.version]
    assert (facts["purpose"], facts["enforcement"], facts["policies"]) == ("prepare", "cooperative", ["owner-opens"])
    assert opened["principal"] == port.ask(policy.ListPrincipals()).principals[0].name
    for field in ("request_hash", "policy", "recipient"):
        assert len(facts[field]) == 43


# denials


def test_a_denial_is_on_the_log(port):
    w.seal(port)
    with pytest.raises(PolicyDenied) as refused:
        w.open_(port, purpose=Purpose.DEBUG)
    assert any("no-restricted-debug" in reason for reason in refused.value.reasons)
    facts, opened = last(port, "release.denied")
    assert (facts["action"], facts["purpose"]) == ("open", "debug")
    assert "no-restricted-debug" in facts["reasons"]
    assert opened["principal"]


def test_equal_denials_are_counted(port):
    w.seal(port)
    for _ in range(5):
        with pytest.raises(PolicyDenied):
            w.open_(port, purpose=Purpose.DEBUG)
    assert w.kinds(port).count("release.denied") == 1
    w.open_(port)
    facts, _ = last(port, "denials.counted")
    assert facts["count"] == 4


@pytest.mark.parametrize(
    ("refs", "error"),
    [
        (("dataset/nothing",), NotFound),
        (("dataset/patients@2",), NotFound),
        (("dataset/patients", "dataset/nothing"), NotFound),
        (("nothing/patients",), InvalidName),
        (("../patients",), InvalidName),
        (("dataset/patients\u0000",), InvalidName),
        ((), UsageError),
        (tuple("dataset/patients" for _ in range(1001)), UsageError),
    ],
)
def test_what_cannot_be_resolved_is_refused_and_logged(world, refs, error):
    port = world.port()
    w.seal(port)
    with pytest.raises(error):
        port.ask(versions.OpenVersions(w.fresh(), refs, Purpose.PREPARE))
    facts, opened = last(port, "release.denied")
    assert facts["reasons"] == [error.__name__]
    assert opened["principal"].startswith("os:")
    assert json.loads(opened["asked"])[:1] == [refs[0]] if refs else "asked" not in opened


def test_a_request_that_is_no_id_is_logged_without_it(world):
    port = world.port()
    w.seal(port)
    with pytest.raises(InvalidName):
        port.ask(versions.OpenVersions("a person's name", ("dataset/patients",), Purpose.PREPARE))
    facts, _ = last(port, "release.denied")
    assert facts["request"] is None


def test_text_that_is_none_does_not_stop_the_log(world):
    port = world.port()
    with pytest.raises(HermeticError):
        port.ask(versions.OpenVersions(w.fresh(), ("dataset/\ud800",), Purpose.PREPARE))
    assert w.kinds(port)[-1] == "release.denied"


def test_somebody_unknown_is_refused_and_logged(world):
    port = world.port()
    w.seal(port)
    stranger = world.port(uid=4242)
    for ask in (lambda: w.open_(stranger), lambda: w.begin(stranger), lambda: stranger.ask(catalogue.ListAssets())):
        with pytest.raises(NotAuthenticated):
            ask()
    _, opened = last(port, "release.denied")
    assert opened["principal"].endswith(":4242")
    assert "access.denied" in w.kinds(port)


def test_a_refusal_of_custody_itself_is_logged_too(port):
    with pytest.raises(PolicyDenied):
        port.ask(policy.GiveGrant("root", "open", "dataset/*", (Purpose.PREPARE,), w.START + w.HOUR, "for me"))
    assert w.kinds(port)[-1] == "access.denied"


# purposes


def test_restricted_data_needs_a_purpose(port):
    w.seal(port)
    with pytest.raises(PolicyDenied) as refused:
        w.open_(port, purpose=None)
    assert refused.value.reasons == ("purpose-required",)
    assert "for a URL storage_options={'purpose': …}" in refused.value.hint
    assert last(port, "release.denied")[0]["reasons"] == ["PolicyDenied"]


def test_other_classes_have_a_default(port):
    w.seal(port, "dataset/shops", DataClass.INTERNAL)
    assert w.open_(port, "dataset/shops", purpose=None).purpose is Purpose.PREPARE


def test_the_strictest_of_a_batch_decides(port):
    w.seal(port, "dataset/shops", DataClass.INTERNAL)
    w.seal(port)
    with pytest.raises(PolicyDenied):
        w.open_(port, "dataset/shops", "dataset/patients", purpose=None)


# batches


def test_a_hundred_versions_are_one_entry(port):
    drafts = [w.seal(port, f"dataset/part{number}")[0] for number in range(100)]
    before = w.kinds(port).count("release.intent")
    opened = w.open_(port, *(f"dataset/part{number}" for number in range(100)))
    assert [item.version for item in opened.released] == [draft.version for draft in drafts]
    assert w.kinds(port).count("release.intent") == before + 1
    assert last(port, "release.intent")[0]["versions"] == [draft.version for draft in drafts]
    assert last(port, "release.outcome")[0]["handed"] == 100
    given = {w.key_of(port, item.lease) for item in opened.released}
    assert len(given) == 100


def test_a_batch_is_released_whole_or_not_at_all(port):
    w.seal(port, "dataset/shops", DataClass.INTERNAL)
    w.seal(port)
    intents = w.kinds(port).count("release.intent")
    with pytest.raises(PolicyDenied):
        w.open_(port, "dataset/shops", "dataset/patients", purpose=Purpose.DEBUG)
    assert w.kinds(port).count("release.intent") == intents


def test_the_largest_batch_fits_into_one_leaf(world):
    port = world.port()
    w.seal(port)
    opened = w.open_(port, *["dataset/patients"] * 1000)
    assert len(opened.released) == 1000


# what fails after the intent


def suspended(port):
    (row,) = port.ask(keys.ListKeys()).keys
    port.ask(keys.ChangeKeyState(row.kek, "suspend", "test"))


def test_a_suspended_key_is_refused_before_the_intent(port):
    w.seal(port)
    suspended(port)
    intents = w.kinds(port).count("release.intent")
    with pytest.raises(KeyUnusable):
        w.open_(port)
    with pytest.raises(KeyUnusable):
        w.begin(port)
    assert w.kinds(port).count("release.intent") == intents
    assert last(port, "release.denied")[0]["reasons"] == ["KeyUnusable"]


def test_a_release_that_fails_at_the_unwrap_gives_everything_back(world, monkeypatch, tmp_path):
    port = world.port()
    w.seal(port)
    before = port.ask(catalogue.ShowVersion("dataset/patients")).releases

    def unreachable(*_, **__):
        raise KeyServiceUnavailable("the root is away")

    with monkeypatch.context() as patch:
        patch.setattr(unwrapping, "unwrap_all", unreachable)
        with pytest.raises(KeyServiceUnavailable):
            w.open_(port, exposure=versions.ExposureTerms(str(tmp_path / "x"), w.START + w.HOUR))
    facts, _ = last(port, "release.outcome")
    assert (facts["handed"], facts["failure"]) == (0, "KeyServiceUnavailable")
    assert port.ask(catalogue.ListExposures()).exposures == ()
    assert port.ask(catalogue.ShowVersion("dataset/patients")).releases == before
    assert port.ask(log.VerifyLog()).open_intents == 0
    assert w.open_(port, exposure=versions.ExposureTerms(str(tmp_path / "x"), w.START + w.HOUR)).exposure


@pytest.mark.parametrize("step", ["custody.release.intent.before", "custody.release.intent"])
def test_what_moves_meanwhile_makes_the_request_start_again(world, step, tmp_path):
    port, other = world.port(), world.port()
    w.seal(port)
    (row,) = port.ask(keys.ListKeys()).keys
    once = []

    def rotate(name):
        if name == step and not once:
            once.append(name)
            if name.endswith("before"):  # inside the transaction of the release: another writer has to wait
                return
            other.ask(keys.RotateKey(row.kek))
            other.ask(keys.RewrapKey(row.kek))

    steps.install(rotate)
    opened = w.open_(port, exposure=versions.ExposureTerms(str(tmp_path / "x"), w.START + w.HOUR))
    steps.install(None)
    assert w.key_of(port, opened.released[0].lease)
    assert len(port.ask(catalogue.ListExposures()).exposures) == 1
    if step == "custody.release.intent":
        outcomes = [facts for kind, facts, _ in w.leaves(port) if kind == "release.outcome"]
        assert [facts["failure"] for facts in outcomes][-2:] == ["Moved", None]
        assert opened.released[0].lease.kek_epoch == port.ask(keys.ListKeys()).keys[0].epoch
    assert not [
        pair for pair in port.ask(log.VerifyLog()).findings if pair.name != "log-key-first-use" and pair.name != "log-never-anchored"
    ]


def test_it_does_not_start_again_for_ever(world):
    port, other = world.port(), world.port()
    w.seal(port)
    (row,) = port.ask(keys.ListKeys()).keys

    def rotate(name):
        if name == "custody.release.intent":
            other.ask(keys.RotateKey(row.kek))

    steps.install(rotate)
    with pytest.raises(Conflict):
        w.open_(port)


# exposures


def test_an_exposure_has_a_start_an_end_and_an_owner(port, tmp_path):
    w.seal(port)
    path = str(tmp_path / "x")
    opened = w.open_(port, exposure=versions.ExposureTerms(path, w.START + w.HOUR))
    (row,) = port.ask(catalogue.ListExposures()).exposures
    assert (row.id, row.path, row.until_ms) == (opened.exposure, path, w.START + w.HOUR)
    assert last(port, "exposure.started")[1]["path"] == path
    assert port.ask(catalogue.EndExposure(path)).ended_ms == w.START
    assert port.ask(catalogue.ListExposures()).exposures == ()
    assert len(port.ask(catalogue.ListExposures(ended=True)).exposures) == 1
    with pytest.raises(NotFound):
        port.ask(catalogue.EndExposure(path))


@pytest.mark.parametrize(
    ("refs", "terms", "error"),
    [
        (2, versions.ExposureTerms("/tmp/x", w.START + w.HOUR), UsageError),
        (1, versions.ExposureTerms("/tmp/x", w.START), UsageError),
        (1, versions.ExposureTerms("x", w.START + w.HOUR), UsageError),
        (1, versions.ExposureTerms("/" + "x" * 5000, w.START + w.HOUR), UsageError),
    ],
)
def test_exposures_that_make_no_sense(port, refs, terms, error):
    w.seal(port)
    with pytest.raises(error):
        w.open_(port, *["dataset/patients"] * refs, exposure=terms)


def test_one_exposure_at_a_path(port):
    w.seal(port)
    terms = versions.ExposureTerms("/tmp/x", w.START + w.HOUR)
    w.open_(port, exposure=terms)
    with pytest.raises(Conflict):
        w.open_(port, exposure=terms)
    assert last(port, "release.denied")[0]["reasons"] == ["Conflict"]


def test_somebody_elses_exposure_stays(world):
    port = world.port()
    w.seal(port)
    w.enrol(port, "nobody", ["ml-engineer"])
    w.open_(port, exposure=versions.ExposureTerms("/tmp/x", w.START + w.HOUR))
    other = world.port(uid=65534)
    with pytest.raises(HermeticError) as refused:
        other.ask(catalogue.EndExposure("/tmp/x"))
    assert refused.value.exit_code == 3
    assert len(port.ask(catalogue.ListExposures()).exposures) == 1


def test_rename_keeps_everything_readable(port):
    w.seal(port)
    w.seal(port)
    port.ask(catalogue.RenameAsset("dataset/patients", "dataset/people"))
    with pytest.raises(NotFound):
        w.open_(port, "dataset/patients@1")
    opened = w.open_(port, "dataset/people@1", "dataset/people")
    assert [item.number for item in opened.released] == [1, 2]
    assert w.seal(port, "dataset/people")[1].number == 3


def test_what_is_no_request_is_refused(world):
    port = world.port()
    with pytest.raises(FormatError):
        port.ask(object())
    with pytest.raises(FormatError):
        CodecPort(port).ask(object())
