"""Domains for the crash tests, copied from a template, and the process that works and checks there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import TracebackType

CHILD = Path(__file__).with_name("killing_child.py")
BASE = hashlib.sha256(b"base").digest() * 7000  # 224,000 bytes: three segments of the small suite, one of the large
FOLDERS = ("project", "second", "home", "backup")


def make_template(root: Path) -> None:
    """Make a domain with three sealed versions, a backup, inputs, and an empty folder for a second one."""
    import hermetic
    from hermetic.crypto.secret import Secret
    from hermetic.domain.create import create_domain
    from hermetic.domain.home import Home
    from tests.faults.scenarios import PASSPHRASE

    project = root / "project"
    (project / "shards").mkdir(parents=True)
    (root / "second").mkdir()
    os.environ["HERMETIC_HOME"] = str(root / "home")
    create_domain(
        project,
        provider_uri="local:insecure-file",
        project_name="kill",
        backup=root / "backup",
        recovery_passphrase=Secret(PASSPHRASE),
        home=Home.locate(os.environ),
    )
    for name in ("one.bin", "two.bin"):
        (project / name).write_bytes(BASE)
    for number in range(3):
        (project / "shards" / f"{number}.bin").write_bytes(BASE[: 1000 * number])
    with hermetic.connect(project) as h:
        h.seal(BASE, name="dataset/base", data_class="restricted", member="base.bin")
        h.seal(BASE[:5000], name="dataset/more", data_class="confidential", member="more.bin")
        h.seal(BASE[:1000], name="features/halves", data_class="restricted", member="first.bin")


def move_in(root: Path, as_root: Path | None = None) -> None:
    """Make the settings of a home that was copied to `root` name the backup place beside it; `as_root` is where that will be."""
    from hermetic.domain import config

    for file in (root / "home" / "config").glob("*/config.yaml"):
        settings = dataclasses.replace(config.load(file.parent), backup_place=(as_root or root) / "backup")
        config.save(file.parent, settings)


def copy_template(template: Path, root: Path, scenario: str, as_root: Path | None = None) -> None:
    """Copy the template to the new folder `root`. A restore begins without a home."""
    for name in FOLDERS:
        shutil.copytree(template / name, root / name, symlinks=True)
    move_in(root, as_root)
    if scenario == "restore":
        shutil.rmtree(root / "home")


class Zygote:
    """A warm process that forks one child for each task."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._number = 0

    def __enter__(self) -> Self:
        environment = {**os.environ, "HERMETIC_HOME": str(self._scratch)}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(CHILD)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._read() == "ready"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=300)
        self._process.stdout.close()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _ask(self, task: dict[str, Any]) -> tuple[int, str]:
        """Return the exit code (or minus the signal) and what was written to standard error."""
        assert self._process.stdin is not None
        self._number += 1
        errors = self._scratch / f"errors-{self._number}"
        self._process.stdin.write(json.dumps({**task, "errors": str(errors)}) + "\n")
        self._process.stdin.flush()
        code = int(self._read())
        said = errors.read_text() if errors.exists() else ""
        errors.unlink(missing_ok=True)
        return code, said

    def run(
        self, root: Path, scenario: str, *, step: str = "-", occurrence: int = 1, layer: Path | None = None, **more: Any
    ) -> list[str]:
        """Run a scenario; return the lines of its report. Raises AssertionError unless it finished or was killed as told."""
        report = self._scratch / f"report-{self._number}"
        task = {"do": "scenario", "root": str(root), "scenario": scenario, "step": step, "occurrence": occurrence}
        code, said = self._ask({**task, "report": str(report), "layer": str(layer) if layer else None, **more})
        lines = report.read_text().splitlines() if report.exists() else []
        report.unlink(missing_ok=True)
        expected = {0, -14} if "after_s" in more else {0} if step == "-" else {-9}
        assert code in expected, f"{scenario} killed at {step} ended with {code}: {said[-3000:]}"
        return lines

    def check(self, root: Path, scenario: str, lines: list[str]) -> str | None:
        """Check what a crash has left, in a fresh process; return what is wrong."""
        code, said = self._ask({"do": "check", "root": str(root), "scenario": scenario, "lines": lines})
        return None if code == 0 else said[-3000:] or f"the check ended with {code}"
