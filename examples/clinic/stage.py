"""Runs the demo's commands before the reader's eyes, and stops at the first thing that is not as it must be."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

WIDTH = max(100, shutil.get_terminal_size((150, 0)).columns - 6)


class NotAsItMustBe(Exception):
    """Something in the demo went otherwise than claimed."""


@dataclass
class Stage:
    """Where commands run: a project folder, a HERMETIC_HOME of its own, and this Python's `hermetic` and `python`."""

    folder: Path
    home: Path
    chapter: int = 0
    checked: list[str] = field(default_factory=list)

    def tell(self, title: str, line: str) -> None:
        """Begin a chapter."""
        self.chapter += 1
        print(f"\n{self.chapter}  {title}\n   {line}", flush=True)

    def run(self, *words: str, expect: int = 0, lines: int | None = None, since: str = "", home: Path | None = None) -> str:
        """Run a command, show it with output and exit code, and return what it wrote to stdout.

        Shows the first `lines` lines, or those from the line that starts with `since`. Raises NotAsItMustBe for another exit code.
        """
        shown = f"HERMETIC_HOME={home.name} " if home else ""
        print(f"\n   $ {shown}{shlex.join(words)}", flush=True)
        started = time.monotonic()
        done = self.quietly(*words, home=home)
        seconds = time.monotonic() - started
        for line in excerpt((done.stdout + done.stderr).splitlines(), lines, since):
            for number, part in enumerate(textwrap.wrap(line, WIDTH, drop_whitespace=False) or [""]):
                print(f"     {'    ' * (number > 0)}{part}")
        print(f"   exit code {done.returncode}, {seconds:.1f} s", flush=True)
        self.must(done.returncode == expect, f"{words[0]} {words[1]} exits with {expect}", silent=True)
        return done.stdout

    def quietly(self, *words: str, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command and return what it did."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("HERMETIC_")}
        path = os.pathsep.join([str(Path(sys.executable).parent), own.get("PATH", os.defpath)])
        environment = own | {"HERMETIC_HOME": str(home or self.home), "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(
            words, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def must(self, holds: bool, claim: str, *, silent: bool = False) -> None:  # noqa: FBT001 - reads like an assertion
        """Check a claim and show it. Raises NotAsItMustBe."""
        if not holds:
            raise NotAsItMustBe(claim)
        if not silent:
            self.checked.append(claim)
            print(f"   ok: {claim}", flush=True)


def excerpt(output: list[str], lines: int | None, since: str) -> list[str]:
    """Return the part of a command's output to show, and say how much was left out."""
    start = next((at for at, line in enumerate(output) if since and line.startswith(since)), 0)
    end = len(output) if lines is None else start + lines
    before = [f"… {start} lines …"] if start else []
    after = [f"… {len(output) - end} more lines …"] if len(output) > end else []
    return [*before, *output[start:end], *after]
