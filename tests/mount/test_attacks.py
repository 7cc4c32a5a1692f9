"""What must be refused, and what must not be left: places, names, outsiders, kills, revocation, damage."""

from __future__ import annotations

import json
import os
import select
import signal
from pathlib import Path

import pytest

import hermetic
from hermetic.errors import Unsupported
from hermetic.integrations import mount
from hermetic.integrations.mount import namespace
from tests.mount.conftest import TABLE, call, mounts_of_the_machine, python, run, start, stop

WAIT = """
import os, sys
fd = os.open("data/patients.csv", os.O_RDONLY)
assert os.read(fd, 4) == b"name"
print(os.getpid(), flush=True)
sys.stdin.readline()
"""
UNTIL_REFUSED = """
import errno, time
while True:
    try:
        if os.pread(fd, 4, 5) != b"age\\n":
            sys.exit("garbage")
    except OSError as error:
        print(errno.errorcode[error.errno], flush=True)
        break
    time.sleep(0.02)
"""


def waiting(code, *mounts):
    """Start a run whose command prints its process id and waits for a line; return (process, id)."""
    options = [word for text in mounts or ("data=dataset/patients",) for word in ("--mount", text)]
    process = start("run", "test", "--purpose", "train", *options, "--", *python(code), stdin=-1)
    return process, int(process.stdout.readline())


def runs():
    with hermetic.connect() as h:
        return h.runs()


# places


def test_a_folder_with_content_is_covered_not_touched(project):
    (project / "data").mkdir()
    (project / "data" / "own.txt").write_text("mine")
    done = run(["data=dataset/patients"], "ls", "data")
    assert done.out.split() == ["patients.csv"]
    assert "stays there, and the command does not see it" in done.err
    assert [path.name for path in (project / "data").iterdir()] == ["own.txt"]


def test_an_empty_folder_of_the_user_stays(project):
    (project / "data").mkdir()
    assert run(["data=dataset/patients"], "cat", "data/patients.csv").code == 0
    assert (project / "data").is_dir()


@pytest.mark.parametrize(
    "path",
    [
        "sealed",
        "sealed/x",
        "policies/x",
        "hermetic.yaml",
        ".",
        "..",
        "/",
        "/proc",
        "/dev/shm",
        "patients.link/x",
        "file.txt",
        "../home/data/x",
    ],
)
def test_places_that_must_not_be_covered(project, path):
    (project / "file.txt").write_text("x")
    (project / "patients.link").symlink_to("sealed")
    done = run([f"{path}=dataset/patients"], "touch", "started")
    if path == "/dev/shm":  # nothing of ours: a place like any other
        assert done.code == 0
        return
    assert done.code == 2, done
    assert "hint:" in done.err
    assert not (project / "started").exists()
    assert not runs()


@pytest.mark.parametrize(
    "mounts",
    [
        ["data=dataset/patients", "data=dataset/folder"],
        ["data=dataset/patients", "data/deep=dataset/folder"],
        ["data/deep=dataset/patients", "data=dataset/folder"],
        ["data"],
        ["=dataset/patients"],
        ["data="],
        ["data=patients"],
        ["data=dataset/patients@0"],
        ["data=dataset/../x"],
    ],
)
def test_what_cannot_be_meant(project, mounts):
    done = run(mounts, "touch", "started")
    assert (done.code, (project / "started").exists(), runs()) == (2, False, ()), done


def test_what_does_not_exist_starts_nothing(project):
    for ref in ("dataset/none", "dataset/patients@7", "dataset/patients@1/none.csv"):
        done = run([f"data={ref}"], "touch", "started")
        assert (done.code, (project / "started").exists(), runs()) == (1, False, ()), done
    assert not (project / "data").exists()


def test_what_is_denied_starts_nothing(project):
    done = call("run", "t", "--purpose", "debug", "--mount", "data=dataset/patients", "--", "touch", "started")
    assert (done.code, (project / "started").exists(), (project / "data").exists()) == (3, False, False), done
    (last,) = runs()
    assert last.state == "failed"


