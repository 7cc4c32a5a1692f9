"""The playbook for a stolen key: what it could open is sealed anew, verified, and the rest never notices."""

from __future__ import annotations

import os
import threading

import pytest

from hermetic import steps
from hermetic.assets.workspace import Workspace
from hermetic.errors import HermeticError, KeyUnusable
from hermetic.formats.messages import keys
from hermetic.formats.sealed_anew import LABEL
from hermetic.ids import DataClass, Purpose
from hermetic.recovery.compromise import compromise
from tests import world as w


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
        for number in range(3):
            made.seal(b"%d" % number, name="dataset/patients", data_class="restricted", owner="ana", member="data")
        made.seal(folder, name="model/risk", data_class="restricted", owner="ben")
        made.seal(b"open", name="dataset/other", data_class="internal", member="data")
        yield made


def kek_of(h, name="dataset/patients"):
    return h.show(name).kek


def test_everything_it_could_open_has_another_key(h):
    kek = kek_of(h)
    before = {ref: h.show(ref) for ref in ("dataset/patients@1", "dataset/patients@3", "model/risk@1")}
    report = compromise(h, kek[:6], "laptop stolen")
    assert report.revoke_s is not None
    assert [(one.old, one.new) for one in report.anew] == [
        ("dataset/patients@1", "dataset/patients@4"),
        ("dataset/patients@2", "dataset/patients@5"),
        ("dataset/patients@3", "dataset/patients@6"),
        ("model/risk@1", "model/risk@2"),
    ]
    assert report.failed == ()
    for number in range(3):
        with h.open(f"dataset/patients@{number + 4}") as file:
            assert file.read() == b"%d" % number
    with h.open("dataset/patients") as file:
        assert file.read() == b"2"
    with h.open("model/risk@2/a") as file:
        assert file.read() == b"a" * 3_000_000
    for one in report.anew:
        details = h.show(one.new)
        assert (details.kek, details.kek_state) == (kek, "active")
        assert (LABEL, one.old) in details.labels
        assert details.parents == (one.old,)
    assert h.show("model/risk").owner == before["model/risk@1"].owner
    assert {object_.root for object_ in manifest(h, "model/risk@1")}.isdisjoint(
        object_.root for object_ in manifest(h, "model/risk@2")
    )
    with pytest.raises(KeyUnusable):
        h.open("dataset/patients@1")


def manifest(h, ref):
    from hermetic.formats.dsse import parse_envelope
    from hermetic.formats.manifest import ENVELOPE_LIMIT, parse_manifest

    return parse_manifest(parse_envelope(h.show(ref).manifest, limit=ENVELOPE_LIMIT).payload).objects


def test_an_interrupted_run_goes_on(h):
    class Cut(Exception):
        pass

    seen = []

    def hook(name):
        seen.append(name)
        if name == "recovery.compromise.anew" and seen.count(name) == 2:
            raise Cut

    steps.install(hook)
    with pytest.raises(Cut):
        compromise(h, kek_of(h), "stolen")
    steps.install(None)
    number = len(h.connection.ask(keys.ShowKey(kek_of(h, "dataset/patients@1"))).versions)
    report = compromise(h, kek_of(h, "dataset/patients@1"), "stolen", go_on=True)
    assert (report.before, len(report.anew)) == (2, 2)
    assert len(report.key.versions) == number
    again = compromise(h, kek_of(h, "dataset/patients@1"), "stolen", go_on=True)
    assert (again.before, again.anew, again.failed) == (4, (), ())
    assert again.revoke_s is None  # it revoked nothing


@pytest.mark.parametrize("step", ["recovery.compromise.revoked", "recovery.compromise.anew"])
def test_killed_at_its_steps_it_goes_on(h, world, step):
    kek = kek_of(h)
    child = os.fork()
    if child == 0:
        steps.install(lambda name: os._exit(9) if name == step else None)
        with Workspace(world.connect(), purpose="prepare") as other:
            compromise(other, kek, "stolen")
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    report = compromise(h, kek, "stolen", go_on=True)
    assert (report.before + len(report.anew), report.failed) == (4, ())
    assert len(report.key.versions) == 2
    with h.open("dataset/patients") as file:
        assert file.read() == b"2"


