"""Assets on the real custody: numbers, lineage, crashes, several processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

import hermetic
from hermetic.assets.session import Session
from hermetic.db import tables
from hermetic.errors import Conflict, HermeticError, IntegrityError, KeyUnusable, LeaseEnded, NotFound, PolicyDenied
from hermetic.formats.messages.catalogue import ListAssets, RenameAsset
from hermetic.formats.messages.log import ReadLog
from tests.unit.assets.real import domain, domain_template, python, real  # noqa: F401 - fixtures

CSV = b"id,name\n1,Zoe\n2,Yan\n"


@pytest.fixture
def patients(domain):  # noqa: F811
    path = domain / "data" / "patients.csv"
    path.parent.mkdir()
    path.write_bytes(CSV)
    return path


def days_later(h, days):
    """Let custody believe that time has passed: a vanished writer's lease runs out after a day."""
    custodian = h.connection.port._custodian
    clock, steady = custodian.clock, custodian.steady
    object.__setattr__(custodian, "clock", lambda: clock() + days * 86_400_000)
    object.__setattr__(custodian, "steady", lambda: steady() + days * 86_400_000)


def store_of(h):
    return next(iter(h.connection.stores.values()))


def test_there_and_back(real, patients):  # noqa: F811
    sealed = real.seal(patients)
    assert (sealed.ref, sealed.data_class, sealed.owner, sealed.number) == ("dataset/patients@1", "confidential", "ana", 1)
    with real.open("dataset/patients", purpose="prepare") as file:
        assert file.read() == CSV
    assert real.seal(patients).number == 2
    assert real.verify("dataset/patients@1").objects == 1
    assert real.check("dataset/patients@2", purpose="audit").bytes == len(CSV)
    assert [row.latest for row in real.list("dataset/*")] == [2]


def test_what_is_written_outside_a_run_is_made_of_what_was_read(real, patients):  # noqa: F811
    real.seal(b"names", name="dataset/names", data_class="restricted")
    with real.open("dataset/names", purpose="prepare") as file:
        derived = file.read()
    made = real.seal(derived, name="features/initials")
    assert (made.data_class, real.show(made.ref).parents) == ("restricted", ("dataset/names@1",))
    with real.writer("features/letters") as writer:
        writer.write(derived)
    assert writer.version.data_class == "restricted"
    with pytest.raises(HermeticError, match="restricted"):
        real.seal(derived, name="features/lower", data_class="internal")
    lowered = real.seal(derived, name="features/lower", data_class="internal", decision="only initials")
    assert lowered.data_class == "internal"
    assert real.seal(b"other", name="features/other", data_class="internal", parents=()).data_class == "internal"
    assert real.seal(patients).data_class == "confidential"  # its content was there before


def test_what_was_read_is_known_by_its_new_name(real):  # noqa: F811
    real.seal(b"names", name="dataset/names", data_class="restricted")
    real.open("dataset/names", purpose="prepare").close()
    real.rename("dataset/names", "dataset/people")
    assert real.show(real.seal(b"x", name="features/x").ref).parents == ("dataset/people@1",)


@pytest.mark.parametrize("named", [None, ["dataset/names@1"]])
def test_a_parent_is_what_was_read_whatever_has_its_name_by_now(real, named):  # noqa: F811
    real.seal(b"names", name="dataset/names", data_class="restricted")
    real.open("dataset/names", purpose="prepare").close()
    elsewhere = Session(real.connection)  # another process: this one does not hear of it
    elsewhere.ask(RenameAsset("dataset/names", "dataset/people"))
    assert real.show(real.seal(b"x", name="features/x", parents=named).ref).parents == ("dataset/people@1",)
    real.seal(b"none", name="dataset/names", data_class="internal", parents=())
    made = real.seal(b"y", name="features/y", parents=named)
    assert (made.data_class, real.show(made.ref).parents) == ("restricted", ("dataset/people@1",))
    real.open("dataset/names", purpose="prepare").close()
    assert real.show(real.seal(b"z", name="features/z", parents=["dataset/names@1"]).ref).parents == ("dataset/names@1",)


