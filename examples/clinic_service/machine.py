"""Stand-ins for machines: each a folder with a clone of the project and a home of its own, from which commands are run and shown."""

from __future__ import annotations

import contextlib
import os
import pty
import shlex
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from stage import WIDTH, NotAsItMustBe, excerpt

SECONDS = 300


@dataclass
class Show:
    """What the reader sees: chapters, and claims that were checked."""

    chapter: int = 0
    checked: list[str] = field(default_factory=list)

    def tell(self, title: str, line: str) -> None:
        """Begin a chapter."""
        self.chapter += 1
        print(f"\n{self.chapter}  {title}\n   {line}", flush=True)

    def must(self, holds: bool, claim: str) -> None:  # noqa: FBT001 - reads like an assertion
        """Check a claim and show it. Raises NotAsItMustBe."""
        if not holds:
            raise NotAsItMustBe(claim)
        self.holds(claim)

    def holds(self, claim: str) -> None:
        """Show a claim that the command before has checked, by how it ended."""
        self.checked.append(claim)
        print(f"   ok: claim {len(self.checked)} holds: {claim}", flush=True)


@dataclass
class Machine:
    """One machine, and whoever works there: `name` stands before their prompt."""

    name: str
    root: Path
    more: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for folder in (self.project, self.root / "home"):
            folder.mkdir(parents=True, mode=0o700)

    @property
    def project(self) -> Path:
        """Where commands run."""
        return self.root / "clinic"

    def settings(self, domain: str, text: str) -> None:
        """Put a line into this user's own settings of a domain."""
        folder = self.root / "home" / "config" / "hermetic" / domain
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "config.yaml").touch(mode=0o600)
        with (folder / "config.yaml").open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def environment(self) -> dict[str, str]:
        """Nothing of the reader's own Hermetic counts: every machine has its own home."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("HERMETIC_", "XDG_", "PG"))}
        home = self.root / "home"
        path = os.pathsep.join([str(Path(sys.executable).parent), own.get("PATH", os.defpath)])
        folders = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "XDG_DATA_HOME": str(home / "data")}
        return own | folders | {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | self.more

    def start(self, *words: str, stdin: int | None = None, stdout: int | None = None) -> subprocess.Popen[str]:
        """Start something that goes on; who starts it ends it."""
        print(f"\n   {self.name} $ {shlex.join(words)} &", flush=True)
        given = {"cwd": self.project, "env": self.environment(), "umask": 0o077, "text": True}
        return subprocess.Popen(words, stdin=stdin or subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE, **given)  # type: ignore[call-overload, no-any-return]

    def run(self, *words: str, expect: int = 0, lines: int | None = None, since: str = "", typed: str = "") -> str:
        """Run a command, show it with output and exit code; return all that it wrote. Raises NotAsItMustBe for another code."""
        print(f"\n   {self.name} $ {shlex.join(words)}", flush=True)
        done = self.quietly(*words, typed=typed)
        said = done.stdout + done.stderr
        for line in excerpt(said.splitlines(), lines, since):
            for number, part in enumerate(textwrap.wrap(line, WIDTH, drop_whitespace=False) or [""]):
                print(f"     {'    ' * (number > 0)}{part}")
        print(f"   exit code {done.returncode}", flush=True)
        if done.returncode != expect:
            raise NotAsItMustBe(f"{' '.join(words[:3])} exits with {expect}, not {done.returncode}")
        return said

    def quietly(self, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command and return what it did."""
        return subprocess.run(
            words,
            cwd=self.project,
            env=self.environment(),
            umask=0o077,
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def at_terminal(self, *words: str) -> Terminal:
        """Start a command that shows secrets on a terminal only: they are read there, and shown nowhere else."""
        print(f"\n   {self.name} $ {shlex.join(words)}        (what the terminal shows is not repeated here)", flush=True)
        return Terminal(self, words)


class Terminal:
    """A command whose stderr is a terminal; what it shows is waited for and read line by line, and answers are typed."""

    def __init__(self, machine: Machine, words: tuple[str, ...]) -> None:
        ours, theirs = pty.openpty()
        given = {"cwd": machine.project, "env": machine.environment(), "umask": 0o077, "text": True}
        self._process = subprocess.Popen(  # type: ignore[call-overload]
            words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=theirs, **given
        )
        os.close(theirs)
        self._ours, self._shown, self._more = ours, "", threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, what: str) -> str:
        """Return what was shown, as soon as `what` stands there. Raises NotAsItMustBe."""
        with self._more:
            if not self._more.wait_for(lambda: what in self._shown or not self._reader.is_alive(), SECONDS) or what not in self._shown:
                raise NotAsItMustBe(f"the terminal shows {what!r}")
            return self._shown

    def type(self, line: str) -> None:
        """Type a line."""
        stdin: IO[str] = self._process.stdin
        stdin.write(f"{line}\n")
        stdin.flush()

    def end(self) -> str:
        """Wait for the end; return what was shown. Raises NotAsItMustBe if the command fails."""
        self._process.stdin.close()
        code = self._process.wait(SECONDS)
        self._reader.join(SECONDS)
        os.close(self._ours)
        print(f"   exit code {code}", flush=True)
        if code != 0:
            raise NotAsItMustBe(f"the command at the terminal exits with 0, not {code}: {self._shown[-300:]}")
        return self._shown

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the other end was closed: it has ended
            while part := os.read(self._ours, 4096):
                with self._more:
                    self._shown += part.decode(errors="replace").replace("\r", "")
                    self._more.notify_all()
