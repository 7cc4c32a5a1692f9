"""From revocation to the last possible use of a key that a process already holds, measured across processes.

    python benchmarks/revocation.py [--rounds 5] [--check 1] [--offline 4] [--loader] [--scorer] [--access] [--folder DIR]

A reader opens a sealed file and reads on and on; with `--loader` a DataLoader of torch with two workers runs over the same file,
epoch after epoch; with `--scorer` a process answers requests with sealed weights (`hold_tensors`). Then the key is revoked, and the
last good read, batch or score is compared with the moment at which `revoke` was answered. With custody within reach that takes at
most `check` seconds, which is the class's own setting; with custody out of reach (its home renamed), at most `offline`. Batches
that lie finished in the loader's queue when the lease ends are the loop's, and count. A second reader, under another key, must not
fail once.

With `--access` principals and grants are taken back instead, under load: one person asks for a key on and on in several threads, and
goes on confirming the lease of another, while others do the same undisturbed; then the person is disabled, or the grant revoked. What
is told is from the answer of that to the last key handed out, and to the last confirmation of the lease.

The baseline is a plain file: nobody can take back what a process has open, so its reads never end.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pwd
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from ruamel.yaml import YAML

import hermetic
from hermetic.crypto.hpke import PrivateKey
from hermetic.domain.create import create_domain
from hermetic.errors import HermeticError
from hermetic.formats.messages.access import DisablePrincipal
from hermetic.formats.messages.keys import ChangeKeyState, RotateKey
from hermetic.formats.messages.policy import ApplyPolicy, GiveGrant, RevokeGrant, SetRoles
from hermetic.formats.messages.versions import CheckLeases, OpenVersions
from hermetic.ids import Purpose, id_from_bytes
from hermetic.recovery.compromise import compromise

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hermetic.formats.messages.policy import PrincipalRow

LOOP = """
import sys, time, hermetic
from hermetic.errors import HermeticError
from pathlib import Path
{uses}

def going(ref):
{going}

if __name__ == "__main__":
    ref, stop, said = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    count, last, why = 0, 0.0, "stopped"
    try:
        for _ in going(ref):
            count, last = count + 1, time.monotonic()
            if count == 1:
                said.with_suffix(".ready").touch()
            if stop.exists():
                break
            time.sleep(0.002)
    except HermeticError as error:
        why = type(error).__name__
    said.write_text(f"{{count}} {{last}} {{why}}")
"""
READS = """
    with hermetic.connect(purpose="prepare") as h, h.open(f"dataset/{ref}") as file:
        while True:
            file.seek(time.monotonic_ns() % 900_000)
            assert len(file.read(4096)) == 4096
            yield
"""
BATCHES = """
    records = SealedRecords(f"dataset/{ref}", dtype="uint8", shape=(SIZE,), purpose="train")
    loader = SealedLoader(records, batch_size=4, shuffle=True, block_bytes=20 * SIZE, num_workers=2, persistent_workers=True)
    while True:
        for batch in loader:
            assert batch.shape[1] == SIZE
            yield
"""
SCORES = """
    with hermetic.connect(purpose="evaluate") as h, h.hold_tensors(f"model/{ref}", framework="numpy") as held:
        while True:
            with held.use() as weights:
                answer = float(weights["weight"].sum())
            assert answer == ANSWER
            yield
