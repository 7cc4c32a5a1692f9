"""sealed:: over a disk and over memory, on a real custody: reading, writing, listing, moving; runs and transactions."""
# ruff: noqa: F811 - fixtures by import

from __future__ import annotations

import asyncio
import io
import os
import pickle
import subprocess
import sys
import threading

import fsspec
import pytest
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

import hermetic
from hermetic.assets import delivery
from hermetic.errors import Conflict, IntegrityError, NotFound, PolicyDenied, StorageError, Unsupported, UsageError
from hermetic.formats.messages.catalogue import ListAssets
from hermetic.integrations.sealed_filesystem import SealedFileSystem
from tests.unit.integrations.sealed_domain import domain, ground, h, sealed_template  # noqa: F401

CSV = b"id,age\n1,40\n2,50\n"


@pytest.fixture(autouse=True)
def purpose(monkeypatch):
    monkeypatch.setenv("HERMETIC_PURPOSE", "prepare")


def numbers(h, name):
    """How many versions an asset has."""
    rows = [row for row in h.connection.ask(ListAssets()).assets if row.name == name]
    return rows[0].latest if rows else 0


def stored(ground):
    """What lies below the folder, temporary files included."""
    return sorted(path.removeprefix(f"{ground.base}/") for path in ground.plain.find(ground.base))


def contents(fs, folder):
    """Every file below a folder."""
    return {path: fs.cat_file(path) for path in fs.find(folder)}


def staged(h):
    """What lies in the domain's store."""
    return [key for store in h.connection.stores.values() for key, _ in store.list() if not key.startswith("scratch/")]


# one file


def test_there_and_back(ground, h):
    url = f"{ground.url}/a.csv"
    with fsspec.open(url, "wb") as file:
        file.write(CSV)
    with fsspec.open(url, "rb") as file:
        assert file.read() == CSV
    held = ground.plain.cat_file(f"{ground.base}/a.csv")
    assert held.startswith(b"HERMETIC")
    assert CSV[:6] not in held
    assert stored(ground) == ["a.csv", "a.csv.manifest.json"]
    assert staged(h) == []
    assert h.show(ground.name).number == 1
    assert h.open(ground.name).read() == CSV
    assert h.verify(ground.name).objects == 1


def test_every_form_of_a_path_is_the_same_file(ground):
    path, fs = f"{ground.base}/a.csv", ground.fs
    fs.pipe_file(path, CSV)
    for form in (path, f"sealed://{path}", f"{ground.url}/a.csv"):
        assert fs.cat_file(form) == CSV
        assert fs.info(form)["size"] == len(CSV)
        assert fs.isfile(form)
        with fs.open(form) as file:
            assert file.read() == CSV
    assert fsspec.open(f"{ground.url}/a.csv", "rt").open().read() == CSV.decode()


def test_what_is_told_of_files(ground):
    fs = ground.fs
    fs.pipe_file(f"{ground.base}/sub/a.csv", CSV)
    fs.pipe_file(f"{ground.base}/empty", b"")
    info = fs.info(f"{ground.base}/sub/a.csv")
    assert (info["size"], info["type"], info["asset"], info["number"]) == (len(CSV), "file", ground.name, 1)
    assert fs.size(f"{ground.base}/empty") == 0
    assert fs.ls(ground.base, detail=False) == [f"{ground.base}/empty", f"{ground.base}/sub"]
    assert {item["name"]: item["size"] for item in fs.ls(f"{ground.base}/sub")} == {f"{ground.base}/sub/a.csv": len(CSV)}
    assert fs.find(ground.base) == [f"{ground.base}/empty", f"{ground.base}/sub/a.csv"]
    assert fs.glob(f"{ground.base}/*/*.csv") == [f"{ground.base}/sub/a.csv"]
    assert fs.du(ground.base) == len(CSV)
    assert not fs.exists(f"{ground.base}/sub/a.csv.manifest.json")
    with pytest.raises(FileNotFoundError):
        fs.open(f"{ground.base}/sub/a.csv.manifest.json")
    with pytest.raises(FileNotFoundError):
        fs.open(f"{ground.base}/none")
    with pytest.raises(IsADirectoryError):
        fs.open(f"{ground.base}/sub")


