"""Moves, copies and removals at plain locations: nothing is ever lost by them, and a crash in between is finished by the next look."""
# ruff: noqa: F811 - fixtures by import

from __future__ import annotations

import os
import signal

import pytest

from hermetic import steps
from hermetic.assets import unfinished
from hermetic.errors import Conflict, HermeticError, IntegrityError, NotFound, StorageError, UsageError
from hermetic.integrations import sealed_moves
from hermetic.integrations.sealed_filesystem import SealedFileSystem
from hermetic.integrations.sealed_objects import SealedObjects
from tests.unit.integrations.sealed_domain import domain, ground, h, sealed_template  # noqa: F401

ONE, TWO = b"one" * 500, b"two" * 700


@pytest.fixture(autouse=True)
def purpose(monkeypatch):
    monkeypatch.setenv("HERMETIC_PURPOSE", "prepare")


def stored(ground):
    return sorted(path.removeprefix(f"{ground.base}/") for path in ground.plain.find(ground.base))


def killed(work, monkeypatch, *, at=None, calls=()):
    """Run `work` in a child that dies at a durable step, or when it calls a method of SealedObjects (name, number of the call)."""
    pid = os.fork()
    if pid == 0:
        try:
            _die_at(at, calls)
            work()
        finally:
            os._exit(0)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


def _die_at(at, calls):
    left = {"step": 0 if at is None else at[1]}

    def hook(name):
        if at is not None and name == at[0]:
            left["step"] -= 1
            if not left["step"]:
                os.kill(os.getpid(), signal.SIGKILL)

    steps.install(hook)
    for name in calls:
        setattr(SealedObjects, name, lambda *_: os.kill(os.getpid(), signal.SIGKILL))


# one location, spelled twice


def test_a_move_onto_itself_changes_nothing(ground, h):
    fs, path = ground.fs, f"{ground.base}/a"
    fs.pipe_file(path, ONE)
    for target in (path, f"{ground.base}/"):
        fs.mv(path, target)
        assert fs.cat_file(path) == ONE
    fs.cp_file(path, path)
    assert h.open(ground.name).read() == ONE
    assert stored(ground) == ["a", "a.manifest.json"]


def test_a_folder_moved_to_where_it_is_stays(ground):
    fs, base = ground.fs, ground.base
    fs.pipe_file(f"{base}/sub/b", ONE)
    ground.plain.makedirs(f"{base}/sub/empty", exist_ok=True)
    fs.mv(f"{base}/sub", f"{base}/", recursive=True)
    fs.mv(f"{base}/sub", base, recursive=True)
    assert fs.cat_file(f"{base}/sub/b") == ONE
    assert ground.plain.isdir(f"{base}/sub/empty")


@pytest.mark.parametrize("target", ["sub/", "sub/deep", "sub/deep/er", "sub"])
def test_a_folder_does_not_go_into_itself(ground, target):
    fs, base = ground.fs, ground.base
    fs.pipe_file(f"{base}/sub/b", ONE)
    fs.pipe_file(f"{base}/sub/deep/c", TWO)
    if target == "sub":
        fs.mv(f"{base}/sub/", f"{base}/{target}", recursive=True)
    else:
        with pytest.raises(UsageError, match="into itself"):
            fs.mv(f"{base}/sub", f"{base}/{target}", recursive=True)
    assert {path: fs.cat_file(path) for path in fs.find(base)} == {f"{base}/sub/b": ONE, f"{base}/sub/deep/c": TWO}


def test_links_and_double_slashes_lead_to_one_location(domain, tmp_path):
    fs, folder = SealedFileSystem(), domain.project / "data" / "out"
    fs.pipe_file(f"{folder}/sub/a", ONE)
    (tmp_path / "link").symlink_to(folder)
    for source, target in (
        (f"{tmp_path}/link/sub/a", f"{folder}/sub/a"),
        (f"{folder}//sub/a", f"{folder}/sub/a"),
        (f"{folder}/sub/a", f"{folder}/sub//a"),
        (f"{folder}/sub/a", f"{tmp_path}/link/sub/"),
    ):
        fs.mv(source, target)
        fs.cp_file(source, f"{target}a" if target.endswith("/") else target)
        assert fs.cat_file(f"{folder}/sub/a") == ONE
    fs.mv(f"{tmp_path}/link/sub", f"{folder}/", recursive=True)
    assert fs.cat_file(f"{folder}/sub/a") == ONE
    with pytest.raises(UsageError, match="into itself"):
        fs.mv(f"{tmp_path}/link/sub", f"{folder}/sub/deeper", recursive=True)
    assert sorted(path.name for path in (folder / "sub").iterdir()) == ["a", "a.manifest.json"]


