"""Seal and open: files, folders, bytes, streams; what goes wrong leaves nothing."""

from __future__ import annotations

import errno
import io
import os
import threading

import pytest

from hermetic import steps
from hermetic.assets import releases
from hermetic.errors import (
    Conflict,
    HermeticError,
    IntegrityError,
    InvalidName,
    LeaseEnded,
    NotFound,
    PolicyDenied,
    StorageError,
    UsageError,
)
from hermetic.formats.messages import versions
from hermetic.sealed.content import content_digest

MIB = 1024 * 1024


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(os.urandom(3 * MIB + 17))
    return path


def keys(store):
    return [key for key, _ in store.list()]


def test_a_file_there_and_back(h, file, store):
    sealed = h.seal(file, name="dataset/a", owner="ana")
    assert (sealed.ref, sealed.number, sealed.bytes, sealed.objects) == ("dataset/a@1", 1, 3 * MIB + 17, 1)
    assert any("stays" in note for note in sealed.notes)
    assert keys(store) == [f"{sealed.version}/0.sealed", f"{sealed.version}/manifest.json"]
    with h.open("dataset/a") as opened:
        assert opened.read() == file.read_bytes()
        assert opened.seek(MIB - 3) == MIB - 3
        assert opened.read(10) == file.read_bytes()[MIB - 3 : MIB + 7]
        assert opened.size == 3 * MIB + 17
        assert opened.ref == "dataset/a@1/a.csv"
    assert file.read_bytes()[:100] not in (store.root / sealed.version / "0.sealed").read_bytes()


def test_every_key_is_given_back(h, file, port):
    h.seal(file, name="dataset/a")
    with h.open("dataset/a") as opened:
        opened.read(1)
    assert set(port.leases.values()) == {"given back"}


@pytest.mark.parametrize("length", [0, 1, MIB - 1, MIB, MIB + 1])
def test_lengths(h, length, port):
    data = os.urandom(length)
    sealed = h.seal(data, name="dataset/bytes")
    assert sealed.bytes == length
    assert h.seal(io.BytesIO(data), name="dataset/bytes").number == 2
    for ref in ("dataset/bytes@1", "dataset/bytes@2/data", "dataset/bytes@latest"):
        with h.open(ref) as opened:
            assert opened.read() == data


def test_the_digest_is_that_by_which_copies_are_recognised(h, file, port):
    h.seal(file, name="dataset/a")
    h.seal(file.read_bytes(), name="dataset/b")
    fd = os.open(file, os.O_RDONLY)
    expected = content_digest(fd, file.stat().st_size, "blake3")
    os.close(fd)
    assert [version.records[0].digest for version in port.versions.values()] == [expected, expected]


def test_what_was_sealed_is_shown_in_one_line(h):
    shown = repr(h.seal(b"x", name="dataset/a"))
    assert shown.startswith("SealedVersion(ref='dataset/a@1', ")
    assert "receipt" not in shown
    assert len(shown) < 250


def test_a_folder_is_one_version(h, tmp_path, store):
    for name in ("x/1.bin", "x/2.bin", "y.bin", "empty"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if name == "empty" else name.encode() * 100)
    sealed = h.seal(tmp_path / "in", name="dataset/shards")
    assert sealed.objects == 4
    assert [member.path for member in h.members("dataset/shards")] == ["empty", "x/1.bin", "x/2.bin", "y.bin"]
    with pytest.raises(UsageError, match="4 members") as caught:
        h.open("dataset/shards")
    assert caught.value.hint.startswith("say which: dataset/shards@1/empty, dataset/shards@1/x/1.bin, ")
    with h.open("dataset/shards@1/x/2.bin") as opened:
        assert opened.read() == b"x/2.bin" * 100
    with pytest.raises(NotFound, match="no member"):
        h.open("dataset/shards", member="z")
    with pytest.raises(UsageError, match="twice"):
        h.open("dataset/shards@1/y.bin", member="empty")
    with pytest.raises(NotFound, match="no dataset/shards") as caught:
        h.open("dataset/shards/y.bin")
    assert caught.value.hint.startswith("if that is a file in dataset/shards, write dataset/shards@latest/y.bin")
    with pytest.raises(InvalidName) as caught:
        h.open("dataset/shards/two words.bin")
    assert caught.value.hint == "if that is a file in dataset/shards, write 'dataset/shards@latest/two words.bin'"
    assert len(keys(store)) == 5


