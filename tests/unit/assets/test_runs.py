"""Runs: purpose, lineage, scratch, and outputs that are published when the run ends well."""

from __future__ import annotations

import sys

import pytest

from hermetic.assets.pending import RunDrafts
from hermetic.assets.scratch import ScratchSpace
from hermetic.errors import Conflict, HermeticError, IntegrityError, NotFound, PolicyDenied, StorageError, UsageError
from hermetic.formats.messages import runs, versions


def put(drafts, name, member, data):
    file = drafts.add_member(name, member)
    file.write(data)
    file.finish()


def test_reads_and_writes_belong_to_the_run(h, port):
    h.seal(b"raw", name="dataset/raw")
    with h.run("train", purpose="train", parameters={"rate": "1"}) as run:
        h.open("dataset/raw").close()
        h.seal(b"model", name="model/m")
    assert run.ended.inputs == ("dataset/raw@1",)
    assert run.ended.outputs == ("model/m@1",)
    assert run.ended.state == "finished"
    facts = {pair.name: pair.value for pair in run.ended.facts}
    assert facts["parameter.rate"] == "1"
    assert sys.executable in facts["command"]
    assert port.asked[-1] == runs.FinishRun(run.id, "finished")
    opened = next(item for item in port.asked if isinstance(item, versions.OpenVersions))
    assert (opened.purpose, opened.run) == (None, run.id)


def test_a_failed_run_says_so(h):
    with pytest.raises(KeyError), h.run("train", purpose="train") as run:
        raise KeyError
    assert run.ended.state == "failed"
    with pytest.raises(SystemExit), h.run("train", purpose="train") as run:
        sys.exit(0)
    assert run.ended.state == "finished"
    with pytest.raises(SystemExit), h.run("train", purpose="train") as run:
        sys.exit(3)
    assert run.ended.state == "failed"


def test_purposes_in_order(h, port, monkeypatch):
    def declared(**more):
        h.seal(b"x", name="dataset/a", **more)
        return next(item for item in reversed(port.asked) if isinstance(item, versions.BeginVersion)).purpose

    assert declared() is None
    monkeypatch.setenv("HERMETIC_PURPOSE", "debug")
    assert declared() == "debug"
    object.__setattr__(h.session, "purpose", "prepare")
    assert declared() == "prepare"
    with h.run("r", purpose="train"):
        assert declared() is None
        assert declared(purpose="evaluate") == "evaluate"
    object.__setattr__(h.session, "purpose", None)
    monkeypatch.setenv("HERMETIC_PURPOSE", "fun")
    with pytest.raises(UsageError, match="purpose"):
        declared()


def test_a_run_needs_a_purpose(h):
    with pytest.raises(UsageError, match="needs a purpose"), h.run("train"):
        pass


def test_scratch_is_sealed_and_goes_with_the_run(h, store):
    with h.run("train", purpose="train") as run:
        run.scratch.write("cache/part.bin", b"secret " * 1000)
        assert run.scratch.read("cache/part.bin") == b"secret " * 1000
        run.scratch.write("cache/part.bin", b"newer")
        assert run.scratch.read("cache/part.bin") == b"newer"
        assert list(run.scratch.paths()) == [("cache/part.bin", 5)]
        kept = [(key, store.read_bytes(key, limit=10**7)) for key, _ in store.list("scratch/")]
        assert b"newer" not in kept[0][1]
        assert "part" not in kept[0][0]
        with pytest.raises(NotFound):
            run.scratch.read("cache/other")
    assert list(store.list("scratch/")) == []
    with pytest.raises(HermeticError):
        ScratchSpace(h.session, run.id)
    for key, raw in kept:
        store.put_bytes(key, raw)
    with pytest.raises(HermeticError):
        run.scratch.read("cache/part.bin")


def test_scratch_files_cannot_be_swapped(h, store):
    with h.run("one", purpose="train") as one, h.run("two", purpose="train") as two:
        one.scratch.write("a", b"a")
        one.scratch.write("b", b"b")
        two.scratch.write("a", b"c")
        paths = [store.root / one.scratch.key("a"), store.root / one.scratch.key("b"), store.root / two.scratch.key("a")]
        raw = [path.read_bytes() for path in paths]
        paths[0].write_bytes(raw[1])
        with pytest.raises(IntegrityError, match="where it was written"):
            one.scratch.read("a")
        paths[0].write_bytes(raw[2])
        with pytest.raises(IntegrityError, match="another run"):
            one.scratch.read("a")
        paths[0].write_bytes(raw[0][:-1] + b"x")
        with pytest.raises(IntegrityError):
            one.scratch.read("a")


