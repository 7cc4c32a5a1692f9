"""Runs and their scratch: a key that is made once, released on record, and gone when the run ends."""

from __future__ import annotations

import json

import pytest

from hermetic import steps
from hermetic.custody import unwrapping
from hermetic.db import tables
from hermetic.errors import Conflict, KeyServiceUnavailable, KeyUnusable, PolicyDenied, UsageError
from hermetic.formats.messages import catalogue, keys, log, runs, versions
from hermetic.formats.messages.base import Pair
from hermetic.ids import DataClass, Purpose
from tests import world as w


@pytest.fixture(autouse=True)
def no_hook():
    yield
    steps.install(None)


def start(port, purpose=Purpose.PREPARE, **more):
    return port.ask(runs.StartRun(w.fresh(), "work", purpose, **more)).run


def scratch(port, run):
    return port.ask(runs.OpenScratch(w.fresh(), run))


def wraps(world, version):
    return [row[0] for row in w.sql(world, "SELECT wrapped FROM data_key WHERE version_id = ?", version)]


def test_scratch_has_one_key(port):
    run = start(port)
    one, two = scratch(port, run), scratch(port, run)
    assert one.version == two.version
    assert w.key_of(port, one.lease) == w.key_of(port, two.lease)
    assert w.ended(port, one.lease) is None
    assert scratch(port, start(port)).version != one.version


def test_every_opening_of_scratch_is_a_release(port):
    run = start(port)
    for _ in range(2):
        scratch(port, run)
    said = [(kind, facts) for kind, facts, _ in w.leaves(port) if facts.get("action") == "scratch" or kind == "release.outcome"]
    assert [kind for kind, _ in said] == ["release.intent", "release.outcome"] * 2
    assert said[0][1]["run"] == run
    assert said[0][1].keys() >= {"request_hash", "policy", "policies", "enforcement", "purpose", "recipient"}
    assert port.ask(log.VerifyLog()).open_intents == 0


def test_scratch_does_not_show_in_the_catalogue(port):
    scratch(port, start(port))
    assert port.ask(catalogue.ListAssets()).assets == ()


def test_the_wraps_are_gone_from_every_file(world):
    port = world.port()
    run = start(port)
    opened = scratch(port, run)
    draft = w.begin(port, "features/x", DataClass.INTERNAL, run=run)
    gone = wraps(world, opened.version) + wraps(world, draft.version)
    assert len(gone) == 2
    row = port.ask(runs.FinishRun(run, "finished", (Pair("exit", "0"),)))
    assert (row.state, row.facts) == ("succeeded", (Pair("exit", "0"),))
    for name in ("custody.db", "custody.db-wal", "custody.db-shm"):
        path = world.data / name
        raw = path.read_bytes() if path.exists() else b""
        assert not [wrapped for wrapped in gone if wrapped in raw or wrapped[-16:] in raw], name
    assert w.ended(port, opened.lease)
    assert next(facts for kind, facts, _ in w.leaves(port) if kind == "run.ended")["scratch_destroyed"] == 2
    assert w.kinds(port).count("version.abandoned") == 2


def test_a_reader_in_the_way_does_not_undo_the_end(world):
    port = world.port()
    run = start(port)
    opened = scratch(port, run)
    gone = wraps(world, opened.version)
    other = world.custodian()
    w.wait_less(port._custodian, other)
    with other.database.read(other.row_keys) as session:
        session.find(tables.meta)
        assert port.ask(runs.FinishRun(run, "failed")).state == "failed"
    other.close()
    port._custodian.scrub(())
    assert not [name for name in ("custody.db", "custody.db-wal") if gone[0] in (world.data / name).read_bytes()]


def test_a_run_with_very_many_drafts_ends(world):
    port = world.port()
    run = start(port)
    for _ in range(3):
        w.begin(port, "features/x", DataClass.INTERNAL, run=run)
    row = port.ask(runs.FinishRun(run, "failed"))
    assert row.outputs == ()
    assert w.kinds(port).count("version.abandoned") == 3


@pytest.mark.parametrize("verb", ["suspend", "revoke"])
def test_scratch_of_a_key_that_may_not_be_used(port, verb):
    run = start(port)
    opened = scratch(port, run)
    (row,) = port.ask(keys.ListKeys()).keys
    port.ask(keys.ChangeKeyState(row.kek, verb, "test"))
    assert w.ended(port, opened.lease)
    with pytest.raises(KeyUnusable):
        scratch(port, run)
    assert w.kinds(port)[-1] == "release.denied"
    assert port.ask(runs.FinishRun(run, "failed")).state == "failed"


def test_scratch_that_fails_at_the_unwrap_says_so(world, monkeypatch):
    port = world.port()
    run = start(port)
    scratch(port, run)

    def unreachable(*_, **__):
        raise KeyServiceUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(unwrapping, "unwrap_all", unreachable)
        with pytest.raises(KeyServiceUnavailable):
            scratch(port, run)
    facts = [facts for kind, facts, _ in w.leaves(port) if kind == "release.outcome"][-1]
    assert (facts["handed"], facts["failure"]) == (0, "KeyServiceUnavailable")
    assert port.ask(log.VerifyLog()).open_intents == 0
    assert scratch(port, run)


def test_scratch_that_races_with_rotation_starts_again(world):
    port, other = world.port(), world.port()
    run = start(port)
    scratch(port, run)
    (row,) = port.ask(keys.ListKeys()).keys
    once = []

    def rotate(name):
        if name == "custody.scratch.intent" and not once:
            once.append(name)
            other.ask(keys.RotateKey(row.kek))

    steps.install(rotate)
    assert scratch(port, run)
    steps.install(None)
    assert [facts["failure"] for kind, facts, _ in w.leaves(port) if kind == "release.outcome"][-2:] == ["Moved", None]