def test_one_file_under_two_names_is_not_removed(domain):
    """What a folder mounted twice, or a disk that takes `A` for `a`, looks like; here a hard link stands for both."""
    fs, folder = SealedFileSystem(), domain.project / "data" / "out"
    fs.pipe_file(f"{folder}/a", ONE)
    os.link(folder / "a", folder / "A")
    with pytest.raises(UsageError, match="one file under two names"):
        fs.mv(f"{folder}/a", f"{folder}/A")
    assert fs.cat_file(f"{folder}/a") == ONE


# against writers


def test_a_move_leaves_what_was_written_meanwhile(ground, monkeypatch):
    """Between the copying and the removal nobody gets in; what is published then is delivered afterwards, or stays in the store."""
    fs, a, b = ground.fs, f"{ground.base}/a", f"{ground.base}/b"
    fs.pipe_file(a, ONE)
    real, wrote = SealedFileSystem.rm_file, []

    def write_first(self, *args, **options):
        wrote.append(args)
        return real(self, *args, **options)

    monkeypatch.setattr(SealedFileSystem, "rm_file", write_first)
    fs.mv(a, b)
    assert wrote == []  # one step, not a copy and then a removal of whatever lies there by then
    assert fs.cat_file(b) == ONE
    assert not fs.exists(a)


@pytest.mark.parametrize("call", ["mv", "rm"])
def test_what_was_published_since_it_was_looked_at_is_not_removed(ground, h, monkeypatch, call):
    fs, a, b = ground.fs, f"{ground.base}/a", f"{ground.base}/b"
    fs.pipe_file(a, ONE)
    real = sealed_moves.locked
    pending = [True]

    def locked(*args):
        if pending:
            pending.clear()
            fs.pipe_file(a, TWO)  # another process
        return real(*args)

    monkeypatch.setattr(sealed_moves, "locked", locked)
    with pytest.raises(Conflict, match="written just now"):
        fs.mv(a, b) if call == "mv" else fs.rm_file(a)
    assert fs.cat_file(a) == TWO
    assert not fs.exists(b)
    assert unfinished.moves(h.session) == []


@pytest.mark.parametrize("call", ["mv", "rm"])
def test_what_was_published_and_not_delivered_yet_is_not_removed(ground, h, monkeypatch, call):
    """The writer has its version, and waits for the lock that the move holds: the header at the source is still the old one."""
    from hermetic.assets import delivery

    fs, a, b = ground.fs, f"{ground.base}/a", f"{ground.base}/b"
    fs.pipe_file(a, ONE)
    real = SealedObjects.require_still
    pending = [True]

    def publish(self, path, seen):
        real(self, path, seen)
        if pending:
            pending.clear()
            with monkeypatch.context() as patch:
                patch.setattr(delivery, "_deliver", lambda *_: (_ for _ in ()).throw(StorageError("it waits for the lock")))
                with pytest.raises(StorageError):
                    fs.pipe_file(a, TWO)

    monkeypatch.setattr(SealedObjects, "require_still", publish)
    with pytest.raises(Conflict, match="written just now"):
        fs.mv(a, b) if call == "mv" else fs.rm_file(a)
    assert fs.cat_file(a) == TWO
    assert not fs.exists(b)


def test_files_written_into_a_folder_while_it_is_moved_stay(ground, monkeypatch):
    fs, base = ground.fs, ground.base
    fs.pipe_file(f"{base}/x/a", ONE)
    real = SealedObjects.copy

    def copy(self, *args):
        real(self, *args)
        ground.plain.pipe_file(f"{base}/x/late", b"written by somebody else just then")

    monkeypatch.setattr(SealedObjects, "copy", copy)
    fs.mv(f"{base}/x", f"{base}/y", recursive=True)
    assert fs.cat_file(f"{base}/y/a") == ONE
    assert ground.plain.cat_file(f"{base}/x/late").startswith(b"written by")


# what a crash leaves


@pytest.fixture
def on_disk(domain, h):
    """Two files on a disk: what a child does to them outlives it."""
    from tests.unit.integrations.sealed_domain import ground_in

    made = ground_in(domain, "file")
    made.fs.pipe_file(f"{made.base}/a", ONE)
    made.fs.pipe_file(f"{made.base}/b", TWO)
    return made


