"""The stage of every attack: a fresh domain in a temporary folder, the attacker's tools, and a verdict.

An attack is a file with a docstring (who attacks, what it tries, what must stop it) and a function `attack(stage)`. It first shows
that the honest way works, so that a refusal means something, then calls `stage.refused(what, call, *kinds)` or
`stage.found(what, evidence)` for each thing it tries. Run alone it prints what happened:

    python attacks/forge_with_equal_tag.py

    exit 0   everything it tried was stopped
    exit 1   something succeeded
    exit 2   the attack itself broke: it shows nothing
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from hermetic.assets.workspace import Workspace, connect
from hermetic.domain.create import create_domain
from hermetic.domain.home import Home
from hermetic.errors import HermeticError

ROWS = b"name,age\n" + b"".join(b"patient %d,%d\n" % (number, number % 90) for number in range(4000))
CANARY = b"CANARY-7f3a-plaintext-that-must-not-leak"


PROGRAM = os.environ.get("HERMETIC_PROGRAM")  # now: the environment of an attack has no settings


class Succeeded(Exception):
    """The attack got what it wanted."""


class Broken(Exception):
    """The attack is not what it says it is: the honest way does not work, or the attacker's tool does not."""


class Skipped(Exception):
    """This machine cannot show it; says why."""


class Stage:
    """A domain on disk, and what an attacker does to it."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.project, self.home_folder, self.backup = base / "project", base / "home", base / "backup"
        self.home = Home(self.home_folder / "data", self.home_folder / "config")
        self.told: list[str] = []

    def create(self, **more) -> Stage:
        """Make the domain; `more` goes to `create_domain`."""
        self.project.mkdir(mode=0o700)
        os.environ["HERMETIC_HOME"] = str(self.home_folder)
        os.chdir(self.project)
        create_domain(self.project, provider_uri=more.pop("provider_uri", "local:insecure-file"), project_name="cardio", **more)
        return self

    # the honest user

    def connect(self, **more) -> Workspace:
        return connect(self.project, **more)

    def seal(self, name: str = "dataset/patients", data=ROWS, **more):
        """Seal bytes or a folder; returns the SealedVersion."""
        with self.connect() as h:
            return h.seal(data, name=name, data_class=more.pop("data_class", "restricted"), **more)

    def read(self, ref: str = "dataset/patients", member: str | None = None) -> bytes:
        """Read as the honest user does, in a connection of its own."""
        with self.connect(purpose="prepare") as h, h.open(ref, member=member) as file:
            return file.read()

    def honest(self, what: str, got: object, wanted: object) -> None:
        """Say that the honest way works; an attack on something that does not work shows nothing."""
        if got != wanted:
            raise Broken(f"{what}: the honest way gives {str(got)[:80]!r}")
        self.told.append(f"  honest   {what}")

    def cli(self, *arguments: object, **more) -> subprocess.CompletedProcess:
        """Run the program in a process of its own, in the project; HERMETIC_PROGRAM names one that starts faster."""
        program = [PROGRAM] if PROGRAM else [sys.executable, "-c", "from hermetic.cli.main import main; main()"]
        command = [*program, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, check=False, cwd=more.pop("cwd", self.project), timeout=120, **more)

    # the attacker's hands

    @property
    def domain(self) -> str:
        return re.search(r"^domain: (\S+)", (self.project / "hermetic.yaml").read_text(), re.MULTILINE)[1]

    @property
    def custody(self) -> Path:
        """The custody home of the domain."""
        return self.home.data / self.domain

    @property
    def settings(self) -> Path:
        """The user's settings and pins."""
        return self.home.config / self.domain

    @property
    def database(self) -> Path:
        return self.custody / "custody.db"

    def object(self, version: str, index: int = 0) -> Path:
        return self.project / "sealed" / version / f"{index}.sealed"

    def manifest(self, version: str) -> Path:
        return self.project / "sealed" / version / "manifest.json"

    def sql(self, statement: str, parameters=()) -> list[tuple]:
        """Change or read the custody database by hand."""
        with contextlib.closing(sqlite3.connect(self.database)) as link:
            link.execute("PRAGMA foreign_keys=OFF")
            rows = link.execute(statement, parameters).fetchall()
            link.commit()
            link.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            return rows

    def save(self, what: Path | None = None) -> dict[Path, bytes]:
        """Copy a file or folder (default: custody home, settings and pins), to put it back later."""
        what = what or self.home_folder
        self.sql("SELECT 1")
        files = [what] if what.is_file() else [path for path in what.rglob("*") if path.is_file() and path.suffix != ".lock"]
        return {path: path.read_bytes() for path in files}

    def put_back(self, saved: dict[Path, bytes]) -> None:
        for folder in {path.parent for path in saved}:
            for side in folder.glob("custody.db-*"):
                side.unlink()
        for path, data in saved.items():
            path.write_bytes(data)
            path.chmod(0o600)

    # the verdict

    def refused(self, what: str, call, *kinds: type[HermeticError]) -> HermeticError:
        """Try something that must raise one of `kinds` (any error of ours by default)."""
        expected = kinds or (HermeticError,)
        try:
            got = call()
        except expected as error:
            self.told.append(f"  stopped  {what}: {type(error).__name__}: {error}")
            return error
        raise Succeeded(f"{what}: gave {str(got)[:120]!r}")

    def found(self, what: str, evidence: object) -> None:
        """Something that is not prevented must be detected: `evidence` is what says so, and is false when nothing does."""
        if not evidence:
            raise Succeeded(f"{what}: nothing says so")
        self.told.append(f"  found    {what}: {' '.join(str(evidence).split())[:160]}")

    def kept(self, what: str, why: str) -> None:
        """An idea that leads nowhere, and the reason."""
        self.told.append(f"  kept     {what}: {why}")

    def verify_log(self) -> dict:
        """Run `hermetic log verify --json`; the document has `exit` beside what it says."""
        done = self.cli("log", "verify", "--json")
        return {**json.loads(done.stdout or b"{}"), "exit": done.returncode, "err": done.stderr.decode()}

    def log_finds(self, *codes: str) -> str:
        """Say what `log verify` finds: a failure, or one of the findings named."""
        document = self.verify_log()
        if document["exit"] not in {0, 7}:
            return document["err"]
        return " ".join(item["code"] for item in document.get("findings", []) if item["code"] in codes)