def test_an_overwriting_is_the_next_version(ground, h):
    fs, path = ground.fs, f"{ground.base}/a.csv"
    fs.pipe_file(path, b"first")
    fs.pipe_file(path, CSV)
    assert fs.cat_file(path) == CSV
    assert fs.info(path)["number"] == 2
    assert stored(ground) == ["a.csv", "a.csv.manifest.json"]
    with pytest.raises(NotFound, match="was sealed to sealed::"):
        h.open(f"{ground.name}@1")
    with pytest.raises(FileExistsError):
        fs.open(path, "xb")


def test_what_no_rule_covers_is_refused_with_the_line_to_add(ground, domain):
    root = ground.base.rpartition("/")[0]
    with pytest.raises(UsageError, match="no rule says") as refused:
        ground.fs.open(f"{root}/nowhere.parquet", "wb")
    key = "data/nowhere.parquet" if ground.name == "dataset/out" else "nowhere.parquet"
    assert f"add to `rules:` in hermetic.yaml: - {{path: {key}, kind: dataset, class: confidential" in refused.value.hint.replace(
        "'", ""
    )
    assert ("store: lake}" in refused.value.hint) == (ground.name != "dataset/out")
    assert not ground.plain.exists(f"{root}/nowhere.parquet")


def test_a_place_that_nobody_named_is_refused_for_writing(domain, h, tmp_path):
    fs = SealedFileSystem()
    with pytest.raises(UsageError, match="in no place") as refused:
        fs.open(str(tmp_path / "x.csv"), "wb")
    assert "locations: {NAME: URL}" in refused.value.hint
    with pytest.raises(UsageError, match="in no place"):
        SealedFileSystem(target_protocol="memory").open("/elsewhere/x.csv", "wb")


def test_reserved_names_are_refused(domain, ground):
    with pytest.raises(UsageError, match="signed manifests"):
        ground.fs.open(f"{ground.base}/a.manifest.json", "wb")


def test_a_plain_file_is_not_overwritten(ground):
    ground.plain.makedirs(ground.base, exist_ok=True)
    ground.plain.pipe_file(f"{ground.base}/a.csv", CSV)
    with pytest.raises(FileExistsError):
        ground.fs.open(f"{ground.base}/a.csv", "wb")
    assert ground.plain.cat_file(f"{ground.base}/a.csv") == CSV


def test_a_file_that_is_given_up_leaves_nothing(ground, h):
    with pytest.raises(ZeroDivisionError), ground.fs.open(f"{ground.base}/a.csv", "wb") as file:
        file.write(CSV)
        1 / 0  # noqa: B018
    assert not ground.plain.exists(f"{ground.base}/a.csv")
    assert numbers(h, ground.name) == 0
    assert staged(h) == []


def test_the_rule_gives_the_class(ground, h):
    ground.fs.pipe_file(f"{ground.base}/a.csv", CSV)
    assert h.show(ground.name).data_class == "confidential"


def test_pandas(ground):
    pd = pytest.importorskip("pandas")
    table = pd.DataFrame({"id": [1, 2, 3], "age": [40, 50, 60]})
    table.to_parquet(f"{ground.url}/a.parquet")
    table.to_csv(f"{ground.url}/a.csv", index=False)
    assert pd.read_parquet(f"{ground.url}/a.parquet", columns=["age"]).age.sum() == 150
    assert pd.read_csv(f"{ground.url}/a.csv").equals(table)


# moving


def test_moves_copies_and_removals(ground, h):
    fs, base = ground.fs, ground.base
    fs.pipe_file(f"{base}/a", CSV)
    fs.cp_file(f"{base}/a", f"{base}/b")
    fs.mv(f"{base}/a", f"{base}/c")
    assert fs.cat_file(f"{base}/b") == fs.cat_file(f"{base}/c") == CSV
    assert stored(ground) == ["b", "b.manifest.json", "c", "c.manifest.json"]
    assert ground.plain.cat_file(f"{base}/b") == ground.plain.cat_file(f"{base}/c")
    fs.rm(f"{base}/b")
    assert not fs.exists(f"{base}/b")
    assert stored(ground) == ["c", "c.manifest.json"]
    assert (numbers(h, ground.name), h.show(ground.name).number) == (1, 1)
    with pytest.raises(NotFound, match="was sealed to"):
        h.open(ground.name)
    fs.pipe_file(f"{base}/c", b"new")
    assert fs.cat_file(f"{base}/c") == b"new"


