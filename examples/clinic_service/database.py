"""A PostgreSQL server of the demo's own: on a port of this machine, asked for passwords, gone with the demo.

with Postgres(folder) as server:
    place, passwords = server.database("custody")        postgresql://custody@127.0.0.1:PORT/hermetic, and the file for PGPASSFILE
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import psycopg
from psycopg import sql
from stage import NotAsItMustBe

ADMIN = "admin"
SECONDS = 60
CONFIG = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 30
shared_buffers = 24MB
"""


def binaries() -> Path:
    """Return the folder of the newest server here. Raises NotAsItMustBe: the demo does not go on without it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
    other = shutil.which("initdb")
    if not found and not other:
        raise NotAsItMustBe("there is a PostgreSQL server on this machine (apt-get install postgresql; make demo-service does)")
    return (found[-1] if found else Path(str(other)).resolve()).parent


def unprivileged() -> dict[str, Any]:
    """Whom the server runs as: PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    raise NotAsItMustBe("there is a user without privileges that PostgreSQL can run as")


def free_port() -> int:
    """Return a port of this machine that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600, exist_ok=False)
    path.write_text(text, encoding="utf-8")


class Postgres:
    """A server in `folder`, which everybody may enter and only the server's user may read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data, self.log = folder, folder / "data", folder / "log"
        self._bin, self._as = binaries(), unprivileged()
        self._password, self._port = secrets.token_urlsafe(24), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder.mkdir(mode=0o755)
        if self._as:
            os.chown(self.folder, self._as["user"], self._as["group"])
        self._make()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([self._bin / "postgres", "-D", self.data], stdout=log, stderr=log, **self._given())
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # hang up on everybody, and end in order
            self._process.wait(SECONDS)
            self._process = None

    def database(self, user: str) -> tuple[str, Path]:
        """Make a user and a database of theirs; return its URL, and a file with the password, for them alone."""
        password = secrets.token_urlsafe(24)
        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(user), sql.Literal(password)))
            connection.execute(
                sql.SQL("CREATE DATABASE hermetic OWNER {} ENCODING 'UTF8' TEMPLATE template0").format(sql.Identifier(user))
            )
        file = self.folder.parent / f"{user}.pgpass"
        private(file, f"127.0.0.1:{self._port}:hermetic:{user}:{password}\n")
        return f"postgresql://{user}@127.0.0.1:{self._port}/hermetic", file

    def asks_for_passwords(self) -> bool:
        """Tell whether nobody gets in without one."""
        try:
            psycopg.connect(host="127.0.0.1", port=self._port, dbname="postgres", user=ADMIN, passfile=os.devnull).close()
        except psycopg.OperationalError as error:
            return "password" in str(error)
        return False

    def _make(self) -> None:
        """Run initdb. The administrator's password goes through a file that only the server's user can read, and is gone then."""
        words = [
            "-D",
            self.data,
            "-U",
            ADMIN,
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
            "--no-instructions",
        ]
        passwords = self.folder / "password"
        private(passwords, self._password)
        if self._as:
            os.chown(passwords, self._as["user"], self._as["group"])
        made = [self._bin / "initdb", *words, f"--pwfile={passwords}"]
        done = subprocess.run(made, capture_output=True, check=False, **self._given())
        passwords.unlink()
        if done.returncode != 0:
            raise NotAsItMustBe(f"initdb makes a database cluster: {done.stderr.decode()[-500:]}")
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as config:
            config.write(CONFIG.format(port=self._port))

    def _given(self) -> dict[str, Any]:
        return {"env": {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"}, "cwd": "/", **self._as}

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host="127.0.0.1", port=self._port, dbname="postgres", user=ADMIN, password=self._password, autocommit=True
        )

    def _wait(self) -> None:
        assert self._process is not None
        until = time.monotonic() + SECONDS
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(psycopg.OperationalError):
                self._connect().close()
                return
            time.sleep(0.1)  # it says nowhere else that it is ready
        raise NotAsItMustBe(f"the PostgreSQL server starts: {self.log.read_text(errors='replace')[-500:]}")
