"""Assets: names, lists, changes on record, epochs."""

from __future__ import annotations

import dataclasses

import pytest

from hermetic.catalog import assets, decisions
from hermetic.catalog.values import AssetState, Because, NewAsset
from hermetic.errors import Conflict, NotFound, UsageError
from hermetic.ids import AssetName, DataClass, Environment, Kind, check_id

DEVELOPMENT, PRODUCTION = Environment.DEVELOPMENT, Environment.PRODUCTION
BECAUSE = Because("the study was extended", "ben", 5000)


def new(name, **fields):
    given = {"environment": DEVELOPMENT, "data_class": DataClass.INTERNAL} | fields
    return NewAsset(name=AssetName.parse(name), **given)


def test_a_new_asset_is_found_by_name_and_id(session, patients):
    assert check_id(patients.id)
    assert assets.find(session, patients.name, DEVELOPMENT) == patients == assets.get(session, patients.id)
    assert assets.require(session, patients.name, DEVELOPMENT) == patients
    assert (patients.epoch, patients.next_number, patients.state, patients.revision) == (1, 1, AssetState.ACTIVE, 1)
    assert (patients.owner, patients.project, patients.retention_days) == ("ana", "heart", 30)


def test_what_is_not_there_is_not_found(session, patients):
    assert assets.find(session, patients.name, PRODUCTION) is None
    with pytest.raises(NotFound, match="no asset dataset/patients in production"):
        assets.require(session, patients.name, PRODUCTION)
    with pytest.raises(NotFound):
        assets.get(session, "nobody")


def test_names_are_unique_in_an_environment(session, patients):
    with pytest.raises(Conflict, match="already has an asset dataset/patients"):
        assets.create(session, new("dataset/patients"), now_ms=1)
    other = assets.create(session, new("dataset/patients", environment=PRODUCTION), now_ms=1)
    assert other.id != patients.id


def test_lists_filter_and_sort(session, patients):
    risk = assets.create(session, new("model/risk", owner="ben"), now_ms=1)
    beta = assets.create(session, new("dataset/beta", environment=PRODUCTION, project="heart"), now_ms=1)
    everything = assets.list_assets(session)
    assert everything == [patients, risk, beta]
    for fields, expected in (
        ({"environment": DEVELOPMENT}, [patients, risk]),
        ({"kind": Kind.DATASET}, [patients, beta]),
        ({"data_class": DataClass.INTERNAL}, [risk, beta]),
        ({"owner": "ana"}, [patients]),
        ({"project": "heart"}, [patients, beta]),
        ({"state": AssetState.RETIRED}, []),
        ({"project": "heart", "environment": PRODUCTION}, [beta]),
    ):
        assert assets.list_assets(session, **fields) == expected


def test_rename_keeps_id_and_epoch(session, patients):
    renamed = assets.rename(session, patients, AssetName.parse("dataset/people"))
    assert renamed == dataclasses.replace(patients, name=AssetName.parse("dataset/people"), revision=2)
    assert assets.find(session, patients.name, DEVELOPMENT) is None
    assert assets.find(session, renamed.name, DEVELOPMENT) == renamed


def test_rename_refuses_taken_names_and_other_kinds(session, patients):
    assets.create(session, new("dataset/people"), now_ms=1)
    with pytest.raises(Conflict, match="already has"):
        assets.rename(session, patients, AssetName.parse("dataset/people"))
    with pytest.raises(UsageError, match="cannot become a model"):
        assets.rename(session, patients, AssetName.parse("model/patients"))


def test_a_value_read_before_a_change_is_stale(session, patients):
    assets.bump_epoch(session, patients)
    with pytest.raises(Conflict, match="changed meanwhile"):
        assets.bump_epoch(session, patients)


@pytest.mark.parametrize(
    ("change", "value", "column", "before", "epochs"),
    [
        (assets.set_owner, "ben", "owner", "ana", 1),
        (assets.set_owner, None, "owner", "ana", 1),
        (assets.set_class, DataClass.INTERNAL, "data_class", "restricted", 1),
        (assets.set_project, "lung", "project", "heart", 1),
        (assets.set_state, AssetState.QUARANTINED, "state", "active", 1),
        (assets.set_retention, 7, "retention_days", 30, 0),
        (assets.set_retention, None, "retention_days", 30, 0),
    ],
)
def test_changes_are_decisions_on_record(change, value, column, before, epochs, session, patients):
    changed = change(session, patients, value, BECAUSE)
    assert changed == dataclasses.replace(patients, **{column: value}, epoch=1 + epochs, revision=2)
    (decision,) = decisions.about_asset(session, patients.id)
    assert (decision.kind, decision.reason, decision.who, decision.at_ms) == (column, BECAUSE.reason, "ben", 5000)
    assert decision.details == {"before": before, "after": value}


@pytest.mark.parametrize("because", [Because("", "ben", 1), Because(" \n", "ben", 1), Because("reason", "", 1)])
def test_no_change_without_reason_and_person(because, session, patients):
    with pytest.raises(UsageError, match="reason and a person"):
        assets.set_class(session, patients, DataClass.PUBLIC, because)
    assert assets.get(session, patients.id) == patients


def test_retention_is_at_least_a_day(session, patients):
    with pytest.raises(UsageError, match="at least one day"):
        assets.set_retention(session, patients, 0, BECAUSE)


def test_decisions_are_listed_oldest_first(session, patients, publish):
    version = publish(patients)
    later = decisions.record(session, "de-identified", Because("k = 5", "ben", 9000), version_id=version.id)
    sooner = decisions.record(session, "reviewed", Because("fine", "eva", 8000), version_id=version.id, details={"k": 5})
    assert decisions.about_version(session, version.id) == [sooner, later]
    assert decisions.about_asset(session, patients.id) == []
