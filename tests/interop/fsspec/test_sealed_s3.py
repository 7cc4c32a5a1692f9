"""sealed::s3:// by way of s3fs: what a disk and memory cannot show."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import fsspec
import pandas as pd
import pytest
from upath import UPath

import hermetic
from hermetic.errors import Denied, FormatError, HermeticError, IntegrityError
from hermetic.integrations.sealed_filesystem import SealedFileSystem

MIB = 1024 * 1024


@pytest.fixture
def options(ground):
    """What a user gives: the storage's own, in its own layer."""
    return {"s3": {"endpoint_url": ground.served.endpoint}}


@pytest.fixture
def h(ground):
    with hermetic.connect() as made:
        yield made


def names(ground):
    ground.plain.invalidate_cache()
    return sorted(path.removeprefix(f"{ground.base}/") for path in ground.plain.find(ground.base))


def test_a_large_file_there_and_back(ground, h):
    content = os.urandom(20 * MIB + 17)
    path = f"{ground.base}/large.bin"
    with ground.fs.open(path, "wb") as file:
        for start in range(0, len(content), 999_983):
            file.write(content[start : start + 999_983])
    assert names(ground) == ["large.bin", "large.bin.manifest.json"]
    assert ground.fs.info(path)["size"] == len(content)
    with ground.fs.open(path) as file:
        assert file.read() == content
        file.seek(7 * MIB + 3)
        assert file.read(5) == content[7 * MIB + 3 :][:5]
    assert ground.fs.cat_ranges([path] * 3, [0, 9 * MIB, -3], [4, 9 * MIB + 7, None]) == [
        content[:4],
        content[9 * MIB :][:7],
        content[-3:],
    ]
    assert content[:64] not in ground.plain.cat_file(path)
    assert h.open(ground.name).read() == content
    assert h.verify(ground.name).objects == 1


def test_pandas_by_url(ground, options):
    table = pd.DataFrame({"id": range(1000), "age": [40] * 1000})
    url = f"{ground.url}/table.parquet"
    table.to_parquet(url, storage_options=options)
    assert pd.read_parquet(url, columns=["age"], storage_options=options).age.sum() == 40_000
    assert ground.plain.cat_file(f"{ground.base}/table.parquet", start=0, end=8) == b"HERMETIC"


@pytest.mark.filterwarnings("ignore:UPath 'sealed'")  # works by its general class, and says that it does not know us
def test_universal_pathlib(ground, options):
    ground.fs.pipe_file(f"{ground.base}/a.txt", b"text")
    with fsspec.open(f"{ground.url}/a.txt", "rt", **options) as file:
        assert file.read() == "text"
    path = UPath(f"sealed://{ground.base}/a.txt", target_protocol="s3", target_options=options["s3"])
    assert path.exists()
    assert path.read_bytes() == b"text"


def test_a_transaction_and_a_run_appear_whole(ground, h):
    with ground.fs.transaction:
        for name in ("a", "b/c"):
            ground.fs.pipe_file(f"{ground.base}/{name}", name.encode())
        assert names(ground) == []
    assert {path: ground.fs.cat_file(path) for path in ground.fs.find(ground.base)} == {
        f"{ground.base}/a": b"a",
        f"{ground.base}/b/c": b"b/c",
    }
    before = h.show(ground.name).number
    with h.run("make", purpose="prepare"):
        for name in ("a", "d"):
            ground.fs.pipe_file(f"{ground.base}/{name}", b"run")
    assert h.show(ground.name).number == before + 1
    assert ground.fs.cat_file(f"{ground.base}/d") == b"run"
    ground.fs.rm(ground.base, recursive=True)
    assert names(ground) == []


def test_hermetic_run_delivers_for_its_child(ground, h, monkeypatch):
    """The parent has no options: its endpoint and credentials are those of the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", ground.served.endpoint)
    code = f"import fsspec; fsspec.filesystem('sealed', target_protocol='s3').pipe_file('{ground.base}/child', b'from the child')"
    main = "import sys; from hermetic.cli.main import main; main(sys.argv[1:])"
    words = [sys.executable, "-c", main, "run", "make", "--purpose", "prepare", "--", sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert names(ground) == ["child", "child.manifest.json"]
    assert ground.fs.cat_file(f"{ground.base}/child") == b"from the child"


def test_moves_release_nothing(ground, h):
    fs = ground.fs
    fs.pipe_file(f"{ground.base}/a", b"content")
    before = h.show(ground.name).releases
    fs.cp_file(f"{ground.base}/a", f"{ground.base}/b")
    fs.mv(f"{ground.base}/a", f"{ground.base}/c")
    fs.rm(f"{ground.base}/b")
    assert h.show(ground.name).releases == before
    assert names(ground) == ["c", "c.manifest.json"]
    assert fs.cat_file(f"{ground.base}/c") == b"content"


def test_what_the_owner_of_the_bucket_does(ground):
    fs, plain, base = ground.fs, ground.plain, ground.base
    for name in "ab":
        fs.pipe_file(f"{base}/{name}", name.encode() * 1000)
    a, b = (plain.cat_file(f"{base}/{name}") for name in "ab")
    plain.pipe_file(f"{base}/a", b)
    plain.pipe_file(f"{base}/b", a)
    for name in "ab":
        with pytest.raises(IntegrityError, match="was put since"):
            fs.cat_file(f"{base}/{name}")
    plain.pipe_file(f"{base}/a", a[:-1])
    with pytest.raises(IntegrityError):
        fs.cat_file(f"{base}/a")
    plain.pipe_file(f"{base}/a", b"PAR1 plain")
    with pytest.raises(FormatError):
        fs.cat_file(f"{base}/a")
    plain.pipe_file(f"{base}/a", a)
    assert fs.cat_file(f"{base}/a") == b"a" * 1000


def test_a_cache_behind_holds_ciphertext(ground, options, tmp_path, monkeypatch):
    ground.fs.pipe_file(f"{ground.base}/a", b"plaintext of a patient")
    url = ground.url.replace("sealed::", "sealed::simplecache::")
    with fsspec.open(f"{url}/a", simplecache={"cache_storage": str(tmp_path)}, **options) as file:
        assert file.read() == b"plaintext of a patient"
    held = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert held
    assert not any(b"plaintext" in raw for raw in held)


def test_instances_cross_processes(ground):
    ground.fs.pipe_file(f"{ground.base}/a", b"content")
    code = "import pickle, sys; fs = pickle.loads(bytes.fromhex(sys.argv[1])); sys.stdout.buffer.write(fs.cat_file(sys.argv[2]))"
    words = [sys.executable, "-c", code, pickle.dumps(ground.fs).hex(), f"{ground.base}/a"]
    assert subprocess.run(words, capture_output=True, check=True).stdout == b"content"


def test_wrong_credentials_and_no_server_are_told_as_such(ground):
    ground.fs.pipe_file(f"{ground.base}/a", b"content")
    nobody = SealedFileSystem(target_protocol="s3", target_options={"endpoint_url": "http://127.0.0.1:1", "max_retries": 0})
    with pytest.raises(HermeticError) as told:
        nobody.cat_file(f"{ground.base}/a")
    assert type(told.value) is not Denied
    assert not isinstance(told.value, FileNotFoundError)