def test_looking_for_the_data_first_takes_no_key(real):  # noqa: F811
    """As somebody does who has a grant for one use (docs/limitations.md)."""
    real.seal(b"names", name="dataset/names", data_class="internal")
    releases = len(real.session.ask(ReadLog(kind="release.intent")).rows)
    for path in store_of(real).root.rglob("*.sealed"):
        path.unlink()
    with pytest.raises(NotFound):
        real.verify("dataset/names")
    assert len(real.session.ask(ReadLog(kind="release.intent")).rows) == releases
    with pytest.raises(NotFound, match="missing from the store"):
        real.open("dataset/names", purpose="prepare").read()
    assert len(real.session.ask(ReadLog(kind="release.intent")).rows) == releases + 1


def test_restricted_data_needs_a_purpose(real, monkeypatch):  # noqa: F811
    real.seal(b"x", name="dataset/r", data_class="restricted")
    with pytest.raises(PolicyDenied):
        real.open("dataset/r")
    with real.run("train", purpose="train"):
        real.open("dataset/r").close()
    monkeypatch.setenv("HERMETIC_PURPOSE", "prepare")
    real.open("dataset/r").close()


def test_a_store_that_nobody_placed_here_is_told_with_the_line_to_write(real):  # noqa: F811
    settings = real.connection.home.domain_config(real.connection.project.domain) / "config.yaml"
    with pytest.raises(NotFound) as unknown:
        Session(real.connection).store("warehouse")
    assert str(settings) in unknown.value.hint
    assert "stores: {warehouse: {folder: /PATH}}" in unknown.value.hint


def test_copies_are_recognised(real, patients):  # noqa: F811
    from hermetic.sealed.content import content_digest

    real.seal(patients)
    with patients.open("rb") as file:
        digest = content_digest(file.fileno(), len(CSV), "blake3")
    assert real.recognise([digest, bytes(32)]) == ("dataset/patients@1", "")


def test_exposure_is_on_record(real, patients, tmp_path):  # noqa: F811
    real.seal(patients)
    row = real.expose("dataset/patients", tmp_path / "out.csv", seconds=60, purpose="prepare")
    assert (row.ref, row.path) == ("dataset/patients@1", str(tmp_path / "out.csv"))
    assert (tmp_path / "out.csv").read_bytes() == CSV
    with pytest.raises(Conflict):
        real.expose("dataset/patients", tmp_path / "out.csv", seconds=60, purpose="prepare")
    real.end_exposure(tmp_path / "out.csv")
    assert real.exposures() == ()


def test_lineage_of_a_run(real, patients, monkeypatch):  # noqa: F811
    monkeypatch.setattr(sys, "argv", [__file__])
    real.seal(patients)
    with real.run("prepare", purpose="prepare") as run:
        with real.open("dataset/patients") as file:
            data = file.read()
        real.seal(data.upper(), name="features/upper")
    assert run.ended.inputs == ("dataset/patients@1",)
    assert run.ended.outputs == ("features/upper@1",)
    graph = real.lineage("features/upper")
    assert [node.ref for node in graph.nodes] == ["features/upper@1", "dataset/patients@1"]
    assert graph.nodes[0].code_version
    assert real.show("features/upper").data_class == "confidential"  # inherited, above the rule's class
    assert [node.ref for node in real.lineage("dataset/patients", descendants=True).nodes][1:] == ["features/upper@1"]


