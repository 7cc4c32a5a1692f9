"""Versions in a bucket, through the workspace and the command line: sealed, read, checked, exposed, copied, cleared away."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hermetic.errors import HermeticError, IntegrityError
from tests.interop.s3server import client

MIB = 1024 * 1024
HERMETIC = str(Path(sys.prefix) / "bin" / "hermetic")


def command(*words, **more):
    return subprocess.run([HERMETIC, *words], check=True, capture_output=True, **more).stdout


def names(served):
    listed = client(served).list_objects_v2(Bucket=served.bucket).get("Contents", [])
    return sorted(item["Key"] for item in listed)


def test_file_stream_and_folder_come_back(h, s3_server, lake):
    large, small = os.urandom(20 * MIB + 17), b"id,age\n1,44\n"
    (lake / "large.bin").write_bytes(large)
    (lake / "folder").mkdir()
    (lake / "folder" / "a.csv").write_bytes(small)
    (lake / "folder" / "b.bin").write_bytes(large)
    file = h.seal("large.bin", name="model/large", data_class="internal")
    folder = h.seal("folder", name="dataset/folder", data_class="internal")
    with h.writer("model/stream") as writer:
        for start in range(0, len(large), 999_983):
            writer.write(large[start : start + 999_983])
    with h.open("model/large", purpose="prepare") as opened:
        assert opened.read() == large
        opened.seek(7 * MIB + 3)
        assert opened.read(5) == large[7 * MIB + 3 :][:5]
    with h.open("model/stream", purpose="prepare") as opened:
        assert io.BufferedReader(opened).read() == large
    with h.open("dataset/folder@1/a.csv", purpose="prepare") as opened:
        assert opened.read() == small
    versions = [file.version, folder.version, writer.version.version]
    wanted = {f"hermetic/{version}/{name}" for version in versions for name in ("0.sealed", "manifest.json")}
    assert set(names(s3_server)) == wanted | {f"hermetic/{folder.version}/1.sealed"}
    for name in names(s3_server):
        body = client(s3_server).get_object(Bucket=s3_server.bucket, Key=name)["Body"].read()
        assert large[5000:5100] not in body
        assert small not in body


def test_the_command_line(lake, s3_server):
    data = os.urandom(9 * MIB)
    (lake / "x.bin").write_bytes(data)
    command("seal", "x.bin", "--as", "model/x", "--class", "internal")
    assert command("cat", "model/x", "--purpose", "prepare") == data
    assert b"intact" in command("verify", "model/x@1")
    command("expose", "model/x@1", "copy.bin", "--for", "1h", "--purpose", "prepare")
    assert (lake / "copy.bin").read_bytes() == data
    command("expose", "--end", "copy.bin")
    assert b"nothing to remove" in command("gc")
    assert len(names(s3_server)) == 2


def test_a_changed_byte_is_refused(h, lake, s3_server):
    sealed = h.seal(os.urandom(9 * MIB), name="model/x", data_class="internal")
    key = f"hermetic/{sealed.version}/0.sealed"
    s3 = client(s3_server)
    body = bytearray(s3.get_object(Bucket=s3_server.bucket, Key=key)["Body"].read())
    body[len(body) // 2] ^= 1
    s3.put_object(Bucket=s3_server.bucket, Key=key, Body=bytes(body))
    with pytest.raises(IntegrityError), h.open("model/x", purpose="prepare") as opened:
        opened.read()
    with pytest.raises(IntegrityError):
        h.verify("model/x")


def test_a_version_given_up_leaves_nothing(h, lake, s3_server):
    with pytest.raises(ZeroDivisionError), h.writer("model/x") as writer:
        writer.write(bytes(20 * MIB))
        _ = 1 / 0
    assert names(s3_server) == []
    assert list(h.connection.stores["lake"]._uploads(1e12)) == []


KILLED = """
import sys, hermetic
with hermetic.connect() as h, h.writer("model/x") as writer:
    writer.write(bytes(20 * 1024 * 1024))
    print("under way", flush=True)
    sys.stdin.read()
