"""A real PostgreSQL server for tests: started by them in a folder of its own, on a Unix socket and a loopback port, stopped by its id.

server = start()                       initdb and postgres, as an unprivileged user where tests run as root; it refuses root
place = server.database()              a new empty database, or a copy of one: `server.database(template="name")`
server.sql(place, "SELECT 1")          what somebody with psql does, as the superuser
server.kill(); server.start()          kill -9 of the whole server, and crash recovery

There has to be one: the Makefile's `test` installs Debian's package `postgresql` where it is missing.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from hermetic.db.postgres.place import PostgresPlace

CONFIG = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{folder}'
max_connections = 60
shared_buffers = 24MB
fsync = on
full_page_writes = on
synchronous_commit = on
autovacuum = off
max_wal_size = 128MB
wal_init_zero = off
wal_recycle = off
log_destination = stderr
logging_collector = off
{more}
"""
ADMIN, USER = "admin", "custody"


def binaries() -> Path:
    """The folder of the newest server binaries; their absence is a failure, not a skip."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    if found:
        return found[-1].parent
    initdb = shutil.which("initdb")
    assert initdb, "there is no PostgreSQL server here: apt-get install postgresql (make test does)"
    return Path(initdb).resolve().parent


def unprivileged() -> dict[str, object]:
    """Whom the server runs as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise AssertionError("no unprivileged user to run PostgreSQL as")


class Server:
    """One cluster of its own."""

    def __init__(self, more: str = "") -> None:
        self._bin, self._as = binaries(), unprivileged()
        self.folder = Path(tempfile.mkdtemp(prefix="hermetic-pg-", dir="/tmp"))
        atexit.register(self.remove)
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])
        self.folder.chmod(0o755)
        self._run(
            "initdb",
            "-D",
            str(self.data),
            "-U",
            ADMIN,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        )
        self.port = _free_port()
        self._write("postgresql.conf", CONFIG.format(port=self.port, folder=self.folder, more=more))
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self.start()
        self.sql(None, f"CREATE ROLE {USER} LOGIN")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def _write(self, name: str, text: str) -> None:
        path = self.data / name
        path.write_text(text)
        if self._as:
            os.chown(path, self._as["user"], self._as["group"])

    def _run(self, name: str, *words: str) -> None:
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            [self._bin / name, *words], capture_output=True, text=True, env=environment, cwd="/", check=False, **self._as
        )
        assert done.returncode == 0, done.stderr

    def start(self) -> None:
        """Start it, and wait until it answers."""
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", str(self.data)],
                stdout=log,
                stderr=log,
                env=environment,
                cwd="/",
                start_new_session=True,
                **self._as,
            )
        for _ in range(600):
            assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            with contextlib.suppress(psycopg.OperationalError):
                self.sql(None, "SELECT 1")
                return
            time.sleep(0.05)  # it says nowhere else that it is ready
        raise AssertionError("the server does not answer: " + (self.folder / "log").read_text()[-2000:])

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT hangs up on everybody, and ends in order."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(60)
            self._process = None

    def kill(self) -> None:
        """Kill -9 the postmaster and every one of its processes, as a crash of the machine would."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._process.send_signal(signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)
        self._process.wait(60)
        self._process = None
        for child in children:  # shared memory is free once they are gone
            for _ in range(200):
                if not Path(f"/proc/{child}").exists():
                    break
                time.sleep(0.01)

    def remove(self) -> None:
        """Stop it and leave nothing."""
        self.stop(signal.SIGINT)
        shutil.rmtree(self.folder, ignore_errors=True)
        atexit.unregister(self.remove)

    def database(self, *, template: str | None = None) -> PostgresPlace:
        """A new database of its own user."""
        name = f"custody_{next(self._numbers)}"
        copied = f" TEMPLATE {template} STRATEGY file_copy" if template else ""
        self.sql(None, f"CREATE DATABASE {name} OWNER {USER}{copied}")
        return PostgresPlace(str(self.folder), self.port, name, USER)

    def tcp(self, place: PostgresPlace) -> PostgresPlace:
        """The same database over the loopback interface."""
        return PostgresPlace("127.0.0.1", self.port, place.name, USER)

    def drop(self, place: PostgresPlace) -> None:
        """Remove a database, whoever is connected."""
        self.sql(None, f"DROP DATABASE {place.name} WITH (FORCE)")

    def sql(self, place: PostgresPlace | None, *statements: str, parameters: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        """Run statements as the superuser, the last one with parameters; return its rows."""
        name = "postgres" if place is None else place.name
        with psycopg.connect(
            host=str(self.folder), port=self.port, dbname=name, user=ADMIN, autocommit=True, options="-c search_path=hermetic"
        ) as raw:
            for statement in statements[:-1]:
                raw.execute(statement)
            found = raw.execute(statements[-1], parameters or None)
            return found.fetchall() if found.description else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


_shared: list[Server] = []


def shared() -> Server:
    """The server of this test process, started at first use."""
    if not _shared:
        _shared.append(Server())
    return _shared[0]