@pytest.mark.parametrize(
    ("name", "content", "purpose"),
    [
        ("dataset/other", b"2", "recover"),
        ("dataset/patients", b"other", "recover"),
        ("dataset/patients", b"7", "recover"),  # as long as what it claims to be
        ("dataset/patients", b"2", "ingest"),  # the same, by somebody who may seal
    ],
)
def test_a_label_that_anybody_writes_keeps_nothing_from_being_sealed_anew(h, name, content, purpose):
    data_class = h.show(name).data_class
    labels = [(LABEL, "dataset/patients@3"), (LABEL, "dataset/patients@99"), (LABEL, "@x")]
    h.seal(content, name=name, data_class=data_class, member="data", labels=labels, purpose=purpose)
    assert h.show(name).anew == ()
    report = compromise(h, kek_of(h), "stolen")
    assert report.before == 0
    assert "dataset/patients@3" in [one.old for one in report.anew]


def test_without_fingerprints_of_both_no_label_counts(h, world):
    w.sql(world, "DELETE FROM fingerprint WHERE version_id = ?", h.show("dataset/patients@2").version)
    risk = h.show("model/risk@1").version
    w.sql(world, "DELETE FROM fingerprint WHERE digest_h = (SELECT min(digest_h) FROM fingerprint WHERE version_id = ?)", risk)
    compromise(h, kek_of(h), "stolen")
    assert [h.show(f"dataset/patients@{number}").anew for number in (3, 4, 5, 6)] == [(), (1,), (), (3,)]
    assert h.show("model/risk@2").anew == ()
    report = compromise(h, kek_of(h), "stolen", go_on=True)
    assert report.before == 2
    assert [one.old for one in report.anew] == ["dataset/patients@2", "model/risk@1"]


def test_after_a_rename_labels_go_with_the_asset(h, world):
    from hermetic.formats.messages.catalogue import RenameAsset

    compromise(h, kek_of(h), "stolen")
    h.connection.ask(RenameAsset("dataset/patients", "dataset/former"))
    with Workspace(world.connect(), purpose="prepare") as other:
        other.seal(b"1", name="dataset/patients", data_class="restricted", owner="ana", member="data", parents=())
        report = compromise(other, kek_of(other), "stolen again")
    assert report.before == 4
    assert "dataset/patients@1" in [one.old for one in report.anew]


def test_a_version_that_is_gone_from_its_store_is_told_and_the_rest_goes_on(h, world):
    version = h.show("dataset/patients@2").version
    for path in (world.project / "sealed" / version).glob("*.sealed"):
        path.unlink()
    report = compromise(h, kek_of(h), "stolen")
    assert [finding.subject for finding in report.failed] == ["dataset/patients@2"]
    assert [one.old for one in report.anew] == ["dataset/patients@1", "dataset/patients@3", "model/risk@1"]
    assert all(finding.remedy for finding in report.failed)


def test_altered_ciphertext_is_not_carried_over(h, world):
    version = h.show("dataset/patients@2").version
    (path,) = (world.project / "sealed" / version).glob("*.sealed")
    raw = bytearray(path.read_bytes())
    raw[-400] ^= 1
    path.chmod(0o600)
    path.write_bytes(raw)
    report = compromise(h, kek_of(h), "stolen")
    assert [finding.subject for finding in report.failed] == ["dataset/patients@2"]


def test_readers_of_other_keys_never_notice(h, world):
    failures, reads, stop = [], [], threading.Event()

    def read():
        with Workspace(world.connect(), purpose="prepare") as other:
            while not stop.is_set():
                try:
                    with other.open("dataset/other") as file:
                        assert file.read() == b"open"
                    reads.append(1)
                except HermeticError as error:
                    failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        while not reads:
            pass
        compromise(h, kek_of(h), "stolen")
        compromise(h, kek_of(h), "stolen once more")
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert reads


def test_a_suspended_key_is_revoked_and_said_to_be(h):
    kek = kek_of(h)
    h.connection.ask(keys.ChangeKeyState(kek, "suspend", "being looked into"))
    report = compromise(h, kek, "it was")
    assert report.key.state == "suspended"
    assert {finding.subject for finding in report.failed} >= {"dataset/patients@1"}
    h.connection.ask(keys.ChangeKeyState(kek, "resume", "go"))
    report = compromise(h, kek, "it was", go_on=True)
    assert (len(report.anew), report.failed) == (4, ())


def test_classes_and_purposes_stay(h):
    compromise(h, kek_of(h), "stolen")
    assert h.show("dataset/patients").data_class is DataClass.RESTRICTED
    assert h.show("dataset/patients").purpose is Purpose.RECOVER
