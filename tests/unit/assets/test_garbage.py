"""Garbage is what nobody needs; what looks like forgotten data is kept."""

from __future__ import annotations

import pytest

from hermetic.assets.drafts import DraftVersion
from hermetic.assets.sealing import Terms, begin
from hermetic.assets.session import fresh_id
from hermetic.formats.messages import catalogue


@pytest.fixture
def left(h):
    """A draft whose process was killed: objects in the store, nothing published."""
    draft = begin(h.session, Terms(name="dataset/a"))
    writer = draft.add_member("data")
    writer.write(b"x")
    writer.finish()
    draft.hand_over()
    return draft


def test_drafts_go_and_versions_stay(h, left, store):
    kept = h.seal(b"x", name="dataset/b")
    dry = h.gc(dry_run=True)
    assert [item.what for item in dry.removed] == [left.version]
    assert store.exists(f"{left.version}/0.sealed")
    assert h.gc().removed == dry.removed
    assert [key for key, _ in store.list()] == [f"{kept.version}/0.sealed", f"{kept.version}/manifest.json"]
    assert h.gc().removed == ()


def test_a_version_that_begins_meanwhile_stays(h, store, port, monkeypatch):
    answer = port.collect_garbage

    def late(message):
        monkeypatch.setattr(port, "collect_garbage", answer)
        found = answer(message)
        h.seal(b"late", name="dataset/late")
        return catalogue.Garbage(found.items, ())

    monkeypatch.setattr(port, "collect_garbage", late)
    assert h.gc().removed == ()
    assert h.check("dataset/late").bytes == 4


def test_what_custody_forgot_is_kept_and_told(h, store, port):
    sealed = h.seal(b"x", name="dataset/b")
    port.versions.clear()
    collected = h.gc()
    assert collected.removed == ()
    assert "older backup" in collected.kept[0].reason
    assert store.exists(f"{sealed.version}/0.sealed")


def test_a_listing_from_before_the_manifest_removes_no_version(h, store, port, monkeypatch):
    sealed = h.seal(b"x", name="dataset/b")
    port.versions.clear()
    listed = type(store).list
    monkeypatch.setattr(type(store), "list", lambda *given: (item for item in listed(*given) if not item[0].endswith(".json")))
    collected = h.gc()
    assert collected.removed == ()
    assert [item.what for item in collected.kept] == [sealed.version]


def test_what_is_not_ours_is_kept(h, left, store, port):
    raw = store.read_bytes(f"{left.version}/0.sealed", limit=10**6)
    port.versions.clear()
    port.domain = fresh_id()
    h.connection.welcome.domain = port.domain
    store.put_bytes(f"{fresh_id()}/notes.txt", b"mine")
    store.put_bytes("other/file", b"mine")
    reasons = {item.reason for item in h.gc().kept}
    assert any("another domain" in reason for reason in reasons)
    assert any("no sealed objects" in reason for reason in reasons)
    assert store.read_bytes(f"{left.version}/0.sealed", limit=10**6) == raw
    assert store.exists("other/file")


def test_debris_of_this_domain_that_custody_does_not_know_goes(h, left, store, port):
    port.versions.clear()
    assert [item.what for item in h.gc().removed] == [left.version]
    assert list(store.list()) == []


def test_scratch_of_runs_that_are_over(h, store):
    with h.run("r", purpose="train") as run:
        run.scratch.write("a", b"x")
        key, raw = next((key, store.read_bytes(key, limit=10**6)) for key, _ in store.list("scratch/"))
        assert h.gc().removed == ()
        assert store.exists(key)
    store.put_bytes(key, raw)
    assert [item.what for item in h.gc().removed] == [f"scratch/{run.id}"]
    assert list(store.list()) == []


def test_a_draft_gives_itself_up(h, store):
    with begin(h.session, Terms(name="dataset/a")) as draft:
        assert isinstance(draft, DraftVersion)
        draft.add_member("data").write(b"x")
    assert list(store.list()) == []
