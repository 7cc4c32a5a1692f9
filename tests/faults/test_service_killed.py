"""Services, their database and the network between are killed and cut under load: no release without record, one log, nothing lost.

Two services, as on two hosts, keep custody in one PostgreSQL. A client with a certificate reaches them through a proxy that passes TLS
on; it seals, opens and renews leases in three threads, and is never started again. A few events in `make test`; `make soak` sets
HERMETIC_SERVICE_EVENTS=100. HERMETIC_SERVICE_TABLE names a file for the count of each kind.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import hermetic
from hermetic.crypto import x509
from hermetic.domain import identity_files
from hermetic.domain.connect import connect
from hermetic.domain.create import create_domain
from hermetic.domain.home import Home
from hermetic.formats.binary_text import from_base64url
from hermetic.formats.messages.identity import CreateAuthority, EnrolIdentity, IssueCertificate
from hermetic.formats.messages.log import ExportLog, VerifyLog
from hermetic.ids import Purpose
from tests import postgres
from tests.faults.cut_proxy import Proxy

EVENTS = int(os.environ.get("HERMETIC_SERVICE_EVENTS", "5"))
TABLE = os.environ.get("HERMETIC_SERVICE_TABLE", "")
SERVICES = 2
PATIENCE_S = 120  # within which a client works again, once everything is back: seconds, where a processor is free
ROOT = Path(__file__).resolve().parents[2]
HERMETIC = Path(sys.executable).with_name("hermetic")


class Service:
    """A host's service, at a port that stays."""

    def __init__(self, root):
        self.root = root
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = None

    def start(self):
        """Start it and wait until callers can come; the database may be away meanwhile."""
        command = [HERMETIC, "serve", "--listen", f"127.0.0.1:{self.port}", "--name", "localhost", "--rate", "100000"]
        self.process = subprocess.Popen(
            command, cwd=self.root / "project", env=environment(self.root), stderr=subprocess.PIPE, text=True
        )
        first = self.process.stderr.readline()
        assert "custody of" in first, first + self.process.stderr.read()
        self.reader = threading.Thread(target=self.process.stderr.read)
        self.reader.start()

    def kill(self, how=signal.SIGKILL):
        self.process.send_signal(how)
        self.process.wait(60)
        self.reader.join(60)
        self.process.stderr.close()