def test_scratch_cannot_be_read_after_its_run(real):  # noqa: F811
    store = store_of(real)
    with real.run("train", purpose="train") as run:
        run.scratch.write("a", b"secret")
        key, raw = next((key, store.read_bytes(key, limit=10**6)) for key, _ in store.list("scratch/"))
    assert not store.exists(key)
    store.put_bytes(key, raw)
    with pytest.raises(HermeticError):
        run.scratch.read("a")
    with pytest.raises(HermeticError), hermetic.connect() as other:
        from hermetic.assets.scratch import ScratchSpace

        ScratchSpace(other.session, run.id)


def test_a_lease_ends_when_the_key_is_suspended(real, patients):  # noqa: F811
    from hermetic.formats.messages.keys import ChangeKeyState

    real.seal(patients)
    version = real.version("dataset/patients", purpose="prepare")
    kek = real.show("dataset/patients").kek
    real.connection.ask(ChangeKeyState(kek, "suspend", "test"))
    version.leased._confirmed -= 10**6
    with pytest.raises(LeaseEnded):
        version.open()
    with pytest.raises((KeyUnusable, PolicyDenied)):
        real.open("dataset/patients", purpose="prepare")
    real.connection.ask(ChangeKeyState(kek, "resume", "test"))
    real.open("dataset/patients", purpose="prepare").close()


def test_an_older_catalogue_is_noticed(real, patients, monkeypatch):  # noqa: F811
    """A reader that has seen version 2 does not take version 1 for the latest."""
    real.seal(patients)
    real.seal(patients)
    real.open("dataset/patients", purpose="prepare").close()
    asset = real.show("dataset/patients").asset
    real.connection.pins.see_version(asset, 3)
    with pytest.raises(IntegrityError, match="was at version 3"):
        real.open("dataset/patients", purpose="prepare")


# several processes

SEAL = """
import sys
import hermetic
with hermetic.connect() as h:
    print(h.seal(sys.argv[1].encode() * 200_000, name="dataset/race", data_class="internal").ref)
"""


def test_processes_that_seal_one_name(real):  # noqa: F811
    started = [python(SEAL, text, stdout=subprocess.PIPE, text=True) for text in "abcd"]
    refs = sorted(process.communicate()[0].strip() for process in started)
    assert refs == [f"dataset/race@{number}" for number in (1, 2, 3, 4)]
    contents = set()
    for number in (1, 2, 3, 4):
        with real.open(f"dataset/race@{number}", purpose="prepare") as file:
            contents.add(file.read(1))
        assert real.verify(f"dataset/race@{number}").objects == 1
    assert contents == {b"a", b"b", b"c", b"d"}


def test_a_forked_child_opens_for_itself(real, patients):  # noqa: F811
    real.seal(patients)
    real.open("dataset/patients", purpose="prepare").close()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with real.open("dataset/patients", purpose="prepare") as file:
                code = 0 if file.read() == CSV else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with real.open("dataset/patients", purpose="prepare") as file:
        assert file.read() == CSV


# crashes

CRASH = """
import os, signal, sys
import hermetic
from hermetic import steps
h = hermetic.connect()
def die(step):
    if step == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)
steps.install(die)
h.seal(b"x" * 3_000_000, name="dataset/crash", data_class="internal")
"""
BEFORE = ["custody.seal.intent", "store.stage.synced", "seal.object.staged", "store.stage.renamed", "seal.object.renamed"]
AFTER = ["custody.publish.committed", "seal.manifest.written"]


@pytest.mark.parametrize("step", BEFORE + AFTER)
def test_killed_at(real, step):  # noqa: F811
    process = python(CRASH, step)
    assert process.wait() == -signal.SIGKILL
    store = store_of(real)
    published = [row.latest for row in real.connection.ask(ListAssets("dataset/crash")).assets if row.latest]
    if step in AFTER:
        assert published == [1]
        with real.open("dataset/crash", purpose="prepare") as file:
            assert file.read() == b"x" * 3_000_000
        assert store.exists(f"{real.show('dataset/crash').version}/manifest.json")
        assert real.verify("dataset/crash").objects == 1
    else:
        assert published == []
        assert real.seal(b"y", name="dataset/crash", data_class="internal").number == 1
    kept = real.show("dataset/crash").version
    assert all(item.what.endswith("temporary files") for item in real.gc(older_than_ms=0).removed)
    days_later(real, 2)
    assert real.gc().kept == ()
    assert {key.partition("/")[0] for key, _ in store.list()} == {kept}
    assert not list(store.root.rglob(".hermetic-tmp-*"))
    assert real.check("dataset/crash", purpose="audit").objects == 1