CRASHES = {
    "recorded": {"at": ("custody.decision.committed", 1)},
    "not copied": {"calls": ["copy"]},
    "not removed": {"calls": ["remove"]},
}


@pytest.mark.parametrize("crash", ["recorded", "not copied", "not removed"])
@pytest.mark.parametrize("first", ["a", "b", "ls", "glob"])
def test_a_move_that_was_interrupted_is_finished(on_disk, h, monkeypatch, crash, first):
    fs, a, b = on_disk.fs, f"{on_disk.base}/a", f"{on_disk.base}/b"
    killed(lambda: fs.mv(a, b), monkeypatch, **CRASHES[crash])
    if first == "a":
        assert not fs.exists(a)
    elif first == "b":
        assert fs.cat_file(b) == ONE
    elif first == "ls":
        assert [(item["name"], item.get("problem")) for item in fs.ls(on_disk.base)] == [(b, None)]
    else:
        assert fs.glob(f"{on_disk.base}/*") == [b]
    assert fs.cat_file(b) == ONE
    assert not fs.exists(a)
    assert stored(on_disk) == ["b", "b.manifest.json"]
    assert unfinished.moves(h.session) == []


@pytest.mark.parametrize("crash", ["recorded", "not copied"])
def test_a_move_to_a_new_folder_is_seen_there(on_disk, monkeypatch, crash):
    fs, base = on_disk.fs, on_disk.base
    killed(lambda: fs.mv(f"{base}/a", f"{base}/new/deep/c"), monkeypatch, **CRASHES[crash])
    assert fs.isdir(f"{base}/new/deep")
    assert fs.find(f"{base}/new") == [f"{base}/new/deep/c"]
    assert fs.cat_file(f"{base}/new/deep/c") == ONE


@pytest.mark.parametrize("crash", ["recorded", "not copied"])
def test_a_copy_that_was_interrupted_is_finished(on_disk, monkeypatch, crash):
    fs, a, b = on_disk.fs, f"{on_disk.base}/a", f"{on_disk.base}/b"
    killed(lambda: fs.cp_file(a, b), monkeypatch, **CRASHES[crash])
    assert fs.cat_file(b) == fs.cat_file(a) == ONE
    assert stored(on_disk) == ["a", "a.manifest.json", "b", "b.manifest.json"]


@pytest.mark.parametrize("crash", ["recorded", "not removed"])
def test_a_removal_that_was_interrupted_is_finished(on_disk, monkeypatch, crash):
    fs, a = on_disk.fs, f"{on_disk.base}/a"
    killed(lambda: fs.rm(a), monkeypatch, **CRASHES[crash])
    assert not fs.exists(a)
    assert stored(on_disk) == ["b", "b.manifest.json"]


def test_a_finished_crash_leaves_the_alarms_as_they_are(on_disk, monkeypatch):
    """What a note was about is looked after once; what somebody does to the files later is told as always."""
    fs, a, b = on_disk.fs, f"{on_disk.base}/a", f"{on_disk.base}/b"
    old = on_disk.plain.cat_file(b), on_disk.plain.cat_file(f"{b}.manifest.json")
    killed(lambda: fs.cp_file(a, b), monkeypatch, calls=["copy"])
    assert fs.cat_file(b) == ONE
    on_disk.plain.pipe_file(b, old[0])
    on_disk.plain.pipe_file(f"{b}.manifest.json", old[1])
    with pytest.raises(IntegrityError, match="was put since"):
        fs.cat_file(b)
    assert fs.info(b)["problem"] == "replaced"


