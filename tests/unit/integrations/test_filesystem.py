"""hermetic:// as fsspec sees it."""

from __future__ import annotations

import os
import pickle
import threading

import fsspec
import pytest

from hermetic.errors import Conflict, IntegrityError, InvalidName, LeaseEnded, NotFound, PolicyDenied, UsageError
from hermetic.formats.messages import versions
from hermetic.integrations import process
from hermetic.integrations.files import NotPublished
from hermetic.integrations.filesystem import HermeticFileSystem


@pytest.fixture
def folder(h, tmp_path):
    for name in ("a=1/x.bin", "a=2/y.bin", "z.bin"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return h.seal(tmp_path / "in", name="dataset/shards")


@pytest.fixture
def known(h):
    """An asset that exists, so that writing to it needs no rule."""
    return h.seal(b"first", name="features/x")


def test_the_protocol_is_registered():
    assert fsspec.get_filesystem_class("hermetic") is HermeticFileSystem


def test_a_single_file_is_a_file(h, fs):
    h.seal(b"hello", name="dataset/a")
    for path in ("hermetic://dataset/a", "dataset/a", "dataset/a@1", "dataset/a@latest", "dataset/a/data", "dataset/a@1/data"):
        assert fs.info(path)["size"] == 5
        assert fs.isfile(path)
        assert fs.cat_file(path) == b"hello"
        assert fs.cat_file(path, start=1, end=-1) == b"ell"
    assert fs.ls("dataset/a", detail=False) == ["dataset/a"]
    assert fs.ls("dataset", detail=False) == ["dataset/a"]
    assert fs.ls("", detail=False) == ["dataset"]
    with fsspec.open("hermetic://dataset/a", "rt") as text:
        assert text.read() == "hello"


def test_a_folder_is_a_folder(fs, folder):
    assert fs.isdir("dataset/shards")
    assert fs.isdir("dataset/shards@1/a=1")
    assert fs.ls("dataset/shards", detail=False) == ["dataset/shards/a=1", "dataset/shards/a=2", "dataset/shards/z.bin"]
    assert fs.ls("dataset/shards@1/a=1", detail=False) == ["dataset/shards@1/a=1/x.bin"]
    assert fs.find("dataset/shards") == ["dataset/shards/a=1/x.bin", "dataset/shards/a=2/y.bin", "dataset/shards/z.bin"]
    assert fs.glob("dataset/shards/*/*.bin") == ["dataset/shards/a=1/x.bin", "dataset/shards/a=2/y.bin"]
    assert fs.glob("hermetic://dataset/sh*") == ["dataset/shards"]
    assert fs.cat(fs.find("dataset/shards"))["dataset/shards/z.bin"] == b"z.bin"
    assert fs.du("dataset/shards") == 23
    with pytest.raises(IsADirectoryError) as refused:
        fs.open("dataset/shards")
    assert isinstance(refused.value, UsageError)
    assert refused.value.hint.startswith("say which: hermetic://dataset/shards@1/a=1/x.bin, ")


def test_one_file_sealed_to_a_location_is_a_file_by_its_name(h, fs, port):
    h.seal(b"there", name="features/a", member="out/sub/a.csv")
    assert fs.isdir("features/a")  # a folder that was sealed stays one, whatever it holds: partitions are in its names
    fs.attached.refresh()
    port.located = True
    assert fs.isfile("features/a")
    assert fs.cat_file("hermetic://features/a") == fs.cat_file("features/a@1") == fs.cat_file("features/a@1/out/sub/a.csv") == b"there"


def test_no_project_is_not_a_missing_file(monkeypatch, tmp_path):
    monkeypatch.setattr(process, "_known", {})
    monkeypatch.chdir(tmp_path)
    HermeticFileSystem.clear_instance_cache()
    fs = HermeticFileSystem()
    for call in (fs.exists, fs.isfile, fs.isdir, fs.info, fs.open, fs.ls):
        with pytest.raises(NotFound, match=r"no hermetic\.yaml in") as missing:
            call("dataset/patients")
        assert not isinstance(missing.value, FileNotFoundError)
        assert 'storage_options={"project": "/path"}' in missing.value.hint
    HermeticFileSystem.clear_instance_cache()


def test_missing(fs, folder):
    for path in ("dataset/none", "dataset/shards/none", "dataset/shards@9", "dataset/shards@1/none", "model"):
        assert fs.exists(path) is (path == "model")
    for path in ("dataset/none", "dataset/shards/none"):
        with pytest.raises(FileNotFoundError):
            fs.info(path)
        with pytest.raises(FileNotFoundError):
            fs.open(path)
        with pytest.raises(FileNotFoundError):
            fs.ls(path)


def test_groups_of_names(h, fs):
    h.seal(b"1", name="dataset/team/a")
    h.seal(b"2", name="dataset/team/deep/b")
    assert fs.ls("dataset", detail=False) == ["dataset/team"]
    assert fs.isdir("dataset/team")
    assert fs.ls("dataset/team", detail=False) == ["dataset/team/a", "dataset/team/deep"]
    assert fs.find("dataset") == ["dataset/team/a", "dataset/team/deep/b"]


def test_a_path_that_means_two_things_is_refused(h, fs, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("b", "c"):
        (tmp_path / "in" / name).write_bytes(b"member")
    h.seal(tmp_path / "in", name="dataset/a")
    h.seal(b"asset", name="dataset/a/b")
    with pytest.raises(InvalidName, match="can mean"):
        fs.open("dataset/a/b")
    assert fs.cat_file("dataset/a@latest/b") == b"member"
    assert fs.cat_file("dataset/a/b@1") == b"asset"
    assert fs.cat_file("dataset/a/c") == b"member"


def test_a_denial_is_not_absence(fs, known, port):
    fs.info("features/x")
    port.fail[versions.OpenVersions] = PolicyDenied("no")
    with pytest.raises(PolicyDenied):
        fs.open("features/x")
    fs.invalidate_cache()
    from hermetic.formats.messages.catalogue import ShowVersion

    for call in (fs.exists, fs.isfile, fs.isdir):
        port.fail[ShowVersion] = PolicyDenied("no")
        with pytest.raises(PolicyDenied):
            call("features/x")


def test_an_older_catalogue_is_noticed(h, fs, known):
    fs.info("features/x")
    h.connection.pins.pins.versions[h.show("features/x").asset] = 2
    fs.invalidate_cache()
    with pytest.raises(IntegrityError, match="was at version 2"):
        fs.open("features/x")
    assert fs.cat_file("features/x@1") == b"first"


def test_one_release_for_many_openings(fs, folder, port):
    for _ in range(3):
        for path in fs.find("dataset/shards"):
            fs.cat_file(path)
    assert port.count(versions.OpenVersions) == 1


def test_a_lease_that_ended_is_asked_for_again(fs, known, port):
    port.check_ms = 0
    fs.cat_file("features/x")
    for lease in port.leases:
        port.leases[lease] = "revoked"
    assert fs.cat_file("features/x") == b"first"
    assert port.count(versions.OpenVersions) == 2


def test_members_are_of_the_version_that_was_listed(h, fs, folder, tmp_path):
    paths = fs.find("dataset/shards")
    (tmp_path / "in" / "z.bin").write_bytes(b"newer")
    h.seal(tmp_path / "in", name="dataset/shards")
    assert fs.cat_file(paths[-1]) == b"z.bin"
    assert fs.cat_file(fs.find("dataset/shards")[-1]) == b"newer"
    assert fs.cat_file("dataset/shards@1/z.bin") == b"z.bin"


def test_a_run_reads_one_state(h, fs, known):
    with h.run("train", purpose="train") as run:
        assert fs.cat_file("features/x") == b"first"
        h.seal(b"other", name="features/x", purpose="ingest", run=None)
        assert fs.cat_file("features/x") == b"first"
    assert fs.cat_file("features/x") == b"other"
    assert run.ended.inputs == ("features/x@1",)


def test_writing_a_file_outside_a_run_publishes_at_close(h, fs, known, port):
    with fs.open("hermetic://features/x", "wb") as file:
        file.write(b"sec")
        file.write(b"ond")
        assert h.show("features/x").number == 1
    assert fs.cat_file("features/x") == b"second"
    assert h.show("features/x").number == 2
    with pytest.raises(ValueError, match="closed"):
        file.write(b"x")
    fs.pipe_file("features/x", b"third")
    assert fs.cat_file("features/x") == b"third"


@pytest.mark.parametrize("way", ["with", "finally", "forgotten", "text"])
def test_a_failed_writer_publishes_nothing(h, fs, known, store, way):
    before = list(store.list())
    if way == "forgotten":
        file = fs.open("features/x", "wb")
        file.write(b"half")
        del file
    else:
        with pytest.raises(ZeroDivisionError):
            if way == "finally":  # what pandas and pyarrow do
                file = fs.open("features/x", "wb")
                try:
                    file.write(b"half")
                    1 / 0  # noqa: B018
                finally:
                    file.close()
            else:
                with fs.open("features/x", "wb" if way == "with" else "w") as file:
                    file.write(b"half" if way == "with" else "half")
                    1 / 0  # noqa: B018
    assert list(store.list()) == before
    assert h.show("features/x").number == 1


def test_closing_in_an_except_says_that_nothing_is_published(h, fs, known):
    file = fs.open("features/x", "wb")
    file.write(b"whole")
    try:
        int("not a number")
    except ValueError:
        with pytest.warns(NotPublished, match=r"features/x.* while ValueError .*nothing was published"):
            file.close()
    assert h.show("features/x").number == 1


def test_writing_while_another_error_is_handled_is_fine(h, fs, known):
    try:
        fs.open("features/none")
    except FileNotFoundError:
        with fs.open("features/x", "wb") as file:
            file.write(b"instead")
    assert fs.cat_file("features/x") == b"instead"


def test_writing_outside_a_run_names_what_was_read(h, fs, known, port):
    sealed = h.seal(b"rows", name="dataset/a")
    with fs.open("dataset/a", "rb") as file:
        file.read()
    fs.cp_file("dataset/a", "features/x")
    with fs.transaction, fs.open("features/x", "wb") as file:
        file.write(b"more")
    asked = [request.read for request in port.asked if isinstance(request, versions.BeginVersion)]
    assert asked[-2:] == [(sealed.version,), (sealed.version,)]


def test_writes_that_are_refused(fs, known, port):
    with pytest.raises(UsageError, match="never change"):
        fs.open("features/x@1", "wb")
    for mode in ("ab", "r+b"):
        with pytest.raises(UsageError, match="mode"):
            fs.open("features/x", mode)
    with pytest.raises(FileExistsError):
        fs.open("features/x", "xb")
    with pytest.raises(UsageError, match="no rule") as caught:
        fs.open("features/new", "wb")
    assert "asset: features/new" in caught.value.hint
    with pytest.raises(UsageError, match="several files"):
        fs.open("features/x/part-0", "wb")
    with pytest.raises(InvalidName, match="where the name ends"):
        fs.open("features/new/a=1/part-0", "wb")
    with pytest.raises(InvalidName):
        fs.open("tmp/x", "wb")
    assert port.count(versions.BeginVersion) == 1


def test_nothing_is_removed(fs, known):
    for call in (fs.rm, fs.rm_file, fs.delete):
        with pytest.raises(UsageError, match="cannot be removed") as caught:
            call("features/x")
        assert caught.value.hint
    assert fs.exists("features/x")


def test_rename_and_copy(h, fs, known):
    h.seal(b"y", name="features/y")
    fs.mv("features/x", "features/z")
    assert not fs.exists("features/x")
    assert fs.cat_file("features/z") == b"first"
    fs.cp_file("features/z", "features/y")
    assert fs.cat_file("features/y") == b"first"
    for wrong in (("features/z@1", "features/w"), ("features/z", "model/z"), ("features/z/data", "features/z/d")):
        with pytest.raises((UsageError, FileNotFoundError)):
            fs.mv(*wrong)


def test_options_hold_no_keys_and_travel(fs):
    with pytest.raises(UsageError, match="no option"):
        HermeticFileSystem(key="secret")
    other = pickle.loads(pickle.dumps(HermeticFileSystem(purpose="train")))
    assert other._purpose == "train"
    assert "secret" not in other.to_json()


def test_a_purpose_option_is_declared(h, fs, known, port):
    HermeticFileSystem(purpose="debug").cat_file("features/x")
    assert next(item for item in reversed(port.asked) if isinstance(item, versions.OpenVersions)).purpose == "debug"


def test_threads_share_what_is_open(fs, folder, port):
    paths = fs.find("dataset/shards") * 4
    got = []
    threads = [threading.Thread(target=lambda path=path: got.append(HermeticFileSystem().cat_file(path))) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == sorted(path.removeprefix("dataset/shards/").encode() for path in paths)
    assert port.count(versions.OpenVersions) == 1


def test_a_forked_child_asks_for_itself(fs, known):
    file = fs.open("features/x")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            file.read()
        except LeaseEnded:
            code = 0 if fs.cat_file("features/x") == b"first" else 2
        os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# runs and transactions


def write(fs, path, data):
    with fs.open(path, "wb") as file:
        file.write(data)


def test_what_a_run_writes_is_published_at_its_end(h, fs, known):
    with h.run("prepare", purpose="prepare") as run:
        fs.makedirs("features/x")
        write(fs, "features/x/part-0", b"0")
        write(fs, "features/x/part-1", b"1")
        assert fs.ls("features/x", detail=False) == ["features/x/part-0", "features/x/part-1"]
        assert h.show("features/x").number == 1
    assert run.outputs == ("features/x@2",)
    assert fs.cat_file("features/x/part-1") == b"1"


def test_a_run_that_reads_what_it_wrote_publishes_it_first(h, fs, known):
    with h.run("prepare", purpose="prepare") as run:
        write(fs, "features/x", b"step one")
        assert fs.info("features/x")["size"] == 8
        assert fs.cat_file("features/x") == b"step one"
        assert h.show("features/x").number == 2
        write(fs, "features/x", b"step two")
        with fs.open("features/x", "wb") as file, pytest.raises(Conflict, match="being written"):
            fs.cat_file("features/x")
        file.close()
    assert run.outputs == ("features/x@3",)
    assert run.ended.inputs == ("features/x@2",)


def test_a_failed_run_leaves_nothing(h, fs, known, store):
    before = list(store.list())
    with pytest.raises(ZeroDivisionError), h.run("prepare", purpose="prepare"):
        write(fs, "features/x", b"x")
        1 / 0  # noqa: B018
    assert list(store.list()) == before


def test_a_new_name_with_members(h, fs, monkeypatch):
    from hermetic.integrations import attached

    monkeypatch.setattr(attached, "rule_for", lambda session, name: name)
    with h.run("prepare", purpose="prepare") as run:
        fs.mkdir("features/new", create_parents=True)
        fs.mkdir("features/new/a=1")
        write(fs, "features/new/a=1/part-0", b"0")
        write(fs, "features/other@latest/a=1/part-0", b"0")
    assert run.outputs == ("features/new@1", "features/other@1")
    assert fs.find("features/new") == ["features/new/a=1/part-0"]


def test_a_transaction_is_one_version(h, fs, known):
    with fs.transaction:
        write(fs, "features/x/part-0", b"0")
        write(fs, "features/x/part-1", b"1")
        assert h.show("features/x").number == 1
    assert [member.path for member in h.members("features/x@2")] == ["part-0", "part-1"]
    write(fs, "features/x", b"after")
    assert h.show("features/x").number == 3


def test_a_transaction_that_fails_publishes_nothing(h, fs, known, store):
    before = list(store.list())
    with pytest.raises(ZeroDivisionError), fs.transaction:
        write(fs, "features/x/part-0", b"0")
        1 / 0  # noqa: B018
    with pytest.raises(UsageError, match="nothing of it was published"), fs.transaction:
        write(fs, "features/x/part-0", b"0")
        with pytest.raises(ZeroDivisionError), fs.open("features/x/part-1", "wb"):
            1 / 0  # noqa: B018
    assert list(store.list()) == before
    write(fs, "features/x", b"after")
    assert h.show("features/x").number == 2


def test_scratch(h, fs):
    with pytest.raises(UsageError, match="belongs to runs"):
        fs.ls("scratch")
    with h.run("train", purpose="train"):
        write(fs, "hermetic://scratch/cache/a.bin", b"1")
        write(fs, "hermetic://scratch/b.bin", b"22")
        write(fs, "hermetic://scratch/b.bin", b"333")
        assert fs.find("scratch") == ["scratch/b.bin", "scratch/cache/a.bin"]
        assert fs.cat_file("scratch/b.bin") == b"333"
        assert fs.isdir("scratch/cache")
        fs.mv("scratch/b.bin", "scratch/c.bin")
        fs.rm("scratch/cache", recursive=True)
        assert fs.find("scratch") == ["scratch/c.bin"]
        with pytest.raises(FileNotFoundError):
            fs.cat_file("scratch/b.bin")
        with pytest.raises(UsageError):
            write(fs, "scratch/.hermetic/claims/features/x", b"")
    assert h.list() == ()