def environment(root, **more):
    found = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    found |= {"HERMETIC_HOME": str(root / "home"), "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(ROOT)}
    return found | more


class Client:
    """The process that works, and what it said."""

    def __init__(self, root, port):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.service_client"],
            cwd=root / "project",
            env=environment(root, HERMETIC_URL=f"https://localhost:{port}"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.lines, self._more = [], threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self._more:
                self.lines.append(line.rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self.lines.append("ended")
            self._more.notify_all()

    def goes_on(self):
        """Wait until something was sealed, read and renewed since now."""
        with self._more:
            at = len(self.lines)
            assert self._more.wait_for(lambda: self._did(self.lines[at:]), PATIENCE_S), "\n".join(self.lines[-40:])
        self.check()

    @staticmethod
    def _did(lines):
        words = {line.partition(" ")[0] for line in lines}
        return words >= {"sealed", "read", "renewed"} or words & {"failed", "ended"}

    def check(self):
        assert not {"failed", "ended"} & set(self.lines), "\n".join(self.lines[-40:])

    def end(self):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self._reader.join(PATIENCE_S)
        self.process.stdout.close()
        return self.process.wait(60)

    def said(self, word):
        return [line.split(" ")[1:] for line in self.lines if line.startswith(word + " ")]


@pytest.fixture
def server():
    one = postgres.Server()
    yield one
    one.remove()


@pytest.fixture
def made(server, tmp_path):
    """Homes of two hosts on one database, and of a client with a certificate: (hosts, client)."""
    first, client = tmp_path / "0", tmp_path / "client"
    (first / "project").mkdir(mode=0o700, parents=True)
    home = home_of(first)
    create_domain(
        first / "project", provider_uri="local:insecure-file", project_name="cardio", home=home, database=str(server.database())
    )
    shutil.copytree(first / "project", client / "project")
    with connect(first / "project", home=home) as connection:
        connection.ask(CreateAuthority("test"))
        enrol(connection, client)
    for number in range(1, SERVICES):
        shutil.copytree(first, tmp_path / str(number), symlinks=True)
    return [tmp_path / str(number) for number in range(SERVICES)], client


def home_of(root):
    return Home(root / "home" / "data", root / "home" / "config")


def enrol(connection, root):
    """Give ana a certificate, where her commands look for it."""
    domain = connection.project.domain
    connection.ask(EnrolIdentity("ana", "person", ("ml-engineer",), "test"))
    uri = f"spiffe://{domain}/person/ana"
    key, csr = x509.new_request(uri)
    issued = connection.ask(IssueCertificate(uri, csr, 86_400, "test"))
    current = home_of(root).domain_config(domain) / identity_files.FOLDER / identity_files.CURRENT
    for folder in (*reversed(current.parents), current):
        folder.mkdir(mode=0o700, exist_ok=True)
    for name, content in (
        (identity_files.CHAIN, x509.to_pem(issued.chain)),
        (identity_files.KEY, bytes(key.view())),
        (identity_files.AUTHORITIES, x509.to_pem(issued.authorities)),
    ):
        (current / name).touch(mode=0o600)
        (current / name).write_bytes(content)


# what happens


def kill_service(chance, services, **_):
    victim = chance.choice(services)
    victim.kill()
    victim.start()


def kill_database(server, **_):
    server.kill()
    server.start()


def kill_all(server, services, **_):
    """The power of both hosts and of the server's machine goes."""
    server.kill()
    for service in services:
        service.kill()
    server.start()
    for service in services:
        service.start()


def cut(proxy, **_):
    proxy.cut()


def break_an_answer(chance, proxy, **_):
    proxy.drop_after(chance.randrange(1, 6000))


def stall(chance, proxy, **_):
    proxy.stall()
    time.sleep(chance.random() * 0.3)  # nothing tells how long a network is silent
    if chance.random() < 0.5:
        proxy.cut()
    proxy.resume()


WHAT = (kill_service, kill_database, break_an_answer, cut, stall, kill_service, kill_database, break_an_answer, kill_all)


def test_no_release_without_its_record(server, made, record_property):
    hosts, home = made
    chance, counted = random.Random(5), collections.Counter()
    services = [Service(root) for root in hosts]
    with contextlib.ExitStack() as undo:
        for service in services:
            service.start()
            undo.callback(service.kill)
        proxy = Proxy([service.port for service in services])
        undo.callback(proxy.close)
        client = Client(home, proxy.port)
        undo.callback(client.end)
        client.goes_on()
        for number in range(EVENTS):
            time.sleep(chance.random() * 0.1)  # at any moment
            event = WHAT[number] if number < 5 else chance.choice(WHAT)
            event(chance=chance, server=server, services=services, proxy=proxy)
            counted[event.__name__] += 1
            client.goes_on()
        assert client.end() == 0
    assert "failed" not in client.lines
    with connect(home / "project", home=home_of(hosts[0])) as connection:  # the objects lie with the client
        facts = check_log(connection, client)
        check_versions(connection, client)
    tell(counted, client, facts, record_property)


def check_log(connection, client):
    """One log, which verifies, in which every key that came is an intent for its request and recipient, with its outcome."""
    report = connection.ask(VerifyLog())
    assert [item.name for item in report.findings if item.value.startswith("high")] == []
    leaves, start = [], 0
    while start is not None:
        chunk = connection.ask(ExportLog(1, start))
        leaves += [json.loads(leaf) for leaf in chunk.leaves]
        start = chunk.next
    assert report.generations == 1
    outcomes = (leaf["facts"] for leaf in leaves if leaf["kind"] == "release.outcome")
    ended = {int(facts["intent"]) for facts in outcomes if int(facts["handed"]) == 1}
    keys = client.said("key")
    assert len(keys) > EVENTS
    assert len({index for index, _, _ in keys}) == len(keys)
    for index, request, recipient in keys:
        leaf = leaves[int(index)]
        assert leaf["kind"] == "release.intent"
        assert (leaf["facts"]["request"], from_base64url(leaf["facts"]["recipient"]).hex()) == (request, recipient)
        assert int(index) in ended
    return len(leaves)


def check_versions(connection, client):
    """What was told to be published is there once, with its bytes; what was not known is there at most once; nothing else is."""
    h = hermetic.Workspace(connection)
    told = dict(client.said("sealed"))
    assert len(told) == len(client.said("sealed"))
    maybe = collections.Counter(content for _, content in client.said("unsure"))
    assert set(maybe.values()) <= {1}
    found = {}
    for row in h.list():
        for number in range(1, row.latest + 1):
            ref = f"{row.name}@{number}"
            with h.open(ref, purpose=Purpose.TRAIN) as file:
                found[ref] = file.read().decode()
    assert len(set(found.values())) == len(found), "something was sealed twice"
    assert found.items() >= told.items()
    assert set(found.values()) - set(told.values()) <= set(maybe)


def tell(counted, client, leaves, record_property):
    facts = dict(counted) | {
        "events": sum(counted.values()),
        "keys": len(client.said("key")),
        "sealed": len(client.said("sealed")),
        "unsure": len(client.said("unsure")),
        "refusals": len(client.said("away")),
        "leaves": leaves,
    }
    for name, value in facts.items():
        record_property(name, value)
    if TABLE:
        Path(TABLE).write_text("".join(f"{name:20} {value:6}\n" for name, value in facts.items()), encoding="utf-8")
