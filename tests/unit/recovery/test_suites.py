"""Retired suites: nothing new is sealed with them, what they sealed is found, planned and sealed anew, and opens up to a day."""

from __future__ import annotations

import pytest

from hermetic import steps
from hermetic.assets.staging import header_of
from hermetic.assets.workspace import Workspace
from hermetic.errors import Conflict, PolicyDenied, UsageError
from hermetic.formats.messages.domain import GatherFacts
from hermetic.formats.messages.log import VerifyLog
from hermetic.formats.messages.suites import ListSuites
from hermetic.formats.messages.versions import PublishVersion
from hermetic.formats.sealed_anew import LABEL
from hermetic.formats.suites import APPROVED_SUITE, DEFAULT_SUITE
from hermetic.recovery import suites
from hermetic.stores.local import LocalStore
from tests import world as w

OLD, NEW = DEFAULT_SUITE.name, APPROVED_SUITE.name
RETIRE = f"retired_suites:\n  - {{suite: {OLD}, reason: a weakness was found}}\n"
DAY = "2027-06-30"  # the world's clock begins in January 2027


@pytest.fixture
def world(tmp_path):
    made = w.World.make(tmp_path / "world")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_hook():
    yield
    steps.install(None)


@pytest.fixture
def h(world, tmp_path):
    folder = tmp_path / "data"
    (folder / "sub").mkdir(parents=True)
    (folder / "a").write_bytes(b"a" * 3_000_000)
    (folder / "sub" / "b").write_bytes(b"")
    with Workspace(world.connect(), purpose="prepare") as made:
        made.seal(b"first", name="dataset/patients", data_class="restricted", owner="ana", member="data")
        made.seal(b"second", name="dataset/patients", data_class="restricted", member="data")
        made.seal(folder, name="model/risk", data_class="confidential", owner="ben")
        yield made


def retire(h, more=""):
    text = RETIRE.replace("}", f"{more}}}")
    w.change_policy(None, h.connection, lambda document: document + text)


def suite_of(h, ref):
    """The suite that the stored bytes of a version say."""
    details = h.show(ref)
    store = h.connection.stores[details.store]
    return {header_of(store.open(f"{details.version}/{member.index}.sealed")).suite.name for member in details.members}


def test_new_versions_have_another_suite(h):
    assert suite_of(h, "dataset/patients") == {OLD}
    retire(h)
    h.seal(b"third", name="dataset/patients", member="data", purpose="ingest")
    assert suite_of(h, "dataset/patients@3") == {NEW}
    assert h.show("dataset/patients@3").suites == (NEW,)
    assert h.show("dataset/patients@1").suites == (OLD,)


def test_the_plan_counts_what_there_is(h):
    assert suites.plan(h).versions == ()
    retire(h)
    plan = suites.plan(h)
    assert [(one.ref, one.suites) for one in plan.versions] == [
        ("dataset/patients@1", (OLD,)), ("dataset/patients@2", (OLD,)), ("model/risk@1", (OLD,)),
    ]  # fmt: skip
    assert plan.bytes == 11 + 3_000_000
    rows = {row.suites: row for row in plan.suites}
    assert (rows[OLD,].versions, rows[OLD,].latest, rows[OLD,].length, rows[OLD,].retired) == (3, 2, 3_000_011, True)
    assert (rows[NEW,].versions, rows[NEW,].retired, rows[NEW,].in_use) == (0, False, True)
    assert suites.plan(h) == plan


def test_everything_is_sealed_anew_with_lineage(h):
    retire(h)
    report = suites.reseal_retired(h)
    assert [(one.old, one.new) for one in report.anew] == [
        ("dataset/patients@1", "dataset/patients@3"),
        ("dataset/patients@2", "dataset/patients@4"),
        ("model/risk@1", "model/risk@2"),
    ]
    assert report.failed == ()
    for one in report.anew:
        details = h.show(one.new)
        assert suite_of(h, one.new) == {NEW}
        assert (LABEL, one.old) in details.labels
        assert details.parents == (one.old,)
        assert details.owner == h.show(one.old).owner
    with h.open("dataset/patients") as file:
        assert file.read() == b"second"
    with h.open("model/risk@latest/a") as file:
        assert file.read() == b"a" * 3_000_000
    assert suites.plan(h).versions == ()
    again = suites.reseal_retired(h)
    assert (again.anew, again.before) == ((), 3)
    assert {pair.name for pair in h.connection.ask(VerifyLog()).findings} <= {"log-key-first-use", "log-never-anchored"}