def is_root() -> bool:
    return os.geteuid() == 0


def another_uid() -> int:
    """Return the number of another user. Raises Skipped for whoever cannot act as one."""
    if not is_root():
        raise Skipped("only root can act as another user")
    return pwd.getpwnam("nobody").pw_uid


def play(attack, name: str) -> int:
    """Set the stage, run one attack, say what came of it, clear away."""
    os.umask(0o077)
    for variable in [item for item in os.environ if item.startswith("HERMETIC_") and item != "HERMETIC_TEST_DATA"]:
        del os.environ[variable]
    base = Path(tempfile.mkdtemp(prefix="hermetic-attack-"))
    stage = Stage(base)
    here = Path.cwd()
    try:
        attack(stage)
        verdict, code = "stopped", 0
    except Succeeded as error:
        verdict, code = f"SUCCEEDED: {error}", 1
    except Skipped as error:
        verdict, code = f"not shown here: {error}", 0
    except Broken as error:
        verdict, code = f"broken: {error}", 2
    except Exception:  # noqa: BLE001 - an attack that breaks shows nothing, and must not look like one that was stopped
        traceback.print_exc()
        verdict, code = "broken", 2
    finally:
        os.chdir(here)
        shutil.rmtree(base, ignore_errors=True)
    print(f"{name}")
    print("\n".join(stage.told))
    print(f"  => {verdict}")
    return code


def main(attack) -> None:
    """Run `attack` as a program."""
    sys.exit(play(attack, Path(sys.argv[0]).stem))
