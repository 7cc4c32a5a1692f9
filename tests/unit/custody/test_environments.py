"""Nothing crosses from one environment into another: keys for reading, writing, runs, batches, exposures, leases, packages."""

from __future__ import annotations

import json

import pytest

from hermetic.assets.workspace import Workspace
from hermetic.crypto import hpke
from hermetic.errors import Conflict, NotFound, PolicyDenied, UsageError
from hermetic.formats.messages import catalogue, packages, runs, versions
from hermetic.ids import DataClass, Environment, Purpose
from tests import world as w

DEV, STAGING, PRODUCTION = Environment
INTERNAL = DataClass.INTERNAL
MODEL = "model/risk"


@pytest.fixture
def both(port):
    """The same name in two environments; returns the draft of each."""
    return {where: w.seal(port, MODEL, INTERNAL, environment=where, content=where.encode())[0] for where in (DEV, STAGING)}


def start(port, environment=None, purpose=Purpose.PREPARE):
    return port.ask(runs.StartRun(w.fresh(), "work", purpose, environment=environment)).run


def last_denial(port):
    return [(kind, facts, opened) for kind, facts, opened in w.leaves(port) if kind.endswith(".denied")][-1]


def test_a_name_means_what_goes_by_it_where_the_request_works(port, both):
    assert w.open_(port, MODEL).released[0].version == both[DEV].version
    assert w.open_(port, MODEL, environment=STAGING).released[0].version == both[STAGING].version
    shown = port.ask(catalogue.ShowVersion(MODEL, STAGING))
    assert (shown.version, shown.store, shown.environment) == (both[STAGING].version, "staging", STAGING)
    keks = {port.ask(catalogue.ShowVersion(MODEL, where)).kek for where in both}
    assert len(keks) == 2


def test_what_is_elsewhere_is_not_found_and_the_hint_says_where(port):
    w.seal(port, MODEL, INTERNAL, environment=STAGING)
    with pytest.raises(NotFound, match="no asset model/risk in development") as refused:
        w.open_(port, MODEL)
    assert "--environment staging" in refused.value.hint
    assert last_denial(port)[0] == "release.denied"


def test_production_is_neither_opened_nor_sealed_nor_worked_in_with_custody_in_the_callers_process(port):
    for ask in (
        lambda: w.begin(port, MODEL, INTERNAL, environment=PRODUCTION),
        lambda: start(port, PRODUCTION),
    ):
        with pytest.raises(PolicyDenied, match="needs separated enforcement"):
            ask()


def test_a_run_gets_keys_of_its_environment_only(port, both):
    run = start(port, STAGING)
    opened = w.open_(port, MODEL, run=run)
    assert opened.released[0].environment is STAGING
    with pytest.raises(PolicyDenied, match="the run works in staging, and this asks for keys of development") as refused:
        w.open_(port, MODEL, run=run, environment=DEV)
    assert refused.value.reasons == ("environment",)
    kind, facts, said = last_denial(port)
    assert (kind, facts["asks"]) == ("release.denied", "open-versions")
    assert "development" in said["message"]
    with pytest.raises(PolicyDenied, match="the run works in staging"):
        w.begin(port, "model/other", INTERNAL, run=run, environment=DEV)
    made = w.begin(port, "model/other", INTERNAL, run=run)
    assert (made.environment, made.store) == (STAGING, "staging")
    scratch = port.ask(runs.OpenScratch(w.fresh(), run))
    assert scratch.store == "staging"


def test_rules_that_place_an_output_elsewhere_are_no_way_across(world, port, both):
    w.change_policy(
        world, port, lambda text: text.replace("rules: []", "rules:\n  - {asset: model/out, class: internal, environment: staging}")
    )
    assert w.begin(port, "model/out").environment is STAGING
    with pytest.raises(PolicyDenied, match="the rules place model/out in staging, and the run works in development"):
        w.begin(port, "model/out", run=start(port))
    w.seal(port, "model/out", environment=STAGING)
    assert w.open_(port, "model/out").released[0].environment is STAGING


def test_one_request_gets_keys_of_one_environment(world, port, both):
    w.change_policy(
        world, port, lambda text: text.replace("rules: []", "rules:\n  - {asset: model/out, class: internal, environment: staging}")
    )
    w.seal(port, "model/out", environment=STAGING)
    with pytest.raises(PolicyDenied, match="keys of development and staging at once"):
        w.open_(port, MODEL, "model/out")
    assert len(w.open_(port, MODEL, "model/out", environment=STAGING).released) == 2


