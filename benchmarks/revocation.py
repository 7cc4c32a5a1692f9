"""From revocation to the last possible use of a key that a process already holds, measured across processes.

    python benchmarks/revocation.py [--rounds 5] [--check 1] [--offline 4] [--folder DIR]

A reader opens a sealed file and reads on and on; then the key is revoked, and its last good read is compared with the moment at which
`revoke` was answered. With custody within reach that takes at most `check` seconds, which is the class's own setting; with custody out
of reach (its home renamed), at most `offline`. A second reader, under another key, must not fail once. The baseline is a plain file:
nobody can take back what a process has open, so its reads never end.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from ruamel.yaml import YAML

import hermetic
from hermetic.domain.create import create_domain
from hermetic.formats.messages.keys import ChangeKeyState, RotateKey
from hermetic.formats.messages.policy import ApplyPolicy
from hermetic.recovery.compromise import compromise

READER = """
import sys, time, hermetic
from hermetic.errors import HermeticError
from pathlib import Path
ref, stop, said = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
reads, last, why = 0, 0.0, "stopped"
with hermetic.connect(purpose="prepare") as h, h.open(ref) as file:
    while not stop.exists():
        try:
            file.seek(reads * 4096 % 900_000)
            assert len(file.read(4096)) == 4096
        except HermeticError as error:
            why = type(error).__name__
            break
        reads, last = reads + 1, time.monotonic()
        if reads == 1:
            said.with_suffix(".ready").touch()
        time.sleep(0.002)
    said.write_text(f"{reads} {last} {why}")
"""


class Seen(NamedTuple):
    """What a reader says: good reads, when the last one was (monotonic), and why it ended."""

    reads: int
    last: float
    why: str


class Reader:
    """A process that reads one asset until it may not, or is told to stop."""

    def __init__(self, folder: Path, ref: str) -> None:
        self._stop, self._said = folder / "stop", folder / "said"
        folder.mkdir()
        self._process = subprocess.Popen([sys.executable, "-c", READER, ref, str(self._stop), str(self._said)])
        while not self._said.with_suffix(".ready").exists():
            if self._process.poll() is not None:
                raise SystemExit(f"a reader of {ref} ended before it read")
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
    reached, away, others = [], [], []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="hermetic-bench-") as name:
            root = Path(name)
            with _domain(root, options) as h:
                other = Reader(root / "other", "dataset/open")
                reached.append(_reached(h, root))
                _everything_else(h)
                others.append(other.stop())
        with tempfile.TemporaryDirectory(dir=options.folder, prefix="hermetic-bench-") as name:
            root = Path(name)
            _domain(root, options).close()
            away.append(_away(root))
        print(f"round {number + 1} of {options.rounds}", file=sys.stderr)
    print(f"from the answer of `revoke` to the last good read of a process that held the key, {options.rounds} rounds")
    print(f"{'':34}{'median s':>10}{'longest s':>11}{'allowed s':>11}")
    for label, found, allowed in (("custody within reach", reached, options.check), ("custody out of reach", away, options.offline)):
        print(f"{label:34}{statistics.median(found):10.2f}{max(found):11.2f}{allowed:11.2f}")
    failed = [seen.why for seen in others if seen.why != "stopped"]
    reads = sum(seen.reads for seen in others)
    print(f"readers under another key, through rotation, suspension and playbook: {reads:,} reads, {len(failed)} failed")
    if failed or max(reached) > options.check + 1 or max(away) > options.offline + 1:
        raise SystemExit("a limit was not kept")


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


def _reached(h: hermetic.Workspace, root: Path) -> float:
    reader = Reader(root / "reached", "dataset/secret")
    h.connection.ask(ChangeKeyState(h.show("dataset/secret").kek, "revoke", "benchmark"))
    answered = time.monotonic()
    return reader.wait().last - answered


def _everything_else(h: hermetic.Workspace) -> None:
    """What must not disturb a reader under another key."""
    kek = h.show("dataset/secret").kek
    compromise(h, kek, "benchmark", go_on=True)
    h.connection.ask(RotateKey(kek, "benchmark"))
    h.connection.ask(ChangeKeyState(kek, "suspend", "benchmark"))
    h.connection.ask(ChangeKeyState(kek, "resume", "benchmark"))
    h.connection.ask(RotateKey(h.show("dataset/open").kek, "the reader's own"))


def _away(root: Path) -> float:
    reader = Reader(root / "away", "dataset/secret")
    (root / "home").rename(root / "gone")
    gone = time.monotonic()
    return reader.wait().last - gone


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", type=int, default=1, help="seconds between two confirmations of a lease")
    parser.add_argument("--offline", type=int, default=4, help="seconds that a lease lives without an answer")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    return parser.parse_args()


if __name__ == "__main__":
    main()
