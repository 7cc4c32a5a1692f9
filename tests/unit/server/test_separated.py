"""Separated custody as its users have it: custody under one user of the machine, two people under others, real processes."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, first_missing, steps

HERMETIC = Path(sys.executable).with_name("hermetic")
KEEPER, ANA, BEN = "daemon", "games", "nobody"  # users that every Debian has
SHARING = 100  # the group "users", which every Debian has too

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="works as three users of the machine, which only root can")


def closed_folder():
    """The first folder on the way to the interpreter that other users may not enter, as when it lies in root's home."""
    way = [*reversed(Path(sys.base_prefix).parents), Path(sys.base_prefix)]
    return next((folder for folder in way if not folder.stat().st_mode & 0o001), None)


# In a mount namespace of its own, the closed folder is an empty one in which only the interpreter lies, where it was.
OPENED = """umask 022 && mount --bind "$1" "$2" && mount -t tmpfs -o mode=755 none "$3" && mkdir -p "$1" &&
mount --bind "$2" "$1" && shift 3 && umask 077 && exec "$@" """


class Users:
    """A place that several users reach, each with a home and a project of their own."""

    def __init__(self, root):
        self.root = root
        self.socket = root / "run" / "custody.sock"
        self.serving = None
        self.group = None  # of everybody but the keeper, beside their own
        for name in (KEEPER, ANA, BEN):
            for part in ("", "home", "project", "run"):
                folder = root / name / part
                folder.mkdir()
                folder.chmod(0o755 if part == "" else 0o700)
                os.chown(folder, *self.ids(name))
        for part in ("run", "interpreter"):
            (root / part).mkdir()
            (root / part).chmod(0o755)
        os.chown(root / "run", *self.ids(KEEPER))

    def as_user(self, name, *command):
        """The command line, run by root, that runs `command` as a user."""
        uid, gid = self.ids(name)
        groups = "--clear-groups" if self.group is None or name == KEEPER else f"--groups={self.group}"
        line = ["setpriv", f"--reuid={uid}", f"--regid={gid}", groups, "--", *map(str, command)]
        if (closed := closed_folder()) is None:
            return line
        inside = ["sh", "-c", OPENED, "sh", sys.base_prefix, str(self.root / "interpreter"), str(closed)]
        return ["unshare", "--mount", "--propagation", "private", *inside, *line]

    def popen(self, name, *command, environment=None, **more):
        """Start a process of a user in the user's project."""
        given = environment or self.environment(name)
        return subprocess.Popen(
            self.as_user(name, *command),
            cwd=self.root / name / "project",
            env=given,
            umask=0o077,
            text=True,
            stderr=subprocess.PIPE,
            **more,
        )

    @staticmethod
    def ids(name):
        found = pwd.getpwnam(name)
        return found.pw_uid, found.pw_gid

    def environment(self, name, *, apart=None):
        base = self.root / name
        found = {"HOME": str(base / "home"), "HERMETIC_HOME": str(base / "home" / "h"), "PATH": os.environ["PATH"], "NO_COLOR": "1"}
        found |= {"XDG_RUNTIME_DIR": str(base / "run"), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "120", "TMPDIR": str(base / "run")}
        apart = name != KEEPER if apart is None else apart
        return found | ({"HERMETIC_URL": f"unix:{self.socket}"} if apart else {})

    def run(self, name, *arguments, environment=None, code=0):
        """Run `hermetic` as a user; `code` are the exit codes that it may have."""
        done = subprocess.run(
            self.as_user(name, HERMETIC, *arguments),
            cwd=self.root / name / "project",
            env=environment or self.environment(name),
            umask=0o077,
            capture_output=True,
            check=False,
            timeout=120,
        )
        assert done.returncode in ({code} if isinstance(code, int) else code), (arguments, done.returncode, done.stderr.decode())
        return done

    def start(self):
        self.serving = self.popen(KEEPER, HERMETIC, "serve", "--socket", self.socket)
        said = self.serving.stderr.readline()
        assert "custody of" in said, said + self.serving.stderr.read()

    def stop(self, number=signal.SIGTERM):
        self.serving.send_signal(number)
        self.serving.stderr.read()
        self.serving.stderr.close()
        code, self.serving = self.serving.wait(60), None
        return code

    def share_project(self, name):
        """Give a user a project of the keeper's domain, as a clone from git would."""
        for part in ("hermetic.yaml", "policies"):
            source, target = self.root / KEEPER / "project" / part, self.root / name / "project" / part
            shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
        for path in [self.root / name / "project", *(self.root / name / "project").rglob("*")]:
            os.chown(path, *self.ids(name))

    def write(self, name, file, content):
        path = self.root / name / "project" / file
        path.write_bytes(content)
        os.chown(path, *self.ids(name))
        return path


