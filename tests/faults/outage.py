"""What outages of a database server are tried on: a domain in PostgreSQL, its service over HTTPS in this process, a client.

with outage(root, server, "postgresql://…") as made:
    made.open()                  a release over HTTPS; what it was answered is remembered
    made.check()                 one log, which verifies, and has every key that came
with stalled(server): ...        every process of the server stands still
Standby(primary)                 follows a server, until `promote`
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from hermetic.domain.create import create_domain
from hermetic.domain.home import Home
from hermetic.domain.leases import LeasedKey
from hermetic.domain.service import ServiceCustody
from hermetic.formats.messages.identity import CreateAuthority
from hermetic.formats.messages.log import ExportLog, VerifyLog
from hermetic.ids import DataClass, Purpose
from tests import postgres
from tests import world as w
from tests.unit.server import https_world

NAME = "dataset/a"


class Outage:
    """The service, and ana, who trains."""

    def __init__(self, service, connection):
        self.service, self.connection, self.plain = service, connection, service.plain
        self.custodian = self.plain.custodian
        self.port = service.port("ana")
        self.keys = []

    def open(self):
        """Ask for a key; return its lease."""
        answer = w.open_(self.port, NAME, purpose=Purpose.TRAIN)
        self.keys.append(answer.receipt.index)
        return answer.released[0].lease

    def lease(self):
        """A key that ana holds, and the clock that she counts by."""
        clock = w.Clock(0)
        return LeasedKey(self.port, self.open(), clock=clock), clock

    def seal(self):
        w.seal(self.plain, NAME, DataClass.CONFIDENTIAL)

    def check(self):
        report = self.plain.ask(VerifyLog())
        assert [item.name for item in report.findings if item.value.startswith("high")] == []
        assert report.generations == 1
        leaves, start = [], 0
        while start is not None:
            chunk = self.plain.ask(ExportLog(1, start))
            leaves += [json.loads(leaf) for leaf in chunk.leaves]
            start = chunk.next
        assert len(set(self.keys)) == len(self.keys)
        assert {leaves[index]["kind"] for index in self.keys} == {"release.intent"}
        outcomes = (leaf["facts"] for leaf in leaves if leaf["kind"] == "release.outcome")
        assert {int(facts["intent"]) for facts in outcomes if int(facts["handed"]) == 1} >= set(self.keys)


@contextlib.contextmanager
def outage(root, url):
    (root / "project").mkdir(mode=0o700, parents=True)
    home = Home(root / "home" / "data", root / "home" / "config")
    create_domain(root / "project", provider_uri="local:insecure-file", project_name="cardio", home=home, database=url)
    world = w.World(root)
    connection = world.connect()
    service = https_world.Service(world, connection.port, ServiceCustody(connection.port))
    with contextlib.closing(service):
        connection.ask(CreateAuthority("test"))
        service.enrol("ana")
        with service.running():
            made = Outage(service, connection)
            made.seal()
            yield made


def processes(server):
    """Ids of a server's processes, the first one first."""
    first = server._process.pid
    return [first, *map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())]


@contextlib.contextmanager
def stalled(server):
    stopped = []
    try:
        for process in processes(server):
            os.kill(process, signal.SIGSTOP)
            stopped.append(process)
        yield
    finally:
        for process in stopped:
            os.kill(process, signal.SIGCONT)


def can_mount():
    if os.geteuid() != 0:
        return False
    return subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def small_disk(server, name, size):
    """A table space of a server on a file system of `size` bytes; its folder."""
    folder = server.folder / name
    folder.mkdir()
    user, group = server._as["user"], server._as["group"]
    options = f"size={size},mode=0700,uid={user},gid={group}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        server.sql(None, f"CREATE TABLESPACE {name} LOCATION '{folder}'")
        yield folder
    finally:
        server.stop()
        subprocess.run(["umount", "--lazy", folder], check=True)


@contextlib.contextmanager
def small_log(server, size):
    """Move a server's write-ahead log onto a file system of `size` bytes; its folder."""
    folder, log = server.folder / "log-disk", server.data / "pg_wal"
    folder.mkdir()
    server.stop()
    user, group = server._as["user"], server._as["group"]
    options = f"size={size},mode=0700,uid={user},gid={group}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
    try:
        subprocess.run(["cp", "-a", f"{log}/.", folder], check=True)
        shutil.rmtree(log)
        log.symlink_to(folder)
        server.start()
        yield folder
    finally:
        server.stop()
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder):
    """Use up the space, and what has become free since; return the file to delete for more."""
    ballast = folder / "ballast"
    with ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    return ballast


class Standby(postgres.Server):
    """A hot standby of a running server. `rebuild` begins anew from another primary, at the same port."""

    def __init__(self, primary):
        self._bin, self._as = postgres.binaries(), postgres.unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="hermetic-pg-", dir="/tmp"))
        self.folder.chmod(0o755)
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])
        self.port, self._process = postgres._free_port(), None
        postgres.atexit.register(self.remove)
        self.rebuild(primary)

    def rebuild(self, primary):
        self.stop()
        shutil.rmtree(self.data, ignore_errors=True)
        self._run(
            *("pg_basebackup", "-D", str(self.data), "-h", str(primary.folder), "-p", str(primary.port), "-U", postgres.ADMIN),
            *("-R", "-c", "fast", "--no-sync"),
        )
        self._write("postgresql.conf", postgres.CONFIG.format(port=self.port, folder=self.folder, more="hot_standby = on"))
        self.start()

    def promote(self):
        assert self.sql(None, "SELECT pg_promote(true, 60)") == [(True,)]