def test_a_command_that_does_not_exist(project):
    done = run(["data=dataset/patients"], "no-such-program")
    assert done.code == 1
    assert "there is no program" in done.err
    assert not (project / "data").exists()


def test_without_fuse_it_says_what_to_do(project, monkeypatch):
    with hermetic.connect() as h:
        monkeypatch.setattr(namespace, "DEVICE", "/dev/none")
        with pytest.raises(Unsupported, match="FUSE") as caught:
            mount.plan(h.session, ["data=dataset/patients"])
        assert "hermetic://" in caught.value.hint
        assert caught.value.exit_code == 1
        monkeypatch.setattr(namespace, "DEVICE", str(project / "hermetic.yaml"))
        monkeypatch.setattr(namespace.Namespace, "_unshare", lambda _self: Path("/none").stat())
        with pytest.raises(Unsupported, match="cannot take a mount namespace of its own: no such file"):
            mount.plan(h.session, ["data=dataset/patients"])
    assert not runs()


def test_a_mount_that_fails_in_the_child_is_told(project, monkeypatch):
    def broken(self, point, device):
        raise OSError(1, "Operation not permitted")

    with hermetic.connect() as h:
        plan = mount.plan(h.session, ["data=dataset/patients"])
        monkeypatch.setattr(namespace.Namespace, "_mount", broken)
        with pytest.raises(Unsupported, match=r"cannot mount on .*data.*: operation not permitted"):
            h.run_command("t", ["touch", "started"], purpose="train", around=plan.around(print, print))
    assert not (project / "started").exists()
    assert not (project / "data").exists()


# outsiders


def test_nobody_else_sees_the_plaintext(project):
    process, command = waiting(WAIT)
    try:
        assert list((project / "data").iterdir()) == []
        assert not mounts_of_the_machine()
        inside = Path(f"/proc/{command}/root{project}/data")
        for path in (inside / "patients.csv", Path(f"/proc/{command}/fd/3")):
            with pytest.raises(PermissionError):
                path.read_bytes()
        with pytest.raises(PermissionError):
            list(inside.iterdir())
        with pytest.raises(PermissionError):
            list(Path(f"/proc/{command}/cwd/data").iterdir())
        _, err = process.communicate("\n", timeout=60)
        assert process.returncode == 0, err
    finally:
        stop(process)


def test_what_the_command_starts_may_have_a_namespace_of_its_own(project):
    done = run(["data=dataset/patients"], "unshare", "-m", "cat", "data/patients.csv")
    assert (done.code, done.out.encode()) == (0, TABLE), done.err


def test_keys_are_not_in_the_command(project):
    code = "import os; print([os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') if int(fd) > 2])"
    done = run(["data=dataset/patients"], *python(code))
    assert "fuse" not in done.out
    assert "socket" not in done.out


# kills


def test_a_killed_command_leaves_nothing(project):
    with hermetic.connect() as h:
        plan = mount.plan(h.session, ["data=dataset/patients"])
        code, handle = h.run_command(
            "t", python("import os; os.kill(os.getpid(), 9)"), purpose="train", around=plan.around(print, print)
        )
        assert code == 137
        assert handle.ended.state == "failed"
        assert not h.connection.leases._held
    assert not mounts_of_the_machine()
    assert not (project / "data").exists()


def test_a_killed_parent_lets_nobody_hang(project):
    code = WAIT + "fd = os.open('data/patients.csv', os.O_RDONLY)"
    process, command = waiting(code)
    watched = os.pidfd_open(command)
    try:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        process.stdin.write("\n")
        process.stdin.close()
        process.stdin = None
        assert "not connected" in process.stderr.read()  # and not silence: the command met an error and ended
        ended = select.poll()
        ended.register(watched, select.POLLIN)
        assert ended.poll(60_000), "the command hangs"
    finally:
        stop(process)
        os.close(watched)
    assert not mounts_of_the_machine()
    assert list((project / "data").iterdir()) == []  # the place it was mounted on, until the next run
    assert run(["other=dataset/patients"], "true").code == 0
    assert not (project / "data").exists()


