"""From revocation to the last success over HTTPS under load: the last use of a key that a process holds, and the last new key.

    python benchmarks/service_revocation.py [--rounds 3] [--check 1] [--clients 2] [--sqlite] [--folder DIR]

Custody is `hermetic serve --listen` in a process of its own, in PostgreSQL (with `--sqlite` in a file). Clients are processes of their
own with the library over mutual TLS. Each does two things at once: it goes through a sealed file in random order, as a loader
does, with a key that it holds under a lease and confirms every `check`; and it asks for new keys, one after the other. Then what lets
one of them do so is taken back where custody runs: its certificate, its principal, its grant, or the KEK (suspended).

What is told is from the answer of that to the last read, and to the last key that came. Reads may go on for `check`, which is the
class's own setting; a key that comes later was decided on before. The other clients, who use another KEK, must not fail once.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hermetic
from hermetic.assets.session import fresh_id
from hermetic.crypto import x509
from hermetic.domain import identity_files
from hermetic.domain.connect import connect
from hermetic.domain.create import create_domain
from hermetic.domain.home import Home
from hermetic.errors import HermeticError
from hermetic.formats.messages.access import DisablePrincipal
from hermetic.formats.messages.identity import CreateAuthority, EnrolIdentity, IssueCertificate, RevokeCredential
from hermetic.formats.messages.keys import ChangeKeyState
from hermetic.formats.messages.policy import ApplyPolicy, GiveGrant, RevokeGrant
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import Purpose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.domain.connect import Connection

ROOT = Path(__file__).resolve().parents[1]
HERMETIC = Path(sys.executable).with_name("hermetic")
KINDS = {"certificate": "certificate revoked", "principal": "principal disabled", "grant": "grant revoked", "kek": "KEK suspended"}
SIZE = 1_000_000
LONGEST_S = 120.0  # to wait for what has to happen


@dataclass(frozen=True)
class Took:
    """Seconds from the answer of a revocation to the last read and the last key, how many there were, and what ended the reads."""

    read: float
    key: float
    reads: int
    keys: int
    why: str


def main() -> None:
    """Measure and print, or be a client."""
    options = _options()
    if options.client:
        _work(options.client)
        return
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="hermetic-bench-") as name, contextlib.ExitStack() as stack:
        bench = Bench(Path(name), options, stack)
        others = [bench.client(f"other-{number}", "open") for number in range(options.clients)]
        found: dict[str, list[Took]] = {kind: [] for kind in KINDS}
        for number in range(options.rounds):
            for kind, times in found.items():
                times.append(bench.revoked(kind, f"{kind}-{number}"))
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
        undisturbed = [client.stop() for client in others]
    _print(found, undisturbed, options)


def _print(found: dict[str, list[Took]], others: list[dict[str, Any]], options: argparse.Namespace) -> None:
    where = "a file (SQLite)" if options.sqlite else "PostgreSQL"
    print(f"seconds from the answer of a revocation to the last success over HTTPS, longest of {options.rounds}; custody in {where}")
    print(f"{'':22}{'reads':>9}{'last read':>11}{'keys':>7}{'last key':>10}{'check':>7}   reads end with")
    for kind, times in found.items():
        whys = ", ".join(sorted({one.why for one in times}))
        print(
            f"{KINDS[kind]:22}{sum(one.reads for one in times):9,}{max(one.read for one in times):11.3f}"
            f"{sum(one.keys for one in times):7,}{max(one.key for one in times):10.3f}{options.check:7}   {whys}"
        )
    print("0.000: none after the answer")
    reads, keys = sum(one["reads"] for one in others), sum(one["keys"] for one in others)
    failed = sorted({one["why"] for one in others} - {"stopped"} | {why for one in others for why in one["refused"]})
    print(f"clients under another KEK meanwhile: {reads:,} reads, {keys:,} keys, failed: {', '.join(failed) or 'none'}")
    late = any(max(one.read, one.key) > options.check + 1 for times in found.values() for one in times)
    if failed or late:
        raise SystemExit("a limit was not kept" if late else "somebody else was disturbed")


class Client:
    """A process that reads and asks for keys until it is told to stop."""

    def __init__(self, root: Path, url: str, ref: str) -> None:
        environment = os.environ | {"HERMETIC_HOME": str(root / "home"), "HERMETIC_URL": url}
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--client", ref],
            cwd=root / "project",
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.await_("working")

    def await_(self, word: str) -> None:
        """Wait for a line that it says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if line != word:
            raise SystemExit(f"a client said {line!r}, and not {word!r}")

    def stop(self) -> dict[str, Any]:
        """Tell it to stop, and return what it saw."""
        said, _ = self._process.communicate("", timeout=LONGEST_S)
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
        return found


