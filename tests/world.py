"""A real domain for tests: custody home, project and database on disk, a root in a plain file, and a clock that tests move.

world = World.make(folder)              a domain, from a template that is made once a process
world.port()                            the embedded port on it; `clock` and `uid` can be given
world.connect()                         a Connection, as users get one
seal(port, "dataset/a", ...)            a published version whose one object exists in the catalogue only
"""

from __future__ import annotations

import atexit
import hashlib
import secrets
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hermetic.access import identity
from hermetic.crypto.secret import Secret
from hermetic.domain import opening
from hermetic.domain.connect import Connection, connect
from hermetic.domain.create import create_domain
from hermetic.domain.home import Home
from hermetic.domain.local import LocalPort
from hermetic.formats.messages import policy, versions
from hermetic.ids import DataClass, DomainId, Purpose, id_from_bytes
from hermetic.policy import bundle

PASSPHRASE = b"correct horse battery staple"
START = 1_800_000_000_000  # when the clocks of tests begin, Unix milliseconds
HOUR = 3_600_000
DAY = 24 * HOUR
YEAR = 365 * DAY


def fresh():
    return id_from_bytes(secrets.token_bytes(16))


@dataclass
class Clock:
    """A wall clock that tests set."""

    now: int = START

    def __call__(self):
        return self.now


_TEMPLATES: dict[str, Path] = {}


def _template(kind):
    """A new domain, copied by every world: with `backup` it has a backup place and a recovery passphrase."""
    if kind not in _TEMPLATES:
        base = Path(tempfile.mkdtemp(prefix="hermetic-world-"))
        atexit.register(shutil.rmtree, base, ignore_errors=True)
        (base / "project").mkdir(mode=0o700)
        create_domain(
            base / "project",
            provider_uri="local:insecure-file",
            project_name="cardio",
            home=Home(base / "home" / "data", base / "home" / "config"),
            backup=base / "backup" if kind == "backup" else None,
            recovery_passphrase=Secret(PASSPHRASE) if kind == "backup" else None,
        )
        _TEMPLATES[kind] = base
    return _TEMPLATES[kind]


@dataclass
class World:
    """One domain of one test."""

    root: Path
    clock: Clock = field(default_factory=Clock)
    ports: list = field(default_factory=list)

    @classmethod
    def make(cls, root, *, backup=False):
        template = _template("backup" if backup else "plain")
        shutil.copytree(template, root, dirs_exist_ok=True, symlinks=True)
        for config in root.glob("home/config/*/config.yaml"):
            config.write_text(config.read_text().replace(str(template), str(root)))
        return cls(root)

    @property
    def project(self):
        return self.root / "project"

    @property
    def home(self):
        return Home(self.root / "home" / "data", self.root / "home" / "config")

    @property
    def backup(self):
        return self.root / "backup"

    @property
    def domain(self):
        (folder,) = (self.root / "home" / "config").iterdir()
        return DomainId(folder.name)

    @property
    def data(self):
        """The custody home of the domain."""
        return self.home.domain_data(self.domain)

    @property
    def database(self):
        return self.data / "custody.db"

    def custodian(self, clock=None):
        return opening.open_custodian(self.data, self.domain, None, dict, clock=clock or self.clock)

    def port(self, *, clock=None, uid=None, **parts):
        """The embedded port; `uid` makes it the port of another user of the machine."""
        port = LocalPort(self.custodian(clock), **parts)
        if uid is not None:
            port._caller = identity.local_id(self.domain, uid)
        self.ports.append(port)
        return port

    def connect(self, **given) -> Connection:
        connection = connect(self.project, home=given.pop("home", self.home), **given)
        self.ports.append(connection)
        return connection

    def close(self):
        for port in self.ports:
            port.close()


def record(index=0, *, member="data", content=b"content", length=1000):
    """What a writer reports about an object; the bytes are nowhere."""
    return versions.ObjectRecord(
        index=index,
        object=fresh(),
        root=secrets.token_bytes(32),
        algorithm="blake3",
        length=length,
        member=member,
        plaintext_length=len(content),
        digest=hashlib.sha256(content).digest(),
    )


def begin(port, name="dataset/patients", data_class=DataClass.RESTRICTED, **more):
    return port.ask(versions.BeginVersion(fresh(), name, data_class, **more))


def seal(port, name="dataset/patients", data_class=DataClass.RESTRICTED, *, objects=None, content=b"content", **more):
    """Begin and publish; returns (Draft, Published)."""
    draft = begin(port, name, data_class, **more)
    return draft, port.ask(versions.PublishVersion(draft.version, objects or (record(content=content),)))


def open_(port, *refs, purpose=Purpose.PREPARE, **more):
    return port.ask(versions.OpenVersions(fresh(), refs or ("dataset/patients",), purpose, **more))


def key_of(port, lease):
    """The key of a lease, as bytes."""
    return bytes(port.redeem(lease.key).view())


def ended(port, lease):
    """Why a lease no longer holds, None while it does."""
    return port.ask(versions.CheckLeases((lease.id,))).states[0].ended


def enrol(port, name="nobody", roles=("ml-engineer",)):
    """Enrol a user of this machine."""
    return port.ask(policy.SetRoles(name, tuple(roles), "test"))


def change_policy(world, port, change):
    """Apply the policy in force with its hermetic.yaml changed by a function from text to text."""
    files = dict(bundle.PolicyBundle.from_bytes(port.ask(policy.ShowPolicy()).bundle).files)
    files["hermetic.yaml"] = change(files["hermetic.yaml"].decode()).encode()
    return port.ask(policy.ApplyPolicy(bundle.PolicyBundle(files=files).to_bytes()))


def change_cedar(port, name, text):
    """Apply the policy in force with one Cedar file replaced, or taken out (None)."""
    files = dict(bundle.PolicyBundle.from_bytes(port.ask(policy.ShowPolicy()).bundle).files)
    files.pop(f"policies/{name}", None)
    if text is not None:
        files[f"policies/{name}"] = text.encode()
    return port.ask(policy.ApplyPolicy(bundle.PolicyBundle(files=files).to_bytes()))


def leaves(port):
    """Every entry of the log as (kind, facts, what could be opened)."""
    import json

    from hermetic.formats.messages.log import ReadLog

    rows = port.ask(ReadLog(limit=2000)).rows
    return [(row.kind, json.loads(row.leaf)["facts"], {pair.name: pair.value for pair in row.opened}) for row in rows]


def kinds(port):
    return [kind for kind, _, _ in leaves(port)]


def wait_less(*custodians):
    """Let these wait for a moment only where somebody reads beside them: for tests in which nobody will make way."""
    for custodian in custodians:
        custodian.database._timeout_s = 0.2
        custodian.database.close()  # connections made from here on


# what an attacker with the database file does


def sql(world, statement, *values):
    """Run one statement on the database file, around Hermetic; returns rows."""
    import sqlite3

    database = sqlite3.connect(world.database, timeout=10)
    try:
        with database:
            return database.execute(statement, values).fetchall()
    finally:
        database.close()


def row_of(world, table, key, column="id"):
    """The stored row, bytes as they lie there."""
    return sql(world, f"SELECT * FROM {table} WHERE {column} = ?", key)[0]


def put_back(world, table, key, row, column="id"):
    """Replace a stored row by what it was at another time."""
    sql(world, f"DELETE FROM {table} WHERE {column} = ?", key)
    sql(world, f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", *row)
