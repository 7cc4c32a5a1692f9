"""Versions: drafts, numbers without gaps, deletion, references."""

from __future__ import annotations

import dataclasses

import pytest

from hermetic.catalog import assets, versions
from hermetic.catalog.values import Place, VersionState
from hermetic.db import tables
from hermetic.errors import Conflict, NotFound, RowTampered
from hermetic.ids import Environment, Ref

DEVELOPMENT = Environment.DEVELOPMENT


def current(session, asset):
    return assets.get(session, asset.id)


def test_a_draft_has_no_number(session, patients, draft):
    made = draft(patients)
    assert versions.get(session, made.id) == made
    assert (made.state, made.number, made.manifest, made.published_ms, made.details) == (
        VersionState.DRAFT,
        None,
        None,
        None,
        {"files": ["a.csv"]},
    )
    assert versions.latest(session, patients) is None
    assert versions.list_versions(session, patients) == []
    assert versions.list_versions(session, patients, numbered=False) == [made]
    assert versions.set_details(session, made, {"files": []}).details == {"files": []}


def test_publishing_gives_numbers_in_turn_and_chains_manifests(session, patients, draft, publication):
    assert versions.next_place(session, patients.id) == Place(1, None)
    first, second = draft(patients), draft(patients)
    published = versions.publish(session, second, publication(second))
    assert (published.number, published.state, published.length, published.published_ms) == (1, VersionState.PUBLISHED, 5000, 3000)
    assert published.manifest == b"manifest of " + second.id.encode()
    assert versions.next_place(session, patients.id) == Place(2, published.manifest_hash)
    again = versions.publish(session, first, publication(first))
    assert again.number == 2
    assert versions.latest(session, current(session, patients)) == again
    assert versions.list_versions(session, current(session, patients)) == [published, again]


def test_objects_come_back_by_index(session, patients, draft, publication):
    version = draft(patients)
    what = publication(version, count=3)
    versions.publish(session, version, dataclasses.replace(what, objects=what.objects[::-1]))
    assert versions.objects(session, version.id) == what.objects


def test_a_number_taken_by_another_writer_conflicts(session, patients, draft, publication, publish):
    version = draft(patients)
    late = publication(version)
    publish(patients)
    with pytest.raises(Conflict, match="not the next"):
        versions.publish(session, version, late)
    with pytest.raises(Conflict, match="not the next"):
        versions.publish(session, version, publication(version, number=7))


def test_a_version_is_published_once(session, patients, publish, publication):
    done = publish(patients)
    for call in (
        lambda: versions.publish(session, done, publication(done)),
        lambda: versions.abandon(session, done),
        lambda: versions.set_details(session, done, {}),
    ):
        with pytest.raises(Conflict, match="a version that is published cannot be"):
            call()


def test_abandoned_drafts_have_no_number_and_no_details(session, patients, draft, publication, publish):
    gone = versions.abandon(session, draft(patients))
    assert (gone.state, gone.number, gone.details) == (VersionState.ABANDONED, None, None)
    with pytest.raises(Conflict, match="abandoned cannot be published"):
        versions.publish(session, gone, publication(gone))
    assert publish(patients).number == 1


def test_deleted_versions_keep_number_and_chain(session, patients, publish):
    first, second = publish(patients), publish(patients)
    asset = current(session, patients)
    gone = versions.mark_deleted(session, second)
    assert (gone.state, gone.number, gone.details, gone.openings) == (VersionState.DELETED, 2, None, None)
    assert gone.manifest_hash == second.manifest_hash
    assert versions.latest(session, asset) == first
    assert versions.by_number(session, asset, 2) == gone
    assert versions.next_place(session, asset.id) == Place(3, second.manifest_hash)
    with pytest.raises(Conflict):
        versions.mark_deleted(session, gone)
    with pytest.raises(NotFound, match="dataset/patients@2 was deleted"):
        versions.resolve(session, Ref.parse("dataset/patients@2"), DEVELOPMENT)
    versions.mark_deleted(session, first)
    with pytest.raises(NotFound, match="no published version"):
        versions.resolve(session, Ref.parse("dataset/patients"), DEVELOPMENT)


def test_references(session, patients, publish):
    first, second = publish(patients), publish(patients)
    asset = current(session, patients)
    for text, version in (("dataset/patients", second), ("dataset/patients@latest", second), ("dataset/patients@1/a.csv", first)):
        assert versions.resolve(session, Ref.parse(text), DEVELOPMENT) == (asset, version)
    for text in ("dataset/patients@3", "dataset/nobody"):
        with pytest.raises(NotFound):
            versions.resolve(session, Ref.parse(text), DEVELOPMENT)
    for number in (0, -1, 3):
        with pytest.raises(NotFound, match="has no version"):
            versions.by_number(session, asset, number)


@pytest.mark.parametrize("taken", [1, 2])
def test_a_version_row_taken_out_by_hand_is_noticed(taken, session, patients, publish):
    made = [publish(patients), publish(patients)]
    asset = current(session, patients)
    session.connection.exec_driver_sql("DELETE FROM object WHERE version_id = ?", (made[taken - 1].id,))
    session.connection.exec_driver_sql("DELETE FROM data_key WHERE version_id = ?", (made[taken - 1].id,))
    session.connection.exec_driver_sql("DELETE FROM version WHERE id = ?", (made[taken - 1].id,))
    with pytest.raises(RowTampered, match="missing"):
        versions.by_number(session, asset, taken)
    with pytest.raises(RowTampered, match="missing"):
        versions.list_versions(session, asset)
    if taken == 2:
        with pytest.raises(RowTampered, match="missing"):
            versions.latest(session, asset)
        with pytest.raises(RowTampered, match="missing"):
            versions.next_place(session, asset.id)


def test_an_object_row_taken_out_by_hand_is_noticed(session, patients, publish):
    version = publish(patients)
    first = session.find(tables.object_, version_id=version.id, idx=0)[0]
    session.connection.exec_driver_sql("DELETE FROM object WHERE id = ?", (first["id"],))
    with pytest.raises(RowTampered, match="objects of version"):
        versions.objects(session, version.id)


def test_latest_is_quick_to_find_among_many(session, patients, publish):
    made = [publish(patients, now_ms=n) for n in range(30)]
    asset = current(session, patients)
    assert versions.latest(session, asset) == made[-1]
    assert [version.number for version in versions.list_versions(session, asset)] == list(range(1, 31))