def test_one_release_for_many_members(h, tmp_path, port):
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / "in" / name).write_bytes(name.encode())
    h.seal(tmp_path / "in", name="dataset/shards")
    with h.version("dataset/shards") as version:
        assert [version.open(member.path).read() for member in version.members] == [b"a", b"b", b"c"]
    assert port.count(versions.OpenVersions) == 1
    one, two = h.open_many(["dataset/shards", "dataset/shards@1"])
    assert one.ref == two.ref == "dataset/shards@1"
    assert port.count(versions.OpenVersions) == 2


def test_more_versions_than_one_request_names(h, file, port, monkeypatch):
    """They are asked for in several; when a later one is refused, none stays open."""
    monkeypatch.setattr(releases, "TOGETHER", 2)
    h.seal(file, name="dataset/a")
    assert len(h.open_many(["dataset/a"] * 5)) == 5
    assert port.count(versions.OpenVersions) == 3
    ended = port.count(versions.EndLeases)
    with pytest.raises(NotFound):
        h.open_many(["dataset/a", "dataset/a", "dataset/none"])
    assert port.count(versions.EndLeases) - ended == 2


@pytest.mark.parametrize("kind", [versions.BeginVersion, versions.PublishVersion])
def test_a_refusal_leaves_nothing(h, file, store, port, kind):
    port.fail[kind] = PolicyDenied("no")
    with pytest.raises(PolicyDenied):
        h.seal(file, name="dataset/a")
    assert keys(store) == []
    assert file.exists()
    assert {version.state for version in port.versions.values()} <= {"abandoned"}


def test_files_stay_when_custody_cannot_say_whether_it_published(h, file, store, port):
    port.fail[versions.PublishVersion] = StorageError("connection lost")
    port.fail[versions.AbandonVersion] = StorageError("connection lost")
    with pytest.raises(StorageError):
        h.seal(file, name="dataset/a")
    assert len(keys(store)) == 1


def test_input_that_changes_is_refused(h, file, store):
    original = os.preadv
    touched = []

    def changing(fd, *rest):
        if not touched:
            touched.append(1)
            with file.open("ab") as more:
                more.write(b"more")
        return original(fd, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "preadv", changing)
        with pytest.raises(Conflict, match="changed"):
            h.seal(file, name="dataset/a")
    assert keys(store) == []


@pytest.mark.parametrize("source", ["folder", "fifo"])
def test_bad_input_asks_for_no_key(h, tmp_path, port, source):
    if source == "fifo":
        os.mkfifo(tmp_path / source)
    else:
        (tmp_path / source).mkdir()
    with pytest.raises(UsageError):
        h.seal(tmp_path / source, name="dataset/a")
    assert port.asked == []


def test_the_store_is_not_sealed(h, file, store):
    h.seal(file, name="dataset/a")
    for source in (store.root, store.root.parent, store.root / keys(store)[0]):
        with pytest.raises(UsageError, match="Hermetic keeps"):
            h.seal(source, name="dataset/b")


def test_a_name_is_needed_and_rules_give_it(h, file, connection):
    with pytest.raises(UsageError, match="no rule") as caught:
        h.seal(file)
    assert "--as" in caught.value.hint
    inside = connection.project.root / "odd name.bin"
    inside.write_bytes(b"x")
    with pytest.raises(UsageError, match="no rule") as caught:
        h.seal(inside)
    assert "rules:" in caught.value.hint
    with pytest.raises(UsageError, match="needs a name"):
        h.seal(b"x")


@pytest.mark.parametrize("name", ["patients", "dataset/../x", "dataset/a\nb", "dataset/" + "n" * 10_000, "dataset/", "dataset/a::b"])
def test_names_that_are_none(h, name, port):
    with pytest.raises(UsageError):
        h.seal(b"x", name=name)
    with pytest.raises(UsageError):
        h.open(name)
    assert port.asked == []


def test_text_is_not_a_stream(h, store):
    with pytest.raises(UsageError, match="text"):
        h.seal(io.StringIO("x"), name="dataset/a")
    assert keys(store) == []


