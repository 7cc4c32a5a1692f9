"""The page `run-a-service`, with real processes: custody with one home, ana with another, and a port of this machine."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from hermetic.cli.main import root
from hermetic.errors import UsageError
from tests.docs.pages import ROOT, first_missing, steps

HERMETIC = Path(sys.executable).with_name("hermetic")
KEEPER, ANA = "keeper", "ana"
PAGE = ROOT / "docs" / "how-to" / "run-a-service.md"


class Machines:
    """Two folders that stand for two machines; files that people carry over are in both."""

    def __init__(self, root):
        self.root, self.url, self.serving = root, None, None
        for name in (KEEPER, ANA):
            for part in ("project", "home"):
                (root / name / part).mkdir(parents=True, mode=0o700)

    def environment(self, name):
        kept = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
        own = {"HOME": str(self.root / name / "home"), "HERMETIC_HOME": str(self.root / name / "home" / "h"), "NO_COLOR": "1"}
        apart = {"HERMETIC_URL": self.url} if name == ANA and self.url else {}
        return kept | own | apart | {"PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "120"}

    def run(self, name, *words, code=0):
        given = {"cwd": self.root / name / "project", "env": self.environment(name), "umask": 0o077}
        done = subprocess.run([HERMETIC, *words], capture_output=True, check=False, timeout=120, **given)
        assert done.returncode == code, (words, done.returncode, done.stderr.decode())
        self.carry(name)
        return done

    def carry(self, name):
        other = ANA if name == KEEPER else KEEPER
        for file in (self.root / name / "project").glob("ana.*"):
            shutil.copy(file, self.root / other / "project" / file.name)

    def start(self, words):
        with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as free:
            port = free.getsockname()[1]
        said = [word.replace("0.0.0.0:8443", f"127.0.0.1:{port}").replace("custody.clinic.example", "localhost") for word in words]
        said += ["--socket", str(self.root / KEEPER / "custody.sock")]
        given = {"cwd": self.root / KEEPER / "project", "env": self.environment(KEEPER), "umask": 0o077}
        self.serving = subprocess.Popen([HERMETIC, *said], stderr=subprocess.PIPE, text=True, **given)
        line = self.serving.stderr.readline()
        assert "custody.sock and https://127.0.0.1:" in line, line + self.serving.stderr.read()
        self.port = port

    def stop(self):
        self.serving.send_signal(signal.SIGTERM)
        rest = self.serving.stderr.read()
        self.serving.stderr.close()
        return self.serving.wait(60), rest


@pytest.fixture
def machines(tmp_path):
    made = Machines(tmp_path)
    made.run(KEEPER, "init", "--root", "local:insecure-file", "--project", "clinic")
    for part in ("hermetic.yaml", "policies"):
        source, target = tmp_path / KEEPER / "project" / part, tmp_path / ANA / "project" / part
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    yield made
    if made.serving is not None and made.serving.poll() is None:
        made.serving.kill()
        made.stop()


def test_the_page(machines):
    (machines.root / ANA / "project" / "cases.csv").write_bytes(b"case,age\n1,44\n")
    done = 0
    for step in steps(PAGE):
        words = shlex.split(step.command)
        keeper = words[:3] == ["sudo", "-u", "hermetic"]
        said = words[4:] if keeper else words[1:]
        if words[0] == "export":
            assert words[1] == "HERMETIC_URL=https://custody.clinic.example:8443"
            machines.url = f"https://localhost:{machines.port}"
            continue
        if said[0] == "serve":
            machines.start(said)
            continue
        ran = machines.run(KEEPER if keeper else ANA, *said, code=step.code)
        missing = first_missing(step.shown, (ran.stdout + ran.stderr).decode())
        assert missing is None, (step.command, missing, ran.stdout, ran.stderr)
        done += 1
    assert done == 8
    service, machines.url = machines.url, f"unix:{machines.root / KEEPER / 'custody.sock'}"
    assert b"not kept apart" in machines.run(ANA, "ls", code=3).stderr  # answered there as another level: this is custody's own user
    machines.url = service
    code, rest = machines.stop()
    assert code == 0, rest
    assert b"is `hermetic serve` running?" in machines.run(ANA, "ls", code=6).stderr


@pytest.mark.parametrize("words", [(), ("--listen", "nonsense"), ("--listen", "0.0.0.0:8443"), ("--listen", "x:99999")])
def test_where_to_listen(words):
    refused = CliRunner().invoke(root, ["serve", *words], standalone_mode=False)
    assert isinstance(refused.exception, UsageError)
    assert refused.exception.hint


def test_a_service_without_an_authority(machines):
    assert b"authority create" in machines.run(KEEPER, "serve", "--listen", "127.0.0.1:0", code=1).stderr