# commands as runs

SCRIPT = """
import pandas
frame = pandas.read_csv("hermetic://dataset/patients")
frame["length"] = frame["name"].str.len()
frame.to_parquet("hermetic://features/lengths")
frame.to_parquet("hermetic://scratch/cache.parquet")
assert pandas.read_parquet("hermetic://scratch/cache.parquet").equals(frame)
frame.to_parquet("hermetic://features/parts", partition_cols=["id"])
"""


def script(folder, text):
    path = folder / "prepare.py"
    path.write_text(text)
    return [sys.executable, str(path)]


def test_an_unmodified_script_under_a_run(real, patients, domain):  # noqa: F811
    pytest.importorskip("pandas")
    real.seal(patients)
    code, run = real.run_command("prepare", script(domain, SCRIPT), purpose="prepare")
    assert (code, run.ended.state) == (0, "succeeded")
    assert run.ended.inputs == ("dataset/patients@1",)
    assert sorted(run.ended.outputs) == ["features/lengths@1", "features/parts@1"] == sorted(run.outputs)
    assert len(real.members("features/parts")) == 2
    assert [node.ref for node in real.lineage("features/lengths").nodes] == ["features/lengths@1", "dataset/patients@1"]
    facts = {pair.name: pair.value for pair in run.ended.facts}
    assert facts["exit-code"] == "0"
    assert "code.sha256.prepare.py" in facts
    store = store_of(real)
    assert list(store.list("scratch/")) == []
    assert all(b"PAR1" not in store.read_bytes(key, limit=10**7) for key, _ in store.list())


@pytest.mark.parametrize("end", ["raise SystemExit(3)", "import os; os.kill(os.getpid(), 9)", "1 / 0"])
def test_a_script_that_fails_publishes_nothing(real, patients, domain, end, capfd):  # noqa: F811
    pytest.importorskip("pandas")
    real.seal(patients)
    code, run = real.run_command("prepare", script(domain, SCRIPT + end), purpose="prepare")
    assert code == {"r": 3, "i": 137, "1": 1}[end[0]]
    assert run.ended.state == "failed"
    assert run.ended.outputs == ()
    assert [row.name for row in real.list() if row.latest] == ["dataset/patients"]
    store = store_of(real)
    assert len(list(store.list())) == 2


def test_a_shell_pipeline_of_processes_in_one_run(real, patients, domain):  # noqa: F811
    """The second process reads what the first wrote, which is published then; each writes names of its own."""
    pytest.importorskip("pandas")
    real.seal(patients)
    first = "import pandas; pandas.read_csv('hermetic://dataset/patients').to_csv('hermetic://features/one', index=False)"
    second = "import pandas; pandas.read_csv('hermetic://features/one').to_csv('hermetic://features/two', index=False)"
    command = f'"{sys.executable}" -c "{first}" && "{sys.executable}" -c "{second}"'
    code, run = real.run_command("both", ["sh", "-c", command], purpose="prepare")
    assert (code, run.ended.state) == (0, "succeeded")
    assert sorted(run.ended.outputs) == ["features/one@1", "features/two@1"]
    assert "features/one@1" in [node.ref for node in real.lineage("features/two").nodes]