class Bench:
    """A domain, its service, and people with certificates."""

    def __init__(self, root: Path, options: argparse.Namespace, stack: contextlib.ExitStack) -> None:
        self._root, self._options = root, options
        host = root / "custody"
        project = host / "project"
        project.mkdir(mode=0o700, parents=True)
        home = _home(host)
        create_domain(project, provider_uri="local:insecure-file", project_name="bench", home=home, database=_database(options, stack))
        text = (project / "hermetic.yaml").read_text()
        (project / "hermetic.yaml").write_text(_with_lease(text, f"lease: {{check: {options.check}s, offline: 15m}}"))
        self._admin: Connection = stack.enter_context(connect(project, home=home))
        self._admin.ask(ApplyPolicy(self._admin.project.bundle().to_bytes()))
        self._admin.ask(CreateAuthority("benchmark"))
        h = hermetic.Workspace(self._admin, purpose="ingest")
        for name, data_class in (("secret", "confidential"), ("open", "internal")):
            h.seal(os.urandom(SIZE), name=f"dataset/{name}", data_class=data_class, owner="bench", member="data")
        self._kek = h.show("dataset/secret").kek
        self._url = f"https://localhost:{stack.enter_context(_serving(host))}"

    def client(self, name: str, ref: str) -> Client:
        """Start somebody who may train, by a role."""
        self._enrol(name, "ml-engineer")
        return Client(self._root / name, self._url, ref)

    def _enrol(self, name: str, role: str) -> str:
        """Make somebody known, with a home and a clone; return the fingerprint of their certificate."""
        domain = self._admin.project.domain
        uri = f"spiffe://{domain}/person/{name}"
        self._admin.ask(EnrolIdentity(name, "person", (role,), "benchmark"))
        key, csr = x509.new_request(uri)
        issued = self._admin.ask(IssueCertificate(uri, csr, 86_400, "benchmark"))
        root = self._root / name
        shutil.copytree(self._root / "custody" / "project", root / "project")
        current = _home(root).domain_config(domain) / identity_files.FOLDER / identity_files.CURRENT
        for folder in (*reversed(current.parents), current):
            folder.mkdir(mode=0o700, exist_ok=True)
        for file, content in (
            (identity_files.CHAIN, x509.to_pem(issued.chain)),
            (identity_files.KEY, bytes(key.view())),
            (identity_files.AUTHORITIES, x509.to_pem(issued.authorities)),
        ):
            (current / file).touch(mode=0o600)
            (current / file).write_bytes(content)
        return hashlib.sha256(issued.chain[0]).hexdigest()

    def revoked(self, kind: str, name: str) -> Took:
        """Let somebody work, take it back, and say when the last success was."""
        fingerprint = self._enrol(name, "auditor" if kind == "grant" else "ml-engineer")
        take = self._taking(kind, name, fingerprint)
        client = Client(self._root / name, self._url, "secret")
        time.sleep(2 * self._options.check * random.random() + 0.2)
        take()
        moment = time.monotonic()
        client.await_("ended")
        time.sleep(1)  # in which it goes on asking for keys
        seen = client.stop()
        if kind == "kek":
            self._admin.ask(ChangeKeyState(self._kek, "resume", "benchmark"))
        last = (max(0.0, seen[f"last_{what}"] - moment) for what in ("read", "key"))
        return Took(*last, seen["reads"], seen["keys"], seen["why"])

    def _taking(self, kind: str, name: str, fingerprint: str) -> Callable[[], object]:
        ask = self._admin.ask
        if kind == "grant":
            until = time.time_ns() // 1_000_000 + 3_600_000
            given = ask(GiveGrant(name, "open", "dataset/*", (Purpose.TRAIN,), until, "benchmark")).id
            return lambda: ask(RevokeGrant(given, "benchmark"))
        return {
            "certificate": lambda: ask(RevokeCredential(fingerprint, "benchmark")),
            "principal": lambda: ask(DisablePrincipal(name, "benchmark")),
            "kek": lambda: ask(ChangeKeyState(self._kek, "suspend", "benchmark")),
        }[kind]