"""
SIZE, WEIGHTS = 1000, 250_000
CODE = {
    "reader": LOOP.format(uses="", going=READS),
    "loader": LOOP.format(uses=f"from hermetic.integrations.torch import SealedLoader, SealedRecords\nSIZE = {SIZE}", going=BATCHES),
    "scorer": LOOP.format(uses=f"ANSWER = {float(WEIGHTS)}", going=SCORES),
}
DONE = {"reader": "read", "loader": "batch", "scorer": "score"}


class Seen(NamedTuple):
    """What a process says: good reads, when the last one was (monotonic), and why it ended."""

    reads: int
    last: float
    why: str


class Process:
    """A process that reads until it may not, or is told to stop."""

    def __init__(self, folder: Path, ref: str, kind: str = "reader") -> None:
        self._stop, self._said = folder / "stop", folder / "said"
        folder.mkdir()
        script = folder / "loop.py"  # a file, since workers of a loader may have to import it
        script.write_text(CODE[kind])
        self._process = subprocess.Popen([sys.executable, str(script), ref, str(self._stop), str(self._said)])
        while not self._said.with_suffix(".ready").exists():
            if self._process.poll() is not None:
                raise SystemExit(f"a {kind} of {ref} ended before its first {DONE[kind]}")
            time.sleep(0.005)

    def wait(self) -> Seen:
        self._process.wait()  # its end may fail where custody is out of reach; what it said counts
        reads, last, why = self._said.read_text().split()
        return Seen(int(reads), float(last), why)

    def stop(self) -> Seen:
        self._stop.touch()
        return self.wait()


def main() -> None:
    """Measure and print."""
    options = _options()
    if options.access:
        _access(options)
        return
    kinds = ["reader", *(kind for kind in ("loader", "scorer") if getattr(options, kind))]
    found: dict[tuple[str, bool], list[tuple[float, str]]] = {(kind, reach): [] for kind in kinds for reach in (True, False)}
    others = []
    for number in range(options.rounds):
        with _fresh(options) as (root, h), h:
            other = Process(root / "other", "open")
            for kind, took in _reached(h, root, kinds).items():
                found[kind, True].append(took)
            _everything_else(h)
            others.append(other.stop())
        with _fresh(options) as (root, h):
            h.close()
            for kind, took in _away(root, kinds).items():
                found[kind, False].append(took)
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    _print(found, options)
    failed = [seen.why for seen in others if seen.why != "stopped"]
    reads = sum(seen.reads for seen in others)
    print(f"readers under another key, through rotation, suspension and playbook: {reads:,} reads, {len(failed)} failed")
    late = [
        took for (_, reach), times in found.items() for took, _ in times if took > (options.check if reach else options.offline) + 1
    ]
    if failed or late:
        raise SystemExit("a limit was not kept")


def _print(found: dict[tuple[str, bool], list[tuple[float, str]]], options: argparse.Namespace) -> None:
    print(f"from the answer of `revoke` to the last good read, batch or score of a process that held the key, {options.rounds} rounds")
    print(f"{'':34}{'median s':>10}{'longest s':>11}{'allowed s':>11}   ends with")
    for reach, allowed in ((True, options.check), (False, options.offline)):
        for kind, _ in (key for key in found if key[1] is reach):
            times = [took for took, _ in found[kind, reach]]
            label = f"{kind}, custody {'within' if reach else 'out of'} reach"
            whys = ", ".join(sorted({why for _, why in found[kind, reach]}))
            print(f"{label:34}{statistics.median(times):10.2f}{max(times):11.2f}{allowed:11.2f}   {whys}")


@contextmanager
def _fresh(options: argparse.Namespace) -> Iterator[tuple[Path, hermetic.Workspace]]:
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="hermetic-bench-") as name:
        yield Path(name), _domain(Path(name), options)


def _domain(root: Path, options: argparse.Namespace) -> hermetic.Workspace:
    os.environ["HERMETIC_HOME"] = str(root / "home")
    project = root / "project"
    project.mkdir(mode=0o700)
    create_domain(project, provider_uri="local:insecure-file", project_name="bench")
    text = (project / "hermetic.yaml").read_text()
    lease = f"lease: {{check: {options.check}s, offline: {options.offline}s}}"
    (project / "hermetic.yaml").write_text(_with_lease(text, lease))
    os.chdir(project)
    h = hermetic.connect(project, purpose="prepare")
    h.connection.ask(ApplyPolicy(h.connection.project.bundle().to_bytes()))
    h.seal(os.urandom(1_000_000), name="dataset/secret", data_class="restricted", owner="bench", member="data")
    h.seal_tensors({"weight": np.ones(WEIGHTS, "float64")}, name="model/secret", data_class="restricted", owner="bench")
    h.seal(os.urandom(1_000_000), name="dataset/open", data_class="internal", owner="bench", member="data")
    return h


def _with_lease(text: str, lease: str) -> str:
    """Return the policy with one lease for every class."""
    yaml = YAML()
    body = yaml.load(text)
    for rules in body["classes"].values():
        rules["lease"] = yaml.load(lease)["lease"]
    out = io.StringIO()
    yaml.dump(body, out)
    return out.getvalue()


def _reached(h: hermetic.Workspace, root: Path, kinds: list[str]) -> dict[str, tuple[float, str]]:
    processes = {kind: Process(root / kind, "secret", kind) for kind in kinds}
    h.connection.ask(ChangeKeyState(h.show("dataset/secret").kek, "revoke", "benchmark"))
    return _ends(processes, time.monotonic())


def _ends(processes: dict[str, Process], moment: float) -> dict[str, tuple[float, str]]:
    """Return for each process how long after `moment` its last good read was, and why it ended."""
    seen = {kind: process.wait() for kind, process in processes.items()}
    return {kind: (each.last - moment, each.why) for kind, each in seen.items()}


def _everything_else(h: hermetic.Workspace) -> None:
    """What must not disturb a reader under another key."""
    kek = h.show("dataset/secret").kek
    compromise(h, kek, "benchmark", go_on=True)
    h.connection.ask(RotateKey(kek, "benchmark"))
    h.connection.ask(ChangeKeyState(kek, "suspend", "benchmark"))
    h.connection.ask(ChangeKeyState(kek, "resume", "benchmark"))
    h.connection.ask(RotateKey(h.show("dataset/open").kek, "the reader's own"))


def _away(root: Path, kinds: list[str]) -> dict[str, tuple[float, str]]:
    processes = {kind: Process(root / kind, "secret", kind) for kind in kinds}
    (root / "home").rename(root / "gone")
    return _ends(processes, time.monotonic())


MEMBERS = {"principal": 65534, "grant": 8}  # users of this machine: one works by a role, one by a grant
THREADS = 3  # that ask for keys in the name of each


def _access(options: argparse.Namespace) -> None:
    """Disable a principal and revoke a grant while both are at work, and say when the last key went out."""
    found: dict[str, list[tuple[float, float, int]]] = {"principal": [], "grant": []}
    for _ in range(options.rounds):
        for kind, times in found.items():
            with _fresh(options) as (_, h), h:
                times.append(_taken_back(h, kind))
    print(
        f"from the answer of `access disable` or `access revoke` to the last success, {THREADS} threads each, {options.rounds} rounds"
    )
    print(f"{'':12}{'keys':>10}{'last key s':>14}{'last lease s':>14}")
    for kind, times in found.items():
        print(
            f"{kind:12}{sum(one[2] for one in times):>10,}{max(one[0] for one in times):>14.4f}{max(one[1] for one in times):>14.4f}"
        )
    if any(max(one[:2]) > options.check for times in found.values() for one in times):
        raise SystemExit("a limit was not kept")


def _taken_back(h: hermetic.Workspace, kind: str) -> tuple[float, float, int]:
    """Return seconds from the answer to the last key and to the last lease that held, and how many keys went out before."""
    people = {row.id.rpartition(":")[2]: row.name for row in _members(h)}
    name, given = people[str(MEMBERS[kind])], _grant(h, people[str(MEMBERS["grant"])])
    takers = {who: [_Taker(h, uid) for _ in range(THREADS)] for who, uid in MEMBERS.items()}
    threads = [taker for group in takers.values() for taker in group]
    for taker in threads:
        taker.start()
    time.sleep(0.5)
    h.connection.ask(DisablePrincipal(name, "benchmark") if kind == "principal" else RevokeGrant(given, "benchmark"))
    moment = time.monotonic()
    time.sleep(0.5)
    for taker in threads:
        taker.stop.set()
        taker.join()
    undisturbed = next(group for who, group in takers.items() if who != kind)
    if any(taker.failed for taker in undisturbed):
        raise SystemExit("somebody else was disturbed")
    mine = takers[kind]
    return (
        max(0.0, *(one.last_key - moment for one in mine)),
        max(0.0, *(one.last_lease - moment for one in mine)),
        sum(one.keys for one in mine),
    )


def _members(h: hermetic.Workspace) -> tuple[PrincipalRow, ...]:
    names = {uid: pwd.getpwuid(uid).pw_name for uid in MEMBERS.values()}
    return (
        h.connection.ask(SetRoles(names[MEMBERS["principal"]], ("ml-engineer",), "benchmark")),
        h.connection.ask(SetRoles(names[MEMBERS["grant"]], ("auditor",), "benchmark")),
    )


def _grant(h: hermetic.Workspace, name: str) -> str:
    until = time.time_ns() // 1_000_000 + 3_600_000
    return h.connection.ask(GiveGrant(name, "open", "dataset/*", (Purpose.TRAIN,), until, "benchmark")).id


class _Taker(threading.Thread):
    """Opens versions in somebody's name on and on, and confirms the lease of the first."""

    def __init__(self, h: hermetic.Workspace, uid: int) -> None:
        super().__init__()
        self._port, self._uid, self._key = h.connection.port, uid, PrivateKey.generate().public
        self.stop, self.failed = threading.Event(), False
        self.keys, self.last_key, self.last_lease = 0, 0.0, 0.0

    def run(self) -> None:
        lease = ""
        while not self.stop.is_set():
            with contextlib.suppress(HermeticError):
                if lease:
                    (state,) = self._port.ask_for(self._uid, CheckLeases((lease,))).states
                    self.last_lease = time.monotonic() if state.ended is None else self.last_lease
            try:
                request = OpenVersions(id_from_bytes(os.urandom(16)), ("dataset/secret",), Purpose.TRAIN, recipient=self._key)
                opened = self._port.ask_for(self._uid, request)
            except HermeticError:
                self.failed = True
                time.sleep(0.001)
                continue
            lease = lease or opened.released[0].lease.id
            self.keys, self.last_key = self.keys + 1, time.monotonic()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", type=int, default=1, help="seconds between two confirmations of a lease")
    parser.add_argument("--offline", type=int, default=4, help="seconds that a lease lives without an answer")
    parser.add_argument("--loader", action="store_true", help="also a DataLoader with two workers; needs torch")
    parser.add_argument("--scorer", action="store_true", help="also a process that scores with sealed weights")
    parser.add_argument("--access", action="store_true", help="principals and grants instead of keys")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    return parser.parse_args()


if __name__ == "__main__":
    main()