def test_copying_releases_no_key(ground, h):
    fs, base = ground.fs, ground.base
    fs.pipe_file(f"{base}/a", CSV)
    before = h.show(ground.name).releases
    fs.cp_file(f"{base}/a", f"{base}/b")
    fs.mv(f"{base}/a", f"{base}/c")
    fs.rm(f"{base}/b")
    assert h.show(ground.name).releases == before


def test_another_assets_location_is_other_data(ground):
    fs = ground.fs
    fs.pipe_file(f"{ground.base}/a", CSV)
    for call in (fs.cp_file, fs.mv):
        with pytest.raises(UsageError, match="no location of") as refused:
            call(f"{ground.base}/a", f"{ground.other}/a")
        assert "read it and write it there" in refused.value.hint
    assert not ground.plain.exists(f"{ground.other}/a")
    assert fs.cat_file(f"{ground.base}/a") == CSV


def test_whole_folders(ground):
    fs, base = ground.fs, ground.base
    with fs.transaction:
        for name in ("x/a", "x/b/c", "x/d"):
            fs.pipe_file(f"{base}/{name}", name.encode())
    fs.mv(f"{base}/x", f"{base}/y", recursive=True)
    assert contents(fs, f"{base}/y") == {f"{base}/y/{name}": f"x/{name}".encode() for name in ("a", "b/c", "d")}
    assert not fs.exists(f"{base}/x")
    fs.rm(f"{base}/y", recursive=True)
    assert stored(ground) == []


# what belongs together


def test_a_transaction_is_one_version(ground, h):
    fs, base = ground.fs, ground.base
    with fs.transaction:
        for name in ("a", "b", "sub/c"):
            fs.pipe_file(f"{base}/{name}", name.encode())
            assert not ground.plain.exists(f"{base}/{name}")
    assert numbers(h, ground.name) == 1
    assert [member.path.rpartition("/")[2] for member in h.show(ground.name).members] == ["a", "b", "c"]
    assert contents(fs, base) == {f"{base}/a": b"a", f"{base}/b": b"b", f"{base}/sub/c": b"sub/c"}
    assert staged(h) == []


def test_a_transaction_that_fails_leaves_nothing(ground, h):
    fs, base = ground.fs, ground.base
    fs.pipe_file(f"{base}/a", b"before")
    with pytest.raises(ZeroDivisionError), fs.transaction:
        fs.pipe_file(f"{base}/a", b"after")
        fs.pipe_file(f"{base}/b", b"after")
        1 / 0  # noqa: B018
    assert fs.cat_file(f"{base}/a") == b"before"
    assert not fs.exists(f"{base}/b")
    assert numbers(h, ground.name) == 1
    assert staged(h) == []


def test_two_assets_in_a_transaction_are_two_versions(ground, h):
    fs = ground.fs
    with fs.transaction:
        fs.pipe_file(f"{ground.base}/a", b"1")
        fs.pipe_file(f"{ground.other}/a", b"2")
    assert fs.cat_file(f"{ground.base}/a") + fs.cat_file(f"{ground.other}/a") == b"12"
    assert numbers(h, ground.name) == 1


def test_a_run_is_one_version(ground, h):
    fs, base = ground.fs, ground.base
    with h.run("make", purpose="prepare"):
        fs.pipe_file(f"{base}/a", b"one")
        fs.pipe_file(f"{base}/sub/b", b"three")
        assert stored(ground) == []
        assert fs.info(f"{base}/a")["size"] == 3
        assert fs.find(base) == [f"{base}/a", f"{base}/sub/b"]
        assert {item["name"]: item["type"] for item in fs.ls(base)} == {f"{base}/a": "file", f"{base}/sub": "directory"}
    assert numbers(h, ground.name) == 1
    assert contents(fs, base) == {f"{base}/a": b"one", f"{base}/sub/b": b"three"}
    assert staged(h) == []


def test_a_run_that_fails_leaves_nothing(ground, h):
    with pytest.raises(ZeroDivisionError), h.run("make", purpose="prepare"):
        ground.fs.pipe_file(f"{ground.base}/a", b"one")
        1 / 0  # noqa: B018
    assert stored(ground) == []
    assert (numbers(h, ground.name), staged(h)) == (0, [])