def test_a_script_finds_the_run_and_nothing_else_new(real, domain, tmp_path):  # noqa: F811
    code = f"import os, pathlib; pathlib.Path({str(tmp_path / 'env')!r}).write_text('\\n'.join(sorted(os.environ)))"
    before = set(os.environ)
    assert real.run_command("look", script(domain, code), purpose="prepare")[0] == 0
    after = set((tmp_path / "env").read_text().split("\n"))
    assert after - before <= {"HERMETIC_RUN", "TMPDIR", "LC_CTYPE"}


def test_a_run_that_was_killed_is_cleaned_up(real, domain):  # noqa: F811
    code = """
import os, signal
import hermetic
from hermetic.assets.pending import RunDrafts
h = hermetic.connect()
with h.run("prepare", purpose="prepare") as run:
    file = RunDrafts(h.session, run.scratch).add_member("features/x", "data")
    file.write(b"x")
    file.finish()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert python(code).wait() == -signal.SIGKILL
    store = store_of(real)
    assert len(list(store.list())) == 3
    days_later(real, 2)
    real.gc()
    assert [key for key, _ in store.list() if not key.startswith("scratch/")] == []
    assert all(row.latest == 0 for row in real.list())


def test_workers_of_a_run_write_names_of_their_own(real, patients):  # noqa: F811
    """Processes that a block starts join its run: their reads are its inputs, what they write is published at its end."""
    real.seal(patients)
    code = """
import sys
import fsspec
with fsspec.open("hermetic://dataset/patients") as source, fsspec.open(f"hermetic://features/part-{sys.argv[1]}", "wb") as target:
    target.write(source.read() + sys.argv[1].encode())
"""
    with real.run("prepare", purpose="prepare") as run:
        assert [process.wait() for process in [python(code, name) for name in "ab"]] == [0, 0]
        assert all(row.latest == 0 for row in real.list("features/*"))
    assert run.outputs == ("features/part-a@1", "features/part-b@1")
    assert run.ended.inputs == ("dataset/patients@1",)
    with real.open("features/part-b") as file:
        assert file.read() == CSV + b"b"


def test_two_workers_of_a_run_and_one_name(real):  # noqa: F811
    code = """
import sys
import fsspec
from hermetic.errors import Conflict
try:
    with fsspec.open("hermetic://features/one", "wb") as target:
        target.write(sys.argv[1].encode())
except Conflict as error:
    assert "another process" in str(error), error
    sys.exit(9)
"""
    with real.run("prepare", purpose="prepare") as run:
        codes = sorted(process.wait() for process in [python(code, name) for name in "abc"])
    assert codes == [0, 9, 9]
    assert run.outputs == ("features/one@1",)


def test_nothing_is_begun_for_a_store_that_this_machine_does_not_know(domain, real):  # noqa: F811
    real.connection.stores = {}
    with pytest.raises(NotFound, match="does not know the store 'sealed'"):
        real.seal(b"x", name="dataset/t2", data_class="internal")
    with pytest.raises(NotFound, match="does not know the store"), real.writer("dataset/t3"):
        pass
    text = (domain / "hermetic.yaml").read_text()
    real.connection.project.files["hermetic.yaml"] = text.encode() + b"# edited\n"  # so that what is in force has to be asked for
    with pytest.raises(NotFound, match="does not know the store"):
        real.seal(b"x", name="dataset/t4", data_class="internal")
    assert real.connection.ask(ListAssets()).assets == ()


def test_what_was_begun_for_a_store_that_turns_out_unknown_is_given_up(real, monkeypatch):  # noqa: F811
    monkeypatch.setattr("hermetic.assets.sealing.check_store", lambda *_: None)  # hermetic.yaml changes just afterwards
    real.connection.stores = {}
    with pytest.raises(NotFound, match="does not know the store"):
        real.seal(b"x", name="dataset/t2", data_class="internal")
    with real.connection._custodian.database.read(real.connection._custodian.row_keys) as session:
        assert [row["state"] for row in session.find(tables.version)] == ["abandoned"]
        assert not list(session.find(tables.lease, state="active"))