def _work(ref: str) -> None:
    """Be a client: say `working`, `ended` once reading has, and at the end of standard input what was seen."""
    seen = {"reads": 0, "last_read": 0.0, "why": "stopped", "keys": 0, "last_key": 0.0, "refused": []}
    over, begun = threading.Event(), threading.Barrier(3)
    with hermetic.connect(purpose="train") as h:
        threads = [threading.Thread(target=each, args=(h, f"dataset/{ref}", seen, (over, begun))) for each in (_read, _ask)]
        for thread in threads:
            thread.start()
        begun.wait(LONGEST_S)
        print("working", flush=True)
        sys.stdin.read()
        over.set()
        for thread in threads:
            thread.join()
        with contextlib.suppress(HermeticError):
            h.close()
    print(json.dumps(seen), flush=True)


def _read(h: hermetic.Workspace, ref: str, seen: dict[str, Any], when: tuple[threading.Event, threading.Barrier]) -> None:
    over, begun = when
    try:
        with h.open(ref) as file:
            while not over.is_set():
                file.seek(random.randrange(SIZE - 4096))
                assert len(file.read(4096)) == 4096
                seen["reads"], seen["last_read"] = seen["reads"] + 1, time.monotonic()
                if seen["reads"] == 1:
                    begun.wait(LONGEST_S)
                time.sleep(0.002)
    except HermeticError as error:
        seen["why"] = type(error).__name__
        print("ended", flush=True)


def _ask(h: hermetic.Workspace, ref: str, seen: dict[str, Any], when: tuple[threading.Event, threading.Barrier]) -> None:
    over, begun = when
    port, refused = h.connection.port, set()
    while not over.is_set():
        try:
            (one,) = port.ask(OpenVersions(fresh_id(), (ref,), Purpose.TRAIN)).released
            port.redeem(one.lease.key).wipe()
        except HermeticError as error:
            refused.add(type(error).__name__)
            time.sleep(0.02)
            continue
        seen["keys"], seen["last_key"] = seen["keys"] + 1, time.monotonic()
        if seen["keys"] == 1:
            begun.wait(LONGEST_S)
    seen["refused"] = sorted(refused)


def _home(root: Path) -> Home:
    return Home(root / "home" / "data", root / "home" / "config")


def _database(options: argparse.Namespace, stack: contextlib.ExitStack) -> str | None:
    if options.sqlite:
        return None
    sys.path.insert(0, str(ROOT))
    from tests.postgres import Server  # noqa: PLC0415 - a server of the tests' kind

    server = Server()
    stack.callback(server.remove)
    return str(server.database())


def _with_lease(text: str, lease: str) -> str:
    from revocation import _with_lease as replaced  # noqa: PLC0415 - its neighbour

    return replaced(text, lease)


@contextlib.contextmanager
def _serving(host: Path) -> Iterator[int]:
    """Run the service until the block ends; yield its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    words = [HERMETIC, "serve", "--listen", f"127.0.0.1:{port}", "--name", "localhost", "--rate", "100000"]
    said = host / "service.txt"
    environment = os.environ | {"HERMETIC_HOME": str(host / "home")}
    with (
        said.open("wb") as output,
        subprocess.Popen(words, cwd=host / "project", env=environment, stdout=output, stderr=output) as process,
    ):
        try:
            while b"stop with Ctrl-C" not in said.read_bytes():
                if process.poll() is not None:
                    raise SystemExit(f"the service ended: {said.read_text()[-500:]}")
                time.sleep(0.05)
            yield port
        finally:
            process.terminate()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", type=int, default=1, help="seconds between two confirmations of a lease")
    parser.add_argument("--clients", type=int, default=2, help="others that work meanwhile")
    parser.add_argument("--sqlite", action="store_true", help="custody in a file")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--client", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