def test_words_are_checked(h):
    for wrong in ({"data_class": "secret"}, {"purpose": "fun"}, {"environment": "prod"}):
        with pytest.raises(UsageError, match="is not a") as caught:
            h.seal(b"x", name="dataset/a", **wrong)
        assert "write one of" in caught.value.hint


def test_the_original_goes_only_after_its_copy_was_checked(h, file, store, port):
    data = file.read_bytes()
    sealed = h.seal(file, name="dataset/a", remove_original=True)
    assert not file.exists()
    assert "old blocks" in sealed.notes[-1]
    with h.open("dataset/a") as opened:
        assert opened.read() == data


def test_the_original_stays_when_the_copy_is_bad(h, file, store):
    def damage(step):
        if step == "seal.object.renamed":
            path = next(store.root.glob("*/0.sealed"))
            raw = bytearray(path.read_bytes())
            raw[MIB] ^= 1
            path.write_bytes(raw)

    steps.install(damage)
    try:
        with pytest.raises(IntegrityError):
            h.seal(file, name="dataset/a", remove_original=True)
    finally:
        steps.install(None)
    assert file.exists()
    assert keys(store) == []


def test_the_original_stays_when_it_changes_before_it_would_go(h, file):
    def change(step):
        if step == "seal.manifest.written":
            file.write_bytes(b"newer")

    steps.install(change)
    try:
        sealed = h.seal(file, name="dataset/a", remove_original=True)
    finally:
        steps.install(None)
    assert file.read_bytes() == b"newer"
    assert "could not be removed" in sealed.notes[-1]


def test_an_original_whose_end_the_disk_did_not_confirm_is_told(h, file, monkeypatch):
    from hermetic.assets import originals

    def failing(_descriptor):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(originals, "os", Stub(os, fsync=failing))
        sealed = h.seal(file, name="dataset/a", remove_original=True)
    assert not file.exists()
    assert "may be back after a power cut: input/output error" in sealed.notes[-1]


class Stub:
    """A module in which some names are others."""

    def __init__(self, module, **names):
        self._module = module
        self.__dict__.update(names)

    def __getattr__(self, name):
        return getattr(self._module, name)


def test_a_folder_of_originals_goes_with_its_folders(h, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "deep" / "a").write_bytes(b"a")
    h.seal(tmp_path / "in", name="dataset/a", remove_original=True)
    assert not (tmp_path / "in").exists()


@pytest.mark.parametrize("step", ["store.stage.synced", "seal.object.staged", "seal.object.renamed", "seal.manifest.written"])
def test_a_failure_at_every_step(h, file, store, port, step):
    def fail(name):
        if name == step:
            raise StorageError("disk gone")

    steps.install(fail)
    try:
        with pytest.raises(StorageError):
            h.seal(file, name="dataset/a")
    finally:
        steps.install(None)
    states = {version.state for version in port.versions.values()}
    if step == "seal.manifest.written":  # after publishing nothing is undone
        assert states == {"published"}
        assert len(keys(store)) == 2
    else:
        assert states == {"abandoned"}
        assert keys(store) == []


def test_opening_repairs_a_manifest_that_a_crash_left_out(h, file, store):
    sealed = h.seal(file, name="dataset/a")
    store.delete(f"{sealed.version}/manifest.json")
    h.open("dataset/a").close()
    assert store.exists(f"{sealed.version}/manifest.json")
    assert h.verify("dataset/a").objects == 1


def test_a_full_disk_for_the_manifest_is_a_note(h, file, store, monkeypatch):
    def full(self, key, data, *, replace=False):
        raise StorageError("no space")

    monkeypatch.setattr(type(store), "put_bytes", full)
    assert "next opening repairs" in h.seal(file, name="dataset/a").notes[0]


def test_revocation_stops_reads(h, file, port):
    port.check_ms = 0
    h.seal(file, name="dataset/a")
    with h.open("dataset/a") as opened:
        opened.read(10)
        for lease in port.leases:
            port.leases[lease] = "revoked"
        opened.seek(2 * MIB)
        with pytest.raises(LeaseEnded, match="revoked"):
            opened.read(10)