def test_a_run_that_ends_meanwhile_gets_no_scratch(world):
    port, other = world.port(), world.port()
    run = start(port)
    scratch(port, run)

    def end(name):
        if name == "custody.scratch.intent":
            steps.install(None)
            other.ask(runs.FinishRun(run, "finished"))

    steps.install(end)
    with pytest.raises(Conflict):
        scratch(port, run)
    facts = [facts for kind, facts, _ in w.leaves(port) if kind == "release.outcome"][-1]
    assert (facts["handed"], facts["failure"]) == (0, "Conflict")


def test_reads_and_writes_are_on_record(port):
    w.seal(port, "dataset/shops", DataClass.INTERNAL)
    run = start(port, Purpose.TRAIN, facts=(Pair("code_version", "git:1"),))
    for _ in range(2):
        port.ask(versions.OpenVersions(w.fresh(), ("dataset/shops",), run=run))
    w.seal(port, "model/x", None, run=run)
    row = port.ask(runs.ShowRun(run))
    assert (row.state, row.inputs, row.outputs) == ("running", ("dataset/shops@1",), ("model/x@1",))
    node = port.ask(catalogue.TraceLineage("model/x")).nodes[0]
    assert (node.run_name, node.code_version) == ("work", "git:1")
    assert port.ask(catalogue.TraceLineage("dataset/shops", descendants=True)).edges
    assert [item.run for item in port.ask(runs.ListRuns()).runs] == [run]


def test_runs_of_others_are_shown_to_readers_of_the_catalogue(world):
    port = world.port()
    run = start(port)
    w.enrol(port, "nobody", ["approver"])
    reader = world.port(uid=65534)
    assert reader.ask(runs.ShowRun(run)).run == run
    text = '@id("closed")\nforbid (principal in Role::"approver", action == Action::"read-catalog", resource);\n'
    w.change_cedar(port, "more.cedar", text)
    with pytest.raises(PolicyDenied):
        reader.ask(runs.ShowRun(run))
    assert reader.ask(runs.ListRuns()).runs == ()
    assert port.ask(runs.ShowRun(run)).run == run


DECIDED = runs.ClassDecision("features/ages", DataClass.INTERNAL, "ages only")


def test_a_run_decides_for_a_program_that_cannot(port):
    w.seal(port)
    run = start(port, decisions=(DECIDED,))
    w.open_(port, "dataset/patients", run=run)
    assert w.begin(port, "features/other", None, run=run).data_class is DataClass.RESTRICTED
    draft = w.begin(port, "features/ages", None, run=run)
    assert draft.data_class is DataClass.INTERNAL
    port.ask(versions.PublishVersion(draft.version, (w.record(),)))
    node = port.ask(catalogue.TraceLineage("features/ages")).nodes[0]
    assert node.decision == "ages only"
    said = [opened for kind, _, opened in w.leaves(port) if kind == "run.started"]
    assert json.loads(said[0]["decisions"]) == {"features/ages": {"class": "internal", "reason": "ages only"}}


def test_what_a_program_says_itself_goes_before_its_run(port):
    w.seal(port)
    run = start(port, decisions=(DECIDED,))
    w.open_(port, "dataset/patients", run=run)
    assert w.begin(port, "features/ages", DataClass.RESTRICTED, run=run).data_class is DataClass.RESTRICTED
    with pytest.raises(UsageError):
        w.begin(port, "features/ages", DataClass.PUBLIC, run=run)


def test_the_decision_of_a_run_ends_with_it(port):
    w.seal(port)
    run = start(port, decisions=(DECIDED,))
    port.ask(runs.FinishRun(run, "finished"))
    assert w.begin(port, "features/ages", None, parents=("dataset/patients",)).data_class is DataClass.RESTRICTED
    with pytest.raises(Conflict):
        w.begin(port, "features/ages", None, run=run)


@pytest.mark.parametrize(
    "decision",
    [
        runs.ClassDecision("features/ages", DataClass.INTERNAL, "  "),
        runs.ClassDecision("features/ages", DataClass.INTERNAL, "x" * 20_000),
        runs.ClassDecision("scratch/x", DataClass.INTERNAL, "why"),
        runs.ClassDecision("../x", DataClass.INTERNAL, "why"),
    ],
)
def test_decisions_that_make_no_sense(port, decision):
    with pytest.raises(UsageError):
        start(port, decisions=(decision,))


def test_one_decision_for_an_asset(port):
    with pytest.raises(UsageError):
        start(port, decisions=(DECIDED, DECIDED))
    with pytest.raises(UsageError):
        start(port, decisions=tuple(runs.ClassDecision(f"features/n{n}", DataClass.INTERNAL, "why") for n in range(51)))


@pytest.mark.parametrize(
    "request_",
    [
        runs.StartRun(w.fresh(), "", Purpose.TRAIN),
        runs.StartRun(w.fresh(), "x" * 201, Purpose.TRAIN),
        runs.StartRun(w.fresh(), "x\ny", Purpose.TRAIN),
        runs.StartRun("x", "name", Purpose.TRAIN),
        runs.StartRun(w.fresh(), "name", Purpose.TRAIN, (Pair("x", "y" * 20_000),)),
        runs.StartRun(w.fresh(), "name", Purpose.TRAIN, tuple(Pair(str(n), "y") for n in range(201))),
    ],
)
def test_runs_that_make_no_sense(port, request_):
    with pytest.raises(UsageError):
        port.ask(request_)


def test_a_run_ends_as_one_of_two(port):
    run = start(port)
    with pytest.raises(UsageError):
        port.ask(runs.FinishRun(run, "running"))
