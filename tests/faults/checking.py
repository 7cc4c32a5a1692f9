"""What must hold whenever a process died or the power went (DESIGN sections 1, 4, 5; spec/port.md, "No record, no key").

1.  The log verifies whole, and agrees with the rows.
2.  Every key that was reported has an intent entry with its request and version.
3.  Every file under a final name in the store is a whole sealed object or a manifest.
4.  Every committed version opens and holds what was sealed.
5.  Plaintext lies only where an exposure that has not ended says so.
6.  What was promised is there (`scenarios`); what was said to be destroyed is in no file of the home.
7.  The backup place holds a whole copy with every version that was promised.
8.  Sealing and opening go on.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path

import hermetic
from hermetic.assets.exposing import TEMPORARY
from hermetic.crypto import x509
from hermetic.crypto.secret import Secret
from hermetic.domain import identity_files, root_moves, share_files
from hermetic.domain.backup import Copies
from hermetic.domain.home import PROJECT_FILE
from hermetic.domain.recovering import find_domain, recover
from hermetic.errors import NotFound, WrongKey
from hermetic.formats.messages.keys import ChangeKeyState, ListKeys
from hermetic.formats.messages.log import Anchor, ReadLog, VerifyLog
from hermetic.formats.messages.roots import DropRoot, ListRoots, RootRow
from hermetic.ids import Environment, Purpose
from hermetic.recovery.objects import objects_store
from hermetic.sealed.inspection import inspect
from hermetic.stores.local import LocalStore
from tests.faults.places import BASE
from tests.faults.scenarios import CHANGED, PASSPHRASE, renew_identity

AFTER = b"after the crash"
ORIGINALS = {"one.bin", "two.bin"}
SHORT = 1 << 20


def check(root: Path, scenario: str, lines: list[str]) -> None:
    """Check everything; raises AssertionError or what Hermetic raises."""
    nothing_is_left(root, lines)
    if scenario == "backup":
        recovery_is_whole(root, lines)
    if scenario == "init":
        second_domain(root / "second", lines)
    check_project(root, root / "project", lines if scenario != "init" else [])


def check_project(root: Path, project: Path, lines: list[str]) -> None:
    """Check one domain."""
    with hermetic.connect(project) as h:
        copy_is_whole(h, root / "backup", project, lines)
        shares_open_the_copy(h, root, lines)
        resume(h)
        roots_are_whole(h, lines)
        log_is_whole(h)
        every_key_has_an_intent(h, lines)
        identity_is_whole(h, root / "identity", lines)
        objects_are_whole(LocalStore(project / "sealed"))
        copied = objects_are_whole(objects_store(root / "backup", h.session.domain))
        assert copied >= 3 or "copied" not in lines, "objects were copied, and are gone"
        refs = versions_open(h)
        if project.name == "project":
            promises_are_kept(root, refs, lines)
        plaintext_is_on_record(h, project)
        goes_on(h)


def identity_is_whole(h: hermetic.Workspace, folder: Path, lines: list[str]) -> None:
    """Key and certificate fit, and a renewal that was under way goes on: custody knows both certificates, or the old one."""
    if not (folder / identity_files.CURRENT).exists():
        assert "certified" not in lines, "a certificate was installed, and is gone"
        return
    for _ in range(2):
        found = identity_files.ClientIdentity.load(folder)
        assert found.certificate().public == x509.public_of(Secret(found.key.read_bytes()))
        renew_identity(h, folder)


def resume(h: hermetic.Workspace) -> None:
    """What a person does after a crash in a drill: resume the key that was suspended."""
    for row in h.connection.ask(ListKeys()).keys:
        if row.state == "suspended":
            h.connection.ask(ChangeKeyState(row.kek, "resume", "after the crash"))


def finish_move(h: hermetic.Workspace) -> None:
    """Give every command of an interrupted move once more."""
    for row in h.connection.ask(ListRoots()).roots:
        if row.state == "pre-active" and row.provider.startswith("recovery:"):
            finish_recovery_root(h, row)
        elif row.state == "pre-active":
            root_moves.add_root(h.connection, row.provider)
        elif row.state == "suspended":
            root_moves.resume(h.connection, row)
        elif row.state in {"deactivated", "compromised"} or (row.state == "destroyed" and row.wiped_ms is None):
            h.connection.ask(DropRoot(row.root, "after the crash"))


def finish_recovery_root(h: hermetic.Workspace, row: RootRow) -> None:
    """Go on where its public half is there; else nobody can wrap under it, and it is dropped."""
    if (h.connection.home.domain_data(h.session.domain) / f"root-{row.root}.json").exists():
        root_moves.resume(h.connection, row)
    else:
        h.connection.ask(DropRoot(row.root, "after the crash"))


def shares_open_the_copy(h: hermetic.Workspace, root: Path, lines: list[str]) -> None:
    """Two of the three shares that were promised open the copy in the backup place, and so does what is under it now."""
    promised = [line.split()[1] for line in lines if line.startswith("shared ")]
    if not promised:
        return
    for name in ("two", "one"):
        paths = sorted((root / f"shares-{name}").glob("*.txt"))
        if len(paths) < 3:
            continue
        with contextlib.suppress(WrongKey):  # of a set that is not active yet
            opened = recover(root / "backup", h.session.domain, share_files.joined([share_files.read(path) for path in paths[1:]]))
            assert opened.how == "shares"
            return
    raise AssertionError(f"no shares of {promised} open the copy")


def roots_are_whole(h: hermetic.Workspace, lines: list[str]) -> None:
    """Every root that is left opens everything, and nothing of the others lies in the home."""
    finish_move(h)
    rows = h.connection.ask(ListRoots()).roots
    living = {row.root for row in rows if row.state != "destroyed"}
    for row in rows:
        now = "locked" if row.provider.startswith("recovery:") else "ready"
        wanted = ("active", now, row.keys, True) if row.root in living else ("destroyed", "absent", 0, False)
        assert (row.state, row.status, row.slots, row.opens_domain) == wanted, row
    folder = h.connection.home.domain_data(h.session.domain)
    assert {path.name for path in folder.glob("root-*")} == {f"root-{root}.json" for root in living}
    if len(rows) > 1 and len(living) == 1:
        assert not list(folder.glob(".*")), "what was written of old roots stayed"
    assert "moved" not in lines or len(living) == 1


def log_is_whole(h: hermetic.Workspace) -> None:
    pins = h.connection.pins
    done = h.connection.ask(VerifyLog((Anchor(pins.checkpoint, "pins", external=False),), pins.log_keys))
    bad = [pair for pair in done.findings if pair.value.startswith("high") or pair.name.startswith("row-")]
    assert not bad, bad


def every_key_has_an_intent(h: hermetic.Workspace, lines: list[str]) -> None:
    wanted = {tuple(line.split()[1:]) for line in lines if line.startswith("key ")}
    intents: set[tuple[str, ...]] = set()
    for generation in range(1, max(row.generation for row in h.connection.ask(ReadLog()).rows) + 1):
        start = 0
        while rows := h.connection.ask(ReadLog(start=start, limit=2000, generation=generation)).rows:
            for row in rows:
                facts = json.loads(row.leaf)["facts"]
                if row.kind == "release.intent":
                    intents |= {(version, facts["request"]) for version in facts["versions"]}
            start = rows[-1].index + 1
    assert wanted <= intents, f"keys left without a record: {wanted - intents}"


def objects_are_whole(store: LocalStore) -> int:
    """Look at every file under a final name; return how many are sealed objects."""
    count = 0
    for key, _ in list(store.list()):
        if key.endswith(".sealed"):
            with store.open(key) as source:
                inspect(source)
            count += 1
        else:
            assert key.endswith("manifest.json"), key
            json.loads(store.read_bytes(key, limit=SHORT))
    return count


def versions_open(h: hermetic.Workspace) -> set[str]:
    """Open and compare every version; return the references of those in development."""
    found = {(row.environment, f"{row.name}@{number}") for row in h.list() for number in range(1, row.latest + 1)}
    for environment, ref in sorted(found):
        h.connection.environment = environment
        h.verify(ref)
        with h.version(ref, purpose=Purpose.EVALUATE if ref.startswith("model/") else Purpose.PREPARE) as version:
            for member in version.members:
                with version.reader(member) as reader:
                    data = bytearray(reader.length)
                    reader.readinto_at(0, memoryview(data))
                    assert BASE.startswith(bytes(data)) or bytes(data) in {AFTER, b"first"}, ref
    h.connection.environment = None
    return {ref for environment, ref in found if environment is Environment.DEVELOPMENT}


def promises_are_kept(root: Path, refs: set[str], lines: list[str]) -> None:
    missing = {line.split()[1] for line in lines if line.startswith("sealed ")} - refs
    assert not missing, f"said to be sealed, and gone: {missing}"
    if not (root / "project" / "two.bin").exists():
        assert "dataset/two@1" in refs, "an original was removed, and its version is gone"
    if not {"dataset/more@1", "dataset/other@1"} & refs or "dataset/base@1" not in refs:
        raise AssertionError("what was sealed before is gone")
    for word, name in (line.split() for line in lines if line.startswith(("removed ", "ended "))):
        assert not (root / "project" / name).exists(), f"{word}, and back: {name}"


def plaintext_is_on_record(h: hermetic.Workspace, project: Path) -> None:
    rows = h.exposures(ended=False)
    recorded = {Path(row.path).name for row in rows} | {TEMPORARY + row.id for row in rows}
    found = {path.name for path in project.iterdir() if path.is_file() and path.read_bytes()[:32] == BASE[:32]}
    assert found <= recorded | ORIGINALS, f"plaintext without a record: {found - recorded - ORIGINALS}"
    exposed = {path.name for path in project.iterdir() if path.suffix == ".bin"} - ORIGINALS
    assert exposed <= recorded


def nothing_is_left(root: Path, lines: list[str]) -> None:
    """Look for destroyed bytes before anything is opened: opening may tidy up."""
    needles = [bytes.fromhex(line.split()[1]) for line in lines if line.startswith("gone ")]
    for path in (root / "home").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(needle in content for needle in needles), f"destroyed, and still in {path.name}"


def goes_on(h: hermetic.Workspace) -> None:
    made = h.seal(AFTER, parents=(), name="dataset/after", data_class="restricted", member="x", purpose="ingest")
    with h.open(made.ref, purpose="prepare") as file:
        assert file.read() == AFTER


def copy_is_whole(h: hermetic.Workspace, place: Path, project: Path, lines: list[str]) -> None:
    """Open the newest copy that the crash has left; it holds what was sealed before and what was promised."""
    custodian = h.connection.port._custodian
    copies = Copies(LocalStore(place / custodian.domain), custodian.keys.backup)
    index, damaged = copies.newest()
    assert damaged == 0, f"{damaged} indexes of the backup do not open"
    database = bytearray(copies.fetch(index))
    database[18:20] = b"\1\1"  # a database in memory has no write-ahead log
    with contextlib.closing(sqlite3.connect(":memory:")) as memory:
        memory.deserialize(bytes(database))
        assert memory.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (versions,) = memory.execute("SELECT count(*) FROM version WHERE state = 'published'").fetchone()
    promised = [line for line in lines if line.startswith("sealed ")] if project.name == "project" else ["made dataset/first@1"]
    before = 3 if project.name == "project" else 0
    assert versions >= before + len(set(promised) & set(lines)), "the backup lacks a version that was promised"


def recovery_is_whole(root: Path, lines: list[str]) -> None:
    """Open the copy with the recovery passphrase: the new one, or until that is promised the old one."""
    domain = find_domain(root / "backup")
    for passphrase in (CHANGED, PASSPHRASE):
        try:
            recover(root / "backup", domain, Secret(passphrase))
        except WrongKey:
            assert "changed" not in lines, "the recovery passphrase was changed, and is the old one"
        else:
            return
    raise AssertionError("no passphrase opens the backup")


def second_domain(project: Path, lines: list[str]) -> None:
    made = [line for line in lines if line.startswith("made")]
    if not (project / PROJECT_FILE).exists():
        assert not made, "the project was made, and is gone"
        return
    try:
        check_project(project.parent, project, lines)
    except NotFound as error:
        raise AssertionError("a project without custody") from error
    with hermetic.connect(project) as h:
        assert "made dataset/first@1" not in made or "dataset/first" in {row.name for row in h.list()}
