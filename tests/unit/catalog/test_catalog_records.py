"""Runs, exposures, fingerprints, leftovers."""

from __future__ import annotations

import pytest

from hermetic.catalog import exposures, fingerprints, leftovers, runs, versions
from hermetic.catalog.values import Fingerprint, RunState
from hermetic.db import tables
from hermetic.errors import Conflict, NotFound, UsageError
from hermetic.ids import Purpose


def start_run(session, name="train", now_ms=100, **more):
    return runs.start(session, name, purpose=Purpose.TRAIN, principal="ana", now_ms=now_ms, **more)


def test_a_run_starts_and_ends_once(session):
    run = start_run(session, details={"command": ["python", "train.py"]})
    assert runs.get(session, run.id) == run
    assert (run.state, run.ended_ms, run.details) == (RunState.RUNNING, None, {"command": ["python", "train.py"]})
    ended = runs.end(session, run, RunState.SUCCEEDED, now_ms=200)
    assert (ended.state, ended.ended_ms, ended.details) == (RunState.SUCCEEDED, 200, run.details)
    with pytest.raises(Conflict, match="already ended"):
        runs.end(session, ended, RunState.FAILED, now_ms=300)
    with pytest.raises(NotFound):
        runs.get(session, "nobody")


def test_running_is_not_an_end(session):
    with pytest.raises(Conflict):
        runs.end(session, start_run(session), RunState.RUNNING, now_ms=200)


def test_runs_are_listed_latest_first(session):
    first, second = start_run(session, now_ms=1), start_run(session, now_ms=2)
    failed = runs.end(session, first, RunState.FAILED, now_ms=3, details={"why": "out of memory"})
    assert runs.list_runs(session) == [second, failed]
    assert runs.list_runs(session, state=RunState.RUNNING) == [second]
    assert failed.details == {"why": "out of memory"}


def test_what_a_run_wrote(session, patients, draft, publish):
    run = start_run(session)
    first, second = draft(patients, now_ms=1, run_id=run.id), publish(patients, now_ms=2, run_id=run.id)
    publish(patients)
    assert versions.of_run(session, run.id) == [first, second]


@pytest.fixture
def expose(session, patients, publish):
    version = publish(patients)

    def make(path, *, now_ms=1000, until_ms=2000):
        return exposures.start(session, version.id, path, owner="ana", purpose=Purpose.PREPARE, now_ms=now_ms, until_ms=until_ms)

    return make


def test_exposures_have_start_end_and_owner(session, expose):
    exposure = expose("a.csv")
    assert exposures.get(session, exposure.id) == exposure == exposures.find_open(session, "a.csv")
    assert exposures.find_open(session, "b.csv") is None
    ended = exposures.end(session, exposure, now_ms=1500)
    assert (ended.owner, ended.started_ms, ended.until_ms, ended.ended_ms) == ("ana", 1000, 2000, 1500)
    assert exposures.find_open(session, "a.csv") is None
    with pytest.raises(Conflict, match="ended already"):
        exposures.end(session, ended, now_ms=1600)
    assert expose("a.csv").id != exposure.id


def test_one_open_exposure_a_path_and_none_in_the_past(expose):
    expose("a.csv")
    with pytest.raises(Conflict, match="is open"):
        expose("a.csv")
    for until_ms in (1000, 999):
        with pytest.raises(UsageError, match="ends after it starts"):
            expose("b.csv", until_ms=until_ms)


def test_open_and_overdue_exposures(session, expose):
    late, endless, done = expose("a", now_ms=1), expose("b", now_ms=2, until_ms=None), expose("c", now_ms=3)
    exposures.end(session, done, now_ms=4)
    assert exposures.list_open(session) == [late, endless]
    assert exposures.overdue(session, now_ms=1999) == []
    assert exposures.overdue(session, now_ms=2000) == [late]
    assert [found.path for found in exposures.list_exposures(session)] == ["a", "b", "c"]
    assert [found.path for found in exposures.list_exposures(session, version_id=late.version_id)] == ["a", "b", "c"]
    assert exposures.list_exposures(session, version_id="nobody") == []


def test_fingerprints_match_content(session, patients, publish):
    one, two = publish(patients), publish(patients)
    made = [Fingerprint(version.id, bytes([member]) * 32, b"d" * 31 + bytes([member])) for version in (one, two) for member in (1, 2)]
    assert fingerprints.add(session, made) == 4
    assert fingerprints.of_version(session, one.id) == made[:2]
    found = fingerprints.match(session, [b"d" * 31 + b"\1", b"d" * 31 + b"\1", b"x" * 32])
    assert sorted(found, key=made.index) == [made[0], made[2]]
    with pytest.raises(Conflict):
        fingerprints.add(session, made[:1])


def test_fingerprints_have_whole_digests(session, patients, publish):
    version = publish(patients)
    for member, digest in ((b"", b"d" * 32), (b"m" * 32, b"d" * 31)):
        with pytest.raises(UsageError, match="32 bytes"):
            fingerprints.add(session, [Fingerprint(version.id, member, digest)])


def lease(session, version, **fields):
    given = {
        "id": f"lease-{len(session.find(tables.lease))}",
        "version_id": version.id,
        "principal_id": "p",
        "purpose": "ingest",
        "environment": "development",
        "kek_epoch": 1,
        "asset_epoch": 1,
        "request_id": "r",
        "issued_ms": 1,
        "state": "active",
    }
    session.insert(tables.lease, **given | fields)


def test_stale_drafts_are_old_and_without_a_live_lease(session, patients, draft, publish):
    older, old, held, young = (draft(patients, now_ms=now_ms) for now_ms in (500, 1000, 900, 5000))
    publish(patients, now_ms=1)
    versions.abandon(session, draft(patients, now_ms=1))
    lease(session, old, state="ended")
    lease(session, old, expires_ms=6000)
    lease(session, held, expires_ms=6001)

    def stale(now_ms):
        return leftovers.stale_drafts(session, now_ms=now_ms, older_than_ms=1000)

    assert stale(1500) == []
    assert stale(1501) == [older]
    assert stale(6000) == [older, old]
    assert stale(6001) == [older, held, old, young]
    lease(session, older)
    assert stale(7000) == [held, old, young]


def test_gone_versions(session, patients, draft, publish):
    gone = versions.mark_deleted(session, publish(patients, now_ms=2))
    given_up = versions.abandon(session, draft(patients, now_ms=1))
    publish(patients)
    draft(patients)
    assert leftovers.gone_versions(session) == [given_up, gone]