def test_two_runs_share_a_place_that_they_made(project):
    first, _ = waiting(WAIT + "print(len(open('data/patients.csv').read()), flush=True)")
    try:
        assert run(["data=dataset/folder"], "cat", "data/one.txt").out == "one"
        assert (project / "data").is_dir()
        out, err = first.communicate("\n", timeout=60)
        assert out.strip() == str(len(TABLE)), err
    finally:
        stop(first)
    assert not (project / "data").exists()


def test_a_process_left_behind_reads_nothing_more(project):
    code = """
import os, sys
fd = os.open("data/patients.csv", os.O_RDONLY)
os.read(fd, 100)
if os.fork() == 0:
    sys.stdin.readline()
    try:
        print(os.pread(fd, 4, 0), flush=True)
    except OSError as error:
        print("refused", flush=True)
    os._exit(0)
"""
    process = start("run", "test", "--purpose", "train", "--mount", "data=dataset/patients", "--", *python(code), stdin=-1)
    try:
        assert process.wait(60) == 0
        out, _ = process.communicate("\n", timeout=60)
        assert out.strip() == "refused"
    finally:
        stop(process)


# revocation and damage


@pytest.fixture
def quick(project):
    """Leases of class internal are confirmed every second."""
    policy = project / "hermetic.yaml"
    policy.write_text(policy.read_text().replace("{check: 30s, offline: 8h}", "{check: 1s, offline: 1m}"))
    done = call("policy", "apply")
    assert done.code == 0, done.err
    return project


def revoke():
    kek = json.loads(call("key", "ls", "--json").out)["keys"][0]["kek"]
    assert call("key", "revoke", kek, "--reason", "test").code == 0


def test_revocation_reaches_open_files(quick):
    process, _ = waiting(WAIT + UNTIL_REFUSED)
    try:
        revoke()
        out, err = process.communicate("\n", timeout=60)
        assert out.strip() == "EACCES", (out, err)
        assert "hermetic: error: data: the lease has ended" in err
        assert process.returncode == 3  # the command took no notice
    finally:
        stop(process)


def test_revocation_reaches_maps(quick):
    code = WAIT + "import mmap, time\nwhole = mmap.mmap(fd, 0, prot=mmap.PROT_READ)\nwhile whole[:4] == b'name': time.sleep(0.02)\n"
    process, _ = waiting(code)
    try:
        revoke()
        _, err = process.communicate("\n", timeout=60)
        assert process.returncode == 128 + signal.SIGBUS, err
        assert "the lease has ended" in err
    finally:
        stop(process)


def damage(project, name, at):
    with hermetic.connect() as h:
        version = h.show(name).version
    path = project / "sealed" / version / "0.sealed"
    raw = bytearray(path.read_bytes())
    raw[at if at >= 0 else len(raw) + at] ^= 1
    path.write_bytes(raw)


@pytest.mark.parametrize("at", [1, 700, 1_500_000, -1])
def test_a_damaged_object_is_an_error_and_no_byte_of_it(project, at):
    damage(project, "dataset/large", at)
    done = run(["data=dataset/large"], *python("print(len(open('data/large.bin', 'rb').read()))"))
    assert (done.code, done.out) == (1, ""), done
    assert "Input/output error" in done.err
    assert "hermetic: error: data/large.bin:" in done.err
    assert "run test failed" in done.err


def test_a_command_that_takes_no_notice_fails_all_the_same(project):
    damage(project, "dataset/large", 1_500_000)
    done = call(
        "run", "test", "--purpose", "train", "--mount", "data=dataset/large", "--mount-new", "out=features/out", "--",
        "sh", "-c", "cat data/large.bin > out/x 2>/dev/null; true",
    )  # fmt: skip
    assert done.code == 4, done
    assert "nothing of it is published" in done.err
    with hermetic.connect() as h:
        assert not [row for row in h.list("features/**") if row.latest]


def test_a_missing_object(project):
    with hermetic.connect() as h:
        (project / "sealed" / h.show("dataset/large").version / "0.sealed").unlink()
    done = run(["data=dataset/large"], "cat", "data/large.bin")
    assert (done.code, done.out) == (1, "")
    assert "is missing from the store" in done.err