def test_an_interrupted_run_goes_on(h):
    retire(h)

    class Cut(Exception):
        pass

    def cut(step):
        if step == "recovery.suites.anew":
            raise Cut

    steps.install(cut)
    with pytest.raises(Cut):
        suites.reseal_retired(h)
    steps.install(None)
    report = suites.reseal_retired(h)
    assert (len(report.anew), report.before) == (2, 1)
    assert len(h.list()) == 2
    assert h.show("dataset/patients").number == 4


def test_what_fails_is_a_finding_and_the_rest_goes_on(h):
    retire(h)
    details = h.show("dataset/patients@1")
    store = h.connection.stores[details.store]
    assert isinstance(store, LocalStore)
    (store.root / details.version / "0.sealed").unlink()
    report = suites.reseal_retired(h)
    assert [(item.code, item.subject) for item in report.failed] == [("not-sealed-anew", "dataset/patients@1")]
    assert len(report.anew) == 2


def noted(h):
    return {(note.name, note.value) for note in h.connection.ask(GatherFacts()).critical if note.name.startswith("suite")}


def test_assets_on_retired_suites_are_noted_until_they_are_sealed_anew(h):
    assert noted(h) == set()
    retire(h)
    assert noted(h) == {("suite-retired", f"dataset/patients|{OLD}"), ("suite-retired", f"model/risk|{OLD}")}
    suites.reseal_retired(h)
    assert noted(h) == set()


def test_after_the_day_it_opens_for_recovery_only(world, h):
    retire(h, ", opens_until: 2020-01-31")
    with pytest.raises(PolicyDenied, match="is retired: a weakness was found"):
        h.open("dataset/patients")
    assert noted(h) == {("suite-closed", f"dataset/patients|{OLD}"), ("suite-closed", f"model/risk|{OLD}")}
    suites.reseal_retired(h)
    with h.open("dataset/patients") as file:
        assert file.read() == b"second"
    with pytest.raises(PolicyDenied):
        h.open("dataset/patients@2")


def test_up_to_the_day_it_opens(world):
    port = world.port()
    w.seal(port, objects=(w.record(),))
    w.change_policy(world, port, lambda text: text + RETIRE.replace("}", f", opens_until: {DAY}}}"))
    w.open_(port)
    world.clock.now = 1_814_313_600_000 - 1  # 2027-06-30, 00:00 UTC, less a millisecond
    w.open_(port)
    world.clock.now += 1
    with pytest.raises(PolicyDenied):
        w.open_(port)


def test_versions_of_before_suites_were_noted_count_under_all_that_they_may_have(world):
    port = world.port()
    w.seal(port)  # the writer says no suite, as releases of before
    (row,) = [row for row in port.ask(ListSuites()).suites if row.versions]
    assert row.suites == (OLD, "FLOE-AES256-GCM-64K-BLAKE3")
    assert not row.retired
    w.change_policy(world, port, lambda text: text + RETIRE)
    (row,) = [row for row in port.ask(ListSuites()).suites if row.versions]
    assert row.retired


def test_a_draft_begun_before_is_not_published_after(world):
    from dataclasses import replace

    port = world.port()
    draft = w.begin(port)
    w.change_policy(world, port, lambda text: text + RETIRE)
    for suite in (OLD, ""):
        with pytest.raises(Conflict, match="retired suites"):
            port.ask(PublishVersion(draft.version, (replace(w.record(), suite=suite),)))
    with pytest.raises(UsageError, match="no suite"):
        port.ask(PublishVersion(draft.version, (replace(w.record(), suite=NEW),)))  # its digest is another
    with pytest.raises(UsageError, match="no suite"):
        port.ask(PublishVersion(draft.version, (replace(w.record(), suite="AES-ECB"),)))
    assert w.begin(port).suite == NEW