def test_a_run_reads_removes_and_moves_what_it_wrote(ground, h):
    fs, base = ground.fs, ground.base
    with h.run("make", purpose="prepare"):
        for name in "abc":
            fs.pipe_file(f"{base}/{name}", name.encode())
        assert fs.cat_file(f"{base}/a") == b"a"
        fs.pipe_file(f"{base}/d", b"d")
        fs.rm(f"{base}/d")
        fs.mv(f"{base}/b", f"{base}/e")
    assert contents(fs, base) == {f"{base}/{name}": text for name, text in (("a", b"a"), ("c", b"c"), ("e", b"b"))}


def test_lineage_and_class_come_from_what_the_run_read(ground, h):
    h.seal(b"secret", name="dataset/patients", data_class="restricted")
    with h.run("make", purpose="prepare"):
        with fsspec.open("hermetic://dataset/patients") as file:
            content = file.read()
        ground.fs.pipe_file(f"{ground.base}/a", content)
    assert h.show(ground.name).data_class == "restricted"
    assert h.show(ground.name).parents == ("dataset/patients@1",)


# what a crash leaves


@pytest.fixture
def undelivered(ground, h, monkeypatch):
    """A version that was published, and whose process died before anything was delivered."""

    def publish(*names):
        with monkeypatch.context() as patch:
            patch.setattr(delivery, "_deliver", lambda *_: (_ for _ in ()).throw(StorageError("the network is gone")))
            with pytest.raises(StorageError, match="is published") as told, ground.fs.transaction:
                for name in names:
                    ground.fs.pipe_file(f"{ground.base}/{name}", f"new {name}".encode())
        assert "nothing is lost" in told.value.hint

    return publish


def test_the_next_reading_brings_what_a_crash_left(ground, h, undelivered):
    fs, base = ground.fs, ground.base
    fs.pipe_file(f"{base}/a", b"old")
    undelivered("a", "b")
    assert h.open(f"{ground.name}@2", member=h.show(ground.name).members[0].path).read() == b"new a"
    assert h.verify(f"{ground.name}@2").objects == 2
    assert fs.cat_file(f"{base}/a") == b"new a"
    assert stored(ground) == ["a", "a.manifest.json", "b", "b.manifest.json"]
    assert staged(h) == []
    assert fs.cat_file(f"{base}/b") == b"new b"


def test_looking_for_what_was_never_delivered_brings_it(ground, h, undelivered):
    undelivered("b")
    assert ground.fs.info(f"{ground.base}/b")["size"] == 5
    assert stored(ground) == ["b", "b.manifest.json"]


def test_what_was_replaced_before_it_was_delivered_stays_in_the_store(ground, h, undelivered):
    with ground.fs.open(f"{ground.base}/a", "wb") as later:  # begun before, published after
        later.write(b"later")
        undelivered("a")
    delivery.finish(h.session, f"{ground.name}@1")
    assert ground.fs.cat_file(f"{ground.base}/a") == b"later"
    assert h.open(f"{ground.name}@1").read() == b"new a"


def test_an_interrupted_delivery_is_repeated(ground, h, undelivered):
    undelivered("a")
    (key,) = [key for key in staged(h) if key.endswith(".sealed")]
    whole = h.connection.stores["sealed"].read_bytes(key, limit=10**6)
    ground.plain.makedirs(ground.base, exist_ok=True)
    ground.plain.pipe_file(f"{ground.base}/a", whole[:-100])
    assert ground.fs.cat_file(f"{ground.base}/a") == b"new a"
    assert ground.plain.cat_file(f"{ground.base}/a") == whole


def test_a_manifest_that_is_missing_or_earlier_is_put_back(ground):
    fs, path = ground.fs, f"{ground.base}/a"
    fs.pipe_file(path, b"first")
    first = ground.plain.cat_file(f"{path}.manifest.json")
    fs.pipe_file(path, b"second")
    second = ground.plain.cat_file(f"{path}.manifest.json")
    ground.plain.rm(f"{path}.manifest.json")
    assert fs.cat_file(path) == b"second"
    assert ground.plain.cat_file(f"{path}.manifest.json") == second
    ground.plain.pipe_file(f"{path}.manifest.json", first)
    assert fs.cat_file(path) == b"second"
    assert ground.plain.cat_file(f"{path}.manifest.json") == second