def test_what_was_read_elsewhere_is_no_input(port, both):
    with pytest.raises(PolicyDenied, match="model/risk@1 of development is among what this staging version is made of"):
        w.begin(port, "model/next", INTERNAL, environment=STAGING, read=(both[DEV].version,))
    draft = w.begin(port, "model/next", INTERNAL, environment=STAGING, parents=(f"{MODEL}@1",))
    port.ask(versions.PublishVersion(draft.version, (w.record(),)))
    assert both[STAGING].version in {
        node.version for node in port.ask(catalogue.TraceLineage("model/next", environment=STAGING)).nodes
    }


def test_an_exposure_is_of_the_environment_that_is_worked_in(port, both):
    terms = versions.ExposureTerms("/tmp/x", w.START + w.HOUR)
    run = start(port)
    with pytest.raises(PolicyDenied, match="the run works in development"):
        w.open_(port, MODEL, environment=STAGING, run=run, exposure=terms)
    w.open_(port, MODEL, environment=STAGING, exposure=terms)
    (row,) = port.ask(catalogue.ListExposures()).exposures
    assert row.ref == f"{MODEL}@1"


def test_leases_are_of_one_environment_and_end_apart(world, port, both):
    here, there = w.open_(port, MODEL).released[0].lease, w.open_(port, MODEL, environment=STAGING).released[0].lease
    rows = dict(w.sql(world, "SELECT id, environment FROM lease"))
    assert (rows[here.id], rows[there.id]) == ("development", "staging")
    port.ask(catalogue.RecordDecision(MODEL, "handed over", owner="mo", environment=STAGING))
    assert (w.ended(port, here), w.ended(port, there) is not None) == (None, True)


def test_a_package_is_of_the_version_of_one_environment(port, both):
    recipient = packages.RecipientKey("mo", hpke.PrivateKey.generate().public)
    with pytest.raises(Conflict, match="means another version"):
        port.ask(packages.ShareVersion(f"{MODEL}@1", both[STAGING].version, (recipient,), 30, "for review"))


def test_names_decisions_and_lists_stay_where_they_are(port, both):
    port.ask(catalogue.RenameAsset(MODEL, "model/renamed", STAGING))
    assert {(row.name, row.environment) for row in port.ask(catalogue.ListAssets()).assets} == {
        (MODEL, DEV),
        ("model/renamed", STAGING),
    }
    assert [row.name for row in port.ask(catalogue.ListAssets(environment=STAGING)).assets] == ["model/renamed"]


def test_the_library_works_in_one_environment(world, monkeypatch, tmp_path):
    from hermetic.domain import config

    folder = tmp_path / "staging"
    home = world.home.domain_config(world.domain)
    config.save(home, config.UserConfig(store_folders={"staging": folder}))
    with Workspace(world.connect()) as h:
        h.seal(b"mine", name="dataset/a", data_class="internal")
    monkeypatch.setenv("HERMETIC_ENVIRONMENT", "staging")
    with Workspace(world.connect()) as h:
        with pytest.raises(NotFound, match="in staging"):
            h.open("dataset/a", purpose="prepare")
        sealed = h.seal(b"theirs", name="dataset/a", data_class="internal", parents=())
        assert sealed.environment is STAGING
        with h.open("dataset/a", purpose="prepare") as file:
            assert file.read() == b"theirs"
        assert [row.environment for row in h.session.listed()] == [STAGING]
        with h.run("work", purpose="prepare"):
            assert h.seal(b"made", name="dataset/b", data_class="internal").environment is STAGING
    monkeypatch.setenv("HERMETIC_ENVIRONMENT", "development")
    with Workspace(world.connect()) as h:
        with pytest.raises(PolicyDenied, match="of staging is among what this development version is made of"):
            h.seal(b"theirs", name="dataset/c", data_class="internal")
        with h.open("dataset/a", purpose="prepare") as file:
            assert file.read() == b"mine"
    assert folder.is_dir()
    monkeypatch.setenv("HERMETIC_ENVIRONMENT", "live")
    with pytest.raises(UsageError, match="HERMETIC_ENVIRONMENT is 'live'"):
        world.connect()


def test_the_run_says_where_it_works(port):
    start(port, STAGING)
    (facts,) = [facts for kind, facts, _ in w.leaves(port) if kind == "run.started"]
    assert facts["environment"] == "staging"
    assert json.dumps(facts)