def test_outputs_of_a_run_are_one_version_published_at_its_end(h, store, port):
    with h.run("prepare", purpose="prepare") as run:
        drafts = RunDrafts(h.session, run.scratch)
        put(drafts, "features/x", "part-0", b"0" * 10)
        put(drafts, "features/x", "part-1", b"1" * 20)
        put(drafts, "features/y", "data", b"y")
        put(drafts, "features/x", "part-0", b"replaced")
        assert drafts.members("features/x") == (("part-0", 8), ("part-1", 20))
        assert h.list() == ()
    assert run.outputs == ("features/x@1", "features/y@1")
    assert [member.path for member in h.members("features/x")] == ["part-0", "part-1"]
    assert h.open("features/x", member="part-0").read() == b"replaced"
    assert h.verify("features/x").objects == 2
    assert list(store.list("scratch/")) == []


def test_outputs_of_a_failed_run_are_given_up(h, store, port):
    with pytest.raises(KeyError), h.run("prepare", purpose="prepare") as run:
        put(RunDrafts(h.session, run.scratch), "features/x", "data", b"0")
        raise KeyError
    assert h.list() == ()
    assert list(store.list()) == []
    assert {version.state for version in port.versions.values()} == {"abandoned"}


def test_a_name_is_written_by_one_process_of_a_run(h):
    with h.run("prepare", purpose="prepare") as run:
        first, second = RunDrafts(h.session, run.scratch), RunDrafts(h.session, ScratchSpace(h.session, run.id))
        put(first, "features/x", "a", b"0")
        with pytest.raises(Conflict, match="another process"):
            second.add_member("features/x", "b")
        assert second.members("features/x") == (("a", 1),)
        assert second.publish("features/x").ref == "features/x@1"
        put(second, "features/x", "b", b"1")
    assert run.outputs == ("features/x@2",)


def test_a_file_that_was_given_up_is_no_part(h, port):
    with h.run("prepare", purpose="prepare") as run:
        drafts = RunDrafts(h.session, run.scratch)
        drafts.add_member("features/x", "bad").abort()
        put(drafts, "features/x", "good", b"1")
        drafts.add_member("features/empty", "bad").abort()
    assert run.outputs == ("features/x@1",)
    assert [member.path for member in h.members("features/x")] == ["good"]


def test_a_gap_fails_the_run(h):
    with pytest.raises(UsageError, match="not finished"), h.run("prepare", purpose="prepare") as run:
        drafts = RunDrafts(h.session, run.scratch)
        bad = drafts.add_member("features/x", "bad")
        put(drafts, "features/x", "good", b"1")
        bad.abort()
    assert run.ended.state == "failed"
    assert h.list() == ()


def test_an_output_that_cannot_be_published_fails_the_run(h, port):
    port.fail[versions.PublishVersion] = PolicyDenied("no")
    with pytest.raises(PolicyDenied), h.run("prepare", purpose="prepare") as run:
        put(RunDrafts(h.session, run.scratch), "features/x", "data", b"0")
    assert run.ended.state == "failed"


def test_an_output_whose_publication_was_not_confirmed_is_what_came_of_it(h, port, monkeypatch):
    publish = port.publish_version

    def unsure(message):
        publish(message)
        raise StorageError("the commit was not confirmed")

    monkeypatch.setattr(port, "publish_version", unsure)
    with pytest.raises(StorageError, match="not confirmed"), h.run("prepare", purpose="prepare") as run:
        put(RunDrafts(h.session, run.scratch), "features/x", "data", b"0")
    assert run.ended.state == "failed"
    assert h.open("features/x").read() == b"0"


def test_a_claim_whose_removal_was_not_confirmed_is_gone(h, monkeypatch):
    forget = RunDrafts._forget

    def unsure(self, claim):
        forget(self, claim)
        monkeypatch.setattr(RunDrafts, "_forget", forget)
        raise StorageError("the removal was not confirmed")

    monkeypatch.setattr(RunDrafts, "_forget", unsure)
    with pytest.raises(StorageError, match="not confirmed"), h.run("prepare", purpose="prepare") as run:
        put(RunDrafts(h.session, run.scratch), "features/x", "data", b"0")
    assert run.ended.state == "failed"
    assert h.open("features/x").read() == b"0"


def test_a_command_is_a_run(h, port):
    found = []
    code, run = h.run_command(
        "check",
        [sys.executable, "-c", "import os; assert os.environ['HERMETIC_RUN']; raise SystemExit(4)"],
        purpose="train",
        tell=found.append,
    )
    assert (code, run.ended.state) == (4, "failed")
    facts = {pair.name: pair.value for pair in run.ended.facts}
    assert facts["exit-code"] == "4"
    assert facts["temporary-folder"] in {"mount", "memory", "disk"}
    code, run = h.run_command("check", ["true"], purpose="train")
    assert (code, run.ended.state) == (0, "finished")
    with pytest.raises(NotFound):
        h.run_command("check", ["no-such-program"], purpose="train")
    assert next(item for item in reversed(port.asked) if isinstance(item, runs.FinishRun)).state == "failed"
    with pytest.raises(UsageError):
        h.run_command("check", [], purpose="train")