@pytest.fixture
def users():
    with tempfile.TemporaryDirectory(prefix="hermetic-users-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        made = Users(root)
        made.run(KEEPER, "init", "--root", "local:insecure-file", "--project", "clinic")
        for name, role in ((ANA, "ml-engineer"), (BEN, "auditor")):
            made.run(KEEPER, "access", "roles", name, "--role", role, "--reason", "works here")
            made.share_project(name)
        made.start()
        try:
            yield made
        finally:
            if made.serving is not None:
                made.stop()


def test_people_work_and_custody_decides(users):
    """Who may seal and open does, through the same commands; who may not is refused, and both are on the record."""
    users.write(ANA, "cases.csv", b"case,age\n1,44\n")
    users.run(ANA, "seal", "cases.csv", "--as", "dataset/cases", "--class", "restricted")
    assert users.run(ANA, "cat", "dataset/cases", "--purpose", "train").stdout == b"case,age\n1,44\n"
    users.run(ANA, "cat", "dataset/cases", "--purpose", "debug", code=3)
    refused = users.run(BEN, "cat", "dataset/cases", "--purpose", "train", code=3)
    assert b"denied" in refused.stderr.lower() or b"not" in refused.stderr
    names = json.loads(users.run(BEN, "ls", "--json").stdout)
    assert "dataset/cases" in json.dumps(names)
    rows = json.loads(users.run(BEN, "log", "ls", "--json", "--limit", "100").stdout)
    text = json.dumps(rows)
    assert '"enforcement": "separated"' in text
    assert "release.denied" in text
    status = json.loads(users.run(BEN, "status", "--json", code=7).stdout)
    assert status["enforcement"] == "separated"


def test_the_page(users):
    """What `keep-custody-apart` says, with this machine's users in the place of its own; the fixture has done what needs root."""
    page, names = (
        ROOT / "docs" / "how-to" / "keep-custody-apart.md",
        {"ana": ANA, "ben": BEN, "/run/hermetic/custody.sock": str(users.socket)},
    )
    users.write(ANA, "cases.csv", b"case,age\n1,44\n")
    done = 0
    for step in steps(page):
        words = [names.get(word, word) for word in shlex.split(step.command)]
        keeper = words[:3] == ["sudo", "-u", "hermetic"]
        if words[:2] in (["sudo", "useradd"], ["sudo", "install"]) or (keeper and words[4] in {"init", "serve"}):
            continue
        if words[0] == "export":
            assert words[1] == "HERMETIC_URL=unix:/run/hermetic/custody.sock"
            continue
        who, said = (KEEPER, words[4:]) if keeper else (ANA, words[1:])
        ran = users.run(who, *said, code=step.code)
        missing = first_missing(step.shown, (ran.stdout + ran.stderr).decode())
        assert missing is None, (step.command, missing, ran.stdout, ran.stderr)
        done += 1
    assert done == 5


def test_an_unmodified_script_runs_against_it(users):
    users.write(ANA, "cases.csv", b"case,age\n1,44\n")
    users.run(ANA, "seal", "cases.csv", "--as", "dataset/cases", "--class", "confidential")
    script = "import fsspec,sys; sys.stdout.write(fsspec.open('hermetic://dataset/cases/cases.csv','rt').open().read())"
    done = users.run(ANA, "run", "train", "--purpose", "train", "--", sys.executable, "-c", script)
    assert b"1,44" in done.stdout


def test_a_second_user_opens_what_lies_in_a_shared_folder(users):
    """As "Share what is sealed" has it. Who is not of the group has a key and no object; nobody writes over what another sealed."""
    users.write(ANA, "before.csv", b"case,age\n0,43\n")
    users.run(ANA, "seal", "before.csv", "--as", "dataset/before", "--class", "confidential")
    shared = users.root / "sealed"
    shared.mkdir()
    os.chown(shared, 0, SHARING)
    shared.chmod(0o2770)
    users.group = SHARING
    settings = (users.root / KEEPER / "project" / "hermetic.yaml").read_text().replace("{kind: local, path: sealed}", "{kind: named}")
    assert "kind: named" in settings
    (domain,) = (path.name for path in (users.root / KEEPER / "home" / "h" / "config").iterdir())
    for name in (KEEPER, ANA, BEN):
        users.write(name, "hermetic.yaml", settings.encode())
        config = users.root / name / "home" / "h" / "config" / domain / "config.yaml"
        config.parent.mkdir(exist_ok=True, mode=0o700, parents=True)
        with config.open("a") as file:
            file.write(f"stores: {{sealed: {{folder: {shared}}}}}\n")
        for path in [config, *config.parents]:
            if path.is_relative_to(users.root / name / "home"):
                os.chown(path, *users.ids(name))
        config.chmod(0o600)
    users.run(KEEPER, "policy", "apply")
    users.run(KEEPER, "access", "roles", BEN, "--role", "ml-engineer", "--reason", "works here")
    users.write(ANA, "cases.csv", b"case,age\n1,44\n")
    users.run(ANA, "seal", "cases.csv", "--as", "dataset/cases", "--class", "confidential")
    assert users.run(BEN, "cat", "dataset/cases", "--purpose", "train").stdout == b"case,age\n1,44\n"
    (sealed,) = (path for path in shared.rglob("*") if path.is_file() and path.suffix == ".sealed")
    page = ROOT / "docs" / "how-to" / "keep-custody-apart.md"
    (move,) = (line.strip() for line in page.read_text().splitlines() if line.startswith("    cp -r sealed/."))
    assert users.popen(ANA, "sh", "-c", move.replace("/srv/sealed", str(shared))).communicate()[1] == ""
    assert users.run(BEN, "cat", "dataset/before", "--purpose", "train").stdout == b"case,age\n0,43\n"
    over = users.popen(BEN, sys.executable, "-c", "import sys; open(sys.argv[1], 'r+b')", sealed)
    assert "PermissionError" in over.communicate()[1]
    users.group = None
    missing = users.run(BEN, "cat", "dataset/cases", "--purpose", "train", code=range(1, 8))
    assert b"Traceback" not in missing.stderr


def test_what_custody_keeps_is_out_of_reach(users):
    """Another user can read neither root nor database, by no file and not through /proc."""
    look = (
        "import os,sys\n"
        "found=[]\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n"
        "        os.listdir(path) if os.path.isdir(path) else open(path,'rb').read(1)\n"
        "        found.append(path)\n"
        "    except OSError: pass\n"
        "print(found)"
    )
    home, process = users.root / KEEPER / "home", Path("/proc") / str(users.serving.pid)
    places = [home, *home.rglob("*"), *(process / name for name in ("mem", "environ", "fd", "maps"))]
    done = users.popen(ANA, sys.executable, "-c", look, *places, stdout=subprocess.PIPE)
    assert done.communicate()[0].strip() == "[]"
    assert len(places) > 8
    own = {**users.environment(ANA, apart=False), "HERMETIC_HOME": str(users.root / ANA / "home" / "other")}
    assert b"no custody of domain" in users.run(ANA, "ls", environment=own, code=1).stderr


def test_the_owner_only_sets_others_up(users):
    """In separated custody who initialised it neither opens data nor, yet, administers keys through the socket."""
    users.write(ANA, "a.csv", b"a\n")
    users.run(ANA, "seal", "a.csv", "--as", "dataset/a", "--class", "internal")
    for arguments in (("cat", "dataset/a", "--purpose", "train"), ("key", "root", "add", "local:keyring")):
        users.run(KEEPER, *arguments, environment=users.environment(KEEPER, apart=True), code={1, 3, 5})


def test_commands_about_custodys_own_files_say_where_to_run_them(users):
    for arguments in (("unlock",), ("lock",), ("migrate",), ("restore", "--from", "x"), ("key", "recover", "--from", "x"), ("ls",)):
        who = KEEPER if arguments == ("ls",) else ANA  # custody's own user works without the socket
        refused = users.run(who, *arguments, environment=users.environment(who, apart=True), code={1, 3})
        assert b"HERMETIC_URL" in refused.stderr
        assert b"Traceback" not in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_custody_restarts_under_work(users, number):
    """A holder of a lease works through a restart; who asks meanwhile is told, and who was never answered has lost nothing."""
    users.write(ANA, "a.csv", b"a,b\n" * 1000)
    users.run(ANA, "seal", "a.csv", "--as", "dataset/a", "--class", "internal")
    code = users.stop(number)
    assert code == (0 if number is signal.SIGTERM else -signal.SIGKILL)
    away = users.run(ANA, "cat", "dataset/a", "--purpose", "train", code=6)
    assert b"is `hermetic serve` running?" in away.stderr
    users.start()
    assert users.run(ANA, "cat", "dataset/a", "--purpose", "train").stdout == b"a,b\n" * 1000
    found = json.loads(users.run(KEEPER, "log", "verify", "--json", code=7).stdout)["findings"]
    assert {item["code"] for item in found} == {"log-never-anchored"}, found


def test_revoking_roles_reaches_a_holder(users):
    """A process that reads in a loop stops after its roles were taken, at its next check."""
    users.write(ANA, "a.csv", b"x" * 3_000_000)
    users.run(ANA, "seal", "a.csv", "--as", "dataset/a", "--class", "restricted")
    script = (
        "import hermetic,time,sys\n"
        "h=hermetic.connect()\n"
        "with h.open('dataset/a', purpose='train') as f:\n"
        "    print('reading', flush=True)\n"
        "    while True:\n"
        "        f.seek(0); f.read(1); time.sleep(0.05)\n"
    )
    reader = users.popen(ANA, sys.executable, "-c", script, stdout=subprocess.PIPE)
    with contextlib.closing(reader.stdout), contextlib.closing(reader.stderr):
        assert reader.stdout.readline() == "reading\n"
        users.run(KEEPER, "access", "roles", ANA, "--none", "--reason", "left")
        began = time.monotonic()
        said = reader.stderr.read()
        reader.wait(120)
    assert "LeaseEnded" in said or "Denied" in said or "NotAuthenticated" in said, said
    assert time.monotonic() - began < 120