"""


def test_an_upload_killed_midway_leaves_nothing_visible_and_gc_clears_it_away(h, lake, s3_server):
    store = h.connection.stores["lake"]
    with subprocess.Popen([sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"under way\n"
        end = time.monotonic() + 60
        while not list(store._uploads(1e12)) and time.monotonic() < end:
            time.sleep(0.01)
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert names(s3_server) == []
    assert all(row.latest == 0 for row in h.list())
    assert len(list(store._uploads(1e12))) == 1
    h.gc(older_than_ms=-5_000)
    assert list(store._uploads(1e12)) == []


def test_objects_go_into_the_backup_place_and_back(h, lake, s3_server, tmp_path):
    from hermetic.recovery.objects import bring_back, copy_out

    data = os.urandom(9 * MIB)
    sealed = h.seal(data, name="model/x", data_class="internal")
    place = tmp_path / "backup"
    assert copy_out(h.connection, place).objects == 1
    store = h.connection.stores["lake"]
    for name in ("0.sealed", "manifest.json"):
        store.delete(f"{sealed.version}/{name}")
    with pytest.raises(HermeticError), h.open("model/x", purpose="prepare") as opened:
        opened.read()
    assert bring_back(h.connection, place).objects == 1
    with h.open("model/x", purpose="prepare") as opened:
        assert opened.read() == data


def test_no_credential_is_kept(lake, s3_server, tmp_path):
    (lake / "x.bin").write_bytes(b"x")
    command("seal", "x.bin", "--as", "model/x", "--class", "internal")
    command("show", "model/x", "--json")
    secret, key_id = os.environ["AWS_SECRET_ACCESS_KEY"].encode(), os.environ["AWS_ACCESS_KEY_ID"].encode()
    read = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(read) > 10
    assert not [body for body in read if secret in body or key_id in body]
    wrong = {**os.environ, "AWS_SECRET_ACCESS_KEY": "quite-another"}
    done = subprocess.run([HERMETIC, "cat", "model/x", "--purpose", "prepare"], env=wrong, capture_output=True, text=True, check=False)
    if s3_server.kind == "rclone":  # moto takes any
        assert done.returncode == 1
        assert "hint:" in done.stderr
    assert "quite-another" not in done.stderr
    assert key_id.decode() not in done.stderr


MEMORY = """
import os, sys, hermetic
def field(name):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name))
with hermetic.connect() as h:
    h.connection.stores["lake"].exists("warm")  # boto3 is imported
    from hermetic.assets import opening, sealing, writing
    from hermetic.stores import s3
    before = field("VmHWM")
    if sys.argv[1] == "file":
        h.seal("large.bin", name="model/large", data_class="internal")
    elif sys.argv[1] == "stream":
        with h.writer("model/stream") as writer, open("large.bin", "rb") as source:
            while piece := source.read(1 << 20):
                writer.write(piece)
    else:
        with h.open("model/large", purpose="prepare") as opened:
            buffer, count = bytearray(1 << 20), 0
            while got := opened.readinto(buffer):
                count += got
        assert count == os.stat("large.bin").st_size
    print(field("VmHWM") - before)
"""
LARGE = int(os.environ.get("HERMETIC_LARGE_MIB", "256"))


def test_memory_is_bounded(domain, s3_rclone, record_property):
    from tests.interop.s3server import use_bucket

    use_bucket(domain, s3_rclone)
    with (domain / "large.bin").open("xb") as file:
        for _ in range(LARGE):
            file.write(os.urandom(MIB))
    taken = {}
    for how in ("file", "stream", "read"):
        done = subprocess.run([sys.executable, "-c", MEMORY, how], check=True, capture_output=True, text=True)
        taken[how] = int(done.stdout)
    told = ", ".join(f"{how} {kib / 1024:.0f} MiB" for how, kib in taken.items())
    record_property("summary", f"{LARGE} MiB to and from a bucket: {told} over imports")
    assert max(taken.values()) < 64 * 1024