@pytest.mark.parametrize(
    "read",
    [
        lambda file: file.read(10),
        lambda file: file.read(),
        lambda file: file.read1(10),
        lambda file: file.readline(),
        lambda file: file.peek(10),
        lambda file: file.readinto(bytearray(10)),
        lambda file: file.readinto1(bytearray(10)),
        next,
        lambda file: file.readlines(),
    ],
    ids=["read", "to the end", "read1", "readline", "peek", "readinto", "readinto1", "next", "readlines"],
)
def test_revocation_stops_reads_of_what_is_buffered_already(h, port, read):
    port.check_ms = 0
    h.seal(b"line\n" * 1000, name="dataset/a", data_class="internal", member="lines")
    with h.open("dataset/a") as opened:
        opened.read(10)
        for lease in port.leases:
            port.leases[lease] = "revoked"
        with pytest.raises(LeaseEnded, match="revoked"):
            read(opened)


def test_a_fork_reads_nothing(h, file):
    h.seal(file, name="dataset/a")
    with h.open("dataset/a") as opened:
        child = os.fork()
        if child == 0:
            try:
                opened.read(10)
            except LeaseEnded:
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.parametrize("what", ["gone", "changed", "swapped"])
def test_what_happens_to_an_object_is_noticed(h, file, store, what):
    sealed = h.seal(file, name="dataset/a")
    other = h.seal(file, name="dataset/a")
    path = store.root / sealed.version / "0.sealed"
    if what == "gone":
        path.unlink()
    elif what == "swapped":
        path.write_bytes((store.root / other.version / "0.sealed").read_bytes())
    else:
        raw = bytearray(path.read_bytes())
        raw[2 * MIB] ^= 1
        path.write_bytes(raw)
    error = NotFound if what == "gone" else IntegrityError
    with pytest.raises(error) as caught:
        h.check("dataset/a@1")
    assert caught.value.hint or what == "changed"
    with pytest.raises(error):
        h.verify("dataset/a@1")
    assert h.check("dataset/a@2").bytes == h.verify("dataset/a@2").objects * (3 * MIB + 17)


def test_the_catalogue_cannot_lie_about_members(h, tmp_path, port):
    (tmp_path / "in").mkdir()
    for name in ("good", "evil"):
        (tmp_path / "in" / name).write_bytes(name.encode())
    h.seal(tmp_path / "in", name="dataset/a")
    honest = port.members
    port.members = lambda version: tuple(
        versions.Member({"good": "evil", "evil": "good"}[member.path], member.index, member.length) for member in honest(version)
    )
    with pytest.raises(IntegrityError, match="disagree"):
        h.open("dataset/a", member="good")
    port.members = lambda version: (versions.Member("good", 7, 4),)
    with pytest.raises(IntegrityError, match="does not have"):
        h.open("dataset/a")


def test_writers_publish_at_clean_exit_only(h, store, port):
    with h.writer("dataset/w") as writer:
        writer.write(b"one ")
        writer.write(memoryview(b"two"))
        assert writer.tell() == 7
    assert writer.version.ref == "dataset/w@1"
    with h.open("dataset/w") as opened:
        assert opened.read() == b"one two"
    before = keys(store)
    with pytest.raises(KeyError), h.writer("dataset/w") as writer:
        writer.write(b"half")
        raise KeyError
    assert keys(store) == before
    with pytest.raises(UsageError):
        writer.write(b"more")
    with pytest.raises(UsageError):
        writer.version  # noqa: B018


def test_a_pipeline_of_writers_behaves_like_a_file(h):
    import csv

    with h.writer("dataset/w", member="t.csv") as writer, io.TextIOWrapper(writer) as text:
        csv.writer(text).writerow([1, 2])
    with h.open("dataset/w") as opened:
        assert opened.read() == b"1,2\r\n"


def test_two_at_once_get_numbers_of_their_own(h, tmp_path):
    refs = []

    def work(byte):
        refs.append(h.seal(byte * 100_000, name="dataset/race").ref)

    threads = [threading.Thread(target=work, args=(byte,)) for byte in (b"a", b"b", b"c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(refs) == ["dataset/race@1", "dataset/race@2", "dataset/race@3"]


def test_rename_keeps_kind_and_content(h):
    h.seal(b"x", name="dataset/old")
    h.rename("dataset/old", "dataset/new")
    with h.open("dataset/new") as opened:
        assert opened.read() == b"x"
    with pytest.raises(UsageError, match="kinds"):
        h.rename("dataset/new", "model/new")


def test_only_our_errors_leave(h, file, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(HermeticError):
        h.seal(file, name="dataset/a")