def test_a_note_that_outlived_its_cause_does_nothing(on_disk, h, monkeypatch):
    """Custody was asked for nothing: both files stay, and what was put there since counts."""
    fs, a, b = on_disk.fs, f"{on_disk.base}/a", f"{on_disk.base}/b"
    seen = SealedObjects(fs.attached, fs.fs).look(a)
    facts = {"asset": seen.header.asset, "version": seen.header.version, "object": seen.header.object, "index": 0}
    facts |= {"source": ["", "data/out/a"], "target": ["", "data/out/b"], "leaves": True, "protocol": "file"}
    unfinished.note_move(h.session, facts)
    assert len(fs.ls(on_disk.base)) == 2
    assert (fs.cat_file(a), fs.cat_file(b)) == (ONE, TWO)
    assert unfinished.moves(h.session) == []


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"{", b'{"source":1,"target":2,"protocol":"file"}'])
def test_a_note_that_somebody_damaged_is_told_and_leads_nowhere(on_disk, h, raw):
    fs, a, b = on_disk.fs, f"{on_disk.base}/a", f"{on_disk.base}/b"
    folder = h.connection.home.domain_config(h.connection.project.domain) / "unfinished"
    folder.mkdir(exist_ok=True)
    (folder / "move-x.json").write_bytes(raw)
    if raw == b"{}":
        assert len(fs.ls(on_disk.base)) == 2
    else:
        with pytest.raises(HermeticError):
            fs.ls(on_disk.base)
    assert (fs.cat_file(a), fs.cat_file(b)) == (ONE, TWO)


def test_a_copy_that_failed_says_that_it_will_be_finished(ground, monkeypatch):
    fs, a, b = ground.fs, f"{ground.base}/a", f"{ground.base}/b"
    fs.pipe_file(a, ONE)
    with monkeypatch.context() as patch:
        patch.setattr(SealedObjects, "copy", lambda *_: (_ for _ in ()).throw(StorageError("the network is gone")))
        with pytest.raises(StorageError, match="on record") as told:
            fs.mv(a, b)
    assert "nothing is lost" in told.value.hint
    assert fs.find(ground.base) == [b]
    assert fs.cat_file(b) == ONE


# a delivery that was interrupted


@pytest.mark.parametrize(
    "at", [("custody.publish.committed", 1), ("delivery.object.put", 1), ("delivery.object.put", 2), ("delivery.manifest.put", 2)]
)
@pytest.mark.parametrize("look", ["ls", "find", "glob", "cat", "walk", "du", "isdir"])
def test_half_a_version_is_never_listed(on_disk, h, monkeypatch, at, look):
    fs, folder = on_disk.fs, f"{on_disk.base}/set"
    names = [f"{folder}/f{number}.csv" for number in range(4)]

    def write():
        with fs.transaction:
            for name in names:
                fs.pipe_file(name, name.encode())

    killed(write, monkeypatch, at=at)
    whole = {name: name.encode() for name in names}
    calls = {
        "ls": lambda: fs.ls(folder, detail=False) == names,
        "find": lambda: fs.find(folder) == names,
        "glob": lambda: fs.glob(f"{folder}/*.csv") == names,
        "cat": lambda: fs.cat(f"{folder}/*.csv") == whole,
        "walk": lambda: [files for _, _, files in fs.walk(folder)] == [[f"f{number}.csv" for number in range(4)]],
        "du": lambda: fs.du(folder) == sum(map(len, names)),
        "isdir": lambda: fs.isdir(folder),
    }
    assert calls[look]()
    assert {name: fs.cat_file(name) for name in names} == whole
    assert unfinished.deliveries(h.session) == []


def test_a_listing_raises_if_it_cannot_finish(on_disk, monkeypatch):
    from hermetic.assets import delivery

    fs, folder = on_disk.fs, f"{on_disk.base}/set"

    def write():
        with fs.transaction:
            for number in range(3):
                fs.pipe_file(f"{folder}/{number}", b"x")

    killed(write, monkeypatch, at=("delivery.object.put", 1))
    with monkeypatch.context() as patch:
        patch.setattr(delivery, "_deliver", lambda *_: (_ for _ in ()).throw(StorageError("the network is gone")))
        for look in (fs.ls, fs.find, lambda path: fs.glob(f"{path}/*")):
            with pytest.raises(StorageError, match="network"):
                look(folder)
    assert len(fs.ls(folder)) == 3


def test_a_publication_that_was_refused_leaves_no_note(ground, h, monkeypatch):
    from hermetic.assets.session import Session
    from hermetic.formats.messages.versions import PublishVersion

    real = Session.ask

    def refuse(self, request):
        if isinstance(request, PublishVersion):
            raise NotFound("custody refuses")
        return real(self, request)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "ask", refuse)
        with pytest.raises(NotFound, match="refuses"):
            ground.fs.pipe_file(f"{ground.base}/a", ONE)
    ground.fs.pipe_file(f"{ground.base}/b", ONE)
    assert ground.fs.find(ground.base) == [f"{ground.base}/b"]
    assert unfinished.deliveries(h.session) == []
