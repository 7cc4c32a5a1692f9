"""kill -9 at every named durable step of seal, release, rotate, run, expose and restore (spec/port.md, "No record, no key").

Each kill point once in `make test`; `HERMETIC_KILLS=3` (make soak) kills at its first three occurrences, and repeats until there are
300 in all. After each death a fresh process reopens the domain and checks:

1. the log verifies whole;
2. every key that the dead process reported has an intent entry with its request and version;
3. every file under a final name in the store is a whole sealed object or a manifest;
4. every committed version opens and holds what was sealed;
5. plaintext lies only where an exposure says so;
6. sealing and opening go on.
"""

from __future__ import annotations

import collections
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hermetic
from hermetic.crypto.secret import Secret
from hermetic.domain.create import create_domain
from hermetic.domain.home import Home
from hermetic.formats.messages.keys import ChangeKeyState, ListKeys
from hermetic.formats.messages.log import Anchor, ReadLog, VerifyLog
from hermetic.ids import Purpose
from hermetic.sealed.inspection import inspect
from hermetic.stores.local import LocalStore

CHILD = Path(__file__).with_name("killing_child.py")
SCENARIOS = ("seal", "release", "rotate", "run", "expose", "restore")
PASSPHRASE = b"correct horse battery staple"
ROUNDS = int(os.environ.get("HERMETIC_KILLS", "1"))
TOTAL = int(os.environ.get("HERMETIC_KILLS_TOTAL", "0"))
BASE = hashlib.sha256(b"base").digest() * 7000  # 224,000 bytes: three segments of the small suite, one of the large
TABLE: collections.Counter[tuple[str, str]] = collections.Counter()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A domain with two sealed versions, a backup, and inputs; copied for every kill."""
    root = tmp_path_factory.mktemp("template")
    project = root / "project"
    (project / "shards").mkdir(parents=True)
    os.environ["HERMETIC_HOME"] = str(root / "home")
    create_domain(
        project,
        provider_uri="local:insecure-file",
        project_name="kill",
        backup=root / "backup",
        recovery_passphrase=Secret(PASSPHRASE),
        home=Home.locate(os.environ),
    )
    (project / "one.bin").write_bytes(BASE)
    for number in range(3):
        (project / "shards" / f"{number}.bin").write_bytes(BASE[: 1000 * number])
    with hermetic.connect(project) as h:
        h.seal(BASE, name="dataset/base", data_class="restricted", member="base.bin")
        h.seal(BASE[:5000], name="dataset/more", data_class="confidential", member="more.bin")
    return root


class Place:
    """One copy of the template, at the same paths inside a private mount being unnecessary: paths are relative to the project."""

    def __init__(self, template: Path, root: Path, scenario: str) -> None:
        for name in ("project", "home", "backup"):
            shutil.copytree(template / name, root / name, symlinks=True)
        self.root, self.project, self.scenario = root, root / "project", scenario
        config = next((root / "home" / "config").glob("*/config.yaml"))
        config.write_text(config.read_text().replace(str(template), str(root)))
        if scenario == "restore":
            shutil.rmtree(root / "home")

    def run(self, step: str, occurrence: int) -> list[str]:
        """Run the child; return the lines of its report."""
        reading, writing = os.pipe()
        environment = {**os.environ, "HERMETIC_HOME": str(self.root / "home")}
        arguments = [self.scenario, step, str(occurrence), str(writing), str(self.project), str(self.root / "backup")]
        command = [sys.executable, str(CHILD), *arguments]
        child = subprocess.Popen(command, env=environment, pass_fds=(writing,), stderr=subprocess.PIPE)
        os.close(writing)
        with os.fdopen(reading, "rb") as report:
            lines = report.read().decode().splitlines()
        _, problem = child.communicate(timeout=120)
        if child.returncode not in {0, -9}:
            pytest.fail(f"{self.scenario} at {step}: {problem.decode()[-2000:]}")
        return lines

    def recover(self) -> None:
        """What a person does after the crash: for restore, the same command again; a key left suspended is resumed; else nothing."""
        if self.scenario == "rotate":
            self._resume()
        if self.scenario == "restore" and not list((self.root / "home").glob("data/*/domain.json")):
            again = Place.__new__(Place)
            again.root, again.project, again.scenario = self.root, self.project, "restore"
            assert "finished" in again.run("never", 1)

    def _resume(self) -> None:
        os.environ["HERMETIC_HOME"] = str(self.root / "home")
        with hermetic.connect(self.project) as h:
            for row in h.connection.ask(ListKeys()).keys:
                if row.state == "suspended":
                    h.connection.ask(ChangeKeyState(row.kek, "resume", "after the crash"))


def check(place: Place, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERMETIC_HOME", str(place.root / "home"))
    with hermetic.connect(place.project) as h:
        _log_is_whole(h)
        _every_key_has_an_intent(h, lines)
        _store_is_whole(place)
        _versions_open(h)
        _plaintext_is_on_record(h, place)
        made = h.seal(b"after the crash", name="dataset/after", data_class="restricted", member="x")
        with h.open(made.ref, purpose="prepare") as file:
            assert file.read() == b"after the crash"


def _log_is_whole(h: hermetic.Workspace) -> None:
    pins = h.connection.pins
    done = h.connection.ask(VerifyLog((Anchor(pins.checkpoint, "pins", external=False),), pins.log_keys))
    bad = [pair for pair in done.findings if pair.value.startswith("high") or pair.name.startswith("row-")]
    assert not bad, bad


def _every_key_has_an_intent(h: hermetic.Workspace, lines: list[str]) -> None:
    intents: set[tuple[str, str]] = set()
    generations = {row.generation for row in h.connection.ask(ReadLog()).rows}
    for generation in range(1, max(generations) + 1):
        start = 0
        while rows := h.connection.ask(ReadLog(start=start, limit=2000, generation=generation)).rows:
            for row in rows:
                facts = json.loads(row.leaf)["facts"]
                if row.kind == "release.intent":
                    intents |= {(version, facts["request"]) for version in facts["versions"]}
            start = rows[-1].index + 1
    for line in lines:
        if line.startswith("key "):
            _, version, request = line.split()
            assert (version, request) in intents, f"a key of {version} left without a record"


def _store_is_whole(place: Place) -> None:
    store = LocalStore(place.project / "sealed")
    for key, _ in list(store.list()):
        if key.endswith(".sealed"):
            with store.open(key) as source:
                inspect(source)
        else:
            assert key.endswith("manifest.json"), key
            json.loads(store.read_bytes(key, limit=1 << 20))


def _versions_open(h: hermetic.Workspace) -> None:
    refs = [f"{row.name}@{number}" for row in h.list() for number in range(1, row.latest + 1)]
    assert {"dataset/base@1", "dataset/more@1"} <= set(refs)
    for ref in refs:
        h.verify(ref)
        with h.version(ref, purpose=Purpose.PREPARE if not ref.startswith("model/") else Purpose.EVALUATE) as version:
            for member in version.members:
                with version.reader(member) as reader:
                    data = bytearray(reader.length)
                    reader.readinto_at(0, memoryview(data))
                    assert BASE.startswith(bytes(data)) or bytes(data) == b"after the crash", ref


def _plaintext_is_on_record(h: hermetic.Workspace, place: Place) -> None:
    recorded = {Path(row.path).name for row in h.exposures(ended=True)}
    found = {path.name for path in place.project.iterdir() if path.suffix == ".bin"} - {"one.bin"}
    assert found <= recorded
    leftovers = [path for path in place.project.iterdir() if path.is_file() and path.read_bytes()[:32] == BASE[:32]]
    assert {path.name for path in leftovers} <= recorded | {"one.bin"}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_killed_at_every_step(scenario: str, template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dry = Place(template, tmp_path / "dry", scenario)
    report = dry.run("-", 1)
    assert report[-1] == "finished"
    check(dry, report, monkeypatch)
    counts = collections.Counter(line.removeprefix("step ") for line in report if line.startswith("step "))
    assert counts
    for number, (step, times) in enumerate(sorted(counts.items())):
        for occurrence in range(1, ROUNDS + 1):
            place = Place(template, tmp_path / f"{number}-{occurrence}", scenario)
            lines = place.run(step, min(occurrence, times))
            assert f"killed {step}" in lines
            TABLE[scenario, step] += 1
            place.recover()
            check(place, lines, monkeypatch)
            shutil.rmtree(place.root)
    with (Path(os.environ.get("HERMETIC_KILL_TABLE", tmp_path / "table.txt"))).open("a") as table:
        for (name, step), times in sorted(TABLE.items()):
            if name == scenario:
                table.write(f"{name:8} {step:40} {times}\n")
