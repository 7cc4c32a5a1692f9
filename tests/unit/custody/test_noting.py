"""Copies of strict data under lower classes: how they are recognised, and what a writer and a reader of lists is told."""

from __future__ import annotations

import hashlib

from hermetic.formats.messages import catalogue, runs, versions
from hermetic.ids import DataClass, Purpose
from tests import world as w

PUBLIC, INTERNAL, RESTRICTED = DataClass.PUBLIC, DataClass.INTERNAL, DataClass.RESTRICTED


def recognised(port, content):
    return port.ask(versions.RecogniseDigests((hashlib.sha256(content).digest(), bytes(32)))).refs


def rows(port):
    return {row.name: row for row in port.ask(catalogue.ListAssets()).assets}


def test_a_copy_is_of_the_strictest_version_with_its_bytes(port):
    w.seal(port, "dataset/secret", RESTRICTED)
    w.seal(port, "dataset/open", PUBLIC)
    assert recognised(port, b"content") == ("dataset/secret@1", "")
    w.seal(port, "dataset/secret", RESTRICTED)
    w.seal(port, "dataset/open", PUBLIC)
    assert recognised(port, b"content") == ("dataset/secret@2", "")


def test_who_seals_strict_bytes_under_a_lower_class_is_told(port):
    assert w.seal(port, "dataset/secret", RESTRICTED)[1].notes == ()
    (note,) = w.seal(port, "dataset/open", PUBLIC)[1].notes
    assert "the same bytes are sealed as dataset/secret@1, which is restricted: here they are public" in note
    assert "seal dataset/open again with --class restricted" in note
    assert w.seal(port, "dataset/other", PUBLIC, content=b"other")[1].notes == ()
    assert w.seal(port, "dataset/void", RESTRICTED, content=b"")[1].notes == w.seal(port, "dataset/none", PUBLIC, content=b"")[1].notes


def test_a_list_never_understates_class_and_retention(port):
    w.seal(port, "dataset/patients", RESTRICTED)
    w.seal(port, "dataset/sales", INTERNAL, content=b"sales")
    before = rows(port)["dataset/sales"]
    _, published = w.seal(port, "dataset/sales", None, content=b"more", parents=("dataset/patients@1",))
    (note,) = published.notes
    assert note.startswith("dataset/sales was internal and is restricted from this version on")
    row, shown = rows(port)["dataset/sales"], port.ask(catalogue.ShowVersion("dataset/sales"))
    assert (before.data_class, row.data_class) == (INTERNAL, RESTRICTED)
    assert row.retention_days == shown.retention_days != before.retention_days
    assert w.seal(port, "dataset/sales", RESTRICTED, content=b"again")[1].notes == ()


def test_two_locations_under_one_name_are_told(world, port):
    rules = "rules:\n  - {path: out/**, kind: features, class: internal}\n"
    w.change_policy(world, world.port(), lambda text: text.replace("rules: []\n", rules))

    def put(key):
        return w.seal(port, "features/a", INTERNAL, objects=(w.record(member=key, content=key.encode()),), place="")[1].notes

    assert put("out/a.csv") == ()
    assert put("out/a.csv") == ()
    (note,) = put("out/other/a.csv")
    assert "features/a@2 lies at out/a.csv, and this version at out/other/a.csv" in note


def test_notes_reach_a_run(port):
    w.seal(port, "dataset/patients", RESTRICTED)
    w.seal(port, "features/x", INTERNAL, content=b"x")
    run = port.ask(runs.StartRun(w.fresh(), "work", Purpose.PREPARE)).run
    w.open_(port, "dataset/patients", run=run)
    (note,) = w.seal(port, "features/x", None, content=b"y", run=run)[1].notes
    assert note.startswith("features/x was internal and is restricted")