def test_status_does_not_miss_it(ground, h, capsys):
    from hermetic.cli.main import main

    ground.fs.pipe_file(f"{ground.base}/a", CSV)
    with pytest.raises(SystemExit):
        main(["status", "--json"])
    assert "version-missing" not in capsys.readouterr().out


def test_a_backup_with_objects_keeps_it_and_brings_it_back(ground, h, tmp_path):
    from hermetic.recovery.objects import bring_back, copy_out

    ground.fs.pipe_file(f"{ground.base}/a", b"old")
    ground.fs.pipe_file(f"{ground.base}/a", CSV)
    copied = copy_out(h.connection, tmp_path / "backup")
    assert (copied.objects, copied.findings) == (1, [])  # the first version was replaced, which is nobody's loss
    ground.plain.rm(f"{ground.base}/a")
    with pytest.raises(FileNotFoundError):
        ground.fs.open(f"{ground.base}/a")
    assert bring_back(h.connection, tmp_path / "backup").findings == []
    assert h.open(ground.name).read() == CSV
    assert ground.fs.cat_file(f"{ground.base}/a") == CSV
    assert ground.plain.exists(f"{ground.base}/a")


# several at once


def test_writers_of_one_location(ground, h):
    fs, path = ground.fs, f"{ground.base}/a"
    errors = []

    def write(number):
        try:
            for _ in range(3):
                fs.pipe_file(path, f"{number}".encode() * 1000)
        except Exception as error:  # noqa: BLE001 - shown below
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert numbers(h, ground.name) == 12
    assert fs.info(path)["number"] == 12
    content = fs.cat_file(path)
    assert content == content[:1] * 1000


def test_readers_while_it_is_replaced(ground):
    fs, path = ground.fs, f"{ground.base}/a"
    fs.pipe_file(path, b"0" * 1000)
    stop, odd = threading.Event(), []

    def read():
        while not stop.is_set():
            try:
                content = fs.cat_file(path)
            except Conflict:
                continue
            except IntegrityError as error:
                odd.append(error)
                return
            if content != content[:1] * 1000:
                odd.append(content)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(1, 6):
            fs.pipe_file(path, f"{number}".encode() * 1000)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert odd == []


def test_pickle_and_instance_cache(ground):
    ground.fs.pipe_file(f"{ground.base}/a", CSV)
    raw = pickle.dumps(ground.fs)
    assert b"HERMETIC_HOME" not in raw
    assert pickle.loads(raw) is ground.fs
    assert pickle.loads(raw).cat_file(f"{ground.base}/a") == CSV
    assert "key" not in ground.fs.to_json()


def test_fork(ground, domain):
    ground.fs.pipe_file(f"{ground.base}/a", CSV)
    assert ground.fs.cat_file(f"{ground.base}/a") == CSV
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            ground.fs.pipe_file(f"{ground.base}/child", b"from the child") if ground.name == "dataset/out" else None
            os.write(write, ground.fs.cat_file(f"{ground.base}/a"))
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - told to the parent
            os.write(write, repr(error).encode())
            os._exit(1)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        assert file.read() == CSV
    assert os.waitpid(pid, 0)[1] == 0
    if ground.name == "dataset/out":
        assert ground.fs.cat_file(f"{ground.base}/child") == b"from the child"


def test_spawn(domain):
    fs = SealedFileSystem()
    path = f"{domain.project}/data/out/a"
    fs.pipe_file(path, CSV)
    code = "import pickle, sys; fs = pickle.loads(bytes.fromhex(sys.argv[1])); sys.stdout.buffer.write(fs.cat_file(sys.argv[2]))"
    done = subprocess.run([sys.executable, "-c", code, pickle.dumps(fs).hex(), path], capture_output=True, check=True)
    assert done.stdout == CSV


def test_hermetic_run_publishes_what_its_child_wrote(domain, h):
    code = "import fsspec; fs = fsspec.filesystem('sealed'); [fs.pipe_file(f'{P}/{n}', n.encode()) for n in 'ab']"
    code = code.replace("{P}", f"{domain.project}/data/out")
    main = "import sys; from hermetic.cli.main import main; main(sys.argv[1:])"
    words = [sys.executable, "-c", main, "run", "make", "--purpose", "prepare", "--", sys.executable, "-c", code]
    subprocess.run(words, check=True, capture_output=True)
    assert numbers(h, "dataset/out") == 1
    assert contents(SealedFileSystem(), f"{domain.project}/data/out") == {
        f"{domain.project}/data/out/{name}": name.encode() for name in "ab"
    }


def test_another_home_is_another_custody(domain, sealed_template, tmp_path, monkeypatch):
    """fsspec caches instances for the life of a process; what they lead to is looked up at each use."""
    from tests.unit.integrations.sealed_domain import copied

    fs = SealedFileSystem(project=".")
    path = f"{domain.project}/data/out/a"
    fs.pipe_file(path, b"one")
    with copied(sealed_template, tmp_path / "second") as other:
        monkeypatch.setenv("HERMETIC_HOME", str(other.home))
        with pytest.raises(IntegrityError, match="no object of a version"):
            fs.open(path)
        monkeypatch.chdir(other.project)
        assert SealedFileSystem(project=".") is fs
        fs.pipe_file(f"{other.project}/data/out/a", b"two")
        assert fs.cat_file(f"{other.project}/data/out/a") == b"two"
        with pytest.raises(UsageError, match="in no place"):
            fs.open(path, "wb")
    monkeypatch.setenv("HERMETIC_HOME", str(domain.home))
    monkeypatch.chdir(domain.project)
    assert fs.cat_file(path) == b"one"


def test_callers_that_await(ground, h):
    """Through fsspec's wrapper; asynchronous=True alone makes no coroutines, and says so by async_impl."""
    path = f"{ground.base}/a"

    async def work():
        fs = AsyncFileSystemWrapper(ground.fs, asynchronous=True)
        await fs._pipe_file(path, CSV)
        listed = await fs._ls(ground.base, detail=False)
        ranges = await fs._cat_ranges([path, path], [0, 3], [2, 6])
        return listed, ranges, await fs._cat_file(path), await fs._info(path)

    with h.run("make", purpose="prepare"):
        listed, ranges, content, info = asyncio.run(work())
    assert (listed, ranges, content, info["size"]) == ([path], [b"id", b"age"], CSV, len(CSV))
    assert numbers(h, ground.name) == 1
    assert fsspec.filesystem("sealed", asynchronous=True).async_impl is False


def test_get_goes_into_memory_only(ground, tmp_path, monkeypatch):
    from hermetic.integrations import downloads

    monkeypatch.setattr(downloads, "is_in_memory", lambda path: False)
    ground.fs.pipe_file(f"{ground.base}/a", CSV)
    with pytest.raises(UsageError, match="plaintext on disk") as refused:
        ground.fs.get(f"{ground.base}/a", str(tmp_path / "copy"))
    assert f"hermetic expose {ground.name}@1/" in refused.value.hint
    assert not (tmp_path / "copy").exists()
    buffer = io.BytesIO()
    ground.fs.get_file(f"{ground.base}/a", buffer)
    assert buffer.getvalue() == CSV


def test_a_release_by_location_is_one_by_name(ground, h):
    """The same request, decision and entry of the log."""
    ground.fs.pipe_file(f"{ground.base}/a", CSV)
    before = h.show(ground.name).releases
    fs = SealedFileSystem(fs=ground.plain, purpose="train", skip_instance_cache=True)
    assert fs.cat_file(f"{ground.base}/a") == CSV
    assert h.show(ground.name).releases == before + 1


def test_policy_decides_by_location_too(ground, h):
    with h.run("make", purpose="prepare"):
        h.seal(b"s", name="dataset/patients", data_class="restricted")
        h.open("dataset/patients").read()
        ground.fs.pipe_file(f"{ground.base}/a", CSV)
    fs = SealedFileSystem(fs=ground.plain, purpose="debug", skip_instance_cache=True)
    with pytest.raises(PolicyDenied):
        fs.cat_file(f"{ground.base}/a")
    with hermetic.connect() as again, pytest.raises(PolicyDenied):
        again.open(ground.name, purpose="debug")


def test_a_missing_package_behind_is_named(monkeypatch):
    def missing(protocol, **options):
        raise ImportError(f"Install something for {protocol}")

    monkeypatch.setattr("hermetic.integrations.behind.filesystem", missing)
    for protocol, hint in (("s3", "pip install s3fs"), ("odd", "Install something for odd")):
        with pytest.raises(Unsupported, match=f"needs for {protocol}:// is not installed") as refused:
            SealedFileSystem(target_protocol=protocol, skip_instance_cache=True)
        assert refused.value.hint == hint
